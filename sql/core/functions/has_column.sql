-- Says whether a table has a column, for scripts that depend on how far the application went.

create or replace function maintenance.has_column(relation regclass, name name)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select exists (
        select
        from pg_catalog.pg_attribute as attribute
        where attribute.attrelid = has_column.relation
          and attribute.attname = has_column.name
          and attribute.attnum > 0
          and not attribute.attisdropped
    );
$function$;

revoke all on function maintenance.has_column(regclass, name) from public;

comment on function maintenance.has_column(regclass, name) is 'Say whether a table has a column.';
