-- The twenty largest indexes, as reports show them.

create or replace view maintenance.largest_indexes
with (security_invoker = true)
as
select
    usage.schema_name as schema,
    usage.table_name as "table",
    usage.index_name as index,
    pg_size_pretty(usage.index_bytes) as size,
    usage.index_bytes as bytes,
    usage.scans
from maintenance.index_usage as usage
order by usage.index_bytes desc, usage.schema_name, usage.index_name
limit 20;

revoke all on table maintenance.largest_indexes from public;

comment on view maintenance.largest_indexes is 'The twenty largest indexes.';
comment on column maintenance.largest_indexes.schema is 'Schema of the index.';
comment on column maintenance.largest_indexes."table" is 'Name of its table.';
comment on column maintenance.largest_indexes.index is 'Name of the index.';
comment on column maintenance.largest_indexes.size is 'bytes for people.';
comment on column maintenance.largest_indexes.bytes is 'Size on disk.';
comment on column maintenance.largest_indexes.scans is 'Scans since statistics began.';
