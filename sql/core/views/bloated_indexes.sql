-- Indexes of which more than a tenth is wasted, as reports show them.

create or replace view maintenance.bloated_indexes
with (security_invoker = true)
as
select
    bloat.schema_name as schema,
    bloat.table_name as "table",
    bloat.index_name as index,
    round(bloat.wasted_percent::numeric, 1)::double precision as waste_percent,
    pg_size_pretty(bloat.wasted_bytes) as waste_size,
    bloat.wasted_bytes as waste_bytes
from maintenance.index_bloat as bloat
where bloat.wasted_percent > 10
order by bloat.wasted_bytes desc, bloat.schema_name, bloat.index_name;

revoke all on table maintenance.bloated_indexes from public;

comment on view maintenance.bloated_indexes is 'Indexes of which more than a tenth is wasted.';
comment on column maintenance.bloated_indexes.schema is 'Schema of the index.';
comment on column maintenance.bloated_indexes."table" is 'Name of its table.';
comment on column maintenance.bloated_indexes.index is 'Name of the index.';
comment on column maintenance.bloated_indexes.waste_percent is 'Wasted share.';
comment on column maintenance.bloated_indexes.waste_size is 'waste_bytes for people.';
comment on column maintenance.bloated_indexes.waste_bytes is 'What rebuilding it would give back.';
