-- Names the sessions behind the transactions that hold rows, or (as 3/17) the table.

create or replace function maintenance.name_holders(holders jsonb)
returns text
language sql
set search_path = pg_catalog, pg_temp
as $function$
    select string_agg(
        distinct format(
            'process %s (%s, role %s, %s)',
            activity.pid,
            coalesce(nullif(activity.application_name, ''), 'unknown program'),
            coalesce(activity.usename, 'unknown'),
            coalesce(activity.state, 'unknown state')
        ),
        ', '
    )
    from jsonb_array_elements_text(holders) as holder
    join pg_catalog.pg_locks as held
        on held.granted
        and (
            (held.locktype = 'transactionid' and held.transactionid::text = holder.value)
            or (held.locktype = 'virtualxid' and held.virtualxid = holder.value)
        )
    join pg_catalog.pg_stat_activity as activity on activity.pid = held.pid;
$function$;

revoke all on function maintenance.name_holders(jsonb) from public;

comment on function maintenance.name_holders(jsonb) is
    'Return who holds rows, given the transactions that do; null if they are gone.';
