-- Keeps the sweep of a table in step with its policy: written anew when the policy changes, gone
-- when the policy goes. A change that the sweep cannot follow is refused as a whole.

create or replace function maintenance.follow_policy()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $trigger$
begin
    if not exists (
        select
        from maintenance.insert_sweep as sweep
        where sweep.policy = new.policy
    ) then
        return null;
    end if;

    if new.event = 'removed' then
        perform maintenance.remove_sweep(new.policy);
    else
        perform maintenance.install_sweep(maintenance.read_policy(new.policy));
    end if;

    return null;
end;
$trigger$;

revoke all on function maintenance.follow_policy() from public;

comment on function maintenance.follow_policy() is
    'Trigger that keeps the sweep of a table in step with its policy.';
