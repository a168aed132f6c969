-- Carries out all policies of some operations, or all there are, one after the other.
--
-- One that fails does not stop the others; an error at the end names those that did.

create or replace procedure maintenance.run_operations(
    operations text[] default null,
    max_duration interval default null,
    inout run bigint default null,
    inout removed bigint default null,
    inout failed text default null
)
language plpgsql
as $procedure$
declare
    v_path text := pg_catalog.current_setting('search_path');
    v_deadline timestamptz;
    v_policies text[];
    v_policy text;
    v_removed bigint;
    v_reason text;
    v_message text;
    v_unreported text;
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    begin
        commit;
    exception
        when invalid_transaction_termination then
            perform maintenance.assert_outside_transaction(sqlerrm);
    end;

    call maintenance.next_transaction();
    v_deadline := maintenance.deadline_of_call(max_duration);
    v_policies := maintenance.policies_of(operations);
    run := maintenance.open_run(
        'run_operations',
        jsonb_strip_nulls(jsonb_build_object(
            'operations', operations, 'max_duration', max_duration
        ))
    );
    removed := 0;

    foreach v_policy in array v_policies loop
        v_reason := null;
        call maintenance.drive_step(
            run, v_policy, null, null, null, v_deadline, v_removed, v_reason, v_message
        );
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        removed := removed + v_removed;

        if v_reason in ('error', 'incomplete', 'guard') then
            failed := concat_ws('; ', failed, format('%s: %s: %s', v_policy, v_reason, v_message));
        end if;
    end loop;

    call maintenance.next_transaction();
    perform maintenance.close_run(run);
    commit;

    call maintenance.next_transaction();
    v_unreported := maintenance.report_run(run, error => failed);
    -- A trigger may have left the session another path.
    perform pg_catalog.set_config('search_path', v_path, false);
    commit;

    if v_unreported is not null then
        raise warning 'run % is not in the record of %', run, v_unreported;
    end if;

    if failed is not null then
        raise exception using
            message = failed,
            detail = pg_catalog.format('Run %s removed %s rows.', run, removed);
    end if;
end;
$procedure$;

revoke all on procedure maintenance.run_operations(text[], interval, bigint, bigint, text)
    from public;

comment on procedure maintenance.run_operations(text[], interval, bigint, bigint, text) is
    'Carry out the policies of operations, or all; an error at the end names those that failed.';
