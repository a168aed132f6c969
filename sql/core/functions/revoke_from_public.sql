-- Takes from PUBLIC what a restore without privileges gave it: PostgreSQL lets everybody execute a
-- function that nobody has said anything of, and one of these acts as the owner of a table.

create or replace function maintenance.revoke_from_public()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_open regprocedure;
begin
    for v_open in
        select routine.oid::regprocedure
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
        execute format('revoke all on routine %s from public', v_open);
    end loop;
end;
$function$;

revoke all on function maintenance.revoke_from_public() from public;

comment on function maintenance.revoke_from_public() is
    'Take the right to execute routines of schema maintenance from PUBLIC.';
