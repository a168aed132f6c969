-- Whom a run may have to wait for: what has been going on for %(seconds)s seconds and more, and who
-- holds a lock on the table %(relation)s that keeps rows from being removed.
select
    running.pid,
    coalesce(nullif(running.application, ''), 'unknown program') as program,
    coalesce(running.role::text, 'unknown role') as role,
    running.state,
    left(regexp_replace(running.query, '\s+', ' ', 'g'), 100) as query,
    coalesce(greatest(running.query_seconds, running.transaction_seconds), 0) as seconds,
    holding.is_there as is_holding
from maintenance.running_queries(longest => '0 s') as running
cross join lateral (
    select exists (
        select
        from pg_locks as held
        where held.pid = running.pid
          and held.locktype = 'relation'
          and held.relation = to_regclass(%(relation)s)
          and held.database = (select oid from pg_database where datname = current_database())
          and held.granted
          and held.mode in (
              'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
          )
    ) as is_there
) as holding
where holding.is_there
   or greatest(running.query_seconds, running.transaction_seconds) >= %(seconds)s
