-- Takes back what grant_operator and grant_monitor gave to a role, and nothing else: whoever owns a
-- table that sweeps on insert keeps what that needs, and so does whoever was granted more by hand.

create or replace function maintenance.revoke_access(role name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_right record;
begin
    perform maintenance.assert_owner('maintenance'::regnamespace::oid);

    for v_right in
        select listed.privilege, listed.kind, listed.name
        from maintenance.access_rights() as listed
        where listed.kind <> 'schema'
    loop
        execute format(
            'revoke %s on %s %s from %I',
            v_right.privilege, v_right.kind, v_right.name, revoke_access.role
        );
    end loop;

    -- What is left of other rights is of no use without the schema.
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
        where granted.grantee = quote_ident(revoke_access.role)::regrole
          and granted.grantee <> ours.owner
    ) then
        execute format('revoke usage on schema maintenance from %I', revoke_access.role);
    end if;
end;
$function$;

revoke all on function maintenance.revoke_access(name) from public;

comment on function maintenance.revoke_access(name) is
    'Take back what grant_operator and grant_monitor gave to a role.';
