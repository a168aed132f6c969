-- Says as one document what came of a run: a key for each operation, and metadata. It is the
-- document of "runner run --output json", as far as the log has it: see docs/run.schema.json.
--
-- error is what the log does not have: a step that could not even be opened.

create or replace function maintenance.run_document(run bigint, error text default null)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'  -- of the moments in it
as $function$
    with step as (
        select
            step.*,
            coalesce(tended.title, step.policy) as title,
            extract(epoch from coalesce(step.age, maintenance.shortest_retention(tended)))
                / 86400 as days,
            coalesce(step.exit_reason, 'interrupted') as ended_with,
            case
                when step.exit_reason in ('exhausted', 'budget', 'stopped') then 'completed'
                when step.exit_reason in ('nothing_to_do', 'lease_held', 'disabled', 'paused')
                    then 'skipped'
                else 'error'
            end as status,
            case step.action when 'set' then 0 else step.removed end as deleted
        from maintenance.run_step as step
        left join maintenance.policy as tended on tended.name = step.policy
        where step.run = run_document.run
          and step.action <> 'undo'
    ),
    operation as (
        select
            step.operation as name,
            min(step.id) as place,
            -- the worst of them speaks for all; of several, the first
            (array_agg(
                step.id
                order by
                    array_position(array['error', 'completed', 'skipped'], step.status),
                    step.id
            ))[1] as worst,
            sum(step.removed) as removed,
            sum(step.deleted) as deleted,
            jsonb_object_agg(
                step.title,
                jsonb_build_object(
                    'deleted', step.deleted,
                    'days', step.days::double precision,
                    'policy', step.policy,
                    'operation', step.operation,
                    'relation', step.relation,
                    'action', step.action,
                    'title', step.title,
                    'exit_reason', step.ended_with,
                    'message', step.message,
                    'removed', step.removed,
                    'dependents', step.dependents,
                    'cascaded', step.cascaded,
                    'bytes', step.bytes,
                    'batches', step.batches,
                    'longest_batch', extract(epoch from step.longest_batch),
                    'seconds', extract(epoch from step.ended_at - step.started_at),
                    'left_over', step.left_over,
                    'sqlstate', step.sqlstate,
                    'vacuum', null
                )
            ) as details,
            coalesce(
                jsonb_object_agg(
                    step.title,
                    jsonb_build_object('rows_cleaned', step.removed, 'status', step.status)
                )
                    filter (where step.operation = 'cleanup' and step.title <> step.policy),
                '{}'
            ) as cleaned,
            coalesce(
                jsonb_agg(
                    concat_ws(': ', step.policy, step.ended_with, step.message)
                    order by step.id
                )
                    filter (where step.status = 'error'),
                '[]'
            ) as errors
        from step
        group by step.operation
    )
    select
        coalesce(
            jsonb_object_agg(
                operation.name,
                operation.cleaned || jsonb_build_object(
                    'status', step.status,
                    'operation', operation.name,
                    'message', coalesce(
                        step.message, format('%s rows removed', operation.removed)
                    ),
                    'exit_reason', step.ended_with,
                    'rows_processed', operation.removed,
                    'rows_deleted', operation.deleted,
                    'details', operation.details,
                    'errors', operation.errors
                )
            )
                filter (where operation.name is not null),
            '{}'
        )
        || jsonb_build_object(
            'metadata',
            jsonb_strip_nulls(jsonb_build_object(
                'timestamp', run.started_at,
                'duration_seconds', round(
                    extract(epoch from coalesce(run.ended_at, clock_timestamp()) - run.started_at),
                    2
                ),
                'dry_run', false,
                'database', current_database(),
                'run', run.id,
                'error', run_document.error
            ))
        )
    from maintenance.run as run
    left join operation on true
    left join step on step.id = operation.worst
    where run.id = run_document.run
    group by run.id;
$function$;

revoke all on function maintenance.run_document(bigint, text) from public;

comment on function maintenance.run_document(bigint, text) is
    'Say as one document what came of a run, in the form of "runner run --output json".';
