-- Says of every policy what a run would remove now. A policy that cannot tell says why, and the
-- others go on.
--
-- Counting ends at 10,000 rows, and in a large table the oldest value is looked for along an index
-- only; exact counts all and looks everywhere. What the guard says may take counting further: up
-- to its own limit.

create or replace function maintenance.removable(exact boolean default false)
returns table (
    policy text,
    relation text,
    operation text,
    is_enabled boolean,
    eligible bigint,
    is_counted boolean,
    estimated_bytes bigint,
    oldest text,
    verdict text,
    reason text,
    error text
)
language plpgsql
security definer  -- monitors need no right on the tables: see install_executor
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    c_counted constant bigint := 10000::bigint;
    c_small_table constant bigint := 100000000::bigint;  -- bytes
    v_policy maintenance.policy;
    v_judged record;
    v_bounds text[];
    v_rows bigint;
begin
    for v_policy in
        select known.*
        from maintenance.policy as known
        order by known.priority, known.name
    loop
        policy := v_policy.name;
        relation := v_policy.relation::text;
        operation := v_policy.operation;
        is_enabled := v_policy.is_enabled;
        eligible := null;
        is_counted := null;
        estimated_bytes := null;
        oldest := null;
        verdict := null;
        reason := null;
        error := null;

        begin
            if not exists (
                select from pg_catalog.pg_class as class where class.oid = v_policy.relation
            ) then
                raise exception using
                    errcode = 'undefined_table',
                    message = 'its table is gone';
            end if;

            v_judged := maintenance.judge_run(v_policy);
            v_bounds := maintenance.branch_bounds(v_policy, v_judged.moment);
            v_rows := maintenance.count_eligible(
                v_policy, v_bounds, case when not exact then c_counted + 1 end
            );

            verdict := v_judged.verdict;
            reason := v_judged.reason;
            is_counted := exact or v_rows <= c_counted;
            eligible := case when is_counted then v_rows else c_counted end;

            select (
                case
                    when v_rows = 0 then 0
                    when is_counted then v_rows * taken.bytes
                    else greatest(v_rows, taken.estimated) * taken.bytes
                end
            )::bigint
            into estimated_bytes
            from (
                select
                    sum(class.relpages) filter (where class.reltuples > 0)
                    * current_setting('block_size')::numeric
                    / nullif(sum(class.reltuples) filter (where class.reltuples > 0), 0)::numeric,
                    case
                        when not is_counted then
                            sum(maintenance.estimate_eligible(v_policy, leaf, v_bounds))
                    end
                from maintenance.leaves_of(v_policy.relation) as leaf
                join pg_catalog.pg_class as class on class.oid = leaf
            ) as taken (bytes, estimated);

            select string_agg(coalesce(found.unknown, found.value), '; ' order by found.branch)
            into oldest
            from (
                select
                    walked.branch,
                    min(
                        case
                            when walked.is_read then
                                maintenance.run_as_owner(
                                    v_policy.relation,
                                    maintenance.policy_statement(
                                        v_policy, 'oldest', walked.leaf, v_bounds,
                                        branch => walked.branch, key => walked.key
                                    )
                                ) #>> '{}'
                        end
                    ),
                    case when not bool_and(walked.is_read) then 'unknown, needs an index' end
                from (
                    select
                        number,
                        leaf,
                        maintenance.branch_key(v_policy, number),
                        exact
                        or pg_relation_size(leaf) <= c_small_table
                        or maintenance.branch_index(v_policy, leaf, number, v_bounds) is not null
                    from generate_series(1, jsonb_array_length(v_policy.branches)) as number
                    cross join maintenance.leaves_of(v_policy.relation) as leaf
                ) as walked (branch, leaf, key, is_read)
                where walked.key is not null
                group by walked.branch
            ) as found (branch, value, unknown);
        exception
            when others then
                error := sqlerrm;
                eligible := null;
                is_counted := null;
                estimated_bytes := null;
                oldest := null;
                verdict := null;
                reason := null;
        end;

        return next;
    end loop;
end;
$function$;

revoke all on function maintenance.removable(boolean) from public;

comment on function maintenance.removable(boolean) is
    'Say of each policy what a run would remove now, how old it is, and what the guard says.';
