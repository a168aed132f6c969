-- Switches a policy on or off; a run in progress ends with its next batch.

create or replace function maintenance.enable_policy(policy text, enabled boolean default true)
returns void
language sql
security invoker
set search_path = pg_catalog, pg_temp
as $function$
    select from maintenance.alter_policy(
        enable_policy.policy,
        jsonb_build_object('is_enabled', enable_policy.enabled)
    );
$function$;

revoke all on function maintenance.enable_policy(text, boolean) from public;

comment on function maintenance.enable_policy(text, boolean) is 'Switch a policy on or off.';
