-- Writes the VACUUM of a policy's table.

create or replace function maintenance.vacuum_command(policy text)
returns text
language sql
stable
security definer  -- operators need not be able to read the policies
set search_path = pg_catalog, pg_temp
as $function$
    select maintenance.vacuum_statement(
        (maintenance.read_policy(vacuum_command.policy)).relation::text
    );
$function$;

revoke all on function maintenance.vacuum_command(text) from public;

comment on function maintenance.vacuum_command(text) is
    'Return the VACUUM that the table of a policy wants after a large run.';
