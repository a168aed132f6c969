-- Asks a run to stop. The batch that is going on is finished, and the log says why it ended.

create or replace function maintenance.stop_run(run bigint)
returns void
language plpgsql
security definer  -- nobody writes the log but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
begin
    update maintenance.run as stopping
    set is_stop_requested = true
    where stopping.id = stop_run.run
      and stopping.ended_at is null;

    if not found then
        raise exception using
            errcode = 'undefined_object',
            message = format('run %s does not run', coalesce(run::text, 'null')),
            hint = 'maintenance.run_history says which do.';
    end if;
end;
$function$;

revoke all on function maintenance.stop_run(bigint) from public;

comment on function maintenance.stop_run(bigint) is 'Ask a run to end after its current batch.';
