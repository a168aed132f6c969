-- Lists indexes that no scan has used since statistics began, and that nothing else needs.
--
-- Needed without a scan: what a constraint is made of, what is unique (a replica identity is), and
-- what finds the referencing rows when a referred row goes. Left out, too: what housekeeping has
-- declared, indexes on an expression, whose statistics the planner may use, and what is invalid.
-- The indexes of partitions count with the one they belong to, which is what can be dropped.

create or replace view maintenance.unused_indexes
with (security_invoker = true)
as
select
    namespace.nspname as schema_name,
    relation.relname as table_name,
    class.relname as index_name,
    usage.bytes as index_bytes,
    statistics.since as counted_since,
    case
        when coalesce(statistics.since, pg_postmaster_start_time()) > now() - interval '7 days'
            then 'too early to tell: statistics may be younger than 7 days'
        when built.begun_at > now() - interval '7 days'
            then 'too early to tell: it was built less than 7 days ago'
        else 'unused'
    end as state,
    format(
        'drop index %s%I.%I',
        case when class.relkind = 'i' then 'concurrently ' else '' end,
        namespace.nspname,
        class.relname
    ) as statement
from pg_catalog.pg_index as defined
join pg_catalog.pg_class as class on class.oid = defined.indexrelid
join pg_catalog.pg_class as relation on relation.oid = defined.indrelid
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
cross join (
    select max(activity.stats_reset)
    from pg_catalog.pg_stat_database as activity
    where activity.datname = current_database()
) as statistics (since)
cross join lateral (
    select
        sum(pg_stat_get_numscans(tree.relid)) as scans,
        sum(pg_relation_size(tree.relid))::bigint as bytes
    from (
        select defined.indexrelid
        where class.relkind = 'i'
        union all
        select part.relid
        from pg_partition_tree(defined.indexrelid) as part
        where class.relkind = 'I'
    ) as tree (relid)
) as usage
left join maintenance.index_build as built
    on built.relation = defined.indrelid
    and built.name = class.relname
where usage.scans = 0
  and usage.bytes is not null
  and namespace.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'maintenance')
  and class.relpersistence <> 't'
  and not class.relispartition
  and defined.indisvalid
  and not defined.indisunique
  and defined.indexprs is null
  and not exists (
      select
      from pg_catalog.pg_constraint as bound
      where bound.conindid = defined.indexrelid
  )
  and not exists (
      select
      from pg_catalog.pg_constraint as reference
      where reference.contype = 'f'
        and reference.conrelid = defined.indrelid
        and reference.conkey @> (defined.indkey::smallint[])[0:cardinality(reference.conkey) - 1]
        and defined.indnkeyatts >= cardinality(reference.conkey)
  )
  and not exists (
      select
      from maintenance.required_index as declared
      where declared.relation = defined.indrelid
        and declared.name = class.relname
  )
order by usage.bytes desc, namespace.nspname, class.relname;

revoke all on table maintenance.unused_indexes from public;

comment on view maintenance.unused_indexes is
    'Indexes that no scan has used since statistics began, and that no constraint needs.';
comment on column maintenance.unused_indexes.schema_name is 'Schema of the table and its index.';
comment on column maintenance.unused_indexes.table_name is 'Table that is indexed, unquoted.';
comment on column maintenance.unused_indexes.index_name is 'Name of the index, unquoted.';
comment on column maintenance.unused_indexes.index_bytes is
    'Its size; of a partitioned index, that of its parts.';
comment on column maintenance.unused_indexes.counted_since is
    'When statistics were last reset; null where they never were, or where nobody knows.';
comment on column maintenance.unused_indexes.state is
    'unused, or too early to tell, and why. Scans on standbys are not counted.';
comment on column maintenance.unused_indexes.statement is
    'Drops it: a proposal.';
