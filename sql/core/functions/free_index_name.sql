-- Chooses what a declared index is called when it is built: as declared, or where that name is
-- taken, with a number after it, as PostgreSQL does for names that it makes.
--
-- An index of the same table that is what is wanted, but was left invalid by a build that was
-- broken off, does not take the name: it is dropped first (see missing_indexes).

create or replace function maintenance.free_index_name(
    relation regclass, name name, definition text
)
returns name
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_schema oid;
    v_candidate name := free_index_name.name;
    v_suffix text;
    v_stem text;
begin
    select class.relnamespace
    into v_schema
    from pg_catalog.pg_class as class
    where class.oid = free_index_name.relation;

    for v_number in 1..1000 loop
        perform
        from pg_catalog.pg_class as taken
        left join pg_catalog.pg_index as index on index.indexrelid = taken.oid
        where taken.relnamespace = v_schema
          and taken.relname = v_candidate
          and not (
              index.indrelid is not distinct from free_index_name.relation::oid
              and not (index.indisvalid and index.indisready and index.indislive)
              and maintenance.index_definition(taken.oid) = free_index_name.definition
          );

        exit when not found;

        -- A name has 63 bytes at most, and a character may have several.
        v_suffix := v_number::text;
        v_stem := free_index_name.name::text;
        while octet_length(v_stem) > 63 - length(v_suffix) loop
            v_stem := left(v_stem, -1);
        end loop;
        v_candidate := (v_stem || v_suffix)::name;
    end loop;

    return v_candidate;
end;
$function$;

revoke all on function maintenance.free_index_name(regclass, name, text) from public;

comment on function maintenance.free_index_name(regclass, name, text) is
    'Return the name that a declared index gets: its own, or with a number where that is taken.';
