-- Carries policies out, in batches, with a lease, a guard and a log.
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
\ir ../../sql/core/functions/vacuum_command.sql
\ir ../../sql/core/views/run_history.sql
\ir ../../sql/core/views/policy_status.sql
\ir ../../sql/core/functions/describe_policy.sql
