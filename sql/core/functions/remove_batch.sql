-- Removes one batch: the rows of one range, at most so many. Everything that walks is here.
--
-- The cursor is where the walk stands. Leaf by leaf it goes forward, along the blocks or along the
-- key of one branch after the other, and notes the ranges in which others held rows. Those come
-- last, three times, with growing pauses between. A cursor along blocks knows the file that it is
-- about: where a table was rewritten meanwhile, its leaf begins anew. It comes from outside, so a
-- leaf in it has to be one of the policy's; a partition that was detached is not any more.
--
-- A cursor can be of a part of the work: of one leaf up to where another part begins (leaf), or of
-- what is left of an earlier walk (rest). A part is done when it was walked through; what it noted
-- is for whoever joins the parts.

create or replace function maintenance.remove_batch(
    policy maintenance.policy,
    moment timestamptz,
    cursor jsonb,
    size bigint,
    time_goal interval,
    step bigint,
    out removed bigint,
    out dependents bigint,
    out cascaded bigint,
    out left_over bigint,
    out holders jsonb,
    out next_cursor jsonb,
    out is_done boolean,
    out pause interval
)
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms'  -- to see how large a table is takes a lock as well
as $function$
declare
    c_passes constant integer := 3;
    c_noted constant integer := 64;
    v_began timestamptz := clock_timestamp();
    v_bounds text[] := maintenance.branch_bounds(policy, moment);
    v_cursor jsonb := coalesce(cursor, '{"noted": [], "again": [], "pass": 0}');
    v_leaf regclass;
    v_strategy text;
    v_branch integer;
    v_low text;
    v_high text;
    v_span bigint;
    v_range jsonb;
    -- A row takes some 40 bytes at least: of a page with 200 of them all may have to go.
    v_first_span bigint := least(64, greatest(size / 200, 1));
    v_gentle boolean := false;
    v_cascaded_before bigint;
    v_done record;
    v_noted jsonb;
    v_pace numeric;
begin
    removed := 0;
    dependents := 0;
    cascaded := 0;
    left_over := 0;
    holders := '[]';
    is_done := false;
    pause := '0 s';

    perform maintenance.hasten_constraints(policy.relation);

    -- 1. Which leaf.
    v_leaf := (v_cursor ->> 'leaf')::oid::regclass;

    if v_leaf is not null
       and (
           pg_relation_filenode(v_leaf) is distinct from (v_cursor ->> 'file')::oid
           or v_leaf not in (select leaf from maintenance.leaves_of(policy.relation) as leaf)
       )
    then
        v_cursor := v_cursor - array['leaf', 'until']
            || jsonb_build_object('after', greatest(v_leaf::oid::bigint - 1, 0));
        v_leaf := null;
    end if;

    if v_leaf is null then
        select leaf
        into v_leaf
        from maintenance.leaves_of(policy.relation) as leaf
        where leaf::oid::bigint > coalesce((v_cursor ->> 'after')::bigint, 0)
        order by leaf::oid
        limit 1;

        if v_leaf is not null then
            select chosen.strategy
            into v_strategy
            from maintenance.choose_strategy(policy, v_leaf, v_bounds) as chosen;

            v_cursor := v_cursor || jsonb_build_object(
                'leaf', v_leaf::oid::bigint,
                'file', pg_relation_filenode(v_leaf)::bigint,
                'branch', case v_strategy when 'heap' then 0 else 1 end,
                'at', case v_strategy
                    when 'heap' then '0'
                    else maintenance.lowest_key(policy, 1)
                end,
                'end', pg_relation_size(v_leaf) / current_setting('block_size')::bigint,
                'span', case v_strategy when 'heap' then v_first_span else 2500 end
            );
        end if;
    end if;

    -- 2. Which range.
    if v_leaf is not null then
        v_branch := (v_cursor ->> 'branch')::integer;
        v_low := v_cursor ->> 'at';
        v_span := (v_cursor ->> 'span')::bigint;

        if v_branch > 0 then
            v_high := maintenance.run_as_owner(
                policy.relation,
                maintenance.policy_statement(
                    policy, 'edge', v_leaf, v_bounds,
                    maintenance.range_scope(policy, v_branch, v_low, v_cursor ->> 'until'),
                    v_branch,
                    maintenance.branch_key(policy, v_branch)
                ),
                size => least(v_span, remove_batch.size)
            ) #>> '{}';
            v_high := coalesce(v_high, v_cursor ->> 'until');

            -- More rows than a batch have the same key: blocks tell them apart.
            if v_high = v_low and v_high is distinct from v_cursor ->> 'until' then
                v_branch := 0;
                v_low := '0';
                v_span := v_first_span;
                v_cursor := v_cursor || '{"branch": 0}';
            end if;
        end if;
    elsif v_cursor ? 'part' then
        is_done := true;
        next_cursor := v_cursor;
        return;
    elsif v_cursor -> 'pass' <> '0' and jsonb_array_length(v_cursor -> 'noted') > 0 then
        v_range := v_cursor #> '{noted,0}';
        v_leaf := (v_range ->> 'leaf')::oid::regclass;
        v_branch := (v_range ->> 'branch')::integer;
        v_low := v_range ->> 'low';
        v_high := v_range ->> 'high';
        v_gentle := true;

        if v_leaf not in (select leaf from maintenance.leaves_of(policy.relation) as leaf) then
            next_cursor := v_cursor #- '{noted,0}';
            return;
        end if;

        if v_branch = 0 and pg_relation_filenode(v_leaf) is distinct from (v_range ->> 'file')::oid
        then
            v_low := '0';
            v_high := (pg_relation_size(v_leaf) / current_setting('block_size')::bigint)::text;
        end if;
    else
        -- Forward is done, or a pass over what was noted: that is all, or it is tried again later.
        v_noted := (v_cursor -> 'noted') || (v_cursor -> 'again');

        if v_noted = '[]' or (v_cursor ->> 'pass')::integer = c_passes then
            is_done := true;
            next_cursor := v_cursor;
            left_over := (
                select coalesce(sum((noted.value ->> 'left')::bigint), 0)::bigint
                from jsonb_array_elements(v_noted) as noted
            );
            holders := jsonb_path_query_array(v_noted, '$[*].holders[*]');
        else
            pause := interval '250 ms' * 2 ^ (v_cursor ->> 'pass')::integer;
            next_cursor := v_cursor || jsonb_build_object(
                'noted', v_noted, 'again', '[]'::jsonb,
                'pass', (v_cursor ->> 'pass')::integer + 1
            );
        end if;

        return;
    end if;

    -- 3. Remove. A range with more rows than a batch is cut down, to one block if need be; of a
    -- block with more rows than that, they go by and by.
    v_cascaded_before := case
        when policy.allow_cascade then maintenance.count_cascaded(policy.relation)
    end;

    loop
        if v_range is null and v_branch = 0 then
            v_high := least(v_low::bigint + v_span, (v_cursor ->> 'end')::bigint)::text;
            -- A page has less than 300 rows (MaxHeapTuplesPerPage is 291 for pages of 8 kB).
            v_gentle := v_gentle or (v_span = 1 and remove_batch.size < 300);
        end if;

        v_done := maintenance.remove_range(
            policy, v_leaf, v_branch, v_low, v_high, v_bounds, remove_batch.size, v_gentle, step
        );
        exit when v_done.outcome <> 'overflow';

        if v_branch = 0 and v_span > 1 then
            v_span := greatest(v_span / 4, 1);
        else
            v_gentle := true;
        end if;
    end loop;

    removed := v_done.removed;
    dependents := v_done.dependents;
    left_over := v_done.left_over;
    holders := v_done.holders;

    if policy.allow_cascade and v_done.outcome <> 'locked' then
        cascaded := maintenance.count_cascaded(policy.relation) - v_cascaded_before;
    end if;

    -- 4. Where the next batch goes on.
    if v_range is not null then
        if v_done.outcome = 'full' then
            next_cursor := v_cursor;
            return;
        end if;

        v_cursor := v_cursor #- '{noted,0}';

        if left_over > 0 then
            v_cursor := jsonb_set(
                v_cursor, '{again}',
                (v_cursor -> 'again') || jsonb_build_array(
                    v_range || jsonb_build_object('left', left_over, 'holders', holders)
                )
            );
        end if;
    else
        if left_over > 0 then
            v_range := jsonb_build_object(
                'leaf', v_leaf::oid::bigint, 'branch', v_branch, 'low', v_low, 'high', v_high,
                'file', v_cursor -> 'file', 'left', left_over, 'holders', holders
            );

            -- Too many to remember one by one: the last one noted grows to include it.
            if jsonb_array_length(v_cursor -> 'noted') >= c_noted
               and v_cursor #> '{noted,-1,leaf}' = v_range -> 'leaf'
               and v_cursor #> '{noted,-1,branch}' = v_range -> 'branch'
            then
                v_cursor := jsonb_set(v_cursor, '{noted,-1,high}', v_range -> 'high');
            else
                v_cursor := jsonb_set(
                    v_cursor, '{noted}', (v_cursor -> 'noted') || jsonb_build_array(v_range)
                );
            end if;
        end if;

        if v_done.outcome <> 'full' then
            if v_branch > 0 and v_high is distinct from (v_cursor ->> 'until')
               or v_branch = 0 and v_high::bigint < (v_cursor ->> 'end')::bigint
            then
                v_cursor := v_cursor || jsonb_build_object('at', v_high);
            elsif v_branch between 1 and jsonb_array_length(policy.branches) - 1 then
                v_cursor := v_cursor || jsonb_build_object(
                    'branch', v_branch + 1, 'at', maintenance.lowest_key(policy, v_branch + 1)
                );
            else
                v_cursor := v_cursor - 'leaf' || jsonb_build_object('after', v_leaf::oid::bigint);
            end if;
        else
            v_cursor := v_cursor || jsonb_build_object('at', v_low);
        end if;

        -- The next range is as large as the goal and the batch allow, but changes by no more than
        -- a factor of two: one slow batch is no rule.
        -- Time alone makes no range smaller than what a batch costs anyway, a millisecond or so.
        v_pace := least(
            greatest(
                extract(epoch from time_goal)
                / greatest(extract(epoch from clock_timestamp() - v_began), 0.0001),
                case when v_branch = 0 then 48 else 500 end / v_span::numeric
            ),
            case when v_branch = 0 then 0.9 * size / greatest(removed, 1) end,
            2
        );
        v_span := greatest((v_span * greatest(v_pace, 0.5))::bigint, 1);
        v_cursor := v_cursor || jsonb_build_object('span', least(v_span, 1000000));
    end if;

    is_done := not v_cursor ? 'leaf'
        and (v_cursor ? 'part' or (v_cursor -> 'noted') || (v_cursor -> 'again') = '[]')
        and ((v_cursor ->> 'part') is not distinct from 'leaf' or not exists (
            select
            from maintenance.leaves_of(policy.relation) as leaf
            where leaf::oid::bigint > (v_cursor ->> 'after')::bigint
        ));
    next_cursor := v_cursor;
end;
$function$;

revoke all on function maintenance.remove_batch(
    maintenance.policy, timestamptz, jsonb, bigint, interval, bigint
)
    from public;

comment on function maintenance.remove_batch(
    maintenance.policy, timestamptz, jsonb, bigint, interval, bigint
) is
    'Remove one batch of a policy''s rows, and return how many, and where the next one begins.';
