-- Carries out one policy within a run: opens its step, drives its batches, and closes it.
--
-- What the last run came not to comes first, and after it a walk through everything.

create or replace procedure maintenance.drive_step(
    run bigint,
    policy text,
    accept text,
    batch_size integer,
    max_rows bigint,
    deadline timestamptz,
    inout removed bigint,
    inout exit_reason text,
    inout message text
)
language plpgsql
as $procedure$
declare
    v_step record;
    v_parts jsonb;
    v_cursor jsonb;
    v_removed bigint;
    v_is_done boolean;
    v_sqlstate text;
    v_pause interval;
begin
    call maintenance.next_transaction();
    removed := 0;

    begin
        v_step := maintenance.open_step(run, policy, accept, max_rows, deadline);
        exit_reason := v_step.exit_reason;
        message := v_step.message;
        v_parts := v_step.resume;
        v_cursor := v_parts -> 0;
    exception
        when others then
            exit_reason := 'error';
            message := sqlerrm;
            return;
    end;

    while exit_reason is null loop
        call maintenance.drive_batches(
            v_step.step, v_step.token, batch_size, interval '50 ms', null,
            v_cursor, v_removed, v_is_done, exit_reason, message, v_sqlstate, v_pause
        );
        removed := removed + v_removed;

        if exit_reason is null and v_is_done then  -- with a part
            v_parts := v_parts - 0;
            v_cursor := v_parts -> 0;
        elsif exit_reason is null then
            begin
                perform pg_sleep(extract(epoch from v_pause));
            exception
                when query_canceled then
                    exit_reason := 'stopped';
                    message := sqlerrm;
                    v_sqlstate := sqlstate;
            end;
        end if;
    end loop;

    if exit_reason = 'stopped' and v_sqlstate is not null then
        perform maintenance.stop_run(run);  -- whatever policies come next
    end if;

    if v_step.token is not null then
        perform maintenance.close_step(
            v_step.step, v_step.token, exit_reason, message, v_sqlstate,
            jsonb_build_array(v_cursor) || coalesce(v_parts - 0, '[]')
        );
    end if;

    commit;
end;
$procedure$;

revoke all on procedure maintenance.drive_step(
    bigint, text, text, integer, bigint, timestamptz, bigint, text, text
)
    from public;

comment on procedure maintenance.drive_step(
    bigint, text, text, integer, bigint, timestamptz, bigint, text, text
) is
    'Carry out one policy within a run; run_policy and run_operations call it.';
