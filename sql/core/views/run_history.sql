-- What ran, newest first: a line for each policy of a run and for each statement that it executed,
-- and one for a run that came to none.

create or replace view maintenance.run_history
with (security_invoker = true)
as
select
    run.id as run,
    entry.policy,
    entry.operation,
    entry.relation,
    entry.action,
    entry.statement,
    coalesce(entry.started_at, run.started_at) as started_at,
    case when entry.id is null then run.ended_at else entry.ended_at end as ended_at,
    coalesce(entry.ended_at, entry.seen_at) - entry.started_at as duration,
    entry.moment,
    entry.removed,
    entry.dependents,
    entry.cascaded,
    entry.restored,
    undone.run as undoes,
    entry.bytes,
    entry.batches,
    entry.longest_batch,
    entry.left_over,
    coalesce(
        entry.exit_reason,
        case
            when entry.id is null and run.ended_at is not null then null
            when maintenance.is_alive(
                run.owner_pid, run.owner_start, coalesce(entry.seen_at, run.started_at)
            )
                then 'running'
            else 'interrupted'
        end
    ) as exit_reason,
    entry.sqlstate,
    entry.message,
    entry.conflicts,
    run.program,
    run.arguments,
    run.started_by,
    run.started_from
from maintenance.run
left join lateral (
    select
        step.id, step.policy, step.operation, step.relation, step.action,
        null as statement,
        step.started_at, step.ended_at, step.heartbeat_at as seen_at, step.moment,
        step.removed, step.dependents, step.cascaded, step.restored, step.undoes, step.bytes,
        step.batches, step.longest_batch, step.left_over, step.exit_reason, step.sqlstate,
        step.message, step.conflicts
    from maintenance.run_step as step
    where step.run = run.id
    union all
    select
        task.id, null as policy, task.operation, task.object as relation, 'execute' as action,
        task.statement,
        task.started_at, task.ended_at, task.started_at as seen_at, null as moment,
        task.rows_processed as removed, 0 as dependents, 0 as cascaded, 0 as restored,
        null as undoes, task.bytes_before - task.bytes_after as bytes,
        0 as batches, null as longest_batch, null as left_over, task.exit_reason, task.sqlstate,
        task.message, null as conflicts
    from maintenance.run_task as task
    where task.run = run.id
) as entry on true
left join maintenance.run_step as undone on undone.id = entry.undoes
order by run.id desc, entry.started_at desc, entry.id desc;

revoke all on table maintenance.run_history from public;

comment on view maintenance.run_history is 'What ran, when, for how long, and why it ended.';
comment on column maintenance.run_history.run is 'Number of the run.';
comment on column maintenance.run_history.policy is
    'Policy that it carried out; null: a statement, or it came to none.';
comment on column maintenance.run_history.operation is 'Operation that it belonged to.';
comment on column maintenance.run_history.relation is
    'Table of the policy, or what the statement was about.';
comment on column maintenance.run_history.action is
    'delete, archive, set or undo; execute: a statement.';
comment on column maintenance.run_history.statement is 'What was executed, where no policy was.';
comment on column maintenance.run_history.started_at is 'When this line began.';
comment on column maintenance.run_history.ended_at is 'When it ended; null while it runs.';
comment on column maintenance.run_history.duration is 'How long it took, or takes so far.';
comment on column maintenance.run_history.moment is 'What counted as now.';
comment on column maintenance.run_history.removed is
    'Rows removed, or changed by action set or a statement.';
comment on column maintenance.run_history.dependents is 'Rows of dependents that went first.';
comment on column maintenance.run_history.cascaded is 'Rows that foreign keys deleted along.';
comment on column maintenance.run_history.restored is 'Rows that it put back from archives.';
comment on column maintenance.run_history.undoes is 'Run whose rows it put back.';
comment on column maintenance.run_history.bytes is
    'Estimated bytes of the rows removed; of a statement, by how much its table is smaller.';
comment on column maintenance.run_history.batches is 'Batches that removed rows.';
comment on column maintenance.run_history.longest_batch is 'Longest time that locks were held.';
comment on column maintenance.run_history.left_over is 'Eligible rows that others held to the end.';
comment on column maintenance.run_history.exit_reason is
    'Why it ended; running, or interrupted where its session is gone.';
comment on column maintenance.run_history.sqlstate is 'Code of the error.';
comment on column maintenance.run_history.message is 'The error, or more on the reason.';
comment on column maintenance.run_history.conflicts is
    'Rows that could not be put back, with their keys and the reasons.';
comment on column maintenance.run_history.program is 'What drove it.';
comment on column maintenance.run_history.arguments is 'What it was asked to do.';
comment on column maintenance.run_history.started_by is 'Role that started it.';
comment on column maintenance.run_history.started_from is 'Address and application name.';
