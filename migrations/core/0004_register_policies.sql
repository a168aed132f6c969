-- Lets anybody who owns a table say which of its rows are of no more use: a policy, which is data.
--
-- A policy is read whole from its row in maintenance.policy. That row is what was registered, with
-- the user's own changes, which are kept apart in policy_override, laid over it.

create table maintenance.installation (
    is_single boolean constraint installation_pkey primary key default true
        constraint installation_is_single_check check (is_single),
    system_identifier bigint not null,
    database_oid oid not null,
    secret text not null,
    adopted_at timestamptz not null default now()
);

revoke all on table maintenance.installation from public;

comment on table maintenance.installation is
    'Which database this is. In a copy nothing runs until maintenance.adopt_clone() was called.';
comment on column maintenance.installation.is_single is 'There is one row.';
comment on column maintenance.installation.system_identifier is
    'Cluster that the database was in, as pg_control_system() names it.';
comment on column maintenance.installation.database_oid is 'The database''s oid there.';
comment on column maintenance.installation.secret is 'Signs the tokens that lift a guard.';
comment on column maintenance.installation.adopted_at is 'When it was installed here, or adopted.';

insert into maintenance.installation (system_identifier, database_oid, secret)
select control.system_identifier, database.oid, gen_random_uuid()::text
from pg_catalog.pg_control_system() as control
cross join pg_catalog.pg_database as database
where database.datname = current_database();

create table maintenance.endpoint (
    endpoint text constraint endpoint_pkey primary key
        constraint endpoint_endpoint_check check (endpoint <> ''),
    remembered_at timestamptz not null default now(),
    remembered_by name not null
);

revoke all on table maintenance.endpoint from public;

comment on table maintenance.endpoint is
    'Where the runner reaches this database. A physical copy, which has the same identity, is '
    'reached elsewhere; where none is known, none is asked for. Written by remember_endpoints.';
comment on column maintenance.endpoint.endpoint is 'Host and port; local:PORT for sockets.';
comment on column maintenance.endpoint.remembered_at is 'When it was first remembered here.';
comment on column maintenance.endpoint.remembered_by is 'Who did.';

create table maintenance.policy (
    name text constraint policy_pkey primary key
        constraint policy_name_check check (name ~ '^[a-z][a-z0-9_]{0,49}$'),
    relation regclass not null,
    chain text,
    title text
        constraint policy_title_check check (title ~ '[^[:space:]]'),
    operation text not null
        constraint policy_operation_check check (operation ~ '^[a-z][a-z0-9_]{0,49}$'),
    is_enabled boolean not null,
    action text not null
        constraint policy_action_check check (action in ('delete', 'archive', 'set')),
    branches jsonb not null
        constraint policy_branches_check check (jsonb_typeof(branches) = 'array'),
    selector regclass,
    condition text,
    retention interval not null
        constraint policy_retention_check check (
            -- each part by itself: a month less 30 days compares as nothing
            date_trunc('month', retention) >= '0 s'
            and date_trunc('day', retention) - date_trunc('month', retention) >= '0 s'
            and retention - date_trunc('day', retention) >= '0 s'
        ),
    grace interval not null
        constraint policy_grace_check check (
            date_trunc('month', grace) >= '0 s'
            and date_trunc('day', grace) - date_trunc('month', grace) >= '0 s'
            and grace - date_trunc('day', grace) >= '0 s'
        ),
    zone text not null,
    hold_column name,
    assignments text
        constraint policy_assignments_check check ((action = 'set') = (assignments is not null)),
    archive_table regclass
        constraint policy_archive_table_check
        check ((action = 'archive') = (archive_table is not null)),
    dependents jsonb not null
        constraint policy_dependents_check check (jsonb_typeof(dependents) = 'array'),
    allow_cascade boolean not null,
    batch_size integer not null
        constraint policy_batch_size_check check (batch_size between 1 and 100000),
    max_rows bigint
        constraint policy_max_rows_check check (max_rows > 0),
    max_duration interval
        constraint policy_max_duration_check check (max_duration > '0 s'),
    guard_rows bigint
        constraint policy_guard_rows_check check (guard_rows >= 0),
    guard_share numeric
        constraint policy_guard_share_check check (guard_share > 0 and guard_share <= 1),
    severity text not null
        constraint policy_severity_check
        check (severity in ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
    backup_within interval
        constraint policy_backup_within_check check (backup_within > '0 s'),
    priority integer not null,
    max_silence interval
        constraint policy_max_silence_check check (max_silence > '0 s'),
    shipped jsonb not null,
    version bigint not null,
    changed_at timestamptz not null,
    changed_by name not null,
    constraint policy_title_key unique (operation, title),
    constraint policy_reason_check
    check ((selector is not null) <> (jsonb_array_length(branches) > 0))
);

revoke all on table maintenance.policy from public;

comment on table maintenance.policy is
    'Which rows of which table go, since when, and how carefully; written by register_policy.';
comment on column maintenance.policy.name is 'What the policy is called.';
comment on column maintenance.policy.relation is 'Table whose rows it tends.';
comment on column maintenance.policy.chain is 'Chain that shipped it; null: a user registered it.';
comment on column maintenance.policy.title is 'What reports call it; null: its name.';
comment on column maintenance.policy.operation is 'Operation that it is a part of: tokens, logs...';
comment on column maintenance.policy.is_enabled is 'Whether it may run.';
comment on column maintenance.policy.action is
    'delete; archive: move into archive_table; set: assign.';
comment on column maintenance.policy.branches is
    'Reasons for a row to go, each with an index of its own: see register_policy.';
comment on column maintenance.policy.selector is
    'View that names the rows by the primary key of the table, instead of branches.';
comment on column maintenance.policy.condition is
    'Further condition on every row, which the table is called "target" in.';
comment on column maintenance.policy.retention is
    'How long rows stay, where a branch says nothing.';
comment on column maintenance.policy.grace is 'Added to every retention: clocks differ.';
comment on column maintenance.policy.zone is
    'Time zone of columns without one, and in which days and months are counted.';
comment on column maintenance.policy.hold_column is
    'Column that keeps a row: true if it is a boolean, else anything but null.';
comment on column maintenance.policy.assignments is
    'What action set assigns; afterwards the row must not be eligible any more.';
comment on column maintenance.policy.archive_table is 'Table that action archive moves rows into.';
comment on column maintenance.policy.dependents is
    'Rows of other tables that go first: an array of {relation, columns, references} and, where '
    'they are to be archived as well, archive_table.';
comment on column maintenance.policy.allow_cascade is
    'Whether foreign keys may delete or change rows of other tables along.';
comment on column maintenance.policy.batch_size is 'Most rows in one transaction.';
comment on column maintenance.policy.max_rows is 'Most rows in one run; null: no limit.';
comment on column maintenance.policy.max_duration is 'Longest run; null: no limit.';
comment on column maintenance.policy.guard_rows is
    'A run with more eligible rows is refused unless it was accepted; null: no limit.';
comment on column maintenance.policy.guard_share is
    'The same as a share of the table, for runs of more than 10,000 rows; null: no limit.';
comment on column maintenance.policy.severity is 'LOW, MEDIUM, HIGH or CRITICAL.';
comment on column maintenance.policy.backup_within is
    'A run needs a backup that is not older: see attest_backup; null: none is needed.';
comment on column maintenance.policy.priority is 'Lower ones run first.';
comment on column maintenance.policy.max_silence is
    'Longest time between two runs that did all their work; null: any.';
comment on column maintenance.policy.shipped is 'What was registered, without the user''s changes.';
comment on column maintenance.policy.version is 'Grows with every change.';
comment on column maintenance.policy.changed_at is 'When it last changed.';
comment on column maintenance.policy.changed_by is 'Who changed it.';

comment on constraint policy_name_check on maintenance.policy is
    'name must be lower-case letters, digits and underscores, and at most 50 of them';
comment on constraint policy_title_check on maintenance.policy is 'title must say something';
comment on constraint policy_title_key on maintenance.policy is
    'title must not be that of another policy of the operation';
comment on constraint policy_operation_check on maintenance.policy is
    'operation must be lower-case letters, digits and underscores, and at most 50 of them';
comment on constraint policy_action_check on maintenance.policy is
    'action must be delete, archive or set';
comment on constraint policy_branches_check on maintenance.policy is 'branches must be an array';
comment on constraint policy_retention_check on maintenance.policy is
    'retention must not be negative: rows that have yet to expire would go';
comment on constraint policy_grace_check on maintenance.policy is 'grace must not be negative';
comment on constraint policy_assignments_check on maintenance.policy is
    'assignments belong to action set, and action set needs them';
comment on constraint policy_archive_table_check on maintenance.policy is
    'archive_table belongs to action archive, and action archive needs it';
comment on constraint policy_dependents_check on maintenance.policy is
    'dependents must be an array';
comment on constraint policy_batch_size_check on maintenance.policy is
    'batch_size must be between 1 and 100000';
comment on constraint policy_max_rows_check on maintenance.policy is 'max_rows must be positive';
comment on constraint policy_max_duration_check on maintenance.policy is
    'max_duration must be positive';
comment on constraint policy_guard_rows_check on maintenance.policy is
    'guard_rows must not be negative';
comment on constraint policy_guard_share_check on maintenance.policy is
    'guard_share must be above 0 and at most 1';
comment on constraint policy_severity_check on maintenance.policy is
    'severity must be LOW, MEDIUM, HIGH or CRITICAL';
comment on constraint policy_backup_within_check on maintenance.policy is
    'backup_within must be positive';
comment on constraint policy_max_silence_check on maintenance.policy is
    'max_silence must be positive';
comment on constraint policy_reason_check on maintenance.policy is
    'a policy needs either branches (or a column) or a selector, and not both';

create table maintenance.policy_override (
    policy text constraint policy_override_pkey primary key,
    changes jsonb not null
);

revoke all on table maintenance.policy_override from public;

comment on table maintenance.policy_override is
    'What users changed about policies; it outlives an upgrade or a rollback of their chain.';
comment on column maintenance.policy_override.policy is 'Name of the policy.';
comment on column maintenance.policy_override.changes is 'Settings that differ from what shipped.';

create table maintenance.archive (
    relation regclass constraint archive_pkey primary key,
    source regclass not null,
    columns jsonb not null,
    former name[] not null default '{}',
    is_ours boolean not null
);

revoke all on table maintenance.archive from public;

comment on table maintenance.archive is
    'Archives, and what their tables had in them; see create_archive and evolve_archive.';
comment on column maintenance.archive.relation is 'The table that rows are moved into.';
comment on column maintenance.archive.source is 'The table that they come from.';
comment on column maintenance.archive.columns is
    'Columns of the source, with their types, when the archive was last brought into line.';
comment on column maintenance.archive.former is
    'Columns that the source has lost, and that older rows of the archive have values in.';
comment on column maintenance.archive.is_ours is
    'Whether create_archive made it: then it goes when we go.';

create table maintenance.policy_change (
    id bigint generated always as identity constraint policy_change_pkey primary key,
    policy text not null,
    event text not null,
    version bigint not null,
    settings jsonb,
    changed_at timestamptz not null default now(),
    changed_by name not null
);

revoke all on table maintenance.policy_change from public;
revoke all on sequence maintenance.policy_change_id_seq from public;

comment on table maintenance.policy_change is 'Who registered, altered and removed which policy.';
comment on column maintenance.policy_change.id is 'In the order of the changes.';
comment on column maintenance.policy_change.policy is 'Name of the policy.';
comment on column maintenance.policy_change.event is 'registered, altered or removed.';
comment on column maintenance.policy_change.version is 'Version of the policy since then.';
comment on column maintenance.policy_change.settings is 'The policy as it was since then.';
comment on column maintenance.policy_change.changed_at is 'When.';
comment on column maintenance.policy_change.changed_by is 'Who.';

create table maintenance.backup_attestation (
    id bigint generated always as identity constraint backup_attestation_pkey primary key,
    kind text not null constraint backup_attestation_kind_check check (kind <> ''),
    reference text not null constraint backup_attestation_reference_check check (reference <> ''),
    taken_at timestamptz not null,
    attested_at timestamptz not null default now(),
    attested_by name not null
);

revoke all on table maintenance.backup_attestation from public;
revoke all on sequence maintenance.backup_attestation_id_seq from public;

comment on table maintenance.backup_attestation is
    'Backups that somebody vouches for; policies with backup_within ask for them.';
comment on column maintenance.backup_attestation.id is 'In the order in which they were attested.';
comment on column maintenance.backup_attestation.kind is 'dump, snapshot, or what else it is.';
comment on column maintenance.backup_attestation.reference is 'Where it is, or what it is called.';
comment on column maintenance.backup_attestation.taken_at is 'State of the data that it holds.';
comment on column maintenance.backup_attestation.attested_at is 'When somebody vouched for it.';
comment on column maintenance.backup_attestation.attested_by is 'Who did.';

create table maintenance.lease (
    policy text constraint lease_pkey primary key,
    token bigint not null default 0,
    step bigint,
    owner_pid integer,
    owner_start timestamptz
);

revoke all on table maintenance.lease from public;

comment on table maintenance.lease is
    'Who tends a policy now: one run at a time. Written by open_step and close_step.';
comment on column maintenance.lease.policy is 'Name of the policy.';
comment on column maintenance.lease.token is
    'Grows each time the lease is taken; a batch with an older one is refused.';
comment on column maintenance.lease.step is 'The step, in maintenance.run_step; null: it is free.';
comment on column maintenance.lease.owner_pid is 'Process of the session that holds it.';
comment on column maintenance.lease.owner_start is 'When that session began: pids come again.';

create table maintenance.pause (
    is_single boolean constraint pause_pkey primary key default true
        constraint pause_is_single_check check (is_single),
    reason text,
    until timestamptz,
    paused_by name not null,
    paused_at timestamptz not null default now()
);

revoke all on table maintenance.pause from public;

comment on table maintenance.pause is
    'While it has a row, nothing runs in this database. Written by pause_runs and resume_runs.';
comment on column maintenance.pause.is_single is 'There is one row at most.';
comment on column maintenance.pause.reason is 'Why it was paused.';
comment on column maintenance.pause.until is 'When the pause ends by itself; null: it does not.';
comment on column maintenance.pause.paused_by is 'Who paused it.';
comment on column maintenance.pause.paused_at is 'When.';

\ir ../../sql/core/functions/caller.sql
\ir ../../sql/core/functions/pause_reason.sql
\ir ../../sql/core/functions/pause_runs.sql
\ir ../../sql/core/functions/resume_runs.sql
\ir ../../sql/core/functions/assert_adopted.sql
\ir ../../sql/core/functions/revoke_from_public.sql
\ir ../../sql/core/functions/renew_executors.sql
\ir ../../sql/core/functions/assert_policy_tables.sql
\ir ../../sql/core/functions/adopt_clone.sql
\ir ../../sql/core/functions/assert_owner.sql
\ir ../../sql/core/functions/take_turn.sql
\ir ../../sql/core/functions/read_policy.sql
\ir ../../sql/core/functions/column_type.sql
\ir ../../sql/core/functions/primary_key_of.sql
\ir ../../sql/core/functions/has_replica_identity.sql
\ir ../../sql/core/functions/branch_bound.sql
\ir ../../sql/core/functions/branch_bounds.sql
\ir ../../sql/core/functions/bracketed.sql
\ir ../../sql/core/functions/branch_predicate.sql
\ir ../../sql/core/functions/has_condition.sql
\ir ../../sql/core/functions/reads_other_tables.sql
\ir ../../sql/core/functions/executor_of.sql
\ir ../../sql/core/functions/is_intact.sql
\ir ../../sql/core/functions/give_function.sql
\ir ../../sql/core/functions/install_executor.sql
\ir ../../sql/core/functions/drop_idle_executors.sql
\ir ../../sql/core/functions/run_as_owner.sql
\ir ../../sql/core/functions/policy_archives.sql
\ir ../../sql/core/functions/archived_columns.sql
\ir ../../sql/core/functions/records_steps.sql
\ir ../../sql/core/functions/archive_drift.sql
\ir ../../sql/core/functions/find_archive_drift.sql
\ir ../../sql/core/functions/archiving_statement.sql
\ir ../../sql/core/functions/policy_statement.sql
\ir ../../sql/core/functions/parts_of.sql
\ir ../../sql/core/functions/leaves_of.sql
\ir ../../sql/core/functions/branch_key.sql
\ir ../../sql/core/functions/lowest_key.sql
\ir ../../sql/core/functions/branch_index.sql
\ir ../../sql/core/functions/try_policy.sql
\ir ../../sql/core/functions/find_policy_errors.sql
\ir ../../sql/core/functions/find_policy_risks.sql
\ir ../../sql/core/functions/save_policy.sql
\ir ../../sql/core/functions/register_policy.sql
\ir ../../sql/core/functions/alter_policy.sql
\ir ../../sql/core/functions/enable_policy.sql
\ir ../../sql/core/functions/remove_policy.sql
\ir ../../sql/core/functions/column_definitions.sql
\ir ../../sql/core/functions/archive_name.sql
\ir ../../sql/core/functions/create_archive.sql
\ir ../../sql/core/functions/run_with_patience.sql
\ir ../../sql/core/functions/evolve_archive.sql
\ir ../../sql/core/functions/archived_rows.sql
\ir ../../sql/core/functions/drop_archive.sql
\ir ../../sql/core/functions/drop_archives.sql
\ir ../../sql/core/functions/attest_backup.sql
