-- Says which database this is, and which one it was when it was set up or adopted.

create or replace function maintenance.identify(
    out database name,
    out is_adopted boolean,
    out system_identifier bigint,
    out known_system_identifier bigint,
    out database_oid oid,
    out known_database_oid oid,
    out adopted_at timestamptz,
    out endpoints text[]
)
language sql
stable
security definer  -- the secret beside it is not for monitors
set search_path = pg_catalog, pg_temp
as $function$
    select
        here.datname,
        control.system_identifier = installation.system_identifier
            and here.oid = installation.database_oid,
        control.system_identifier,
        installation.system_identifier,
        here.oid,
        installation.database_oid,
        installation.adopted_at,
        array(select known.endpoint from maintenance.endpoint as known order by known.endpoint)
    from maintenance.installation as installation
    cross join pg_catalog.pg_control_system() as control
    cross join pg_catalog.pg_database as here
    where here.datname = current_database();
$function$;

revoke all on function maintenance.identify() from public;

comment on function maintenance.identify() is
    'Say which database this is, which it was when it was adopted, and where it is reached.';
