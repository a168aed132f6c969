-- Opens the step of a run for one policy: judges it, takes the lease, and logs that it begins.
--
-- What keeps it from running is logged as well: exit_reason says what. Else the step is open, and
-- its token is what run_batch and close_step ask for.
--
-- eligible is an estimate, allowed what the limits leave, null without one. resume are the parts
-- that the last step of the policy came not to, for want of time: they come first, or else runs
-- that are always too short would tend the beginning of the table, and never its end. A step that
-- ends before it began hands them on.

create or replace function maintenance.open_step(
    run bigint,
    policy text,
    accept text default null,
    max_rows bigint default null,
    deadline timestamptz default null,
    out step bigint,
    out token bigint,
    out exit_reason text,
    out message text,
    out eligible bigint,
    out allowed bigint,
    out resume jsonb
)
language plpgsql
security definer  -- nobody writes log and leases but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_policy maintenance.policy := maintenance.read_policy(policy);
    v_holder record;
    v_run maintenance.run;
    v_verdict text;
    v_moment timestamptz;
    v_bound bigint;
    v_last maintenance.run_step;
    v_sqlstate text;
begin
    perform maintenance.assert_adopted();

    select opened.*
    into strict v_run
    from maintenance.run as opened
    where opened.id = run
      and opened.ended_at is null
      and opened.owner_pid = pg_backend_pid();

    v_holder := maintenance.find_lease_holder(v_policy.name);

    if not v_policy.is_enabled then
        exit_reason := 'disabled';
        message := 'the policy is switched off';
    elsif maintenance.pause_reason() is not null then
        exit_reason := 'paused';
        message := maintenance.pause_reason();
    elsif v_run.is_stop_requested then
        exit_reason := 'stopped';
        message := 'somebody asked the run to stop';
    elsif clock_timestamp() >= deadline then
        exit_reason := 'budget';
        message := 'the time was up before it began';
    elsif v_holder.step is not null then
        exit_reason := 'lease_held';
        message := format('step %s of process %s is at it', v_holder.step, v_holder.pid);
    else
        begin
            select judged.verdict, judged.reason, judged.moment, judged.bound, judged.eligible
            into v_verdict, message, v_moment, v_bound, eligible
            from maintenance.judge_run(v_policy, accept) as judged;

            if v_verdict not in ('pass', 'accepted') then
                exit_reason := 'guard';
            end if;
        exception
            when query_canceled then  -- counting can take long
                exit_reason := 'stopped';
                message := sqlerrm;
                v_sqlstate := sqlstate;
            when others then
                exit_reason := 'error';
                message := sqlerrm;
                v_sqlstate := sqlstate;
        end;
    end if;

    allowed := least(max_rows, v_policy.max_rows, v_bound);

    select last.*
    into v_last
    from maintenance.run_step as last
    where last.policy = v_policy.name
      and coalesce(last.exit_reason, 'interrupted')
          not in ('guard', 'lease_held', 'disabled', 'paused')
      and last.action <> 'undo'
    order by last.started_at desc
    limit 1;

    if v_last.version = v_policy.version then
        resume := v_last.remaining;
    end if;

    insert into maintenance.run_step (
        run, policy, operation, version, relation, action, archives, moment, age, eligible,
        max_rows, bound, deadline, accepted, started_at, heartbeat_at, ended_at, exit_reason,
        message, sqlstate, remaining
    )
    values (
        run,
        v_policy.name,
        v_policy.operation,
        v_policy.version,
        v_policy.relation::text,
        v_policy.action,
        array(
            select archived.archive
            from maintenance.policy_archives(v_policy) as archived
            where archived.archive is not null
            order by archived.place
        ),
        coalesce(v_moment, clock_timestamp()),
        case when exit_reason is null then maintenance.shortest_retention(v_policy) end,
        eligible,
        least(max_rows, v_policy.max_rows),
        v_bound,
        least(deadline, clock_timestamp() + v_policy.max_duration),
        case when exit_reason is null then accept end,
        clock_timestamp(),
        clock_timestamp(),
        case when exit_reason is not null then clock_timestamp() end,
        exit_reason,
        message,
        v_sqlstate,
        case when exit_reason in ('budget', 'stopped') then resume end
    )
    returning id into step;

    if exit_reason is null then
        token := maintenance.take_lease(v_policy.name, step);
    end if;
end;
$function$;

revoke all on function maintenance.open_step(bigint, text, text, bigint, timestamptz) from public;

comment on function maintenance.open_step(bigint, text, text, bigint, timestamptz) is
    'Judge a policy, take its lease and log that it begins; exit_reason says why it does not.';
