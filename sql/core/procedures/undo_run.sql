-- Undoes a run from psql: puts every row that it archived back, step by step, in batches of their
-- own transactions. What cannot be put back is an error, at the very end: the log lists the rows.

create or replace procedure maintenance.undo_run(
    run bigint,
    policy text default null,
    batch_size integer default 10000,
    inout undo bigint default null,
    inout restored bigint default null
)
language plpgsql
as $procedure$
#variable_conflict use_variable
declare
    v_path text := pg_catalog.current_setting('search_path');
    v_planned record;
    v_step record;
    v_batch record;
    v_cursor jsonb;
    v_sqlstate text;
    v_problems text[] := '{}'::text[];
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    begin
        commit;
    exception
        when invalid_transaction_termination then
            perform maintenance.assert_outside_transaction(sqlerrm);
    end;

    call maintenance.next_transaction();
    perform maintenance.assert_undoable(run, policy);
    undo := maintenance.open_run(
        'undo_run', jsonb_strip_nulls(jsonb_build_object('run', run, 'policy', policy))
    );
    restored := 0;

    for v_planned in
        select planned.*
        from maintenance.plan_undo(run) as planned
        where planned.verdict <> 'nothing'
          and planned.policy = coalesce(undo_run.policy, planned.policy)
    loop
        if v_planned.verdict = 'cannot' then
            v_problems := v_problems
                || format('policy %s: %s', v_planned.policy, v_planned.reason);
            continue;
        end if;

        call maintenance.next_transaction();
        v_step := maintenance.open_undo(undo, v_planned.step);
        v_batch := null;
        v_cursor := null;
        v_sqlstate := null;

        while v_step.exit_reason is null loop
            call maintenance.next_transaction();
            perform set_config('synchronous_commit', 'off', true);
            set constraints all immediate;  -- also those of tables that triggers write to

            begin
                v_batch := maintenance.undo_batch(
                    v_step.step, v_step.token, v_cursor, batch_size
                );
                v_cursor := v_batch.next_cursor;
                restored := restored + v_batch.restored;
                v_step.exit_reason := v_batch.exit_reason;
                v_step.message := v_batch.message;
            exception
                when query_canceled then
                    v_step.exit_reason := 'stopped';
                    v_step.message := sqlerrm;
                    v_sqlstate := sqlstate;
                when others then
                    v_step.exit_reason := 'error';
                    v_step.message := sqlerrm;
                    v_sqlstate := sqlstate;
            end;
        end loop;

        call maintenance.next_transaction();

        if v_step.token is not null then
            perform maintenance.close_step(
                v_step.step, v_step.token, v_step.exit_reason, v_step.message, v_sqlstate
            );
        end if;

        if v_step.exit_reason not in ('exhausted', 'nothing_to_do') then
            v_problems := v_problems || format(
                'policy %s: %s: %s', v_planned.policy, v_step.exit_reason, v_step.message
            );
        end if;

        exit when v_step.exit_reason = 'stopped';
    end loop;

    call maintenance.next_transaction();
    perform maintenance.close_run(undo);
    -- A trigger may have left the session another path.
    perform pg_catalog.set_config('search_path', v_path, false);
    commit;
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    if cardinality(v_problems) > 0 then
        raise exception using
            message = v_problems[1],
            detail = array_to_string(
                v_problems[2:] || format('Run %s put %s rows back.', undo, restored), E'\n'
            ),
            hint = 'maintenance.run_history lists in conflicts what was refused, and why.';
    end if;
end;
$procedure$;

revoke all on procedure maintenance.undo_run(bigint, text, integer, bigint, bigint)
    from public;

comment on procedure maintenance.undo_run(bigint, text, integer, bigint, bigint) is
    'Put back every row that a run archived; an error says what could not be put back.';
