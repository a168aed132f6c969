-- Lets a table sweep out a few expired rows whenever rows are inserted into it.
--
-- A chain adds the trigger; what all such triggers share is here: when to sweep, how much, and
-- the switch that stops it without touching the table.

create table maintenance.insert_sweep (
    relation regclass constraint insert_sweep_pkey primary key,
    enabled boolean not null default true,
    batch_size integer not null default 100
        constraint insert_sweep_batch_size_check check (batch_size between 1 and 10000),
    rest interval not null default '50 ms'
        constraint insert_sweep_rest_check check (
            rest between '0 s' and '1 h'
            -- an interval of months less days may compare as short and last for years
            and extract(year from rest) = 0
            and extract(month from rest) = 0
            and extract(day from rest) = 0
        )
);

revoke all on table maintenance.insert_sweep from public;

comment on table maintenance.insert_sweep is
    'Tables that sweep on insert, and how; set with maintenance.set_insert_sweep.';
comment on column maintenance.insert_sweep.relation is 'Table that carries the trigger.';
comment on column maintenance.insert_sweep.enabled is 'Whether it sweeps at all.';
comment on column maintenance.insert_sweep.batch_size is 'Most rows that one sweep removes.';
comment on column maintenance.insert_sweep.rest is
    'How long a session waits before it looks again, once it has found nothing.';

\ir ../../sql/core/functions/caller.sql
\ir ../../sql/core/functions/may_sweep.sql
\ir ../../sql/core/functions/open_sweep.sql
\ir ../../sql/core/functions/close_sweep.sql
\ir ../../sql/core/functions/set_insert_sweep.sql
