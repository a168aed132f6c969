-- Who tends which policy at the moment, and whether it is still there.
--
-- A lease whose session is gone needs nobody's help: the next run takes it over.

create or replace view maintenance.lease_status
with (security_invoker = true)
as
select
    lease.policy,
    step.run,
    lease.step,
    lease.owner_pid,
    run.program,
    run.started_by as role,
    run.started_from as address,
    step.started_at as since,
    step.heartbeat_at,
    step.removed,
    case
        when activity.pid is null then 'gone'
        when activity.backend_start is null or lease.owner_start is null then 'unknown'
        when activity.backend_start = lease.owner_start then 'alive'
        else 'gone'
    end as session
from maintenance.lease
left join maintenance.run_step as step on step.id = lease.step
left join maintenance.run on run.id = step.run
left join pg_catalog.pg_stat_activity as activity on activity.pid = lease.owner_pid
where lease.step is not null
order by lease.policy;

revoke all on table maintenance.lease_status from public;

comment on view maintenance.lease_status is
    'Leases that are taken: by whom, since when, how far it has come, and whether it is there.';
comment on column maintenance.lease_status.policy is 'Policy that is being tended.';
comment on column maintenance.lease_status.run is 'Run that tends it.';
comment on column maintenance.lease_status.step is 'Step of that run.';
comment on column maintenance.lease_status.owner_pid is 'Process of its session.';
comment on column maintenance.lease_status.program is 'What drives it.';
comment on column maintenance.lease_status.role is 'Role that started it.';
comment on column maintenance.lease_status.address is 'Address and application name.';
comment on column maintenance.lease_status.since is 'When it began.';
comment on column maintenance.lease_status.heartbeat_at is 'When its last batch ended.';
comment on column maintenance.lease_status.removed is 'Rows that it has removed so far.';
comment on column maintenance.lease_status.session is
    'alive; gone; unknown where pg_stat_activity hides when the session began.';
