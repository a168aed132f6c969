-- Carries out a policy: from psql, or as the one statement of a pg_cron job.
--
-- It commits after each batch, so it cannot be called within a transaction. What went wrong is an
-- error, at the very end, when the log has it: whoever scheduled the call sees that it failed.

create or replace procedure maintenance.run_policy(
    policy text,
    accept text default null,
    batch_size integer default null,
    max_rows bigint default null,
    max_duration interval default null,
    inout run bigint default null,
    inout removed bigint default null,
    inout exit_reason text default null,
    inout message text default null
)
language plpgsql
as $procedure$
declare
    v_path text := pg_catalog.current_setting('search_path');
    v_deadline timestamptz;
    v_unreported text;
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    begin
        commit;
    exception
        when invalid_transaction_termination then
            perform maintenance.assert_outside_transaction(sqlerrm);
    end;

    perform maintenance.policies_of(array[policy]);  -- is there one?
    call maintenance.next_transaction();
    v_deadline := maintenance.deadline_of_call(max_duration);
    run := maintenance.open_run(
        'run_policy',
        jsonb_strip_nulls(jsonb_build_object(
            'policy', policy, 'accept', accept, 'batch_size', batch_size, 'max_rows', max_rows,
            'max_duration', max_duration
        ))
    );

    call maintenance.drive_step(
        run, policy, accept, batch_size, max_rows, v_deadline, removed, exit_reason, message
    );

    call maintenance.next_transaction();
    perform maintenance.close_run(run);
    commit;

    call maintenance.next_transaction();
    v_unreported := maintenance.report_run(
        run,
        error => case
            when exit_reason in ('error', 'incomplete', 'guard') then
                pg_catalog.format('%s: %s: %s', policy, exit_reason, message)
        end
    );
    -- A trigger may have left the session another path.
    perform pg_catalog.set_config('search_path', v_path, false);
    commit;
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    if v_unreported is not null then
        raise warning 'run % is not in the record of %', run, v_unreported;
    end if;

    if exit_reason in ('error', 'incomplete', 'guard') then
        raise exception using
            errcode = case exit_reason
                when 'guard' then 'object_not_in_prerequisite_state'
                else 'raise_exception'
            end,
            message = pg_catalog.format('policy %s: %s: %s', policy, exit_reason, message),
            detail = pg_catalog.format('Run %s removed %s rows.', run, removed),
            hint = case exit_reason
                when 'guard' then
                    'maintenance.preview(policy) shows what would go, and a token where one helps.'
                else 'maintenance.run_history has the run.'
            end;
    end if;
end;
$procedure$;

revoke all on procedure maintenance.run_policy(
    text, text, integer, bigint, interval, bigint, bigint, text, text
)
    from public;

comment on procedure maintenance.run_policy(
    text, text, integer, bigint, interval, bigint, bigint, text, text
) is
    'Carry out a policy in batches of their own transactions; an error says what went wrong.';
