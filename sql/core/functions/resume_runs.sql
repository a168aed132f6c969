-- Ends a pause. Returns whether there was one; one whose time was over is not one any more.

create or replace function maintenance.resume_runs()
returns boolean
language sql
security definer  -- nobody writes the table but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
    with ended as (
        delete from maintenance.pause
        returning pause.until is null or pause.until > clock_timestamp() as was_paused
    )
    select coalesce(bool_or(ended.was_paused), false)
    from ended;
$function$;

revoke all on function maintenance.resume_runs() from public;

comment on function maintenance.resume_runs() is
    'Let housekeeping go on after pause_runs; returns whether it was paused.';
