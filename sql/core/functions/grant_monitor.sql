-- Lets a role see what runs, ran and would run: nothing that changes a row.

create or replace function maintenance.grant_monitor(role name)
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
        where listed.access = 'monitor'
    loop
        execute format(
            'grant %s on %s %s to %I',
            v_right.privilege, v_right.kind, v_right.name, grant_monitor.role
        );
    end loop;
end;
$function$;

revoke all on function maintenance.grant_monitor(name) from public;

comment on function maintenance.grant_monitor(name) is
    'Let a role see policies, runs and previews, and change nothing.';
