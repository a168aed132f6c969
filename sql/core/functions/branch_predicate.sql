-- Writes the condition that makes a row eligible: of one branch, or of all of them (0).
--
-- The bounds are those of branch_bounds. They are literals: the planner knows those, while a
-- parameter of another type would be cast again for each row. Without bounds, they are the
-- variables of a sweep.

create or replace function maintenance.branch_predicate(
    policy maintenance.policy,
    branch integer,
    bounds text[]
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select concat_ws(
        ' and ',
        case
            when (policy).selector is not null then
                format(
                    'exists (select from %s as selected where %s)',
                    (policy).selector,
                    (
                        select string_agg(
                            format('selected.%1$I = target.%1$I', key.name), ' and '
                            order by key.place
                        )
                        from unnest(maintenance.primary_key_of((policy).relation))
                            with ordinality as key (name, place)
                    )
                )
            else
                (
                    select '(' || string_agg(reason.written, ' or ' order by reason.number) || ')'
                    from (
                        select
                            one.ordinality,
                            '(' || concat_ws(
                                ' and ',
                                case
                                    when one.value ? 'column' then
                                        format(
                                            'target.%I %s ',
                                            one.value ->> 'column',
                                            coalesce(one.value ->> 'comparison', '<')
                                        )
                                        || case
                                            when bounds is null then
                                                'sweep.v_bound_' || one.ordinality
                                            else
                                                format(
                                                    '%L::%s',
                                                    bounds[one.ordinality],
                                                    -- of no type: there is no such column any
                                                    -- more, which PostgreSQL says best
                                                    coalesce(
                                                        maintenance.column_type(
                                                            (policy).relation,
                                                            (one.value ->> 'column')::name
                                                        ),
                                                        'unknown'
                                                    )
                                                )
                                        end
                                end,
                                maintenance.bracketed(one.value ->> 'condition'),
                                case
                                    when one.value ? 'key' then
                                        format('target.%I is not null', one.value ->> 'key')
                                end
                            ) || ')'
                        from jsonb_array_elements((policy).branches) with ordinality as one
                        where branch_predicate.branch in (0, one.ordinality)
                    ) as reason (number, written)
                )
        end,
        maintenance.bracketed((policy).condition),
        case
            when (policy).hold_column is null then null
            when maintenance.column_type((policy).relation, (policy).hold_column) = 'boolean' then
                format('target.%I is not true', (policy).hold_column)
            else format('target.%I is null', (policy).hold_column)
        end
    );
$function$;

revoke all on function maintenance.branch_predicate(maintenance.policy, integer, text[])
    from public;

comment on function maintenance.branch_predicate(maintenance.policy, integer, text[]) is
    'Return the condition under which a row is eligible, by one branch or (0) by any of them.';
