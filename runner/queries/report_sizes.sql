-- What was noted in the last 90 days: of all tables together, and of the six that are largest now.
with largest as (
    select sizes.schema_name, sizes.table_name
    from maintenance.table_sizes as sizes
    order by sizes.total_bytes desc, sizes.schema_name, sizes.table_name
    limit 6
)
select
    noted.day,
    null as schema_name,
    null as table_name,
    sum(noted.total_bytes)::bigint as total_bytes
from maintenance.size_history as noted
where noted.day > (now() at time zone 'UTC')::date - 90
group by noted.day
union all
select noted.day, noted.schema_name, noted.table_name, noted.total_bytes
from maintenance.size_history as noted
join largest
    on largest.schema_name = noted.schema_name
    and largest.table_name = noted.table_name
where noted.day > (now() at time zone 'UTC')::date - 90
order by schema_name, table_name, day
