-- Removes batch after batch of a step, each committed on its own, until something ends it, a pause
-- is due, or the slice of time is over: null is no end, and 0 is one batch.
--
-- Nothing is lost that a repeat would not remove again, so batches do not wait for the disk;
-- closing the step does, and takes them along.

create or replace procedure maintenance.drive_batches(
    step bigint,
    token bigint,
    batch_size integer,
    time_goal interval,
    slice interval,
    inout cursor jsonb,
    inout removed bigint default null,
    inout is_done boolean default null,
    inout exit_reason text default null,
    inout message text default null,
    inout error_code text default null,
    inout pause interval default null
)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
    v_began timestamptz;
    v_batch record;
begin
    call maintenance.next_transaction();
    v_began := clock_timestamp();
    removed := 0;

    loop
        perform set_config('synchronous_commit', 'off', true);
        set constraints all immediate;  -- also those further down, where rows go along

        begin
            v_batch := maintenance.run_batch(step, token, cursor, batch_size, time_goal);
            removed := removed + v_batch.removed;
            is_done := v_batch.is_done;
            exit_reason := v_batch.exit_reason;
            message := v_batch.message;
            pause := v_batch.pause;
            cursor := coalesce(v_batch.next_cursor, cursor);
        exception
            when query_canceled then  -- Ctrl-C, or statement_timeout after all
                exit_reason := 'stopped';
                message := sqlerrm;
                error_code := sqlstate;
            when others then
                exit_reason := 'error';
                message := sqlerrm;
                error_code := sqlstate;
        end;

        call maintenance.next_transaction();
        exit when exit_reason is not null
            or is_done
            or pause > interval '0 s'
            or clock_timestamp() - v_began >= slice;
    end loop;
end;
$procedure$;

revoke all on procedure maintenance.drive_batches(
    bigint, bigint, integer, interval, interval, jsonb, bigint, boolean, text, text, text, interval
)
    from public;

comment on procedure maintenance.drive_batches(
    bigint, bigint, integer, interval, interval, jsonb, bigint, boolean, text, text, text, interval
) is
    'Remove batch after batch of a step for some time; drivers call it between open and close.';
