-- Reads what a run should give way to, for drivers that pace themselves. pids are the sessions that
-- remove rows.
--
-- is_high is null where it cannot be known, and needs then says for want of what. A standby says
-- how long it is behind while it follows; the log that it has yet to replay tells of one that
-- stopped.

create or replace function maintenance.load_signals(
    pids integer[] default '{}',
    max_lag interval default '10 s',
    max_snapshot interval default '1 h'
)
returns table (signal text, is_high boolean, value text, needs text)
language sql
volatile
set search_path = pg_catalog, pg_temp
as $function$
    with reader (sees_all) as (
        select pg_has_role('pg_read_all_stats', 'usage')
    ),
    standby as (
        select
            count(*) as number,
            max(replica.replay_lag) as lag,
            case
                when not pg_is_in_recovery() then
                    max(pg_wal_lsn_diff(pg_current_wal_lsn(), replica.replay_lsn))
            end as bytes
        from pg_catalog.pg_stat_replication as replica
    ),
    snapshot as (
        select
            count(*) filter (where activity.backend_type is null) as hidden,
            min(activity.xact_start) filter (
                where coalesce(activity.backend_xmin, activity.backend_xid) is not null
                  and activity.pid <> all (load_signals.pids)
                  and activity.pid <> pg_backend_pid()
            ) as began
        from pg_catalog.pg_stat_activity as activity
        where activity.datname = current_database()
    ),
    prepared as (
        select min(waiting.prepared) as began
        from pg_catalog.pg_prepared_xacts as waiting
        where waiting.database = current_database()
    )
    select
        'replica lag',
        case
            when standby.number = 0 then false
            when reader.sees_all then
                coalesce(standby.lag > load_signals.max_lag, false)
                or coalesce(standby.bytes > 1073741824::numeric, false)
        end,
        case
            when standby.number = 0 then 'no standby is connected'
            when reader.sees_all then concat_ws(
                ', ', coalesce(standby.lag, interval '0 s')::text,
                pg_size_pretty(standby.bytes) || ' behind'
            )
        end,
        case when standby.number > 0 and not reader.sees_all then 'pg_read_all_stats' end
    from standby
    cross join reader
    union all
    select
        'WAL archiver',
        current_setting('archive_mode') <> 'off'
        and archiver.last_failed_time is not null
        and archiver.last_failed_time > coalesce(archiver.last_archived_time, '-infinity'),
        case
            when current_setting('archive_mode') = 'off' then 'off'
            when archiver.last_failed_time > coalesce(archiver.last_archived_time, '-infinity')
                then format('%s failed at %s', archiver.last_failed_wal, archiver.last_failed_time)
            else 'works'
        end,
        null
    from pg_catalog.pg_stat_archiver as archiver
    union all
    select
        'lock waiters',
        count(*) > 0,
        format('%s sessions wait for the run', count(*)),
        null
    from (
        select distinct waiting.pid
        from pg_catalog.pg_locks as waiting
        where not waiting.granted
          and pg_blocking_pids(waiting.pid) && load_signals.pids
    ) as blocked
    union all
    select
        'oldest snapshot',
        case
            when least(snapshot.began, prepared.began)
                 < clock_timestamp() - load_signals.max_snapshot then true
            when reader.sees_all or snapshot.hidden = 0 then false
        end,
        case
            when least(snapshot.began, prepared.began) is not null then
                date_trunc(
                    'second', clock_timestamp() - least(snapshot.began, prepared.began)
                )::text || ' old'
            when reader.sees_all or snapshot.hidden = 0 then 'none but ours'
        end,
        case when not reader.sees_all and snapshot.hidden > 0 then 'pg_read_all_stats' end
    from snapshot
    cross join prepared
    cross join reader;
$function$;

revoke all on function maintenance.load_signals(integer[], interval, interval) from public;

comment on function maintenance.load_signals(integer[], interval, interval) is
    'Say whether replicas, the archiver, lock waiters or old snapshots ask a run to slow down.';
