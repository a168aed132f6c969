-- Writes the body of the trigger function of a sweep: all that it does follows from the policy.
--
-- It is static SQL, because EXECUTE would plan its statement for every insert. The rows that a
-- sweep takes are found along the index of each branch, the oldest first, locked where nobody else
-- holds them, and asked again as they go ("is true" keeps the planner from finding them by that).
-- ONLY keeps out of tables that inherit, whose rows have the same ctids. The rows of a partitioned
-- table are named by its primary key, and its partitions are locked at once or not at all: an
-- insert waits for no partition but its own.
--
-- {{names}} in the templates stand for what is written below them. What users named or wrote comes
-- last and all at once, so that nothing in it is taken for such a name; and variables are called by
-- the block that they are in, so that columns may be called like them.

create or replace function maintenance.sweep_body(policy maintenance.policy, at_once boolean)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_body text := $template$
#variable_conflict use_column
<<sweep>>
declare
    v_rests boolean := false;
    v_size integer;
    v_from jsonb;
    v_began timestamptz;
    v_found bigint;
    v_context text;
    v_patience text;
{{declared}}begin
    -- Most inserts come no further than this; close_sweep says what the setting means.
    if current_setting({{memory}}, true) collate "C"
        > (date_part('epoch', clock_timestamp()) * 1000)::bigint::text
    then
{{resting}}
    end if;

    begin
        get diagnostics v_context = pg_context;

        -- An insert that a trigger or a function makes may belong to a command on the very rows
        -- that would go. MERGE says update or delete as well.
        if pg_trigger_depth() > 1
           or (
               v_context ~ '\n'
               and concat_ws(' ', v_context, current_query()) ~* '\m(update|delete)\M'
           )
           or current_setting({{failure}}, true) collate "C"
               > (date_part('epoch', clock_timestamp()) * 1000)::bigint::text
        then
            return null;
        end if;

        -- Whoever rebuilds an index or a TOAST table holds what the insert itself may not need.
        v_patience := current_setting('lock_timeout');
        perform set_config('lock_timeout', '10ms', true);
{{locking}}
        -- The lock of the insert keeps the table where it is, and triggers away, until the end.
        v_size := maintenance.open_sweep(
            {{policy}}, tg_relid, {{named}}::regclass, current_user, rests => v_rests
        );

        if v_size is null then
            perform set_config('lock_timeout', v_patience, true);
            return null;
        end if;

{{bounds}}{{arrived}}
        if v_size = 0 then
            perform set_config('lock_timeout', v_patience, true);
            return null;
        end if;

        v_began := clock_timestamp();
        v_from := nullif(current_setting({{reached}}, true), '')::jsonb;

        if (v_from ->> 'until')::bigint < date_part('epoch', v_began) * 1000 then
            v_from := null;
        end if;

{{starts}}
        with{{found}},
        removed as (
            delete from {{table}} as target
            where {{named_rows}}
              and ({{eligible}}) is true
        )
        select
            {{count}},
            {{last}}
        into v_found, {{into}};

        perform maintenance.close_sweep(
            {{policy}},
            size => v_size,
            taken => v_found,
            took => clock_timestamp() - v_began,
            reached => jsonb_build_object(
{{ends}}
            )
        );
        perform set_config('lock_timeout', v_patience, true);
        return null;
    exception
        when others or assert_failure then
            -- What failed will fail again: leave the insert alone, and for a minute the log too.
            raise log 'sweep of % failed: % (SQLSTATE %)', tg_relid::regclass, sqlerrm, sqlstate;
            perform set_config(memory.name, rest.until, false)
            from unnest(array[{{failure}}, {{memory}}]) as memory (name)
            cross join (
                select (date_part('epoch', clock_timestamp()) * 1000 + 60000)::bigint::text
            ) as rest (until);
            return null;
    end;
end;
$template$;
    v_resting text := '        return null;';
    v_arrived text := '';
    v_locking text := '';
    v_named text := 'target.ctid = any (array({{taken}}))';
    v_is_partitioned boolean;
    v_key name[] := maintenance.primary_key_of(policy.relation);
    v_templates jsonb;
    v_texts jsonb;
begin
    select class.relkind = 'p'
    into v_is_partitioned
    from pg_catalog.pg_class as class
    where class.oid = policy.relation;

    if at_once then
        v_resting := $template${{bounds}}        perform
        from inserted as target
        where {{eligible}};

        if not found then
            return null;
        end if;

        v_rests := true;$template$;

        -- A condition that fails does so in a sweep as well, which says so.
        if maintenance.has_condition(policy) then
            v_resting := format(
                E'        begin\n%s\n        exception\n'
                '            when others or assert_failure then\n'
                '                return null;\n        end;',
                v_resting
            );
        end if;

        v_arrived := $template$
        -- Nobody else can see the rows of this insert, so they do not wait for their turn.
        perform
        from inserted as target
        where {{eligible}};

        if found then
            delete from {{table}} as target
            where ({{target}}) in (select {{row}} from inserted)
              and ({{eligible}}) is true;
        end if;
$template$;
    end if;

    if v_is_partitioned then
        v_locking := $template$
        -- Asked before the partitions are locked, and again when they are.
        if maintenance.open_sweep(
            {{policy}}, tg_relid, {{named}}::regclass, current_user, rests => true
        ) is null then
            perform set_config('lock_timeout', v_patience, true);
            return null;
        end if;

        execute (
            with recursive part (relid) as (
                select {{named}}::regclass::oid
                union all
                select child.inhrelid
                from part
                join pg_inherits as child on child.inhparent = part.relid
                where not child.inhdetachpending
            )
            select 'lock table ' || string_agg('only ' || part.relid::regclass::text, ', ')
                || ' in row exclusive mode nowait'
            from part
        );
$template$;

        v_named := '({{target}}) in ({{taken}})';
    end if;

    with branch as (
        select
            series as number,
            maintenance.branch_bound(policy, series, moment => 'now()') as bound,
            maintenance.branch_key(policy, series) as key,
            maintenance.column_type(
                policy.relation, maintenance.branch_key(policy, series)
            ) as type,
            maintenance.lowest_key(policy, series) as lowest
        from generate_series(1, jsonb_array_length(policy.branches)) as series
    ),
    written as (
        select
            string_agg(
                case
                    when branch.bound is not null then
                        format(E'    v_bound_%s %s;\n', branch.number, branch.type)
                    else ''
                end
                || format(E'    v_from_%s %s;\n', branch.number, branch.type)
                || format(E'    v_last_%s %s;\n', branch.number, branch.type),
                '' order by branch.number
            ) as declared,
            coalesce(
                string_agg(
                    format(E'        v_bound_%s := %s;\n', branch.number, branch.bound),
                    '' order by branch.number
                ) filter (where branch.bound is not null),
                ''
            ) as bounds,
            string_agg(
                format(
                    E'        v_from_%1$s := coalesce((v_from ->> ''%1$s'')::%2$s, %3$L);\n',
                    branch.number, branch.type, branch.lowest
                ),
                '' order by branch.number
            ) as starts,
            string_agg(
                format(
                    $branch$
        found_%1$s as materialized (
            select %2$s, target.{{key_%1$s}} as walked
            from {{table}} as target
            where target.{{key_%1$s}} >= sweep.v_from_%1$s
              and {{eligible_%1$s}}
            order by target.{{key_%1$s}}  -- keeps to the index, even where most rows are eligible
            limit sweep.v_size%3$s
            for update skip locked
        )$branch$,
                    branch.number,
                    case when v_is_partitioned then '{{as_named}}' else 'target.ctid' end,
                    (
                        select string_agg(
                            format(' - (select count(*) from found_%s)', earlier.number), ''
                            order by earlier.number
                        )
                        from branch as earlier
                        where earlier.number < branch.number
                    )
                ),
                ',' order by branch.number
            ) as found,
            string_agg(
                format(
                    'select %s from found_%s',
                    case when v_is_partitioned then '{{names}}' else 'ctid' end,
                    branch.number
                ),
                ' union all ' order by branch.number
            ) as taken,
            string_agg(
                format('(select count(*) from found_%s)', branch.number),
                ' + ' order by branch.number
            ) as count,
            string_agg(
                format('(select max(found_%1$s.walked) from found_%1$s)', branch.number),
                E',\n            ' order by branch.number
            ) as last,
            string_agg(
                format('v_last_%s', branch.number), ', ' order by branch.number
            ) as variables,
            string_agg(
                format(
                    '                %1$L, coalesce(v_last_%1$s, %2$sv_from_%1$s)',
                    branch.number,
                    case
                        when branch.bound is not null then
                            -- all that lie below it have been looked at
                            format(
                                'case when v_found < v_size then v_bound_%s end, ',
                                branch.number
                            )
                    end
                ),
                E',\n' order by branch.number
            ) as ends
        from branch
    ),
    key as (
        select
            string_agg(format('%I', key.name), ', ' order by key.number) as row,
            string_agg(format('target.%I', key.name), ', ' order by key.number) as target,
            string_agg(
                format('target.%I as named_%s', key.name, key.number), ', ' order by key.number
            ) as named,
            string_agg(format('named_%s', key.number), ', ' order by key.number) as names
        from unnest(v_key) with ordinality as key (name, number)
    )
    select
        jsonb_object_agg(fragment.name, fragment.text) filter (where not fragment.is_final),
        jsonb_object_agg(fragment.name, fragment.text) filter (where fragment.is_final)
        || (
            select jsonb_object_agg(
                format('eligible_%s', branch.number),
                maintenance.branch_predicate(policy, branch.number, null)
            )
            from branch
        )
        || (
            select jsonb_object_agg(format('key_%s', branch.number), quote_ident(branch.key))
            from branch
        )
    into v_templates, v_texts
    from written
    cross join key
    cross join lateral (
        values
            (false, 'resting', v_resting),
            (false, 'arrived', v_arrived),
            (false, 'locking', v_locking),
            (false, 'named_rows', v_named),
            (false, 'found', written.found),
            (false, 'taken', written.taken),
            (true, 'declared', written.declared),
            (true, 'bounds', written.bounds),
            (true, 'starts', written.starts),
            (true, 'count', written.count),
            (true, 'last', written.last),
            (true, 'into', written.variables),
            (true, 'ends', written.ends),
            (true, 'target', key.target),
            (true, 'as_named', key.named),
            (true, 'names', key.names),
            (true, 'row', key.row),
            (true, 'policy', quote_literal(policy.name)),
            (true, 'memory', quote_literal('maintenance.rest_' || policy.name)),
            (true, 'failure', quote_literal('maintenance.failed_' || policy.name)),
            (true, 'reached', quote_literal('maintenance.reached_' || policy.name)),
            (true, 'named', quote_literal(policy.relation)),
            (
                true, 'table',
                case when v_is_partitioned then '' else 'only ' end || policy.relation
            ),
            (true, 'eligible', maintenance.branch_predicate(policy, 0, null))
    ) as fragment (is_final, name, text);

    -- A template may have another in it, which has none.
    return maintenance.fill_template(
        maintenance.fill_template(maintenance.fill_template(v_body, v_templates), v_templates),
        v_texts
    );
end;
$function$;

revoke all on function maintenance.sweep_body(maintenance.policy, boolean) from public;

comment on function maintenance.sweep_body(maintenance.policy, boolean) is
    'Return the body of the trigger function that sweeps the table of a policy.';
