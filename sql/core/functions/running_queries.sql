-- Lists sessions of applications that execute a statement, or rest in a transaction, for as long as
-- is asked for. Of sessions whose state is hidden, nobody knows whether they do.
--
-- Never listed: the caller, the runner, and what the server does by itself.

create or replace function maintenance.running_queries(
    longest interval default '1 min',
    everywhere boolean default false
)
returns table (
    pid integer,
    database name,
    role name,
    application text,
    state text,
    query_seconds double precision,
    transaction_seconds double precision,
    waits_for text,
    blocked_by integer[],
    query text
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        activity.pid,
        activity.datname,
        activity.usename,
        activity.application_name,
        case
            when seen.is_hidden then 'hidden, needs pg_read_all_stats'
            else activity.state
        end,
        case
            when activity.state = 'active' then
                extract(epoch from clock_timestamp() - activity.query_start)::double precision
        end,
        extract(epoch from clock_timestamp() - activity.xact_start)::double precision,
        activity.wait_event_type || ': ' || activity.wait_event,
        pg_blocking_pids(activity.pid),
        case when not seen.is_hidden then left(activity.query, 200) end
    from pg_catalog.pg_stat_activity as activity
    cross join lateral (
        select
            activity.usename is not null
            and activity.backend_type is null as is_hidden
    ) as seen
    where activity.pid <> pg_backend_pid()
      and (running_queries.everywhere or activity.datname = current_database())
      and (
          seen.is_hidden
          or (
              activity.backend_type = 'client backend'
              and activity.application_name !~ '^runner( |$)'
              and (
                  activity.state = 'active'
                  or activity.state like 'idle in transaction%'
              )
              and clock_timestamp() - least(activity.query_start, activity.xact_start)
                  >= running_queries.longest
          )
      )
    order by least(activity.query_start, activity.xact_start), activity.pid;
$function$;

revoke all on function maintenance.running_queries(interval, boolean) from public;

comment on function maintenance.running_queries(interval, boolean) is
    'List sessions that execute a statement, or rest in a transaction, for so long; everywhere: of '
    'all databases.';
