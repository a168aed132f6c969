-- Says of each table whether its statistics can be relied on: for table_bloat and index_bloat.
--
-- The row count of pg_class is of the last VACUUM, ANALYZE or CREATE INDEX. It is too old once a
-- tenth of the rows, and 50, have changed since, or the file is not as large as it was then.

create or replace view maintenance.statistics_state
with (security_invoker = true)
as
select
    class.oid as relation,
    namespace.nspname as schema_name,
    class.relname as table_name,
    size.pages,
    class.reltuples::double precision as estimated_rows,
    format('%I.%I', namespace.nspname, class.relname) as named,
    case
        when class.reltuples < 0 then 'unknown, run ANALYZE'
        when size.pages > 0 and (
            changes.since > 50 + 0.1 * class.reltuples
            or abs(size.pages - class.relpages) > 10 + 0.1 * class.relpages
        ) then 'unknown, run ANALYZE: much has changed since the last one'
    end as reason
from pg_catalog.pg_class as class
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
cross join lateral (
    select
        pg_relation_size(class.oid) / current_setting('block_size')::bigint as pages
) as size
cross join lateral (
    select least(
        pg_stat_get_mod_since_analyze(class.oid),
        case
            when greatest(
                pg_stat_get_last_vacuum_time(class.oid), pg_stat_get_last_autovacuum_time(class.oid)
            ) is not null
                then pg_stat_get_dead_tuples(class.oid) + pg_stat_get_ins_since_vacuum(class.oid)
        end
    ) as since
) as changes
where class.relkind in ('r', 'm')
  and class.relpersistence <> 't'
  and namespace.nspname not in ('pg_catalog', 'information_schema')
  and size.pages is not null;  -- dropped while we were looking

revoke all on table maintenance.statistics_state from public;

comment on view maintenance.statistics_state is
    'Tables with their size in pages, and why their statistics cannot be relied on.';
comment on column maintenance.statistics_state.relation is 'The table.';
comment on column maintenance.statistics_state.schema_name is 'Its schema.';
comment on column maintenance.statistics_state.table_name is 'Its name, unquoted.';
comment on column maintenance.statistics_state.pages is 'Pages that it has now, without TOAST.';
comment on column maintenance.statistics_state.estimated_rows is
    'Rows at the last VACUUM, ANALYZE or CREATE INDEX; -1 before the first.';
comment on column maintenance.statistics_state.named is 'Qualified name, as SQL takes it.';
comment on column maintenance.statistics_state.reason is
    'Why the number of rows is not known; null where it is.';
