-- How often each index was used since the statistics were reset.

create or replace view maintenance.index_usage
with (security_invoker = true)
as
select
    usage.schemaname as schema_name,
    usage.relname as table_name,
    usage.indexrelname as index_name,
    usage.idx_scan as scans,
    usage.idx_tup_read as tuples_read,
    usage.idx_tup_fetch as tuples_fetched,
    size.bytes as index_bytes,
    definition.indisunique as is_unique,
    definition.indisvalid as is_valid
from pg_catalog.pg_stat_user_indexes as usage
join pg_catalog.pg_index as definition on definition.indexrelid = usage.indexrelid
cross join lateral (select pg_relation_size(usage.indexrelid) as bytes) as size
where size.bytes is not null  -- dropped while we were looking
order by usage.idx_scan desc, usage.schemaname, usage.relname, usage.indexrelname;

revoke all on table maintenance.index_usage from public;

comment on view maintenance.index_usage is
    'Indexes of all tables but the system''s, with how often each was used since statistics began.';
comment on column maintenance.index_usage.schema_name is 'Schema of the table and its index.';
comment on column maintenance.index_usage.table_name is 'Table that is indexed.';
comment on column maintenance.index_usage.index_name is 'Name of the index.';
comment on column maintenance.index_usage.scans is 'Scans begun on the index.';
comment on column maintenance.index_usage.tuples_read is 'Index entries that scans returned.';
comment on column maintenance.index_usage.tuples_fetched is
    'Live rows fetched by plain index scans.';
comment on column maintenance.index_usage.index_bytes is 'Size of the index on disk.';
comment on column maintenance.index_usage.is_unique is
    'Whether it keeps values unique, which is a use that no scan shows.';
comment on column maintenance.index_usage.is_valid is
    'False for what a failed CREATE INDEX CONCURRENTLY left behind.';
