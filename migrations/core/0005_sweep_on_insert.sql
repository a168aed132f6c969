-- Lets a table sweep out a few rows that a policy names whenever rows are inserted into it.
--
-- A trigger on the table calls a function that is written from the policy, and written again when
-- the policy changes. When to sweep, how much, and the switch that stops it without touching the
-- table are a row here.

create table maintenance.insert_sweep (
    policy text constraint insert_sweep_pkey primary key,
    relation regclass not null constraint insert_sweep_relation_key unique,
    trigger name not null,
    at_once boolean not null,
    keys name[] not null,
    key_types regtype[] not null,
    pace regclass not null,
    policy_enabled boolean not null,
    enabled boolean not null default true,
    batch_size integer not null default 100
        constraint insert_sweep_batch_size_check check (batch_size between 1 and 10000),
    rest interval not null default '50 ms'
        constraint insert_sweep_rest_check check (
            -- "between" in an "and" is written with other brackets in a dump
            rest >= '0 s'
            and rest <= '1 h'
            -- an interval of months less days may compare as short and last for years
            and extract(year from rest) = 0
            and extract(month from rest) = 0
            and extract(day from rest) = 0
        ),
    slow interval not null default '20 ms'
        constraint insert_sweep_slow_check check (
            slow >= '1 ms'
            and slow <= '1 h'
            and extract(year from slow) = 0
            and extract(month from slow) = 0
            and extract(day from slow) = 0
        )
);

revoke all on table maintenance.insert_sweep from public;

comment on table maintenance.insert_sweep is
    'Tables that sweep on insert, and how; see attach_insert_sweep and set_insert_sweep.';
comment on column maintenance.insert_sweep.policy is 'Policy that names the rows which go.';
comment on column maintenance.insert_sweep.relation is 'Table that carries the trigger.';
comment on column maintenance.insert_sweep.trigger is 'What the trigger is called.';
comment on column maintenance.insert_sweep.at_once is
    'Whether rows that are inserted though they are eligible already go with their insert.';
comment on column maintenance.insert_sweep.keys is 'Columns that its branches are walked by.';
comment on column maintenance.insert_sweep.key_types is
    'Types that these had when its function was written: a time compares otherwise without a zone.';
comment on column maintenance.insert_sweep.pace is
    'Sequence that says until when no session sweeps, in milliseconds since 1970.';
comment on column maintenance.insert_sweep.policy_enabled is
    'Whether the policy is enabled: a copy, which spares an insert the policy.';
comment on column maintenance.insert_sweep.enabled is 'Whether it sweeps at all.';
comment on column maintenance.insert_sweep.batch_size is 'Most rows that one sweep removes.';
comment on column maintenance.insert_sweep.rest is
    'How long a session waits before it looks again, once it has found nothing.';
comment on column maintenance.insert_sweep.slow is
    'What is a slow sweep, after which the table rests ten times as long as it took.';

comment on constraint insert_sweep_batch_size_check on maintenance.insert_sweep is
    'batch_size must be between 1 and 10000';
comment on constraint insert_sweep_rest_check on maintenance.insert_sweep is
    'rest must be between 0 s and 1 h, in hours, minutes and seconds';
comment on constraint insert_sweep_slow_check on maintenance.insert_sweep is
    'slow must be between 1 ms and 1 h, in hours, minutes and seconds';

\ir ../../sql/core/functions/open_sweep.sql
\ir ../../sql/core/functions/close_sweep.sql
\ir ../../sql/core/functions/fill_template.sql
\ir ../../sql/core/functions/sweep_body.sql
\ir ../../sql/core/functions/find_sweep_errors.sql
\ir ../../sql/core/functions/strict_defaults.sql
\ir ../../sql/core/functions/find_sweep_risks.sql
\ir ../../sql/core/functions/has_sweep_trigger.sql
\ir ../../sql/core/functions/install_sweep.sql
\ir ../../sql/core/functions/revoke_idle_sweepers.sql
\ir ../../sql/core/functions/remove_sweep.sql
\ir ../../sql/core/functions/attach_insert_sweep.sql
\ir ../../sql/core/functions/assert_sweeps.sql
\ir ../../sql/core/functions/detach_insert_sweep.sql
\ir ../../sql/core/functions/set_insert_sweep.sql
\ir ../../sql/core/functions/follow_policy.sql
\ir ../../sql/core/triggers/trigger_follow_policy.sql
\ir ../../sql/core/functions/find_sweep_faults.sql
\ir ../../sql/core/views/insert_sweep_status.sql
