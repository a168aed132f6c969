-- What has been running for a minute and more, in this database: see running_queries.

create or replace view maintenance.long_running_queries
with (security_invoker = true)
as
select
    running.pid,
    running.role,
    running.application,
    running.state,
    running.query_seconds,
    running.transaction_seconds,
    running.waits_for,
    running.blocked_by,
    running.query
from maintenance.running_queries() as running;

revoke all on table maintenance.long_running_queries from public;

comment on view maintenance.long_running_queries is
    'Statements and open transactions of a minute and more in this database, the oldest first.';
comment on column maintenance.long_running_queries.pid is 'Process of the session.';
comment on column maintenance.long_running_queries.role is 'Its role.';
comment on column maintenance.long_running_queries.application is 'Its application_name.';
comment on column maintenance.long_running_queries.state is
    'active, or idle in transaction; hidden where it is another role''s and a right is missing.';
comment on column maintenance.long_running_queries.query_seconds is
    'How long its statement has been running; null where it runs none.';
comment on column maintenance.long_running_queries.transaction_seconds is
    'How long its transaction has been open.';
comment on column maintenance.long_running_queries.waits_for is
    'What it waits for: type and name of the wait event.';
comment on column maintenance.long_running_queries.blocked_by is
    'Processes that hold a lock that it waits for; empty where nobody does.';
comment on column maintenance.long_running_queries.query is
    'The statement, or the last one, cut to 200 characters.';
