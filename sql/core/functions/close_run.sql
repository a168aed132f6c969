-- Closes a run in the log.

create or replace function maintenance.close_run(run bigint)
returns void
language sql
security definer  -- nobody writes the log but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
    update maintenance.run as closing
    set ended_at = clock_timestamp()
    where closing.id = close_run.run
      and closing.ended_at is null
      and closing.owner_pid = pg_backend_pid();
$function$;

revoke all on function maintenance.close_run(bigint) from public;

comment on function maintenance.close_run(bigint) is
    'Close a run in the log; a driver calls it last.';
