-- Says how old the youngest row is that a policy lets go, as far as time decides.

create or replace function maintenance.shortest_retention(policy maintenance.policy)
returns interval
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select min(
        coalesce((branch.value ->> 'retention')::interval, (policy).retention) + (policy).grace
    )
    from jsonb_array_elements((policy).branches) as branch
    where branch.value ? 'column';
$function$;

revoke all on function maintenance.shortest_retention(maintenance.policy) from public;

comment on function maintenance.shortest_retention(maintenance.policy) is
    'Return the shortest retention of a policy''s branches, its grace included.';
