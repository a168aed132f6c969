-- Says whether the function that acts as a role is as install_executor made it. Its owner can alter
-- it, and so can who renames roles.

create or replace function maintenance.is_intact(executor regprocedure, owner name)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select exists (
        select
        from pg_catalog.pg_proc as routine
        where routine.oid = is_intact.executor
          and pg_get_userbyid(routine.proowner) = is_intact.owner
          and routine.prosecdef
          and routine.provolatile = 'v'
          and not routine.proisstrict
          and routine.proconfig = array[
              'search_path=pg_catalog, pg_temp', 'row_security=off', 'lock_timeout=20ms',
              'TimeZone=UTC', 'DateStyle=ISO, YMD', 'IntervalStyle=postgres'
          ]
    );
$function$;

revoke all on function maintenance.is_intact(regprocedure, name) from public;

comment on function maintenance.is_intact(regprocedure, name) is
    'Say whether a function that acts as a role is as it was made; false if there is none.';
