-- Names the index that reads the rows of a branch in the order of its key; null if there is none.
--
-- The planner is asked, for it knows which conditions imply that of a partial index, and which
-- types compare through which operators. What it would rather not use is switched off.

create or replace function maintenance.branch_index(
    policy maintenance.policy,
    leaf regclass,
    branch integer,
    bounds text[]
)
returns name
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $function$
declare
    v_key name := maintenance.branch_key(policy, branch);
    v_plan jsonb;
begin
    if v_key is null then
        return null;
    end if;

    v_plan := maintenance.run_as_owner(
        policy.relation,
        'explain (format json) ' || maintenance.policy_statement(
            policy, 'edge', leaf, bounds, branch => branch, key => v_key
        ),
        size => 100
    );

    if jsonb_path_exists(v_plan, '$.**."Node Type" ? (@ like_regex "Sort")') then
        return null;
    end if;

    return (jsonb_path_query_first(v_plan, '$.**."Index Name"') #>> '{}')::name;
end;
$function$;

revoke all on function maintenance.branch_index(maintenance.policy, regclass, integer, text[])
    from public;

comment on function maintenance.branch_index(maintenance.policy, regclass, integer, text[]) is
    'Return the index that serves a branch of a policy; null if there is none.';
