-- Takes from PUBLIC what a restore without privileges gave it: PostgreSQL lets everybody execute a
-- function that nobody has said anything of. What acts as an owner is dropped, since the right to
-- call it is lost as well; renew_executors makes it anew.

create or replace function maintenance.revoke_from_public()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_open record;
begin
    for v_open in
        select routine.oid::regprocedure as routine, routine.proname ^@ 'act_as_' as acts
        from pg_catalog.pg_proc as routine
        where routine.pronamespace = 'maintenance'::regnamespace
          and exists (
              select
              from aclexplode(
                  coalesce(routine.proacl, acldefault('f', routine.proowner))
              ) as granted
              where granted.grantee = 0
          )
    loop
        execute format(
            case
                when v_open.acts then 'drop function %s'
                else 'revoke all on routine %s from public'
            end,
            v_open.routine
        );
    end loop;
end;
$function$;

revoke all on function maintenance.revoke_from_public() from public;

comment on function maintenance.revoke_from_public() is
    'Take the right to execute routines of schema maintenance from PUBLIC.';
