-- Tables of which more than a tenth is wasted, as reports show them.

create or replace view maintenance.bloated_tables
with (security_invoker = true)
as
select
    bloat.schema_name as schema,
    bloat.table_name as "table",
    round(bloat.wasted_percent::numeric, 1)::double precision as waste_percent,
    pg_size_pretty(bloat.wasted_bytes) as waste_size,
    bloat.wasted_bytes as waste_bytes
from maintenance.table_bloat as bloat
where bloat.wasted_percent > 10
order by bloat.wasted_bytes desc, bloat.schema_name, bloat.table_name;

revoke all on table maintenance.bloated_tables from public;

comment on view maintenance.bloated_tables is 'Tables of which more than a tenth is wasted.';
comment on column maintenance.bloated_tables.schema is 'Schema of the table.';
comment on column maintenance.bloated_tables."table" is 'Name of the table.';
comment on column maintenance.bloated_tables.waste_percent is 'Wasted share.';
comment on column maintenance.bloated_tables.waste_size is 'waste_bytes for people.';
comment on column maintenance.bloated_tables.waste_bytes is 'What rewriting it would give back.';
