-- Takes back a declaration, and the index with it.
--
-- The index may be missing: scripts that psql ran are often rolled back before anybody built it.

create or replace function maintenance.release_index(relation regclass, name name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_index regclass;
begin
    delete from maintenance.required_index as declared
    where declared.relation = release_index.relation
      and declared.name = release_index.name;

    if not found then
        raise exception using
            errcode = 'undefined_object',
            message = format(
                'no chain declared index %I on %s',
                release_index.name,
                release_index.relation
            ),
            hint = 'The declared indexes are the rows of maintenance.required_index.';
    end if;

    select built.indexrelid::regclass
    into v_index
    from pg_catalog.pg_index as built
    join pg_catalog.pg_class as class on class.oid = built.indexrelid
    where built.indrelid = release_index.relation
      and class.relname = release_index.name;

    if v_index is not null then
        execute format('drop index %s', v_index);
    end if;
end;
$function$;

revoke all on function maintenance.release_index(regclass, name) from public;

comment on function maintenance.release_index(regclass, name) is
    'Drop an index that a chain had declared, and its declaration.';
