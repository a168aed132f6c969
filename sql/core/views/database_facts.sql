-- The database in one line.

create or replace view maintenance.database_facts
with (security_invoker = true)
as
select
    database.datname as database,
    pg_database_size(database.oid) as size_bytes,
    current_setting('server_version') as server_version,
    pg_postmaster_start_time() as started_at,
    activity.numbackends as connections,
    current_setting('max_connections')::integer as max_connections,
    activity.blks_hit::double precision / nullif(activity.blks_hit + activity.blks_read, 0)
        as cache_hit_ratio,
    activity.stats_reset as counted_since,
    age(database.datfrozenxid) as transaction_age,
    mxid_age(database.datminmxid) as multixact_age,
    -- Either counter ends at 2^31; PostgreSQL stops writing three million before that.
    round(
        100.0 * greatest(age(database.datfrozenxid), mxid_age(database.datminmxid))
        / (2147483648 - 3000000),
        1
    )::double precision as wraparound_percent,
    case
        when not pg_has_role('pg_read_all_stats', 'usage') then
            'unknown, needs pg_read_all_stats'
        else coalesce(
            (
                select concat_ws(
                    ' ', horizon.kind, horizon.pid, nullif(horizon.name, ''), horizon.role,
                    'since ' || date_trunc('second', horizon.since),
                    format('(%s transactions)', horizon.age)
                )
                from maintenance.xmin_horizon as horizon
                order by horizon.age desc
                limit 1
            ),
            'nobody'
        )
    end as xmin_holder
from pg_catalog.pg_database as database
left join pg_catalog.pg_stat_database as activity on activity.datid = database.oid
where database.datname = current_database();

revoke all on table maintenance.database_facts from public;

comment on view maintenance.database_facts is
    'The database in one line: its size, its server, its load, and how old its transactions are.';
comment on column maintenance.database_facts.database is 'Its name.';
comment on column maintenance.database_facts.size_bytes is 'Its size on disk.';
comment on column maintenance.database_facts.server_version is 'Version of its server.';
comment on column maintenance.database_facts.started_at is 'When the server started.';
comment on column maintenance.database_facts.connections is 'Sessions on this database.';
comment on column maintenance.database_facts.max_connections is 'Most that the server takes.';
comment on column maintenance.database_facts.cache_hit_ratio is
    'Share of the blocks that were found in memory; null where none was read.';
comment on column maintenance.database_facts.counted_since is
    'When counting that began; null: when the database was created.';
comment on column maintenance.database_facts.transaction_age is
    'Transactions since the oldest that is not frozen.';
comment on column maintenance.database_facts.multixact_age is
    'The same of row locks that several transactions share.';
comment on column maintenance.database_facts.wraparound_percent is
    'How far the older of the two has come to where PostgreSQL stops writing.';
comment on column maintenance.database_facts.xmin_holder is
    'Who keeps vacuum from removing dead rows the longest; unknown where a right is missing.';
