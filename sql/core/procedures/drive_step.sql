-- Carries out one policy within a run: batch after batch, each committed on its own.
--
-- Nothing is lost that a repeat would not remove again, so batches do not wait for the disk;
-- closing the step does, and takes them along. What the last run came not to comes first, and after
-- it a walk through everything.

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
    v_batch record;
    v_parts jsonb;
    v_cursor jsonb;
    v_sqlstate text;
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

    call maintenance.next_transaction();

    while exit_reason is null loop
        perform set_config('synchronous_commit', 'off', true);
        set constraints all immediate;  -- also those further down, where rows go along

        begin
            v_batch := maintenance.run_batch(v_step.step, v_step.token, v_cursor, batch_size);
            removed := removed + v_batch.removed;
            exit_reason := v_batch.exit_reason;
            message := v_batch.message;
            v_cursor := coalesce(v_batch.next_cursor, v_cursor);
        exception
            when query_canceled then  -- Ctrl-C, or statement_timeout after all
                exit_reason := 'stopped';
                message := sqlerrm;
                v_sqlstate := sqlstate;
                perform maintenance.stop_run(run);  -- whatever policies come next
            when others then
                exit_reason := 'error';
                message := sqlerrm;
                v_sqlstate := sqlstate;
        end;

        call maintenance.next_transaction();
        continue when exit_reason is not null;

        if v_batch.is_done then  -- of a part
            v_parts := v_parts - 0;
            v_cursor := v_parts -> 0;
        end if;

        if v_batch.pause > interval '0 s' then
            begin
                perform pg_sleep(extract(epoch from v_batch.pause));
            exception
                when query_canceled then
                    exit_reason := 'stopped';
                    message := sqlerrm;
                    v_sqlstate := sqlstate;
                    perform maintenance.stop_run(run);
            end;
        end if;
    end loop;

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
