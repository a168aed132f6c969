-- Who holds the runner's advisory lock in this database.
select
    activity.pid,
    coalesce(nullif(activity.application_name, ''), 'unknown program') as program,
    coalesce(activity.usename, 'unknown role') as role,
    null::text as state,
    null::text as query
from pg_locks as lock
join pg_stat_activity as activity on activity.pid = lock.pid
where lock.locktype = 'advisory'
  and lock.granted
  and lock.database = (select oid from pg_database where datname = current_database())
  and ((lock.classid::bigint << 32) | lock.objid::bigint) = %(key)s
