-- Registers what rows of a table are of no more use, and returns the risks of that.
--
-- {"column": "expires_at"} alone is a policy: rows go once that time has passed. A branch is
-- {column, unit, comparison, retention, condition}, or {condition, key} where no time decides, and
-- key is a column to walk the rows by. Several branches are an array, "branches"; a row goes by any
-- one of them. Everything else is a column of maintenance.policy.

create or replace function maintenance.register_policy(
    policy text,
    relation regclass,
    definition jsonb,
    chain text default null
)
returns table (risk text, message text, statement text)
language plpgsql
security definer  -- nobody writes policies but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    v_policy maintenance.policy;
begin
    perform maintenance.assert_owner(register_policy.relation);

    if register_policy.chain is not null then
        perform maintenance.assert_owner('maintenance'::regnamespace::oid);
    end if;

    if jsonb_typeof(definition) is distinct from 'object' then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'the definition of a policy must be an object',
            hint = 'For example {"column": "expires_at", "retention": "30 days"}.';
    end if;

    if exists (
        select
        from maintenance.policy as known
        where known.name = register_policy.policy
          and (
              register_policy.chain is null
              or known.chain is distinct from register_policy.chain
          )
    ) then
        raise exception using
            errcode = 'duplicate_object',
            message = format('there is a policy %L already', register_policy.policy),
            hint = 'Change it with maintenance.alter_policy, or choose another name.';
    end if;

    -- What users changed about a chain's policy of this name is not about this one.
    if register_policy.chain is null then
        delete from maintenance.policy_override as kept
        where kept.policy = register_policy.policy;
    end if;

    v_policy := maintenance.save_policy(
        register_policy.policy,
        register_policy.relation,
        register_policy.chain,
        shipped => definition,
        changes => coalesce(
            (
                select kept.changes
                from maintenance.policy_override as kept
                where kept.policy = register_policy.policy
            ),
            '{}'
        ),
        event => 'registered'
    );

    return query select * from maintenance.find_policy_risks(v_policy);
end;
$function$;

revoke all on function maintenance.register_policy(text, regclass, jsonb, text) from public;

comment on function maintenance.register_policy(text, regclass, jsonb, text) is
    'Register which rows of a table go, since when, and how carefully; returns what is risky.';
