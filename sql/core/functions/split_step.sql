-- Divides the work of a step into parts that do not touch, as cursors for run_batch. Sessions take
-- one after the other, in any order; join_parts makes of the finished ones the cursor for the rest.
--
-- A table that is walked along its blocks is cut into ranges of them, none below 4 MB. One that is
-- walked along an index is cut at values that the statistics know to be a hundredth of the rows
-- apart. That they are old makes parts of unequal size, and nothing worse.

create or replace function maintenance.split_step(step bigint, parts integer)
returns jsonb
language plpgsql
security definer  -- operators need no right on the table: see install_executor
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms'  -- to see how large a table is takes a lock as well
as $function$
declare
    c_least_pages constant bigint := 512::bigint;
    v_step maintenance.run_step;
    v_policy maintenance.policy;
    v_bounds text[];
    v_leaf regclass;
    v_chosen record;
    v_pages bigint;
    v_parts bigint;
    v_edges text[];
    v_part jsonb;
    v_all jsonb := '[]'::jsonb;
begin
    if parts not between 1 and 1000 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('parts must be between 1 and 1000, not %s', parts);
    end if;

    select opened.*
    into strict v_step
    from maintenance.run_step as opened
    where opened.id = split_step.step;

    v_policy := maintenance.read_policy(v_step.policy);
    v_bounds := maintenance.branch_bounds(v_policy, v_step.moment);

    for v_leaf in
        select leaf
        from maintenance.leaves_of(v_policy.relation) as leaf
        order by leaf::oid
    loop
        v_chosen := maintenance.choose_strategy(v_policy, v_leaf, v_bounds);
        v_pages := pg_relation_size(v_leaf) / current_setting('block_size')::bigint;
        v_part := jsonb_build_object(
            'part', 'leaf', 'noted', '[]'::jsonb, 'again', '[]'::jsonb, 'pass', 0,
            'leaf', v_leaf::oid::bigint, 'file', pg_relation_filenode(v_leaf)::bigint,
            'end', v_pages
        );

        if v_chosen.strategy = 'heap' then
            v_parts := greatest(least(parts, v_pages / c_least_pages), 1);

            select v_all || jsonb_agg(
                v_part || jsonb_build_object(
                    'branch', 0, 'at', (v_pages * (part - 1) / v_parts)::text,
                    'end', v_pages * part / v_parts, 'span', 64
                )
                order by part
            )
            into v_all
            from generate_series(1, v_parts) as part;
        else
            v_edges := maintenance.key_edges(v_policy, v_leaf, v_bounds, parts);

            select v_all || jsonb_agg(
                v_part || jsonb_build_object(
                    'branch', 1, 'at', edge.low, 'until', edge.high, 'span', 2500
                )
                order by edge.place
            )
            into v_all
            from rows from (
                unnest(maintenance.lowest_key(v_policy, 1) || v_edges),
                unnest(v_edges || null::text)
            ) with ordinality as edge (low, high, place);
        end if;
    end loop;

    return v_all;
end;
$function$;

revoke all on function maintenance.split_step(bigint, integer) from public;

comment on function maintenance.split_step(bigint, integer) is
    'Divide the work of a step into parts, as cursors that several sessions can work on.';
