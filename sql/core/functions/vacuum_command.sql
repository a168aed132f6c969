-- Writes the VACUUM of a policy's table, which no function can execute.
--
-- Where standbys follow, pages at the end of the table are kept: giving them back takes a lock that
-- is exclusive there as well.

create or replace function maintenance.vacuum_command(policy text)
returns text
language sql
stable
security definer  -- operators need not be able to read the policies
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'vacuum (%s) %s',
        concat_ws(
            ', ', 'analyze',
            case
                when exists (select from pg_catalog.pg_stat_replication) then 'truncate off'
            end
        ),
        (maintenance.read_policy(vacuum_command.policy)).relation
    );
$function$;

revoke all on function maintenance.vacuum_command(text) from public;

comment on function maintenance.vacuum_command(text) is
    'Return the VACUUM that the table of a policy wants after a large run.';
