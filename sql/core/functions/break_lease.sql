-- Takes a lease from whoever holds it. The batch in hand is finished first, since it holds the row;
-- the next one of that step is refused, for its token is too old.
--
-- The owner of the table may do so as well: changing the policy ends a run too, so it is nothing
-- new to them. An operator may not, and has stop_run, which leaves the lease to its holder:
-- breaking it is for a holder that does not listen. step names the one that is meant: another that
-- has taken the lease meanwhile keeps it.

create or replace function maintenance.break_lease(policy text, step bigint default null)
returns void
language plpgsql
security definer  -- nobody writes log and leases but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_policy maintenance.policy := maintenance.read_policy(policy);
    v_lease maintenance.lease;
begin
    perform maintenance.assert_owner(
        coalesce(
            (
                select class.oid
                from pg_catalog.pg_class as class
                where class.oid = v_policy.relation
                  and pg_has_role(maintenance.caller(), class.relowner, 'member')
            ),
            'maintenance'::regnamespace::oid
        )
    );

    select lease.*
    into v_lease
    from maintenance.lease as lease
    where lease.policy = v_policy.name
    for update;

    if v_lease.step is null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('the lease of policy %s is free', v_policy.name),
            hint = 'maintenance.lease_status lists those that are taken.';
    end if;

    if v_lease.step <> step then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format(
                'step %s does not hold the lease of policy %s any more', step, v_policy.name
            ),
            detail = format('Step %s has taken it meanwhile.', v_lease.step),
            hint = 'maintenance.lease_status says who that is.';
    end if;

    update maintenance.lease as lease
    set token = lease.token + 1, step = null, owner_pid = null, owner_start = null
    where lease.policy = v_policy.name;

    update maintenance.run_step as broken
    set
        ended_at = clock_timestamp(),
        exit_reason = 'interrupted',
        message = format('%I broke its lease', maintenance.caller())
    where broken.id = v_lease.step
      and broken.ended_at is null;
end;
$function$;

revoke all on function maintenance.break_lease(text, bigint) from public;

comment on function maintenance.break_lease(text, bigint) is
    'Take the lease of a policy from whoever holds it; its run removes nothing more.';
