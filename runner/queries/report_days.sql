-- What runs did on each of the last 30 days, in UTC: of days without a run there is no line.
select
    (history.started_at at time zone 'UTC')::date as day,
    count(distinct history.run) as runs,
    coalesce(
        sum(history.removed + history.dependents + history.cascaded) filter (
            where history.action in ('delete', 'archive', 'set')
        ),
        0
    )::bigint as rows,
    count(*) filter (
        where history.exit_reason in ('error', 'incomplete', 'interrupted', 'guard')
    ) as failures
from maintenance.run_history as history
where history.started_at > now() - interval '30 days'
group by 1
order by 1
