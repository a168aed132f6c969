-- Says whether runs are paused, and which leases and runs their sessions have left behind. The next
-- run cleans up after these, so none is a problem; that no run comes is one: see the policies. So
-- is that an application has no record of the last one.

create or replace function maintenance.diagnose_runs()
returns table (subject text, name text, state text, message text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        'pause',
        null,
        'notice',
        'housekeeping is ' || pause.reason,
        'select maintenance.resume_runs() ends that'
    from maintenance.pause_reason() as pause (reason)
    where pause.reason is not null
    union all
    select
        'lease',
        lease.policy,
        case lease.session when 'alive' then 'ok' when 'gone' then 'notice' else 'unknown' end,
        case lease.session
            when 'alive' then format('process %s of %I is at it', lease.owner_pid, lease.role)
            when 'gone' then
                format('process %s of %I, which held it, is gone', lease.owner_pid, lease.role)
            else
                format('whether process %s of %I is at it still', lease.owner_pid, lease.role)
        end,
        case lease.session
            when 'gone' then 'the next run of the policy takes it over'
            when 'unknown' then 'needs pg_read_all_stats'
        end
    from maintenance.lease_status as lease
    union all
    select
        'run',
        run.id::text,
        'notice',
        format('%s of %I was interrupted', run.program, run.started_by),
        'the next run closes it'
    from maintenance.run
    where run.ended_at is null
      and not maintenance.is_alive(
          run.owner_pid,
          run.owner_start,
          coalesce(
              (
                  select max(step.heartbeat_at)
                  from maintenance.run_step as step
                  where step.run = run.id
              ),
              run.started_at
          )
      )
    union all
    select
        'run',
        run.id::text,
        'problem',
        format('it is not in the record of %s', run.report_problem),
        'maintenance.run_history has it; mend what kept it out'
    from maintenance.run
    where run.report_problem is not null
      and run.id = (
          select max(reported.id)
          from maintenance.run as reported
          where reported.reported_at is not null
      );
$function$;

revoke all on function maintenance.diagnose_runs() from public;

comment on function maintenance.diagnose_runs() is
    'Say whether runs are paused, and which were left behind by sessions that are gone.';
