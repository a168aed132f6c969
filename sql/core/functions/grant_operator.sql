-- Lets a role run policies, look at them, and stop runs: no more, and nothing on any table.

create or replace function maintenance.grant_operator(role name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_right record;
begin
    perform maintenance.assert_owner('maintenance'::regnamespace::oid);
    perform maintenance.grant_monitor(grant_operator.role);

    for v_right in
        select listed.privilege, listed.kind, listed.name
        from maintenance.access_rights() as listed
        where listed.access = 'operator'
    loop
        execute format(
            'grant %s on %s %s to %I',
            v_right.privilege, v_right.kind, v_right.name, grant_operator.role
        );
    end loop;
end;
$function$;

revoke all on function maintenance.grant_operator(name) from public;

comment on function maintenance.grant_operator(name) is
    'Let a role run, preview and stop policies, and attest backups.';
