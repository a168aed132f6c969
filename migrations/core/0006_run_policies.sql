-- Carries policies out, in batches, with a lease, a guard and a log, and says in which order
-- operations run.
--
-- A driver opens a run, opens a step for each policy, asks for one batch after the other, each in a
-- transaction of its own, and closes what it opened. The procedures here are such drivers.

create table maintenance.run (
    id bigint generated always as identity constraint run_pkey primary key,
    program text not null,
    arguments jsonb not null,
    started_by name not null,
    started_from text not null,
    owner_pid integer not null,
    owner_start timestamptz,
    started_at timestamptz not null,
    ended_at timestamptz,
    is_stop_requested boolean not null default false,
    reported_at timestamptz,
    report_problem text
);

revoke all on table maintenance.run from public;
revoke all on sequence maintenance.run_id_seq from public;

comment on table maintenance.run is 'Every run, from before it began; see also run_history.';
comment on column maintenance.run.id is 'Number of the run.';
comment on column maintenance.run.program is 'What drove it: a procedure, or a program''s name.';
comment on column maintenance.run.arguments is 'What it was asked to do.';
comment on column maintenance.run.started_by is 'Role that started it.';
comment on column maintenance.run.started_from is 'Address and application name of its session.';
comment on column maintenance.run.owner_pid is 'Process of its session.';
comment on column maintenance.run.owner_start is 'When that session began.';
comment on column maintenance.run.started_at is 'When it began.';
comment on column maintenance.run.ended_at is 'When it ended; null while it runs.';
comment on column maintenance.run.is_stop_requested is
    'Whether it shall end with its next batch: see stop_run.';
comment on column maintenance.run.reported_at is
    'When applications were told what came of it: see report_run.';
comment on column maintenance.run.report_problem is
    'Which of them could not take it in, and why; null: none.';

create table maintenance.run_listener (
    chain text constraint run_listener_pkey primary key,
    routine text not null
);

revoke all on table maintenance.run_listener from public;

comment on table maintenance.run_listener is
    'Applications that keep a record of runs: see report_run. Written by their scripts.';
comment on column maintenance.run_listener.chain is 'Chain of the application.';
comment on column maintenance.run_listener.routine is
    'Function that is given the number of each run and its document, a jsonb.';

create table maintenance.run_step (
    id bigint generated always as identity constraint run_step_pkey primary key,
    run bigint not null
        constraint run_step_run_fkey references maintenance.run (id) on delete cascade,
    policy text not null,
    operation text not null,
    version bigint not null,
    relation text not null,
    action text not null
        constraint run_step_action_check check (action in ('delete', 'archive', 'set', 'undo')),
    archives regclass[] not null default '{}',
    undoes bigint
        constraint run_step_undoes_fkey references maintenance.run_step (id) on delete set null,
    moment timestamptz not null,
    age interval,
    eligible bigint,
    max_rows bigint,
    bound bigint,
    deadline timestamptz,
    accepted text constraint run_step_accepted_key unique,
    started_at timestamptz not null,
    heartbeat_at timestamptz not null,
    ended_at timestamptz,
    removed bigint not null default 0,
    dependents bigint not null default 0,
    cascaded bigint not null default 0,
    restored bigint not null default 0,
    conflicts jsonb,
    bytes bigint,
    batches bigint not null default 0,
    longest_batch interval not null default '0 s',
    left_over bigint,
    remaining jsonb,
    exit_reason text
        constraint run_step_exit_reason_check check (
            exit_reason in (
                'exhausted', 'nothing_to_do', 'budget', 'stopped', 'paused', 'disabled',
                'lease_held', 'guard', 'incomplete', 'error', 'interrupted'
            )
        ),
    sqlstate text,
    message text,
    constraint run_step_end_check check ((ended_at is null) = (exit_reason is null))
);

revoke all on table maintenance.run_step from public;
revoke all on sequence maintenance.run_step_id_seq from public;

create index run_step_undoes_idx on maintenance.run_step (undoes) where undoes is not null;
comment on index maintenance.run_step_undoes_idx is 'Finds what undid a step.';
create index run_step_run_idx on maintenance.run_step (run);
comment on index maintenance.run_step_run_idx is 'Finds the steps of a run.';
create index run_step_policy_idx on maintenance.run_step (policy, started_at);
comment on index maintenance.run_step_policy_idx is 'Finds the history of a policy.';

comment on table maintenance.run_step is 'What a run did for one policy.';
comment on column maintenance.run_step.id is 'Number of the step.';
comment on column maintenance.run_step.run is 'The run.';
comment on column maintenance.run_step.policy is 'Name of the policy.';
comment on column maintenance.run_step.operation is 'Operation of the policy.';
comment on column maintenance.run_step.version is 'Version of the policy.';
comment on column maintenance.run_step.relation is 'Table of the policy.';
comment on column maintenance.run_step.action is
    'What it did with the rows: the policy''s action then, or undo.';
comment on column maintenance.run_step.archives is
    'Archives that it moved rows into, in the order in which undoing it puts them back.';
comment on column maintenance.run_step.undoes is 'Step whose rows it put back.';
comment on column maintenance.run_step.moment is
    'What counted as now, from the first batch to the last.';
comment on column maintenance.run_step.age is 'Shortest retention that it went by.';
comment on column maintenance.run_step.eligible is 'Estimated rows that were to go at its start.';
comment on column maintenance.run_step.max_rows is 'Most rows that it might remove.';
comment on column maintenance.run_step.bound is 'Most rows that were accepted.';
comment on column maintenance.run_step.deadline is 'When it had to end.';
comment on column maintenance.run_step.accepted is
    'Token that lifted the guard; good for one step.';
comment on column maintenance.run_step.started_at is 'When it began.';
comment on column maintenance.run_step.heartbeat_at is 'When its last batch ended.';
comment on column maintenance.run_step.ended_at is 'When it ended; null while it runs.';
comment on column maintenance.run_step.removed is 'Rows removed, or changed by action set.';
comment on column maintenance.run_step.dependents is 'Rows of dependents that went first.';
comment on column maintenance.run_step.cascaded is 'Rows that foreign keys deleted along.';
comment on column maintenance.run_step.restored is 'Rows that it put back from archives.';
comment on column maintenance.run_step.conflicts is
    'Rows that it could not put back, each with its key and the reason; the first hundred.';
comment on column maintenance.run_step.bytes is 'Estimated bytes of the rows removed.';
comment on column maintenance.run_step.batches is 'How many batches it took.';
comment on column maintenance.run_step.longest_batch is 'How long the longest held its locks.';
comment on column maintenance.run_step.left_over is
    'Eligible rows that were seen and left, since others held them.';
comment on column maintenance.run_step.remaining is
    'Cursors of what it came not to, for want of time; the next step begins with them.';
comment on column maintenance.run_step.exit_reason is 'Why it ended.';
comment on column maintenance.run_step.sqlstate is 'Code of the error.';
comment on column maintenance.run_step.message is 'The error, or more on the reason.';

create table maintenance.run_task (
    id bigint generated always as identity constraint run_task_pkey primary key,
    run bigint not null
        constraint run_task_run_fkey references maintenance.run (id) on delete cascade,
    operation text not null,
    object text not null,
    statement text not null,
    reason text not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    exit_reason text
        constraint run_task_exit_reason_check check (
            exit_reason in (
                'exhausted', 'nothing_to_do', 'budget', 'stopped', 'paused', 'incomplete', 'error',
                'interrupted'
            )
        ),
    rows_processed bigint,
    bytes_before bigint,
    bytes_after bigint,
    sqlstate text,
    message text,
    constraint run_task_end_check check ((ended_at is null) = (exit_reason is null))
);

revoke all on table maintenance.run_task from public;
revoke all on sequence maintenance.run_task_id_seq from public;

create index run_task_run_idx on maintenance.run_task (run);
comment on index maintenance.run_task_run_idx is 'Finds the statements of a run.';
create index run_task_operation_idx on maintenance.run_task (operation, started_at);
comment on index maintenance.run_task_operation_idx is 'Finds the history of an operation.';

comment on table maintenance.run_task is
    'Statements that runs executed for operations without policies, from before they began.';
comment on column maintenance.run_task.id is 'Number of the task.';
comment on column maintenance.run_task.run is 'The run.';
comment on column maintenance.run_task.operation is 'The operation.';
comment on column maintenance.run_task.object is 'What the statement was about.';
comment on column maintenance.run_task.statement is 'What was executed.';
comment on column maintenance.run_task.reason is 'Why there was need of it.';
comment on column maintenance.run_task.started_at is 'When it began.';
comment on column maintenance.run_task.ended_at is 'When it ended; null while it runs.';
comment on column maintenance.run_task.exit_reason is
    'Why it ended, in the words of maintenance.run_step: exhausted is done.';
comment on column maintenance.run_task.rows_processed is 'Rows that the statement said it changed.';
comment on column maintenance.run_task.bytes_before is 'Size of the object before.';
comment on column maintenance.run_task.bytes_after is 'Size of the object afterwards.';
comment on column maintenance.run_task.sqlstate is 'Code of the error.';
comment on column maintenance.run_task.message is 'What went wrong, or is worth knowing.';

-- What an operation does is one of three: the policies of that name, statements that a view lists
-- because there is need of them, or a report. The runner carries all of them out; the procedures
-- only the policies, for VACUUM and its like cannot run in a procedure.

create table maintenance.operation (
    name text constraint operation_pkey primary key,
    position integer not null constraint operation_position_key unique,
    kind text not null
        constraint operation_kind_check
        check (kind in ('policies', 'statements', 'report', 'tool')),
    title text not null
);

revoke all on table maintenance.operation from public;

comment on table maintenance.operation is
    'Operations that runs know, in the order in which they run; policies may bring further ones.';
comment on column maintenance.operation.name is 'Name, as "runner run" takes it.';
comment on column maintenance.operation.position is 'Its place in a run of several.';
comment on column maintenance.operation.kind is
    'policies: rows that policies name go; statements: what its sources list is executed; report: '
    'figures; tool: a program of its own.';
comment on column maintenance.operation.title is 'What it does, in a few words.';

insert into maintenance.operation (name, position, kind, title)
values
    ('backup', 10, 'tool', 'dump the database, and prove the dump'),
    ('tokens', 20, 'policies', 'remove tokens that are used or over'),
    ('sessions', 30, 'policies', 'remove sessions that are over'),
    ('logs', 40, 'policies', 'remove old entries of logs'),
    ('cleanup', 50, 'policies', 'archive what failed or was deleted softly, later remove it'),
    ('orphans', 60, 'policies', 'remove rows that refer to nothing'),
    ('cache', 70, 'policies', 'remove cached rows that are over'),
    ('accounts', 80, 'policies', 'archive or switch off accounts that nobody uses'),
    ('files', 90, 'tool', 'remove temporary and unused files'),
    ('progress', 110, 'statements', 'add up figures that are stale'),
    ('views', 120, 'statements', 'refresh materialized views'),
    ('analyze', 130, 'statements', 'bring the planner''s statistics up to date'),
    ('reindex', 140, 'statements', 'rebuild indexes that are bloated or broken'),
    ('vacuum', 150, 'statements', 'make the space of removed rows usable again'),
    ('stats', 160, 'report', 'say how large everything is, and how it grows'),
    ('bloat', 170, 'report', 'say where more than a tenth is wasted');

create table maintenance.bundle (
    schedule text not null
        constraint bundle_schedule_check
        check (schedule in ('hourly', 'daily', 'weekly', 'monthly')),
    operation text not null
        constraint bundle_operation_fkey references maintenance.operation (name),
    constraint bundle_pkey primary key (schedule, operation)
);

revoke all on table maintenance.bundle from public;

create index bundle_operation_idx on maintenance.bundle (operation);
comment on index maintenance.bundle_operation_idx is 'Finds the bundles of an operation.';

comment on table maintenance.bundle is
    'Which operations "runner run --schedule" carries out; what runs more often runs here as well.';
comment on column maintenance.bundle.schedule is 'hourly, daily, weekly or monthly.';
comment on column maintenance.bundle.operation is 'The operation.';

insert into maintenance.bundle (schedule, operation)
values
    ('hourly', 'tokens'),
    ('hourly', 'sessions'),
    ('hourly', 'cache'),
    ('hourly', 'views'),
    ('daily', 'logs'),
    ('daily', 'orphans'),
    ('daily', 'progress'),
    ('daily', 'analyze'),
    ('daily', 'stats'),
    ('weekly', 'backup'),
    ('weekly', 'cleanup'),
    ('weekly', 'files'),
    ('weekly', 'vacuum'),
    ('weekly', 'bloat'),
    ('monthly', 'accounts'),
    ('monthly', 'reindex');

create table maintenance.statement_source (
    operation text not null
        constraint statement_source_operation_fkey references maintenance.operation (name),
    source text not null,
    scope text not null
        constraint statement_source_scope_check check (scope in ('needed', 'all')),
    chain text not null,
    constraint statement_source_pkey primary key (operation, source)
);

revoke all on table maintenance.statement_source from public;

comment on table maintenance.statement_source is
    'Views that list the statements of an operation: object, statement, reason and is_patient.';
comment on column maintenance.statement_source.operation is 'The operation.';
comment on column maintenance.statement_source.source is 'Qualified name of the view.';
comment on column maintenance.statement_source.scope is
    'needed: what there is need of; all: every object, for --all-tables and --all-indexes.';
comment on column maintenance.statement_source.chain is 'Chain that the view belongs to.';

\ir ../../sql/core/functions/is_alive.sql
\ir ../../sql/core/functions/estimate_eligible.sql
\ir ../../sql/core/functions/count_eligible.sql
\ir ../../sql/core/functions/choose_strategy.sql
\ir ../../sql/core/functions/range_scope.sql
\ir ../../sql/core/functions/prove_archived.sql
\ir ../../sql/core/functions/proved_rows.sql
\ir ../../sql/core/functions/dependent_statement.sql
\ir ../../sql/core/functions/joint_statement.sql
\ir ../../sql/core/functions/remove_range.sql
\ir ../../sql/core/functions/cascade_tree.sql
\ir ../../sql/core/functions/count_cascaded.sql
\ir ../../sql/core/functions/name_holders.sql
\ir ../../sql/core/functions/hasten_constraints.sql
\ir ../../sql/core/functions/remove_batch.sql
\ir ../../sql/core/functions/assert_read_committed.sql
\ir ../../sql/core/functions/assert_may_run.sql
\ir ../../sql/core/functions/purge_batch.sql
\ir ../../sql/core/functions/key_edges.sql
\ir ../../sql/core/functions/join_parts.sql
\ir ../../sql/core/functions/sign_token.sql
\ir ../../sql/core/functions/shortest_retention.sql
\ir ../../sql/core/functions/judge_run.sql
\ir ../../sql/core/functions/run_document.sql
\ir ../../sql/core/functions/report_run.sql
\ir ../../sql/core/functions/open_run.sql
\ir ../../sql/core/functions/find_lease_holder.sql
\ir ../../sql/core/functions/take_lease.sql
\ir ../../sql/core/functions/open_step.sql
\ir ../../sql/core/functions/split_step.sql
\ir ../../sql/core/functions/check_step.sql
\ir ../../sql/core/functions/hold_lease.sql
\ir ../../sql/core/functions/run_batch.sql
\ir ../../sql/core/functions/close_step.sql
\ir ../../sql/core/functions/close_run.sql
\ir ../../sql/core/functions/stop_run.sql
\ir ../../sql/core/functions/open_task.sql
\ir ../../sql/core/functions/close_task.sql
\ir ../../sql/core/functions/offer_statements.sql
\ir ../../sql/core/functions/set_bundle.sql
\ir ../../sql/core/functions/bundled.sql
\ir ../../sql/core/functions/policies_of.sql
\ir ../../sql/core/functions/deadline_of_call.sql
\ir ../../sql/core/functions/assert_outside_transaction.sql
\ir ../../sql/core/procedures/next_transaction.sql
\ir ../../sql/core/procedures/drive_batches.sql
\ir ../../sql/core/procedures/drive_step.sql
\ir ../../sql/core/procedures/run_policy.sql
\ir ../../sql/core/procedures/run_operations.sql
\ir ../../sql/core/functions/forecast.sql
\ir ../../sql/core/functions/plan_policy.sql
\ir ../../sql/core/functions/preview.sql
\ir ../../sql/core/functions/load_signals.sql
\ir ../../sql/core/functions/vacuum_statement.sql
\ir ../../sql/core/functions/vacuum_command.sql
\ir ../../sql/core/views/run_history.sql
\ir ../../sql/core/views/policy_status.sql
\ir ../../sql/core/functions/describe_policy.sql
