-- How each sweep on insert stands.
--
-- state is on, off (it is switched off, or the policy is, or all is paused), idle (it works, and
-- something keeps some or all inserts from sweeping) or broken (attach_insert_sweep makes it anew,
-- once the cause is gone).

create or replace view maintenance.insert_sweep_status
with (security_invoker = true)
as
select
    sweep.policy,
    sweep.relation,
    sweep.trigger,
    sweep.at_once,
    sweep.enabled,
    sweep.batch_size,
    sweep.rest,
    sweep.slow,
    case
        when fault.message is not null then 'broken'
        when not sweep.enabled or not known.is_enabled or pause.reason is not null then 'off'
        when idle.message is not null then 'idle'
        else 'on'
    end as state,
    case
        when fault.message is not null then fault.message
        when not sweep.enabled then 'switched off with set_insert_sweep'
        when not known.is_enabled then 'the policy is disabled'
        when pause.reason is not null then pause.reason
        else idle.message
    end as detail,
    case
        when fault.message is not null then
            format('select * from maintenance.attach_insert_sweep(%L)', sweep.policy)
    end as remedy
from maintenance.insert_sweep as sweep
join maintenance.policy as known on known.name = sweep.policy
cross join maintenance.pause_reason() as pause (reason)
left join lateral (
    select string_agg(found.message, '; ')
    from maintenance.find_sweep_faults(sweep.policy) as found (message)
) as fault (message) on true
left join lateral (
    select string_agg(found.message, '; ')
    from maintenance.find_sweep_risks(known) as found
    where found.risk in ('isolation', 'subscriber', 'partition')
) as idle (message) on true
order by sweep.policy;

revoke all on table maintenance.insert_sweep_status from public;

comment on view maintenance.insert_sweep_status is
    'How each sweep on insert is set, whether it works, and what keeps it from working.';
comment on column maintenance.insert_sweep_status.policy is 'Policy that names the rows which go.';
comment on column maintenance.insert_sweep_status.relation is 'Table that is swept.';
comment on column maintenance.insert_sweep_status.trigger is 'Its trigger.';
comment on column maintenance.insert_sweep_status.at_once is
    'Whether rows that are inserted though they are eligible already go with their insert.';
comment on column maintenance.insert_sweep_status.enabled is 'Whether it is switched on.';
comment on column maintenance.insert_sweep_status.batch_size is
    'Most rows that one sweep removes.';
comment on column maintenance.insert_sweep_status.rest is
    'How long a session waits before it looks again, once it has found nothing.';
comment on column maintenance.insert_sweep_status.slow is
    'What is a slow sweep, after which the table rests ten times as long as it took.';
comment on column maintenance.insert_sweep_status.state is 'on, off, idle or broken.';
comment on column maintenance.insert_sweep_status.detail is 'Why it is not simply on.';
comment on column maintenance.insert_sweep_status.remedy is
    'Statement that makes a broken one anew, or says what has to be put right first.';
