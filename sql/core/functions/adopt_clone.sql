-- Says that this database, which may be a copy of another, is the one to tend from now on.
--
-- A copy of a database brings policies and tokens with it, and must not act on them by itself.
-- What ran in the original does not run here, so its leases are void. Where the original is reached
-- is forgotten: the runner says where the copy is (see remember_endpoints). Tables and functions
-- may have other owners here, and other rights.

create or replace function maintenance.adopt_clone()
returns void
language plpgsql
security definer  -- nobody writes the table but this function, which asks who calls
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform maintenance.assert_owner('maintenance'::regnamespace::oid);

    update maintenance.installation
    set
        system_identifier = control.system_identifier,
        database_oid = database.oid,
        secret = gen_random_uuid()::text,
        adopted_at = now()
    from pg_catalog.pg_control_system() as control
    cross join pg_catalog.pg_database as database
    where database.datname = current_database();

    if not found then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format(
                'database %I was restored without the rows of schema maintenance',
                current_database()
            ),
            detail = 'Policies, settings and what was applied are rows, and are missing.',
            hint = 'Restore them as well; or drop schema maintenance cascade, and migrate anew.';
    end if;

    delete from maintenance.endpoint;

    update maintenance.lease as lease
    set token = lease.token + 1, step = null, owner_pid = null, owner_start = null;

    perform maintenance.revoke_from_public();
    perform maintenance.renew_executors();
    perform maintenance.assert_policy_tables();
end;
$function$;

revoke all on function maintenance.adopt_clone() from public;

comment on function maintenance.adopt_clone() is
    'Let policies run in this database, which was copied from another or moved to another server.';
