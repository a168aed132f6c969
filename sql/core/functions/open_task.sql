-- Notes a statement in the log before a run executes it. Returns its number.
--
-- Two runs do not execute statements of one operation at once: REINDEX CONCURRENTLY would deadlock.

create or replace function maintenance.open_task(
    run bigint,
    operation text,
    object text,
    statement text,
    reason text
)
returns bigint
language plpgsql
security definer  -- nobody writes the log but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_task bigint;
    v_other record;
begin
    perform maintenance.assert_adopted();

    perform
    from maintenance.operation as known
    where known.name = open_task.operation
    for update;  -- one after the other, until it is noted

    select other.id, other.owner_pid
    into v_other
    from maintenance.run_task as task
    join maintenance.run as other on other.id = task.run
    where task.operation = open_task.operation
      and task.ended_at is null
      and other.id <> open_task.run
      and maintenance.is_alive(other.owner_pid, other.owner_start, task.started_at)
    limit 1;

    if found then
        raise exception using
            errcode = 'object_in_use',
            message = format('run %s of process %s is at it', v_other.id, v_other.owner_pid),
            hint = 'Wait until it has ended: "runner history" says what runs.';
    end if;

    insert into maintenance.run_task (
        run, operation, object, statement, reason, started_at, bytes_before
    )
    select
        running.id, open_task.operation, open_task.object, open_task.statement, open_task.reason,
        clock_timestamp(),
        pg_total_relation_size(to_regclass(open_task.object))
    from maintenance.run as running
    where running.id = open_task.run
      and running.ended_at is null
      and running.owner_pid = pg_backend_pid()
    returning run_task.id into v_task;

    if v_task is null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('run %s does not run in this session', coalesce(run::text, 'null')),
            hint = 'maintenance.open_run begins one.';
    end if;

    return v_task;
end;
$function$;

revoke all on function maintenance.open_task(bigint, text, text, text, text) from public;

comment on function maintenance.open_task(bigint, text, text, text, text) is
    'Note a statement in the log before it is executed, and return its number.';
