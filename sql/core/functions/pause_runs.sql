-- Pauses housekeeping in this database: what runs ends with its batch, nothing begins, no insert
-- sweeps, until resume_runs or the time that is given. A later call replaces an earlier one.

create or replace function maintenance.pause_runs(
    reason text default null,
    until timestamptz default null
)
returns void
language plpgsql
security definer  -- nobody writes the table but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    if pause_runs.until <= clock_timestamp() then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('a pause must end in the future, not at %s', pause_runs.until);
    end if;

    insert into maintenance.pause (reason, until, paused_by)
    values (nullif(pause_runs.reason, ''), pause_runs.until, maintenance.caller())
    on conflict (is_single) do update
    set
        reason = excluded.reason,
        until = excluded.until,
        paused_by = excluded.paused_by,
        paused_at = excluded.paused_at;
end;
$function$;

revoke all on function maintenance.pause_runs(text, timestamptz) from public;

comment on function maintenance.pause_runs(text, timestamptz) is
    'Pause all housekeeping in this database, until resume_runs or a time.';
