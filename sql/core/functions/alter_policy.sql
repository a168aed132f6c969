-- Changes settings of a policy. What was registered stays beside the changes: a setting that is
-- given as null goes back to it, and a limit that is given as 'none' is lifted.

create or replace function maintenance.alter_policy(policy text, changes jsonb)
returns table (risk text, message text, statement text)
language plpgsql
security definer  -- nobody writes policies but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    v_known maintenance.policy;
    v_changes jsonb;
    v_policy maintenance.policy;
begin
    perform maintenance.take_turn(alter_policy.policy);

    v_known := maintenance.read_policy(alter_policy.policy);
    perform maintenance.assert_owner(v_known.relation);

    if jsonb_typeof(alter_policy.changes) is distinct from 'object' then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'the changes of a policy must be an object',
            hint = 'For example {"retention": "60 days"}; null takes a change back.';
    end if;

    v_changes := jsonb_strip_nulls(
        coalesce(
            (
                select kept.changes
                from maintenance.policy_override as kept
                where kept.policy = alter_policy.policy
            ),
            '{}'
        ) || alter_policy.changes
    );

    insert into maintenance.policy_override (policy, changes)
    values (alter_policy.policy, v_changes)
    on conflict (policy) do update
    set changes = excluded.changes;

    delete from maintenance.policy_override as kept
    where kept.policy = alter_policy.policy
      and kept.changes = '{}';

    v_policy := maintenance.save_policy(
        alter_policy.policy, v_known.relation, v_known.chain, v_known.shipped, v_changes,
        event => 'altered'
    );

    return query select * from maintenance.find_policy_risks(v_policy);
end;
$function$;

revoke all on function maintenance.alter_policy(text, jsonb) from public;

comment on function maintenance.alter_policy(text, jsonb) is
    'Change settings of a policy; null takes a change back. Returns what is risky.';
