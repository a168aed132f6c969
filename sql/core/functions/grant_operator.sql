-- Lets a role run policies, look at them, and stop runs: no more, and nothing on any table.

create or replace function maintenance.grant_operator(role name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_routine regprocedure;
begin
    perform maintenance.assert_owner('maintenance'::regnamespace::oid);
    perform maintenance.grant_monitor(grant_operator.role);

    for v_routine in
        select routine.oid::regprocedure
        from pg_catalog.pg_proc as routine
        where routine.pronamespace = 'maintenance'::regnamespace
          and routine.proname in (
              'run_policy', 'run_operations', 'drive_step', 'next_transaction',
              'purge_batch', 'stop_run', 'pause_runs', 'resume_runs', 'open_run', 'open_step',
              'split_step', 'join_parts', 'check_step', 'run_batch', 'close_step', 'close_run',
              'policies_of', 'deadline_of_call', 'assert_outside_transaction',
              'attest_backup', 'vacuum_command'
          )
    loop
        execute format('grant execute on routine %s to %I', v_routine, grant_operator.role);
    end loop;
end;
$function$;

revoke all on function maintenance.grant_operator(name) from public;

comment on function maintenance.grant_operator(name) is
    'Let a role run, preview and stop policies, and attest backups.';
