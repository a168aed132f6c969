-- Says why nothing may run now; null where it may.

create or replace function maintenance.pause_reason()
returns text
language sql
stable
security definer  -- operators need not be able to read the table
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'paused by %s%s%s',
        pause.paused_by,
        ' until ' || to_char(pause.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
        ': ' || pause.reason
    )
    from maintenance.pause
    where pause.until is null
       or pause.until > clock_timestamp();
$function$;

revoke all on function maintenance.pause_reason() from public;

comment on function maintenance.pause_reason() is
    'Return who paused housekeeping, until when and why; null while it is not paused.';
