-- How each policy stands: whether it runs, when it last came to its end, and whether it keeps up.

create or replace view maintenance.policy_status
with (security_invoker = true)
as
select
    policy.name as policy,
    policy.relation,
    policy.operation,
    policy.is_enabled,
    policy.severity,
    kept.retention,
    last.started_at as last_run_at,
    last.exit_reason as last_exit_reason,
    last.removed as last_removed,
    finished.ended_at as last_finished_at,
    policy.is_enabled
        and policy.max_silence is not null
        and coalesce(finished.ended_at, policy.changed_at) < now() - policy.max_silence
        as is_overdue,
    forecast.arriving_per_hour,
    forecast.leaving_per_hour,
    forecast.backlog,
    forecast.outlook,
    coalesce(sweep.state || coalesce(': ' || sweep.detail, ''), 'none') as insert_sweep
from maintenance.policy
cross join lateral (
    select string_agg(
        distinct coalesce(branch.value ->> 'retention', policy.retention::text), ', '
    )
    from jsonb_array_elements(policy.branches) as branch
    where branch.value ? 'column'
) as kept (retention)
left join lateral (
    select history.started_at, history.exit_reason, history.removed
    from maintenance.run_history as history
    where history.policy = policy.name
      and history.action <> 'undo'
    order by history.started_at desc
    limit 1
) as last on true
left join lateral (
    select step.ended_at
    from maintenance.run_step as step
    where step.policy = policy.name
      and step.exit_reason in ('exhausted', 'nothing_to_do')
      and step.action <> 'undo'
    order by step.started_at desc
    limit 1
) as finished on true
cross join lateral maintenance.forecast(policy.name) as forecast
left join maintenance.insert_sweep_status as sweep on sweep.policy = policy.name
order by policy.priority, policy.name;

revoke all on table maintenance.policy_status from public;

comment on view maintenance.policy_status is
    'How each policy stands: its last run, whether it is overdue, and whether it keeps up.';
comment on column maintenance.policy_status.policy is 'Name of the policy.';
comment on column maintenance.policy_status.relation is 'Its table.';
comment on column maintenance.policy_status.operation is 'Its operation.';
comment on column maintenance.policy_status.is_enabled is 'Whether it may run.';
comment on column maintenance.policy_status.severity is 'How carefully it wants to be run.';
comment on column maintenance.policy_status.retention is
    'How long rows stay; several where branches differ; null: no time decides.';
comment on column maintenance.policy_status.last_run_at is 'When it last began; null: never.';
comment on column maintenance.policy_status.last_exit_reason is 'Why that ended.';
comment on column maintenance.policy_status.last_removed is 'Rows that it removed then.';
comment on column maintenance.policy_status.last_finished_at is
    'When it last did all its work; null: never.';
comment on column maintenance.policy_status.is_overdue is
    'Whether that was longer ago than max_silence allows.';
comment on column maintenance.policy_status.arriving_per_hour is 'Rows that become eligible.';
comment on column maintenance.policy_status.leaving_per_hour is 'Rows that runs remove.';
comment on column maintenance.policy_status.backlog is 'Eligible rows that the last run left.';
comment on column maintenance.policy_status.outlook is 'When it will be clean, if ever.';
comment on column maintenance.policy_status.insert_sweep is
    'Whether inserts sweep: none, or the state in maintenance.insert_sweep_status and its reason.';
