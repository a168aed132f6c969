-- What ran, newest first: a line for each policy of each run, and one for a run without any.

create or replace view maintenance.run_history
with (security_invoker = true)
as
select
    run.id as run,
    step.policy,
    step.operation,
    step.relation,
    step.action,
    coalesce(step.started_at, run.started_at) as started_at,
    case when step.id is null then run.ended_at else step.ended_at end as ended_at,
    coalesce(step.ended_at, step.heartbeat_at) - step.started_at as duration,
    step.moment,
    step.removed,
    step.dependents,
    step.cascaded,
    step.restored,
    undone.run as undoes,
    step.bytes,
    step.batches,
    step.longest_batch,
    step.left_over,
    coalesce(
        step.exit_reason,
        case
            when step.id is null and run.ended_at is not null then null
            when maintenance.is_alive(
                run.owner_pid, run.owner_start, coalesce(step.heartbeat_at, run.started_at)
            )
                then 'running'
            else 'interrupted'
        end
    ) as exit_reason,
    step.sqlstate,
    step.message,
    step.conflicts,
    run.program,
    run.arguments,
    run.started_by,
    run.started_from
from maintenance.run
left join maintenance.run_step as step on step.run = run.id
left join maintenance.run_step as undone on undone.id = step.undoes
order by run.id desc, step.id desc;

revoke all on table maintenance.run_history from public;

comment on view maintenance.run_history is 'What ran, when, for how long, and why it ended.';
comment on column maintenance.run_history.run is 'Number of the run.';
comment on column maintenance.run_history.policy is
    'Policy that it carried out; null: it came to none.';
comment on column maintenance.run_history.operation is 'Operation of the policy.';
comment on column maintenance.run_history.relation is 'Table of the policy.';
comment on column maintenance.run_history.action is 'delete, archive, set or undo.';
comment on column maintenance.run_history.started_at is 'When this policy began.';
comment on column maintenance.run_history.ended_at is 'When it ended; null while it runs.';
comment on column maintenance.run_history.duration is 'How long it took, or takes so far.';
comment on column maintenance.run_history.moment is 'What counted as now.';
comment on column maintenance.run_history.removed is 'Rows removed, or changed by action set.';
comment on column maintenance.run_history.dependents is 'Rows of dependents that went first.';
comment on column maintenance.run_history.cascaded is 'Rows that foreign keys deleted along.';
comment on column maintenance.run_history.restored is 'Rows that it put back from archives.';
comment on column maintenance.run_history.undoes is 'Run whose rows it put back.';
comment on column maintenance.run_history.bytes is 'Estimated bytes of the rows removed.';
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
