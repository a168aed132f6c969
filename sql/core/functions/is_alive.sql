-- Says whether the session that holds a lease or a run is still there.
--
-- Where another role's session hides when it began, a living process counts as alive for as long as
-- its batches come; a batch that comes later all the same is refused by its token.

create or replace function maintenance.is_alive(
    owner_pid integer,
    owner_start timestamptz,
    heartbeat_at timestamptz
)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select exists (
        select
        from pg_catalog.pg_stat_activity as activity
        where activity.pid = is_alive.owner_pid
          and case
              when activity.backend_start is null or is_alive.owner_start is null then
                  is_alive.heartbeat_at > clock_timestamp() - interval '1 minute'
              else activity.backend_start = is_alive.owner_start
          end
    );
$function$;

revoke all on function maintenance.is_alive(integer, timestamptz, timestamptz) from public;

comment on function maintenance.is_alive(integer, timestamptz, timestamptz) is
    'Say whether the session that began something is still there.';
