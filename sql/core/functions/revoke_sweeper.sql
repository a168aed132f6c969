-- Takes from a role what its sweeps needed, once none of them is left.

create or replace function maintenance.revoke_sweeper(owner name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
    if exists (
        select
        from pg_catalog.pg_namespace as namespace
        where namespace.nspname = 'maintenance'
          and pg_get_userbyid(namespace.nspowner) = revoke_sweeper.owner
    )
       or exists (
           select
           from maintenance.insert_sweep as sweep
           join pg_catalog.pg_proc as routine
               on routine.oid = to_regprocedure(
                   format('maintenance.%I()', 'sweep_' || sweep.policy)
               )
           where pg_get_userbyid(routine.proowner) = revoke_sweeper.owner
       )
    then
        return;
    end if;

    execute format(
        'revoke execute on function '
        'maintenance.open_sweep(text, oid, oid, name, boolean), '
        'maintenance.close_sweep(text, integer, bigint, interval, jsonb) from %I',
        revoke_sweeper.owner
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
        where pg_get_userbyid(granted.grantee) = revoke_sweeper.owner
          and granted.grantee <> ours.owner
    ) then
        execute format('revoke usage on schema maintenance from %I', revoke_sweeper.owner);
    end if;
end;
$function$;

revoke all on function maintenance.revoke_sweeper(name) from public;

comment on function maintenance.revoke_sweeper(name) is
    'Revoke what the sweeps of a role needed, once it has none.';
