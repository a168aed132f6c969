-- The last ten failures of the last 30 days, the newest first.
select
    history.run,
    history.started_at,
    coalesce(history.policy, history.statement, history.operation, history.program) as what,
    history.exit_reason,
    history.sqlstate,
    history.message
from maintenance.run_history as history
where history.started_at > now() - interval '30 days'
  and history.exit_reason in ('error', 'incomplete', 'interrupted', 'guard')
order by history.started_at desc
limit 10
