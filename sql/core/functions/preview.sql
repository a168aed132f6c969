-- Shows what a run of a policy would do now, for people: plan_policy in lines.

create or replace function maintenance.preview(policy text, exact boolean default false)
returns table (item text, value text)
language sql
set search_path = pg_catalog, pg_temp
as $function$
    with planned as (
        select maintenance.plan_policy(preview.policy, preview.exact) as plan
    )
    select line.item, line.value
    from planned
    cross join lateral (
        select 1, 'table', plan ->> 'relation'
        union all
        select 2, 'action', plan ->> 'action'
        union all
        select 3, 'eligible rows', concat_ws(
            ' ',
            case when not (plan ->> 'is_counted')::boolean then 'more than' end,
            plan ->> 'eligible'
        )
        union all
        select 4, 'estimated rows', plan ->> 'estimated'
        union all
        select 5, 'branch ' || (branch.value ->> 'branch'), concat_ws(
            '; ',
            'before ' || (branch.value ->> 'before'),
            'oldest ' || (branch.value ->> 'oldest'),
            coalesce('index ' || (branch.value ->> 'index'), 'no index')
        )
        from jsonb_array_elements(plan -> 'branches') as branch
        union all
        select 6, 'strategy', format(
            '%s on %s: %s', chosen.value ->> 'strategy', chosen.value ->> 'table',
            chosen.value ->> 'reason'
        )
        from jsonb_array_elements(plan -> 'strategies') as chosen
        union all
        select 7, 'foreign key', format(
            '%s -> %s: %s', tree.value ->> 'child', tree.value ->> 'parent', tree.value ->> 'action'
        )
        from jsonb_array_elements(plan -> 'foreign_keys') as tree
        union all
        select 8, 'risk', concat_ws('; ', found.value ->> 'message', found.value ->> 'statement')
        from jsonb_array_elements(plan -> 'risks') as found
        union all
        select 9, 'guard', concat_ws(': ', plan ->> 'verdict', plan ->> 'reason')
        union all
        select 10, 'token', plan ->> 'token'
        where plan ->> 'token' is not null
        union all
        select 11, 'expected duration', (plan ->> 'expected_seconds') || ' s'
        where plan ->> 'expected_seconds' is not null
        union all
        select 12, 'statement', plan ->> 'statement'
    ) as line (place, item, value)
    order by line.place;
$function$;

revoke all on function maintenance.preview(text, boolean) from public;

comment on function maintenance.preview(text, boolean) is
    'Show what a run of a policy would do now, and the token that accepts it; writes nothing.';
