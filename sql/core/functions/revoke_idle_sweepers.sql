-- Takes from roles what their sweeps needed, once they own none that is installed.

create or replace function maintenance.revoke_idle_sweepers()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_master oid := (
        select namespace.nspowner
        from pg_catalog.pg_namespace as namespace
        where namespace.nspname = 'maintenance'
    );
    v_role oid;
begin
    for v_role in
        select granted.grantee
        from pg_catalog.pg_proc as routine
        cross join lateral aclexplode(routine.proacl) as granted
        where routine.oid = 'maintenance.open_sweep(text, oid, oid, name, boolean)'::regprocedure
          and granted.grantee <> v_master
          and not exists (
              select
              from maintenance.insert_sweep as sweep
              join pg_catalog.pg_proc as installed
                  on installed.oid = to_regprocedure(
                      format('maintenance.%I()', 'sweep_' || sweep.policy)
                  )
              where installed.proowner = granted.grantee
          )
    loop
        execute format(
            'revoke execute on function '
            'maintenance.open_sweep(text, oid, oid, name, boolean), '
            'maintenance.close_sweep(text, integer, bigint, interval, jsonb) from %I',
            pg_get_userbyid(v_role)
        );

        -- An operator or a monitor needs the schema for what else was granted.
        if not exists (
            select
            from (
                select routine.proacl, routine.proowner
                from pg_catalog.pg_proc as routine
                where routine.pronamespace = 'maintenance'::regnamespace
                union all
                select class.relacl, class.relowner
                from pg_catalog.pg_class as class
                where class.relnamespace = 'maintenance'::regnamespace
            ) as ours (acl, owner)
            cross join lateral aclexplode(ours.acl) as granted
            where granted.grantee = v_role
              and granted.grantee <> ours.owner
        ) then
            execute format('revoke usage on schema maintenance from %I', pg_get_userbyid(v_role));
        end if;
    end loop;
end;
$function$;

revoke all on function maintenance.revoke_idle_sweepers() from public;

comment on function maintenance.revoke_idle_sweepers() is
    'Revoke what sweeps need from the roles that own none any more.';
