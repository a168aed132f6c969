-- Counts the rows in the archives that create_archive made, or in one of them: what a rollback
-- would drop with them.

create or replace function maintenance.archived_rows(archive regclass default null)
returns table (name regclass, held bigint)
language sql
set search_path = pg_catalog, pg_temp
as $function$
    select
        known.relation,
        maintenance.run_as_owner(
            known.relation, format('select to_jsonb(count(*)) from %s', known.relation)
        )::bigint
    from maintenance.archive as known
    join pg_catalog.pg_class as class on class.oid = known.relation
    where known.is_ours
      and known.relation = coalesce(archived_rows.archive, known.relation)
      -- after a restore, another table may have the number of one that was dropped
      and maintenance.records_steps(known.source, known.relation)
    order by known.relation::text;
$function$;

revoke all on function maintenance.archived_rows(regclass) from public;

comment on function maintenance.archived_rows(regclass) is
    'Count the rows in archives that create_archive made: in all of them, or in one.';
