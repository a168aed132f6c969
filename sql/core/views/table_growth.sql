-- How much each table has grown since a day, a week and 30 days ago: what it has now, less what was
-- noted last before then.

create or replace view maintenance.table_growth
with (security_invoker = true)
as
select
    sizes.schema_name,
    sizes.table_name,
    sizes.total_bytes,
    sizes.total_bytes - noted.a_day_ago as day_bytes,
    sizes.total_bytes - noted.a_week_ago as week_bytes,
    sizes.total_bytes - noted.a_month_ago as month_bytes,
    noted.since
from maintenance.table_sizes as sizes
cross join lateral (
    select
        min(history.day) as since,
        (array_agg(history.total_bytes order by history.day desc)
            filter (where history.day <= today.date - 1))[1] as a_day_ago,
        (array_agg(history.total_bytes order by history.day desc)
            filter (where history.day <= today.date - 7))[1] as a_week_ago,
        (array_agg(history.total_bytes order by history.day desc)
            filter (where history.day <= today.date - 30))[1] as a_month_ago
    from maintenance.size_history as history
    cross join (select (now() at time zone 'UTC')::date) as today (date)
    where history.schema_name = sizes.schema_name
      and history.table_name = sizes.table_name
) as noted
order by month_bytes desc nulls last, week_bytes desc nulls last, day_bytes desc nulls last,
    sizes.schema_name, sizes.table_name;

revoke all on table maintenance.table_growth from public;

comment on view maintenance.table_growth is
    'How much each table has grown, as far as note_sizes has noted.';
comment on column maintenance.table_growth.schema_name is 'Schema of the table.';
comment on column maintenance.table_growth.table_name is 'Name of the table, unquoted.';
comment on column maintenance.table_growth.total_bytes is 'What it takes on disk now.';
comment on column maintenance.table_growth.day_bytes is
    'How much more that is than yesterday; null where nothing was noted by then.';
comment on column maintenance.table_growth.week_bytes is 'The same of a week ago.';
comment on column maintenance.table_growth.month_bytes is 'The same of 30 days ago.';
comment on column maintenance.table_growth.since is 'First day that was noted.';
