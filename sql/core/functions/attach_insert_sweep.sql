-- Lets inserts into the table of a policy sweep out a few of the rows that the policy names.
--
-- Called again, it makes anew what somebody took away or changed, under the same settings. at_once
-- is for rows that are eligible when they are inserted: they go with their insert, even while the
-- session rests, which costs every insert a look at its rows. A trigger of that name that calls the
-- function replaces is replaced, whether it fires or not.

create or replace function maintenance.attach_insert_sweep(
    policy text,
    trigger name default null,
    at_once boolean default null,
    replaces regprocedure default null
)
returns table (risk text, message text)
language plpgsql
security definer  -- nobody writes the settings but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    v_policy maintenance.policy;
    v_known maintenance.insert_sweep;
    v_name name;
    v_pace text := format('maintenance.%I', 'sweep_' || attach_insert_sweep.policy || '_pace');
begin
    perform maintenance.take_turn(attach_insert_sweep.policy);

    v_policy := maintenance.read_policy(attach_insert_sweep.policy);
    perform maintenance.assert_owner(v_policy.relation);

    perform maintenance.install_executor((
        select pg_get_userbyid(class.relowner)
        from pg_catalog.pg_class as class
        where class.oid = v_policy.relation
    ));

    select sweep.*
    into v_known
    from maintenance.insert_sweep as sweep
    where sweep.policy = v_policy.name
       or sweep.relation = v_policy.relation
    order by sweep.policy = v_policy.name desc
    limit 1;

    if v_known.policy <> v_policy.name then
        raise exception using
            errcode = 'duplicate_object',
            message = format(
                '%s sweeps on insert already, by the policy %s', v_policy.relation, v_known.policy
            ),
            hint = 'A table has one sweep: give that policy another branch, or detach it first.';
    end if;

    v_name := coalesce(
        attach_insert_sweep.trigger, v_known.trigger, ('trigger_cleanup_' || v_policy.name)::name
    );

    if exists (
        select
        from pg_catalog.pg_trigger as other
        where other.tgrelid = v_policy.relation
          and other.tgname = v_name
          and other.tgfoid is distinct from to_regprocedure(
              format('maintenance.%I()', 'sweep_' || v_policy.name)
          )
          and other.tgfoid is distinct from attach_insert_sweep.replaces
    ) then
        raise exception using
            errcode = 'duplicate_object',
            message = format('%s has a trigger %I already', v_policy.relation, v_name),
            hint = 'Drop it, or give this one another name: trigger => ''...''.';
    end if;

    if v_known.policy is null then
        execute format('create sequence %s', v_pace);
        execute format('revoke all on sequence %s from public', v_pace);
        execute format(
            'comment on sequence %s is %L',
            v_pace,
            format('Until when %s is not swept, in milliseconds since 1970.', v_policy.relation)
        );
    end if;

    insert into maintenance.insert_sweep (
        policy, relation, trigger, at_once, keys, key_types, pace, policy_enabled
    )
    values (
        v_policy.name, v_policy.relation, v_name,
        coalesce(attach_insert_sweep.at_once, true), '{}', '{}', v_pace::regclass,
        v_policy.is_enabled
    )
    on conflict (policy) do update
    set
        trigger = excluded.trigger,
        at_once = coalesce(attach_insert_sweep.at_once, v_known.at_once);

    perform maintenance.install_sweep(v_policy);

    return query select * from maintenance.find_sweep_risks(v_policy);
end;
$function$;

revoke all on function maintenance.attach_insert_sweep(text, name, boolean, regprocedure)
    from public;

comment on function maintenance.attach_insert_sweep(text, name, boolean, regprocedure) is
    'Let inserts into the table of a policy sweep a few of its rows; returns what is risky.';
