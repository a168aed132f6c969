-- Writes the expression of what the time column of a branch is compared with, given the moment.
--
-- Days and months are counted on the calendar of the policy's zone, never on the session's; hours
-- pass, whatever the clocks there do meanwhile. A column of integers is compared with an integer,
-- so that its index serves: "below 7.5" is "below 8", and "up to 7.5" is "up to 7".
--
-- Where clocks are set back, an hour comes twice, and what they show in it means the second one to
-- PostgreSQL. So the way over the clocks is taken only where days are counted, and a column without
-- a zone is compared with an hour less while the first of the two passes.

create or replace function maintenance.branch_bound(
    policy maintenance.policy,
    branch integer,
    moment text
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
set intervalstyle = 'postgres'
as $function$
    select case maintenance.column_type((policy).relation, (reason.branch ->> 'column')::name)
        when 'timestamp with time zone' then cutoff.instant
        when 'timestamp without time zone' then bound.local
        when 'date' then format('(%s)::date', bound.local)
        when 'bigint' then
            format(
                '%s(%s)::bigint',
                case reason.branch ->> 'comparison' when '<=' then 'floor' else 'ceil' end,
                bound.epoch
            )
        when 'numeric' then bound.epoch
        when 'double precision' then format('(%s)::double precision', bound.epoch)
    end
    from (
        select (policy).branches -> (branch_bound.branch - 1)
    ) as reason (branch)
    cross join lateral (
        select
            coalesce((reason.branch ->> 'retention')::interval, (policy).retention)
            + (policy).grace
    ) as kept (whole)
    cross join lateral (
        select date_trunc('day', kept.whole), kept.whole - date_trunc('day', kept.whole)
    ) as part (days, hours)
    cross join lateral (
        select
            case
                when part.days = '0 s' then moment
                else
                    format(
                        '((%s at time zone %L) - %L::interval) at time zone %2$L',
                        moment, (policy).zone, part.days
                    )
            end
            || case
                when part.hours <> '0 s' then format(' - %L::interval', part.hours)
                else ''
            end
    ) as cutoff (instant)
    cross join lateral (
        select
            format(
                '((%1$s) at time zone %2$L) - greatest('
                '(((%1$s) at time zone %2$L) at time zone %2$L) - (%1$s), interval ''0 s'')',
                cutoff.instant, (policy).zone
            ),
            format('extract(epoch from %s)', cutoff.instant)
            || case reason.branch ->> 'unit' when 'ms' then ' * 1000' else '' end
    ) as bound (local, epoch);
$function$;

revoke all on function maintenance.branch_bound(maintenance.policy, integer, text) from public;

comment on function maintenance.branch_bound(maintenance.policy, integer, text) is
    'Return the expression of the value below which the time of a branch makes a row eligible.';
