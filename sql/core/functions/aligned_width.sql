-- Computes how many bytes the columns of a row take on the average, in a table or in an index, with
-- the padding that their alignment asks for and that of the whole to 8 bytes. The header is not
-- counted; it ends at a multiple of 8 in either.
--
-- Source: "Database Page Layout" and pg_type.typalign in PostgreSQL's documentation. A value begins
-- at a multiple of its alignment, a null takes nothing. Where a value ends is known only as a
-- share of the rows for each remainder modulo 8; so it goes from column to column. That columns are
-- null independently of one another is an assumption.
--
-- residues has a line of eight for each column: the shares of its values whose length is 0 to 7
-- modulo 8. All are 0 where the size is the same for every row.

create or replace function maintenance.aligned_width(
    sizes double precision[], alignments integer[], nulls double precision[],
    residues double precision[]
)
returns double precision
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $function$
declare
    c_none constant double precision[] := '{0, 0, 0, 0, 0, 0, 0, 0}'::double precision[];
    -- shares of the rows, by remainder
    v_ends double precision[] := '{1, 0, 0, 0, 0, 0, 0, 0}'::double precision[];
    v_begins double precision[];
    v_next double precision[];
    v_bytes double precision := 0::double precision;
    v_null double precision;
    v_padding integer;
    v_place integer;
begin
    for v_column in 1 .. coalesce(cardinality(sizes), 0) loop
        v_null := nulls[v_column];
        continue when v_null >= 1;

        v_begins := v_ends;

        if alignments[v_column] > 1 then
            v_begins := c_none;

            for v_end in 0 .. 7 loop
                continue when v_ends[v_end + 1] = 0;
                v_padding := -v_end & (alignments[v_column] - 1);
                v_place := ((v_end + v_padding) & 7) + 1;
                v_begins[v_place] := v_begins[v_place] + v_ends[v_end + 1];
                v_bytes := v_bytes + (1 - v_null) * v_ends[v_end + 1] * v_padding;
            end loop;
        end if;

        v_bytes := v_bytes + (1 - v_null) * sizes[v_column];
        v_next := c_none;

        for v_begin in 0 .. 7 loop
            continue when v_begins[v_begin + 1] = 0;

            if residues[v_column][1] + residues[v_column][2] + residues[v_column][3]
               + residues[v_column][4] + residues[v_column][5] + residues[v_column][6]
               + residues[v_column][7] + residues[v_column][8] = 0 then
                v_place := ((v_begin + sizes[v_column]::integer) & 7) + 1;
                v_next[v_place] := v_next[v_place] + v_begins[v_begin + 1];
            else
                for v_residue in 0 .. 7 loop
                    continue when residues[v_column][v_residue + 1] = 0;
                    v_place := ((v_begin + v_residue) & 7) + 1;
                    v_next[v_place] := v_next[v_place]
                        + v_begins[v_begin + 1] * residues[v_column][v_residue + 1];
                end loop;
            end if;
        end loop;

        if v_null > 0 then
            for v_place in 1 .. 8 loop
                v_next[v_place] := v_null * v_ends[v_place] + (1 - v_null) * v_next[v_place];
            end loop;
        end if;

        v_ends := v_next;
    end loop;

    for v_end in 1 .. 7 loop
        v_bytes := v_bytes + v_ends[v_end + 1] * (8 - v_end);
    end loop;

    return v_bytes;
end;
$function$;

revoke all on function maintenance.aligned_width(
    double precision[], integer[], double precision[], double precision[]
) from public;

comment on function maintenance.aligned_width(
    double precision[], integer[], double precision[], double precision[]
) is
    'Return the average bytes of the columns of a row, with what their alignment adds.';
