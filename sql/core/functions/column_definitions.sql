-- Writes columns of a table as an archive has them: name, type and collation, and nothing that
-- could refuse a value or put another in its place.

create or replace function maintenance.column_definitions(source regclass)
returns table (column_name name, definition text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        attribute.attname,
        format('%I ', attribute.attname)
        || format_type(attribute.atttypid, attribute.atttypmod)
        || coalesce(
            (
                select format(' collate %I.%I', namespace.nspname, ordering.collname)
                from pg_catalog.pg_collation as ordering
                join pg_catalog.pg_namespace as namespace
                    on namespace.oid = ordering.collnamespace
                where ordering.oid = attribute.attcollation
                  and ordering.oid <> type.typcollation
            ),
            ''
        )
    from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_type as type on type.oid = attribute.atttypid
    where attribute.attrelid = column_definitions.source
      and attribute.attnum > 0
      and not attribute.attisdropped
    order by attribute.attnum;
$function$;

revoke all on function maintenance.column_definitions(regclass) from public;

comment on function maintenance.column_definitions(regclass) is
    'Return the columns of a table as CREATE TABLE takes them for its archive.';
