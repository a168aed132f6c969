-- Counts eligible rows, at most so many; null counts them all.

create or replace function maintenance.count_eligible(
    policy maintenance.policy,
    bounds text[],
    at_most bigint
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_leaf regclass;
    v_count bigint := 0::bigint;
begin
    for v_leaf in
        select leaf from maintenance.leaves_of(policy.relation) as leaf
    loop
        v_count := v_count + maintenance.run_as_owner(
            policy.relation,
            maintenance.policy_statement(policy, 'count', v_leaf, bounds),
            size => at_most - v_count
        )::bigint;
        exit when v_count >= at_most;
    end loop;

    return v_count;
end;
$function$;

revoke all on function maintenance.count_eligible(maintenance.policy, text[], bigint) from public;

comment on function maintenance.count_eligible(maintenance.policy, text[], bigint) is
    'Count the rows that a policy would remove, up to a number; null counts them all.';
