-- Says when a CALL has to end: a statement_timeout would kill it in the middle of a batch.

create or replace function maintenance.deadline_of_call(max_duration interval)
returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select least(
        clock_timestamp() + deadline_of_call.max_duration,
        -- a tenth of the time, and at most a second, is left for the last batch
        statement_timestamp() + timeout.span - least(timeout.span / 10, interval '1 s')
    )
    from (
        select nullif(current_setting('statement_timeout')::interval, interval '0 s')
    ) as timeout (span);
$function$;

revoke all on function maintenance.deadline_of_call(interval) from public;

comment on function maintenance.deadline_of_call(interval) is
    'Return when the current call has to end, given its budget and statement_timeout.';
