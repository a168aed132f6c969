-- Puts rows of an archive, which are locked, back into their table: as many as there is time for,
-- the last ones first, and so many at once as worked out before (pace).
--
-- Where one of many is refused, fewer are tried, down to single rows. A row that the table refuses
-- stays in the archive: its key is taken again, what it refers to is gone, a constraint or a
-- trigger is against it, or it would not come back as it went. Nothing is overwritten.
--
-- postpones leaves rows together that one of them is refused with for want of what it refers to, or
-- because others hold its key: it may come back after them.
--
-- untried is how many rows there was no time for. orphans lack what they refer to; refused are
-- those that stay for other reasons, but for locks; waits is how often it waited for one in vain.

create or replace function maintenance.put_back(
    source regclass,
    archive regclass,
    leaf regclass,
    taken tid[],
    is_proved boolean,
    postpones boolean,
    until timestamptz,
    inout pace integer,
    out untried integer,
    out restored bigint,
    out orphans bigint,
    out refused bigint,
    out waits integer,
    out conflicts jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_statement text := maintenance.undo_statement(
        source, archive, leaf, 'target.ctid = any ($2)', is_proved
    );
    v_rows tid[];
    v_message text;
    v_sqlstate text;
begin
    untried := cardinality(taken);
    restored := 0;
    orphans := 0;
    refused := 0;
    waits := 0;
    conflicts := '[]';

    loop
        v_rows := taken[greatest(untried - pace, 0) + 1:untried];
        v_sqlstate := null;

        begin
            restored := restored + maintenance.move_back(
                source, v_statement, v_rows, is_proved
            );
            pace := pace * 2;
        exception
            when others then
                if not maintenance.is_of_rows(sqlstate) then
                    raise;
                end if;

                v_message := sqlerrm;
                v_sqlstate := sqlstate;
        end;

        if v_sqlstate in ('55P03', '40P01') then
            waits := waits + 1;
        end if;

        if cardinality(v_rows) > 1
           and not coalesce(postpones and v_sqlstate in ('23503', '55P03', '40P01'), true)
        then
            pace := cardinality(v_rows) / 2;
        else
            untried := untried - cardinality(v_rows);

            if v_sqlstate = '23503' then
                orphans := orphans + cardinality(v_rows);
            elsif v_sqlstate not in ('55P03', '40P01') then
                refused := refused + 1;
            end if;

            if v_sqlstate is not null and not postpones
               or v_sqlstate not in ('23503', '55P03', '40P01')
            then
                conflicts := conflicts || jsonb_build_object(
                    'relation', source,
                    'archive', archive,
                    'key', maintenance.archived_key(source, archive, leaf, v_rows),
                    'message', left(v_message, 1000),
                    'sqlstate', v_sqlstate
                );
            end if;
        end if;

        exit when untried = 0 or clock_timestamp() >= until;
    end loop;
end;
$function$;

revoke all on function maintenance.put_back(
    regclass, regclass, regclass, tid[], boolean, boolean, timestamptz, integer
)
    from public;

comment on function maintenance.put_back(
    regclass, regclass, regclass, tid[], boolean, boolean, timestamptz, integer
) is
    'Move rows of an archive back into their table, and say which ones it refuses, and why.';
