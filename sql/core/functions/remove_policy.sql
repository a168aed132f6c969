-- Forgets a policy. Its runs stay in the log, and what users changed about it stays for its return.

create or replace function maintenance.remove_policy(policy text, chain text default null)
returns void
language plpgsql
security definer  -- nobody writes policies but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_known maintenance.policy;
    v_owner name;
begin
    perform maintenance.take_turn(remove_policy.policy);

    v_known := maintenance.read_policy(remove_policy.policy);

    select pg_get_userbyid(class.relowner)
    into v_owner
    from pg_catalog.pg_class as class
    where class.oid = v_known.relation;

    -- Of a table that is gone, the policy belongs to whoever owns the schema.
    perform maintenance.assert_owner(
        case
            when v_owner is null then 'maintenance'::regnamespace::oid
            else v_known.relation::oid
        end
    );

    if v_known.chain is distinct from remove_policy.chain then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('policy %s was not registered by you', v_known.name),
            detail = format('It belongs to the chain %s.', coalesce(v_known.chain, 'of no one')),
            hint = 'Switch it off with maintenance.enable_policy(policy, false).';
    end if;

    insert into maintenance.policy_change (policy, event, version, changed_by)
    values (v_known.name, 'removed', v_known.version + 1, maintenance.caller());

    if v_known.chain is null then
        delete from maintenance.policy_override as kept
        where kept.policy = v_known.name;
    end if;

    delete from maintenance.lease as lease
    where lease.policy = v_known.name;

    delete from maintenance.policy as known
    where known.name = v_known.name;

    perform maintenance.drop_idle_executors();
end;
$function$;

revoke all on function maintenance.remove_policy(text, text) from public;

comment on function maintenance.remove_policy(text, text) is
    'Forget a policy that a user registered; one of a chain goes with its chain.';
