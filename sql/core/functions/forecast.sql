-- Tells from the log of the last 30 days whether a policy keeps up.
--
-- What arrived between the ends of the first and the last step is what was removed after the first,
-- and what is left more than then. A step that came to its end left what others held; any other one
-- what it had not come to.

create or replace function maintenance.forecast(
    policy text,
    out arriving_per_hour numeric,
    out leaving_per_hour numeric,
    out backlog bigint,
    out outlook text
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    with ended as (
        select
            step.ended_at,
            step.removed,
            case
                when step.exit_reason in ('exhausted', 'nothing_to_do') then 0
                when step.exit_reason = 'incomplete' then coalesce(step.left_over, 0)
                else greatest(coalesce(step.eligible, step.bound, 0) - step.removed, 0)
            end as remaining,
            row_number() over (order by step.ended_at) as place
        from maintenance.run_step as step
        where step.policy = forecast.policy
          and step.action <> 'undo'
          and step.ended_at > clock_timestamp() - interval '30 days'
          and step.exit_reason not in ('lease_held', 'disabled', 'paused', 'interrupted')
          and (  -- what ended before it was judged says nothing
              coalesce(step.eligible, step.bound) is not null
              or step.exit_reason in ('exhausted', 'nothing_to_do', 'incomplete')
          )
    ),
    summed as (
        select
            extract(epoch from max(ended.ended_at) - min(ended.ended_at))::numeric / 3600 as hours,
            sum(ended.removed) filter (where ended.place > 1) as later,
            (array_agg(ended.remaining order by ended.place))[1] as first_left,
            (array_agg(ended.remaining order by ended.place desc))[1] as last_left
        from ended
    ),
    rated as (
        select
            round(
                (summed.later + summed.last_left - summed.first_left) / nullif(summed.hours, 0), 1
            ) as arriving,
            round(summed.later / nullif(summed.hours, 0), 1) as leaving,
            summed.last_left as left_over
        from summed
    )
    select
        rated.arriving,
        rated.leaving,
        rated.left_over::bigint,
        case
            when rated.left_over is null then 'it has not run yet'
            when rated.left_over = 0 then 'clean'
            when rated.arriving is null then 'one run is too few to tell'
            when rated.leaving <= rated.arriving then 'will never catch up'
            else format(
                'clean in %s hours',
                ceil(rated.left_over / (rated.leaving - rated.arriving))
            )
        end
    from rated;
$function$;

revoke all on function maintenance.forecast(text) from public;

comment on function maintenance.forecast(text) is
    'Tell how many rows of a policy arrive and leave per hour, and when it will be clean.';
