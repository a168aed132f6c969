-- Drops the functions that act as roles of whose tables no policy is left, and no archive: what a
-- policy archived can be put back after it was removed.

create or replace function maintenance.drop_idle_executors()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_executor regprocedure;
begin
    for v_executor in
        select routine.oid::regprocedure
        from pg_catalog.pg_proc as routine
        where routine.pronamespace = 'maintenance'::regnamespace
          and routine.proname ^@ 'act_as_'
          and not exists (
              select
              from maintenance.policy as policy
              join pg_catalog.pg_class as class on class.oid = policy.relation
              where maintenance.executor_of(pg_get_userbyid(class.relowner)) = routine.proname
              union all
              select
              from maintenance.archive as archive
              join pg_catalog.pg_class as class on class.oid = archive.relation
              where maintenance.executor_of(pg_get_userbyid(class.relowner)) = routine.proname
          )
    loop
        execute format('drop function %s', v_executor);
    end loop;
end;
$function$;

revoke all on function maintenance.drop_idle_executors() from public;

comment on function maintenance.drop_idle_executors() is
    'Drop the functions that act as owners of tables that no policy is about any more.';
