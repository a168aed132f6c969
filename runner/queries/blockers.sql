-- Whom the session %(pid)s waits for. What another role runs is hidden from ordinary roles.
select
    activity.pid,
    coalesce(nullif(activity.application_name, ''), 'unknown program') as program,
    coalesce(activity.usename, 'unknown role') as role,
    activity.state,
    left(regexp_replace(activity.query, '\s+', ' ', 'g'), 100) as query
from pg_stat_activity as activity
where activity.pid = any (pg_blocking_pids(%(pid)s))
