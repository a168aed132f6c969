-- Plans the statements of a policy, with the rights of the table's owner, and executes none.
--
-- What PostgreSQL says against one of them is what is wrong with the policy; the first is enough.

create or replace function maintenance.try_policy(policy maintenance.policy)
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_tried record;
begin
    -- A condition that is whole fits into brackets of either kind; "true) or (true" closes one that
    -- it did not open.
    for v_tried in
        select format('branch %s: condition: ', branch.ordinality) as place, statement.text
        from jsonb_array_elements(policy.branches) with ordinality as branch
        cross join lateral (
            values
                ('explain (format json) select from only %s as target where (', E'\n)'),
                ('explain (format json) select from only %s as target where (array[',
                    E'\n]::boolean[])[1]')
        ) as around (opening, closing)
        cross join lateral (
            select format(around.opening, policy.relation) || (branch.value ->> 'condition')
                || around.closing
        ) as statement (text)
        where branch.value ? 'condition'

        union all
        select 'condition: ', statement.text
        from (
            values
                ('explain (format json) select from only %s as target where (', E'\n)'),
                ('explain (format json) select from only %s as target where (array[',
                    E'\n]::boolean[])[1]')
        ) as around (opening, closing)
        cross join lateral (
            select format(around.opening, policy.relation) || policy.condition || around.closing
        ) as statement (text)
        where policy.condition is not null

        union all
        select
            'assignments: ',
            format('explain (format json) update only %s as target set ', policy.relation)
            || policy.assignments || E'\n where false'
        where policy.assignments is not null

        union all
        select
            'archive_table: ',
            'explain (format json) ' || maintenance.archiving_statement(
                format('delete from only %s as target where false', archived.source),
                'target',
                archived.source,
                archived.archive,
                step => null
            )
        from maintenance.policy_archives(policy) as archived

        union all
        select
            '',
            maintenance.policy_statement(
                policy, 'estimate', policy.relation, maintenance.branch_bounds(policy, now())
            )
    loop
        begin
            perform maintenance.run_as_owner(policy.relation, v_tried.text);
        exception
            when syntax_error_or_access_rule_violation or data_exception or feature_not_supported
                or raise_exception
            then
                return next v_tried.place || sqlerrm;
                return;
        end;
    end loop;
end;
$function$;

revoke all on function maintenance.try_policy(maintenance.policy) from public;

comment on function maintenance.try_policy(maintenance.policy) is
    'Say what PostgreSQL has against the statements of a policy, having planned them.';
