-- Keeps the sweep of a table in step with its policy: written anew when the policy changes, gone
-- when the policy goes. A change that the sweep cannot follow is refused as a whole.

create or replace function maintenance.follow_policy()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $trigger$
declare
    v_sweep maintenance.insert_sweep;
    v_policy maintenance.policy;
    v_fits boolean;
    v_can_fit boolean;
begin
    select sweep.*
    into v_sweep
    from maintenance.insert_sweep as sweep
    where sweep.policy = new.policy;

    if not found then
        return null;
    end if;

    if new.event = 'removed' then
        perform maintenance.remove_sweep(new.policy);
        return null;
    end if;

    v_policy := maintenance.read_policy(new.policy);

    select count(*) = 0, count(*) filter (where wrong.of_policy) = 0
    into v_fits, v_can_fit
    from maintenance.find_sweep_errors(v_policy, v_sweep.at_once) as wrong;

    -- The policy of a table that is not fit any more can be switched off all the same.
    if not v_fits and v_can_fit and not v_policy.is_enabled then
        update maintenance.insert_sweep as sweep
        set policy_enabled = false
        where sweep.policy = new.policy;
    else
        perform maintenance.install_sweep(v_policy);
    end if;

    return null;
end;
$trigger$;

revoke all on function maintenance.follow_policy() from public;

comment on function maintenance.follow_policy() is
    'Trigger that keeps the sweep of a table in step with its policy.';
