-- Puts a run into THE_BOT's task log, where its history is read: result is the whole document.
--
-- report_run calls it. It writes as the owner of the table, and waits up to 5 s for its lock.

create or replace function maintenance.log_task_execution(run bigint, document jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD'  -- as where the moments are read
set timezone = 'UTC'
as $function$
declare
    v_run maintenance.run;
    v_problems text;
begin
    select logged.*
    into strict v_run
    from maintenance.run as logged
    where logged.id = log_task_execution.run;

    select coalesce(
        document #>> '{metadata,error}',  -- names all that failed, where it is given
        string_agg(said.message, E'\n' order by operation.key, said.place)
    )
    into v_problems
    from jsonb_each(document - 'metadata') as operation
    cross join lateral jsonb_array_elements_text(operation.value -> 'errors')
        with ordinality as said (message, place)
    where operation.value ->> 'status' = 'error';

    perform maintenance.run_with_patience(
        'public.core_task_execution_log',
        format(
            $insert$
            insert into public.core_task_execution_log (
                task_id, task_name, status, started_at, completed_at, duration_seconds,
                retry_count, result, error_message
            )
            values (
                'maintenance_task', 'database_maintenance', %L, %L, %L, %L, 0, %L, %L
            )
            $insert$,
            case when v_problems is null then 'success' else 'failed' end,
            v_run.started_at,
            v_run.ended_at,
            document #>> '{metadata,duration_seconds}',
            document,
            coalesce(v_problems, '')
        )
    );
end;
$function$;

revoke all on function maintenance.log_task_execution(bigint, jsonb) from public;

comment on function maintenance.log_task_execution(bigint, jsonb) is
    'Put a line on a run into the application''s task log; report_run calls it.';
