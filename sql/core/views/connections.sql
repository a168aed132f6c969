-- Sessions of this server by database, role, application and state, with how many it takes.
--
-- Of other roles' sessions application and state are hidden from whoever is no member of
-- pg_read_all_stats; that they are there is not.

create or replace view maintenance.connections
with (security_invoker = true)
as
select
    activity.datname as database,
    activity.usename as role,
    activity.application_name as application,
    case
        when activity.backend_type is null then 'hidden, needs pg_read_all_stats'
        else coalesce(activity.state, 'disabled')
    end as state,
    count(*)::integer as connections,
    min(activity.backend_start) as oldest_start,
    min(activity.state_change) as oldest_state_change,
    sum(count(*)) over ()::integer as all_connections,
    current_setting('max_connections')::integer as max_connections,
    current_setting('superuser_reserved_connections')::integer
        -- since PostgreSQL 16
        + coalesce(current_setting('reserved_connections', true), '0')::integer as reserved
from pg_catalog.pg_stat_activity as activity
where activity.backend_type = 'client backend'
   or (activity.backend_type is null and activity.datname is not null)
group by 1, 2, 3, 4
order by connections desc, 1, 2, 3, 4;

revoke all on table maintenance.connections from public;

comment on view maintenance.connections is
    'Sessions by database, role, application and state, and how many the server takes.';
comment on column maintenance.connections.database is 'Database that they are connected to.';
comment on column maintenance.connections.role is 'Their role.';
comment on column maintenance.connections.application is
    'Their application_name; null where it is hidden.';
comment on column maintenance.connections.state is
    'What they do; hidden where they are another role''s and a right is missing.';
comment on column maintenance.connections.connections is 'How many they are.';
comment on column maintenance.connections.oldest_start is 'When the oldest of them connected.';
comment on column maintenance.connections.oldest_state_change is
    'Since when one of them has been in that state.';
comment on column maintenance.connections.all_connections is 'How many there are in all.';
comment on column maintenance.connections.max_connections is 'Most that the server takes.';
comment on column maintenance.connections.reserved is
    'How many of those are kept for superusers and pg_use_reserved_connections.';
