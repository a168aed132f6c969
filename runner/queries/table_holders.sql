-- Who holds a lock on the table %(relation)s that an exclusive use of it would wait for.
select distinct
    activity.pid,
    coalesce(nullif(activity.application_name, ''), 'unknown program') as program,
    coalesce(activity.usename, 'unknown role') as role,
    activity.state,
    left(regexp_replace(activity.query, '\s+', ' ', 'g'), 100) as query
from pg_locks as held
join pg_stat_activity as activity on activity.pid = held.pid
where held.locktype = 'relation'
  and held.relation = %(relation)s
  and held.database = (select oid from pg_database where datname = current_database())
  and held.granted
  and held.pid <> pg_backend_pid()
  and held.mode in (
      'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
      'AccessExclusiveLock'
  )
order by activity.pid
