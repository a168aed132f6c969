-- Switches a policy on or off, and returns whether that changed anything; a run in progress ends
-- with its next batch. What is so already stays as it is: a new version would void tokens.

create or replace function maintenance.enable_policy(policy text, enabled boolean default true)
returns boolean
language plpgsql
security definer  -- owners of tables need no right on the policies
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_known maintenance.policy;
begin
    perform maintenance.take_turn(enable_policy.policy);

    v_known := maintenance.read_policy(enable_policy.policy);
    perform maintenance.assert_owner(v_known.relation);

    if v_known.is_enabled = enabled then
        return false;
    end if;

    perform from maintenance.alter_policy(
        enable_policy.policy,
        jsonb_build_object('is_enabled', enabled)
    );
    return true;
end;
$function$;

revoke all on function maintenance.enable_policy(text, boolean) from public;

comment on function maintenance.enable_policy(text, boolean) is
    'Switch a policy on or off; returns whether it was the other way before.';
