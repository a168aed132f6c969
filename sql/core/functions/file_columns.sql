-- Lists the columns of a table as the manifest of a file does: in order, with their types.
--
-- Types are written by a session whose path has the catalog alone, so they are qualified.

create or replace function maintenance.file_columns(relation regclass)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select jsonb_agg(
        jsonb_build_object(
            'name', attribute.attname,
            'type', format_type(attribute.atttypid, attribute.atttypmod),
            'collation', case
                when attribute.attcollation <> type.typcollation
                    then attribute.attcollation::regcollation::text
            end
        )
        order by attribute.attnum
    )
    from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_type as type on type.oid = attribute.atttypid
    where attribute.attrelid = file_columns.relation
      and attribute.attnum > 0
      and not attribute.attisdropped;
$function$;

revoke all on function maintenance.file_columns(regclass) from public;

comment on function maintenance.file_columns(regclass) is
    'List the columns of a table in order: name, type, and a collation that is not the type''s.';
