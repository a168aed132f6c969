-- Names the role that asks, also inside a function that runs as its owner.
--
-- SECURITY DEFINER changes current_user and nothing else: SET ROLE is still in the setting "role",
-- and whoever never said SET ROLE is the session's user.

create or replace function maintenance.caller()
returns name
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(nullif(current_setting('role'), 'none'), session_user)::name;
$function$;

revoke all on function maintenance.caller() from public;

comment on function maintenance.caller() is
    'Role on whose behalf the current statement runs, whatever SECURITY DEFINER says.';
