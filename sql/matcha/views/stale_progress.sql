-- What the operation progress executes: see maintenance.statement_source.

create or replace view maintenance.stale_progress
with (security_invoker = true)
as
select stale.object, stale.statement, stale.reason, stale.is_patient
from maintenance.find_stale_progress() as stale;

revoke all on table maintenance.stale_progress from public;

comment on view maintenance.stale_progress is
    'The statement that adds up stale decks, if there are any.';
comment on column maintenance.stale_progress.object is 'The table with the figures.';
comment on column maintenance.stale_progress.statement is 'What to execute.';
comment on column maintenance.stale_progress.reason is 'How many decks are stale.';
comment on column maintenance.stale_progress.is_patient is
    'That it may wait for its locks: nobody queues behind it.';
