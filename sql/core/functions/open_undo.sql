-- Opens the step of a run that undoes another step: takes the lease of its policy, so that nothing
-- archives the rows again meanwhile, and logs that it begins. exit_reason says why it does not.
--
-- The policy may be switched off, or removed: what it archived can be put back all the same.

create or replace function maintenance.open_undo(
    run bigint,
    undone bigint,
    out step bigint,
    out token bigint,
    out exit_reason text,
    out message text,
    out waiting bigint
)
language plpgsql
security definer  -- nobody writes log and leases but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_run maintenance.run;
    v_undone maintenance.run_step;
    v_holder record;
    v_verdict text;
begin
    perform maintenance.assert_adopted();

    select opened.*
    into strict v_run
    from maintenance.run as opened
    where opened.id = run
      and opened.ended_at is null
      and opened.owner_pid = pg_backend_pid();

    select known.*
    into v_undone
    from maintenance.run_step as known
    where known.id = undone;

    if not found then
        raise exception using
            errcode = 'undefined_object',
            message = format('there is no step %s', coalesce(undone::text, 'null')),
            hint = 'maintenance.plan_undo(run) lists the steps of a run.';
    end if;

    insert into maintenance.lease (policy)
    values (v_undone.policy)
    on conflict do nothing;

    v_holder := maintenance.find_lease_holder(v_undone.policy);

    select judged.verdict, judged.reason, judged.waiting
    into v_verdict, message, waiting
    from maintenance.judge_undo(v_undone) as judged;

    if v_holder.step is not null then
        exit_reason := 'lease_held';
        message := format('step %s of process %s is at it', v_holder.step, v_holder.pid);
    elsif maintenance.pause_reason() is not null then
        exit_reason := 'paused';
        message := maintenance.pause_reason();
    elsif v_run.is_stop_requested then
        exit_reason := 'stopped';
        message := 'somebody asked the run to stop';
    elsif v_verdict = 'nothing' then
        exit_reason := 'nothing_to_do';
    elsif v_verdict = 'cannot' then
        exit_reason := 'error';
    end if;

    insert into maintenance.run_step (
        run, policy, operation, version, relation, action, archives, undoes, moment, eligible,
        started_at, heartbeat_at, ended_at, exit_reason, message
    )
    values (
        run,
        v_undone.policy,
        v_undone.operation,
        v_undone.version,
        v_undone.relation,
        'undo',
        v_undone.archives,
        undone,
        clock_timestamp(),
        waiting,
        clock_timestamp(),
        clock_timestamp(),
        case when exit_reason is not null then clock_timestamp() end,
        exit_reason,
        message
    )
    returning id into step;

    if exit_reason is null then
        token := maintenance.take_lease(v_undone.policy, step);
    end if;
end;
$function$;

revoke all on function maintenance.open_undo(bigint, bigint) from public;

comment on function maintenance.open_undo(bigint, bigint) is
    'Take the lease for undoing a step and log that it begins; exit_reason says why it does not.';
