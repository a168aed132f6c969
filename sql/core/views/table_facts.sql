-- Tables with their size and what vacuum knows of them, the largest first.

create or replace view maintenance.table_facts
with (security_invoker = true)
as
select
    sizes.schema_name,
    sizes.table_name,
    sizes.total_bytes,
    sizes.estimated_rows,
    activity.n_dead_tup as dead_rows,
    greatest(activity.last_vacuum, activity.last_autovacuum) as last_vacuum_at,
    greatest(activity.last_analyze, activity.last_autoanalyze) as last_analyze_at
from maintenance.table_sizes as sizes
left join pg_catalog.pg_stat_all_tables as activity
    on activity.schemaname = sizes.schema_name
    and activity.relname = sizes.table_name
order by sizes.total_bytes desc, sizes.schema_name, sizes.table_name;

revoke all on table maintenance.table_facts from public;

comment on view maintenance.table_facts is
    'Tables, largest first, with their dead rows and when they were last vacuumed and analyzed.';
comment on column maintenance.table_facts.schema_name is 'Schema of the table.';
comment on column maintenance.table_facts.table_name is 'Name of the table.';
comment on column maintenance.table_facts.total_bytes is 'Size with indexes and TOAST.';
comment on column maintenance.table_facts.estimated_rows is
    'Rows at the last VACUUM or ANALYZE; null before the first.';
comment on column maintenance.table_facts.dead_rows is
    'Rows that are dead and not yet vacuumed, as far as they were counted.';
comment on column maintenance.table_facts.last_vacuum_at is 'Last VACUUM, by whomever.';
comment on column maintenance.table_facts.last_analyze_at is 'Last ANALYZE, by whomever.';
