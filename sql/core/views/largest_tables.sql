-- The twenty largest tables, as reports show them.

create or replace view maintenance.largest_tables
with (security_invoker = true)
as
select
    facts.schema_name as schema,
    facts.table_name as "table",
    pg_size_pretty(facts.total_bytes) as size,
    facts.total_bytes as bytes,
    facts.estimated_rows as rows,
    facts.dead_rows,
    facts.last_vacuum_at as vacuumed,
    facts.last_analyze_at as analyzed
from maintenance.table_facts as facts
order by facts.total_bytes desc, facts.schema_name, facts.table_name
limit 20;

revoke all on table maintenance.largest_tables from public;

comment on view maintenance.largest_tables is 'The twenty largest tables.';
comment on column maintenance.largest_tables.schema is 'Schema of the table.';
comment on column maintenance.largest_tables."table" is 'Name of the table.';
comment on column maintenance.largest_tables.size is 'bytes for people.';
comment on column maintenance.largest_tables.bytes is 'Size with indexes and TOAST.';
comment on column maintenance.largest_tables.rows is 'Estimated rows.';
comment on column maintenance.largest_tables.dead_rows is
    'Rows that are dead and not yet vacuumed.';
comment on column maintenance.largest_tables.vacuumed is 'Last VACUUM.';
comment on column maintenance.largest_tables.analyzed is 'Last ANALYZE.';
