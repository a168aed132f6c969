-- Notes how a statement of a run ended, and how large what it was about is now.

create or replace function maintenance.close_task(
    task bigint,
    exit_reason text,
    message text default null,
    sqlstate text default null,
    rows_processed bigint default null
)
returns void
language sql
security definer  -- nobody writes the log but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
    update maintenance.run_task as closing
    set
        ended_at = clock_timestamp(),
        exit_reason = close_task.exit_reason,
        message = close_task.message,
        sqlstate = close_task.sqlstate,
        rows_processed = close_task.rows_processed,
        bytes_after = pg_total_relation_size(to_regclass(closing.object))
    from maintenance.run as running
    where closing.id = close_task.task
      and closing.ended_at is null
      and running.id = closing.run
      and running.owner_pid = pg_backend_pid();
$function$;

revoke all on function maintenance.close_task(bigint, text, text, text, bigint) from public;

comment on function maintenance.close_task(bigint, text, text, text, bigint) is
    'Note how a statement ended, in the words of maintenance.run_task.';
