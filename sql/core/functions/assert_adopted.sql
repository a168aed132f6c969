-- Refuses to act in a copy of a database until somebody has said that it shall.

create or replace function maintenance.assert_adopted()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
begin
    if not exists (
        select
        from maintenance.installation as installation
        join pg_catalog.pg_control_system() as control
            on control.system_identifier = installation.system_identifier
        join pg_catalog.pg_database as database on database.oid = installation.database_oid
        where database.datname = current_database()
    ) then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format(
                'database %I is a copy of the one that was set up', current_database()
            ),
            detail = 'Policies came along with the copy, and nothing runs here by itself.',
            hint = 'select maintenance.adopt_clone() if rows shall be removed here as well.';
    end if;
end;
$function$;

revoke all on function maintenance.assert_adopted() from public;

comment on function maintenance.assert_adopted() is
    'Raise an error in a copy of a database that was not adopted.';
