-- What vacuum and analyze have to go by, for vacuum_needs and analyze_needs: the counters of the
-- server, and besides, since those are lost in a crash or when a host suspends the server, what our
-- own runs have removed since the last of each.
--
-- The rows of a partitioned policy are shared out evenly among its partitions: the log does not say
-- where they were.

create or replace view maintenance.table_upkeep
with (security_invoker = true)
as
select
    class.oid as relation,
    class.relkind as kind,
    namespace.nspname as schema_name,
    class.relname as table_name,
    greatest(class.reltuples, 0)::double precision as estimated_rows,
    class.reltuples >= 0 as is_counted,
    pg_relation_size(class.oid) as heap_bytes,
    pg_stat_get_dead_tuples(class.oid) as dead_rows,
    pg_stat_get_mod_since_analyze(class.oid) as changed_rows,
    vacuumed.at as last_vacuum_at,
    analyzed.at as last_analyze_at,
    coalesce(
        sum(step.rows) filter (where step.ended_at > coalesce(vacuumed.at, '-infinity')), 0
    )::bigint as removed_since_vacuum,
    coalesce(
        sum(step.rows) filter (where step.ended_at > coalesce(analyzed.at, '-infinity')), 0
    )::bigint as removed_since_analyze,
    greatest(age(class.relfrozenxid), age(max(toast.relfrozenxid::text)::xid)) as transaction_age,
    greatest(mxid_age(class.relminmxid), mxid_age(max(toast.relminmxid::text)::xid))
        as multixact_age
from pg_catalog.pg_class as class
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
left join pg_catalog.pg_class as toast on toast.oid = class.reltoastrelid
cross join lateral (
    select greatest(
        pg_stat_get_last_vacuum_time(class.oid), pg_stat_get_last_autovacuum_time(class.oid)
    ) as at
) as vacuumed
cross join lateral (
    select greatest(
        pg_stat_get_last_analyze_time(class.oid), pg_stat_get_last_autoanalyze_time(class.oid)
    ) as at
) as analyzed
left join (
    select
        leaf.relation,
        coalesce(done.ended_at, done.heartbeat_at) as ended_at,
        (done.removed + done.restored) / count(*) over (partition by done.id) as rows
    from maintenance.run_step as done
    join maintenance.policy as policy
        on policy.name = done.policy
        and policy.relation::text = done.relation
    join pg_catalog.pg_class as target on target.oid = policy.relation
    cross join lateral (
        select target.oid as relation
        where target.relkind <> 'p'
        union all
        select tree.relid
        from pg_partition_tree(policy.relation) as tree
        where target.relkind = 'p'
          and tree.isleaf
    ) as leaf
    where done.removed + done.restored > 0
) as step
    on step.relation = class.oid
where class.relkind in ('r', 'm', 'p')
  and class.relpersistence <> 't'
  and namespace.nspname not in ('pg_catalog', 'information_schema')
group by class.oid, namespace.nspname, vacuumed.at, analyzed.at;

revoke all on table maintenance.table_upkeep from public;

comment on view maintenance.table_upkeep is
    'What vacuum and analyze have to go by: counters of the server, and what our runs removed.';
comment on column maintenance.table_upkeep.relation is 'The table.';
comment on column maintenance.table_upkeep.kind is 'Its kind, as in pg_class.';
comment on column maintenance.table_upkeep.schema_name is 'Its schema.';
comment on column maintenance.table_upkeep.table_name is 'Its name, unquoted.';
comment on column maintenance.table_upkeep.estimated_rows is
    'Rows at the last VACUUM or ANALYZE; 0 before the first.';
comment on column maintenance.table_upkeep.is_counted is 'Whether there was such a one.';
comment on column maintenance.table_upkeep.heap_bytes is 'Size of its rows.';
comment on column maintenance.table_upkeep.dead_rows is 'Dead rows, as far as they were counted.';
comment on column maintenance.table_upkeep.changed_rows is
    'Rows changed since the last ANALYZE, as far as they were counted.';
comment on column maintenance.table_upkeep.last_vacuum_at is 'Last VACUUM, by whomever.';
comment on column maintenance.table_upkeep.last_analyze_at is 'Last ANALYZE, by whomever.';
comment on column maintenance.table_upkeep.removed_since_vacuum is
    'Rows that our runs removed or changed since the last VACUUM that is known.';
comment on column maintenance.table_upkeep.removed_since_analyze is 'The same of ANALYZE.';
comment on column maintenance.table_upkeep.transaction_age is
    'Transactions since the oldest that is not frozen, in it or its TOAST.';
comment on column maintenance.table_upkeep.multixact_age is
    'The same of row locks that several transactions share.';
