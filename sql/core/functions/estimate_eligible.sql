-- Estimates from the planner's statistics how many rows of a table are eligible; reads no row.

create or replace function maintenance.estimate_eligible(
    policy maintenance.policy,
    leaf regclass,
    bounds text[]
)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $function$
    select (
        maintenance.run_as_owner(
            (policy).relation, maintenance.policy_statement(policy, 'estimate', leaf, bounds)
        ) #>> '{0,Plan,Plan Rows}'
    )::numeric::bigint;
$function$;

revoke all on function maintenance.estimate_eligible(maintenance.policy, regclass, text[])
    from public;

comment on function maintenance.estimate_eligible(maintenance.policy, regclass, text[]) is
    'Estimate how many rows of a table, or of one partition, a policy would remove.';
