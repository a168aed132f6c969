-- Sizes by oid and not by name, so that "Mixed Case" tables of any schema are right.

create or replace view maintenance.table_sizes
with (security_invoker = true)
as
select
    namespace.nspname as schema_name,
    class.relname as table_name,
    pg_size_pretty(size.total) as size,
    size.total as total_bytes,
    pg_relation_size(class.oid) as heap_bytes,
    pg_indexes_size(class.oid) as index_bytes,
    size.total - pg_relation_size(class.oid) - pg_indexes_size(class.oid) as other_bytes,
    nullif(class.reltuples, -1)::bigint as estimated_rows
from pg_catalog.pg_class as class
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
cross join lateral (select pg_total_relation_size(class.oid) as total) as size
where class.relkind in ('r', 'm')
  and class.relpersistence <> 't'
  and namespace.nspname not in ('pg_catalog', 'information_schema')
  and size.total is not null  -- dropped while we were looking
order by size.total desc, namespace.nspname, class.relname;

revoke all on table maintenance.table_sizes from public;

comment on view maintenance.table_sizes is
    'Tables and materialized views but the system''s, largest first; partitions one by one.';
comment on column maintenance.table_sizes.schema_name is 'Schema of the table.';
comment on column maintenance.table_sizes.table_name is 'Name of the table, unquoted.';
comment on column maintenance.table_sizes.size is 'total_bytes for people.';
comment on column maintenance.table_sizes.total_bytes is 'Everything the table takes on disk.';
comment on column maintenance.table_sizes.heap_bytes is 'The rows themselves.';
comment on column maintenance.table_sizes.index_bytes is 'All indexes together.';
comment on column maintenance.table_sizes.other_bytes is
    'Values stored out of line (TOAST) and their index, free space map, visibility map.';
comment on column maintenance.table_sizes.estimated_rows is
    'Rows at the last VACUUM, ANALYZE or CREATE INDEX; null before the first.';
