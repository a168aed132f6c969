-- Opens a run in the log, before it does anything. Returns its number.
--
-- Runs whose session is gone are closed on the way, and applications told of them; those that ended
-- 90 days ago are forgotten, but not those that archived rows: undoing them needs their numbers.

create or replace function maintenance.open_run(program text, arguments jsonb default '{}')
returns bigint
language plpgsql
security definer  -- nobody writes the log but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_interrupted bigint[];
    v_run bigint;
begin
    perform maintenance.assert_adopted();

    update maintenance.run_step as step
    set
        ended_at = clock_timestamp(),
        exit_reason = 'interrupted',
        message = 'its session ended without a word'
    from maintenance.run as run
    where run.id = step.run
      and step.ended_at is null
      and not maintenance.is_alive(run.owner_pid, run.owner_start, step.heartbeat_at);

    update maintenance.run_task as task
    set
        ended_at = clock_timestamp(),
        exit_reason = 'interrupted',
        message = 'its session ended without a word'
    from maintenance.run as run
    where run.id = task.run
      and task.ended_at is null
      and not maintenance.is_alive(run.owner_pid, run.owner_start, task.started_at);

    with closed as (
        update maintenance.run as run
        set ended_at = clock_timestamp()
        where run.ended_at is null
          and not maintenance.is_alive(run.owner_pid, run.owner_start, run.started_at)
          and not exists (
              select
              from maintenance.run_step as step
              where step.run = run.id
                and step.ended_at is null
          )
          and not exists (
              select
              from maintenance.run_task as task
              where task.run = run.id
                and task.ended_at is null
          )
        returning run.id
    )
    select array_agg(closed.id order by closed.id)
    into v_interrupted
    from closed;

    perform maintenance.report_run(interrupted.run)
    from unnest(v_interrupted) as interrupted (run)
    where exists (
        select
        from maintenance.run_step as step
        where step.run = interrupted.run
          and step.action <> 'undo'
    );

    delete from maintenance.run as run
    where run.id in (
        select old.id
        from maintenance.run as old
        where old.ended_at < clock_timestamp() - interval '90 days'
          and not exists (
              select
              from maintenance.run_step as step
              join pg_catalog.pg_class as archive on archive.oid = any (step.archives)
              where step.run = old.id
                and step.removed > 0
          )
        order by old.id
        limit 1000
    );

    insert into maintenance.run (
        program, arguments, started_by, started_from, owner_pid, owner_start, started_at
    )
    select
        open_run.program,
        open_run.arguments,
        maintenance.caller(),
        concat_ws(
            ', ',
            coalesce(host(inet_client_addr()), 'local'),
            nullif(current_setting('application_name'), '')
        ),
        pg_backend_pid(),
        (
            select activity.backend_start
            from pg_catalog.pg_stat_activity as activity
            where activity.pid = pg_backend_pid()
        ),
        clock_timestamp()
    returning run.id into v_run;

    return v_run;
end;
$function$;

revoke all on function maintenance.open_run(text, jsonb) from public;

comment on function maintenance.open_run(text, jsonb) is
    'Open a run in the log, and return its number; a driver calls it first.';
