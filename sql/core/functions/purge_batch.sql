-- Removes one batch, for whoever wants to drive by hand: in psql, or within a transaction.
--
-- Call it again with the cursor it returns, until is_done. It takes part in no run: it refuses
-- while one goes on, asks no guard, for it removes no more than a batch, and writes no log. What it
-- archives belongs to no run, and so no undo puts it back.

create or replace function maintenance.purge_batch(
    policy text,
    moment timestamptz default null,
    cursor jsonb default null,
    batch_size integer default null,
    out removed bigint,
    out left_over bigint,
    out is_done boolean,
    out next_cursor jsonb
)
language plpgsql
security definer  -- operators need no right on the table: see install_executor
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_policy maintenance.policy := maintenance.read_policy(purge_batch.policy);
    v_lease maintenance.lease;
    v_moment timestamptz := coalesce(
        purge_batch.moment, (purge_batch.cursor ->> 'moment')::timestamptz, clock_timestamp()
    );
    v_size integer := coalesce(purge_batch.batch_size, v_policy.batch_size);
    v_done record;
begin
    perform maintenance.assert_may_run(v_policy, v_moment);

    if v_size not between 1 and 100000 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('batch_size must be between 1 and 100000, not %s', v_size);
    end if;

    if (purge_batch.cursor ->> 'version')::bigint <> v_policy.version then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('policy %s has changed since that cursor was made', v_policy.name),
            hint = 'Start again without a cursor.';
    end if;

    select lease.*
    into v_lease
    from maintenance.lease as lease
    where lease.policy = v_policy.name
    for update skip locked;

    if not found or (
        v_lease.step is not null
        and maintenance.is_alive(v_lease.owner_pid, v_lease.owner_start, now())
    ) then
        raise exception using
            errcode = 'lock_not_available',
            message = format('policy %s is being run by another session', v_policy.name),
            hint = 'maintenance.run_history says by which.';
    end if;

    v_done := maintenance.remove_batch(
        v_policy, v_moment, purge_batch.cursor, v_size, interval '50 ms', step => null
    );
    removed := v_done.removed;
    left_over := v_done.left_over;
    is_done := v_done.is_done;
    next_cursor := v_done.next_cursor
        || jsonb_build_object('moment', v_moment, 'version', v_policy.version);
end;
$function$;

revoke all on function maintenance.purge_batch(text, timestamptz, jsonb, integer) from public;

comment on function maintenance.purge_batch(text, timestamptz, jsonb, integer) is
    'Remove one batch of a policy''s rows; returns how many, whether that was all, and a cursor.';
