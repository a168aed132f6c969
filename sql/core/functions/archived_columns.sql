-- Names the columns of a table with their types, as an archive of it has to have them.

create or replace function maintenance.archived_columns(source regclass)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(
        jsonb_object_agg(
            attribute.attname, format_type(attribute.atttypid, attribute.atttypmod)
        ),
        '{}'
    )
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = archived_columns.source
      and attribute.attnum > 0
      and not attribute.attisdropped;
$function$;

revoke all on function maintenance.archived_columns(regclass) from public;

comment on function maintenance.archived_columns(regclass) is
    'Return the columns of a table as an object, with the type of each.';
