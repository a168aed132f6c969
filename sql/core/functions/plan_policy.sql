-- Says what a run of a policy would do now, and writes nothing. exact counts all rows, which reads
-- them; otherwise counting ends at 10,000.

create or replace function maintenance.plan_policy(policy text, exact boolean default false)
returns jsonb
language plpgsql
security definer  -- operators need no right on the table: see install_executor
set search_path = pg_catalog, pg_temp
as $function$
declare
    c_counted constant bigint := 10000::bigint;
    v_policy maintenance.policy := maintenance.read_policy(plan_policy.policy);
    v_judged record := maintenance.judge_run(v_policy);
    v_bounds text[] := maintenance.branch_bounds(v_policy, v_judged.moment);
    v_counted bigint;
    v_payload text;
begin
    v_counted := maintenance.count_eligible(
        v_policy, v_bounds, case when exact or v_judged.verdict = 'refused' then null
            else c_counted + 1 end
    );

    if v_judged.verdict = 'refused' then
        v_payload := concat_ws(
            '-',
            v_policy.version,
            (extract(epoch from v_judged.moment) * 1000000)::bigint,
            v_counted + v_counted / 10,
            floor(extract(epoch from clock_timestamp()))
        );
    end if;

    return jsonb_build_object(
        'policy', v_policy.name,
        'relation', v_policy.relation,
        'action', v_policy.action,
        'is_enabled', v_policy.is_enabled,
        'severity', v_policy.severity,
        'version', v_policy.version,
        'moment', v_judged.moment,
        'eligible', least(
            v_counted,
            case when exact or v_judged.verdict = 'refused' then v_counted else c_counted end
        ),
        'is_counted', exact or v_judged.verdict = 'refused' or v_counted <= c_counted,
        'estimated', (
            select sum(maintenance.estimate_eligible(v_policy, leaf, v_bounds))
            from maintenance.leaves_of(v_policy.relation) as leaf
        ),
        'branches', (
            select coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'branch', branch,
                        'before', v_bounds[branch],
                        'condition', maintenance.branch_predicate(v_policy, branch, v_bounds),
                        'index', (
                            select maintenance.branch_index(v_policy, leaf, branch, v_bounds)
                            from maintenance.leaves_of(v_policy.relation) as leaf
                            limit 1
                        ),
                        'oldest', (
                            select min(
                                maintenance.run_as_owner(
                                    v_policy.relation,
                                    maintenance.policy_statement(
                                        v_policy, 'oldest', leaf, v_bounds, branch => branch,
                                        key => maintenance.branch_key(v_policy, branch)
                                    )
                                ) #>> '{}'
                            )
                            from maintenance.leaves_of(v_policy.relation) as leaf
                            where maintenance.branch_key(v_policy, branch) is not null
                        )
                    )
                    order by branch
                ),
                '[]'
            )
            from generate_series(1, jsonb_array_length(v_policy.branches)) as branch
        ),
        'strategies', (
            select coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'table', leaf, 'strategy', chosen.strategy, 'reason', chosen.reason
                    )
                    order by leaf::oid
                ),
                '[]'
            )
            from maintenance.leaves_of(v_policy.relation) as leaf
            cross join lateral maintenance.choose_strategy(v_policy, leaf, v_bounds) as chosen
        ),
        'foreign_keys', (
            select coalesce(jsonb_agg(to_jsonb(tree) order by tree.depth, tree.child::text), '[]')
            from maintenance.cascade_tree(v_policy.relation) as tree
        ),
        'risks', (
            select coalesce(jsonb_agg(to_jsonb(risky)), '[]')
            from maintenance.find_policy_risks(v_policy) as risky
        ),
        'verdict', v_judged.verdict,
        'reason', v_judged.reason,
        'token', v_payload || '-' || maintenance.sign_token(v_policy.name, v_payload),
        'expected_seconds', (
            select round(
                v_counted * extract(epoch from last.ended_at - last.started_at) / last.removed, 1
            )
            from maintenance.run_step as last
            where last.policy = v_policy.name
              and last.removed > 0
              and last.ended_at is not null
            order by last.started_at desc
            limit 1
        ),
        'statement', maintenance.policy_statement(
            v_policy, 'remove', v_policy.relation, v_bounds
        )
    );
end;
$function$;

revoke all on function maintenance.plan_policy(text, boolean) from public;

comment on function maintenance.plan_policy(text, boolean) is
    'Say as one document what a run of a policy would do now; writes nothing.';
