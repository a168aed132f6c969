-- Who waits for a lock, for whom, and who is at the root of it: the one who waits for nobody.

create or replace view maintenance.blocking_locks
with (security_invoker = true)
as
with recursive waiting as materialized (
    select
        activity.pid,
        blocker.pid as blocker
    from pg_catalog.pg_stat_activity as activity
    cross join lateral unnest(pg_blocking_pids(activity.pid)) as blocker (pid)
    -- pids of waiting sessions stand in pg_locks for everybody to see
    where exists (
        select
        from pg_catalog.pg_locks as lacking
        where lacking.pid = activity.pid
          and not lacking.granted
    )
),
chain (pid, blocker, root, path) as (
    select waiting.pid, waiting.blocker, waiting.blocker, array[waiting.pid, waiting.blocker]
    from waiting
    union all
    select chain.pid, chain.blocker, further.blocker, chain.path || further.blocker
    from chain
    join waiting as further on further.pid = chain.root
    where further.blocker <> all (chain.path)
)
select
    chain.pid,
    waiter.usename as role,
    waiter.application_name as application,
    wanted.mode as lock_mode,
    wanted.locktype as lock_type,
    case
        when wanted.database = here.oid then wanted.relation::regclass::text
    end as relation,
    extract(epoch from clock_timestamp() - wanted.waitstart)::double precision as waiting_seconds,
    case
        when waiter.backend_type is null then 'hidden, needs pg_read_all_stats'
        else left(waiter.query, 200)
    end as query,
    chain.blocker as blocked_by,
    chain.path as chain,
    chain.root,
    root.usename as root_role,
    root.application_name as root_application,
    case
        when root.pid is null then 'a prepared transaction'
        when root.backend_type is null then 'hidden, needs pg_read_all_stats'
        else root.state
    end as root_state,
    case
        when root.backend_type is not null then left(root.query, 200)
    end as root_query,
    extract(epoch from clock_timestamp() - root.xact_start)::double precision as root_seconds
from chain
left join pg_catalog.pg_stat_activity as waiter on waiter.pid = chain.pid
left join pg_catalog.pg_stat_activity as root on root.pid = chain.root
left join pg_catalog.pg_locks as wanted on wanted.pid = chain.pid and not wanted.granted
left join pg_catalog.pg_database as here on here.datname = current_database()
where not exists (
    select
    from waiting as further
    where further.pid = chain.root
      and further.blocker <> all (chain.path)
)
order by wanted.waitstart, chain.pid, chain.path;

revoke all on table maintenance.blocking_locks from public;

comment on view maintenance.blocking_locks is
    'Sessions that wait for a lock, whom they wait for, and who is at the root of it.';
comment on column maintenance.blocking_locks.pid is 'Process that waits.';
comment on column maintenance.blocking_locks.role is 'Its role.';
comment on column maintenance.blocking_locks.application is 'Its application_name.';
comment on column maintenance.blocking_locks.lock_mode is 'Lock that it wants.';
comment on column maintenance.blocking_locks.lock_type is
    'On what: a relation, a tuple, another transaction.';
comment on column maintenance.blocking_locks.relation is
    'The table, of this database; null where the lock is on something else.';
comment on column maintenance.blocking_locks.waiting_seconds is 'How long it has been waiting.';
comment on column maintenance.blocking_locks.query is
    'Its statement, cut to 200 characters; hidden where a right is missing.';
comment on column maintenance.blocking_locks.blocked_by is
    'Process that it waits for; 0: a prepared transaction.';
comment on column maintenance.blocking_locks.chain is
    'From it to the root: each waits for the next one.';
comment on column maintenance.blocking_locks.root is
    'The last of the chain, which waits for nobody.';
comment on column maintenance.blocking_locks.root_role is 'Role of the root.';
comment on column maintenance.blocking_locks.root_application is 'Its application_name.';
comment on column maintenance.blocking_locks.root_state is
    'What it does: active, idle in transaction, or a prepared transaction; hidden where a right is '
    'missing.';
comment on column maintenance.blocking_locks.root_query is 'Its statement, or its last one.';
comment on column maintenance.blocking_locks.root_seconds is
    'How long its transaction has been open.';
