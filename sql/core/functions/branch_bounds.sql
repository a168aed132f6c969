-- Computes what the time column of each branch is compared with, given the moment of the run.
--
-- Days and months are counted on the calendar of the policy's zone, never on the session's; hours
-- pass, whatever the clocks there do meanwhile. A column of integers is compared with an integer,
-- so that its index serves: "below 7.5" is "below 8", and "up to 7.5" is "up to 7".

create or replace function maintenance.branch_bounds(
    policy maintenance.policy,
    moment timestamptz
)
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
as $function$
    select array_agg(
        case maintenance.column_type((policy).relation, (branch.value ->> 'column')::name)
            when 'timestamp with time zone' then bound.instant::text
            when 'timestamp without time zone' then bound.local::text
            when 'date' then bound.local::date::text
            when 'bigint' then
                case branch.value ->> 'comparison'
                    when '<=' then floor(bound.epoch)
                    else ceil(bound.epoch)
                end::text
            when 'numeric' then bound.epoch::text
            when 'double precision' then bound.epoch::text
        end
        order by branch.ordinality
    )
    from jsonb_array_elements((policy).branches) with ordinality as branch
    cross join lateral (
        select
            coalesce((branch.value ->> 'retention')::interval, (policy).retention)
            + (policy).grace
    ) as kept (whole)
    cross join lateral (
        select date_trunc('day', kept.whole)
    ) as calendar (part)
    cross join lateral (
        select
            ((branch_bounds.moment at time zone (policy).zone) - calendar.part)
            at time zone (policy).zone
            - (kept.whole - calendar.part)
    ) as cutoff (instant)
    cross join lateral (
        select
            cutoff.instant,
            cutoff.instant at time zone (policy).zone,
            extract(epoch from cutoff.instant)
            * case branch.value ->> 'unit' when 'ms' then 1000 else 1 end
    ) as bound (instant, local, epoch);
$function$;

revoke all on function maintenance.branch_bounds(maintenance.policy, timestamptz) from public;

comment on function maintenance.branch_bounds(maintenance.policy, timestamptz) is
    'Return, for each branch, the value below which its time column makes a row eligible.';
