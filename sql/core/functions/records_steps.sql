-- Says whether an archive notes which step put a row there: only then can a run be undone.

create or replace function maintenance.records_steps(source regclass, archive regclass)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select count(*) = 2
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = records_steps.archive
      and not attribute.attisdropped
      and (attribute.attname, attribute.atttypid) in (
          ('_archived_at', 'timestamptz'::regtype),
          ('_archived_by_step', 'bigint'::regtype)
      )
      and maintenance.column_type(records_steps.source, attribute.attname) is null;
$function$;

revoke all on function maintenance.records_steps(regclass, regclass) from public;

comment on function maintenance.records_steps(regclass, regclass) is
    'Say whether an archive of a table has the columns that undoing a run needs.';
