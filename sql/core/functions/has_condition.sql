-- Says whether a policy has conditions that users wrote, which may fail on some row.

create or replace function maintenance.has_condition(policy maintenance.policy)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select (policy).condition is not null
        or jsonb_path_exists((policy).branches, '$[*].condition');
$function$;

revoke all on function maintenance.has_condition(maintenance.policy) from public;

comment on function maintenance.has_condition(maintenance.policy) is
    'Say whether a policy has conditions besides the time of its branches.';
