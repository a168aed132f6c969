-- Writes the statements of a policy. Every one of them has the same condition: what is counted is
-- what goes, and what goes is asked again on the version of the row that goes.
--
-- ONLY keeps out of tables that inherit; partitions come one by one, as leaf. scope narrows the
-- rows down to a range of blocks or of values; key is the column that such values are of. What is
-- archived is told the step.

create or replace function maintenance.policy_statement(
    policy maintenance.policy,
    kind text,
    leaf regclass,
    bounds text[],
    scope text default null,
    branch integer default 0,
    key name default null,
    step bigint default null
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_eligible text := maintenance.branch_predicate(policy, branch, bounds);
    v_only text := format('only %s as target', leaf);
    v_where text := 'where ' || concat_ws(' and ', '(' || scope || ')', v_eligible);
begin
    case kind
        when 'count' then
            return 'select to_jsonb(count(*)) from (select from ' || v_only || ' ' || v_where
                || ' limit $1) as bounded';
        when 'estimate' then
            return 'explain (format json) select from ' || v_only || ' ' || v_where;
        when 'oldest' then
            return format('select to_jsonb(min(target.%I)) from ', key) || v_only || ' ' || v_where;
        when 'edge' then
            -- What is selected is computed of every row that is skipped as well: the key alone is.
            return format('select to_jsonb(found.key::text) from (select target.%I from ', key)
                || v_only || ' ' || v_where
                || format(' order by target.%I offset $1 limit 1) as found (key)', key);
        when 'first' then
            return 'select target.ctid from ' || v_only || ' ' || v_where || ' limit $1';
        when 'take' then
            return 'select to_jsonb(array(select target.ctid::text from ' || v_only || ' '
                || v_where || ' limit $1 for update skip locked))';
        when 'left' then
            return 'select jsonb_build_object(''left'', count(*), ''holders'', coalesce('
                'jsonb_agg(distinct found.holder) filter (where found.holder <> ''0''), ''[]''))'
                ' from (select target.xmax::text from ' || v_only || ' ' || v_where
                || ' limit 1000) as found (holder)';
        when 'remove' then
            null;
    end case;

    if policy.action = 'delete' then
        return 'delete from ' || v_only || ' ' || v_where;
    end if;

    if policy.action = 'set' then
        return 'with changed (is_eligible) as (update ' || v_only || ' set ' || policy.assignments
            || E'\n' || v_where || ' returning ' || v_eligible || ') select jsonb_build_object('
            '''removed'', count(*), ''proof'', count(*) filter (where changed.is_eligible'
            ' is not true)) from changed';
    end if;

    return maintenance.archiving_statement(
        'delete from ' || v_only || ' ' || v_where,
        'target',
        policy.relation,
        policy.archive_table,
        step
    );
end;
$function$;

revoke all on function maintenance.policy_statement(
    maintenance.policy, text, regclass, text[], text, integer, name, bigint
)
    from public;

comment on function maintenance.policy_statement(
    maintenance.policy, text, regclass, text[], text, integer, name, bigint
) is
    'Return a statement of a policy: count, estimate, oldest, edge, first, take, left or remove.';
