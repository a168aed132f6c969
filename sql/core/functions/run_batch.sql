-- Removes the next batch of a step, and keeps its log, all in the transaction of the caller.
--
-- The lease is asked for first, and held: whoever was overtaken removes nothing more. is_done comes
-- with the reason, and close_step with that reason is what follows. Of a part (see split_step) it
-- comes without one: the other parts are yet to be done, and then what join_parts makes of them.
--
-- Several sessions may work on the parts of a step. They share its limits: a batch that would go
-- beyond, for what others have removed meanwhile, is an error and removes nothing.

create or replace function maintenance.run_batch(
    step bigint,
    token bigint,
    cursor jsonb default null,
    batch_size integer default null,
    time_goal interval default '50 ms',
    out removed bigint,
    out is_done boolean,
    out exit_reason text,
    out message text,
    out next_cursor jsonb,
    out pause interval
)
language plpgsql
security definer  -- operators need no right on the table: see install_executor
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    c_small_table constant bigint := 100000000::bigint;  -- bytes
    c_rounds constant integer := 3;
    v_began timestamptz := clock_timestamp();
    v_step maintenance.run_step;
    v_policy maintenance.policy;
    v_allowed bigint;
    v_round integer;
    v_removed bigint;
    v_done record;
begin
    removed := 0;
    is_done := true;
    pause := '0 s';

    if batch_size not between 1 and 100000 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('batch_size must be between 1 and 100000, not %s', batch_size);
    end if;

    perform maintenance.hold_lease(step, token);

    select opened.*
    into strict v_step
    from maintenance.run_step as opened
    where opened.id = step;

    v_policy := maintenance.read_policy(v_step.policy);
    v_allowed := least(
        coalesce(batch_size, v_policy.batch_size),
        v_step.max_rows - v_step.removed,
        v_step.bound - v_step.removed
    );

    select ended.exit_reason, ended.message
    into exit_reason, message
    from maintenance.check_step(step) as ended;

    if exit_reason is not null then
        return;
    end if;

    perform maintenance.assert_may_run(v_policy, v_step.moment);
    v_done := maintenance.remove_batch(
        v_policy, v_step.moment, cursor, v_allowed, time_goal, step
    );

    removed := v_done.removed;
    is_done := v_done.is_done;
    next_cursor := v_done.next_cursor;
    pause := greatest(least(v_done.pause, v_step.deadline - clock_timestamp()), '0 s');

    -- The walk is over, and yet a row is there: it moved behind the cursor, or has come since. What
    -- is small is looked at, and so is what was expected to have rows and had none.
    if is_done
       and not coalesce(cursor ? 'part', false)
       and v_done.left_over = 0
       and (
           (v_step.removed + removed = 0 and v_step.eligible > 0)
           or (
               select sum(pg_relation_size(leaf))
               from maintenance.leaves_of(v_policy.relation) as leaf
           ) <= c_small_table
       )
       and maintenance.count_eligible(
           v_policy, maintenance.branch_bounds(v_policy, v_step.moment), at_most => 1
       ) > 0
    then
        v_round := coalesce((cursor ->> 'round')::integer, 1);

        if v_round < c_rounds then
            is_done := false;
            next_cursor := jsonb_build_object(
                'noted', '[]'::jsonb, 'again', '[]'::jsonb, 'pass', 0, 'round', v_round + 1
            );
        else
            exit_reason := 'incomplete';
            message := format('rows are eligible still, after %s rounds', c_rounds);
        end if;
    elsif is_done and not coalesce(cursor ? 'part', false) then
        if v_done.left_over > 0 then
            exit_reason := 'incomplete';
            message := format(
                'others hold %s rows: %s', v_done.left_over,
                coalesce(
                    maintenance.name_holders(v_done.holders),
                    'several at once, or they have just let go'
                )
            );
        elsif v_step.removed + removed = 0 then
            exit_reason := 'nothing_to_do';
        else
            exit_reason := 'exhausted';
        end if;
    end if;

    update maintenance.run_step as logged
    set
        removed = logged.removed + v_done.removed,
        dependents = logged.dependents + v_done.dependents,
        cascaded = logged.cascaded + v_done.cascaded,
        batches = logged.batches + case when v_done.removed > 0 then 1 else 0 end,
        longest_batch = greatest(logged.longest_batch, clock_timestamp() - v_began),
        heartbeat_at = clock_timestamp(),
        left_over = case when exit_reason is not null then v_done.left_over end
    where logged.id = step
    returning logged.removed into v_removed;

    if v_removed > least(v_step.max_rows, v_step.bound) then
        raise exception using
            errcode = 'program_limit_exceeded',
            message = format(
                'step %s would remove more than the %s rows that it may', step,
                least(v_step.max_rows, v_step.bound)
            ),
            hint = 'Sessions that work on one step have to divide its limit between them.';
    end if;
end;
$function$;

revoke all on function maintenance.run_batch(bigint, bigint, jsonb, integer, interval) from public;

comment on function maintenance.run_batch(bigint, bigint, jsonb, integer, interval) is
    'Remove the next batch of a step; returns how many rows, whether that was all, and why.';
