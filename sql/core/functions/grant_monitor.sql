-- Lets a role see what runs, ran and would run: nothing that changes a row.

create or replace function maintenance.grant_monitor(role name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform maintenance.assert_owner('maintenance'::regnamespace::oid);

    execute format('grant usage on schema maintenance to %I', grant_monitor.role);
    execute format(
        'grant select on maintenance.policy, maintenance.policy_override, '
        'maintenance.policy_change, maintenance.pause, maintenance.backup_attestation, '
        'maintenance.lease, maintenance.run, maintenance.run_step, maintenance.run_history, '
        'maintenance.policy_status, maintenance.insert_sweep, '
        'maintenance.insert_sweep_status, maintenance.table_sizes, maintenance.index_usage, '
        'maintenance.required_index, maintenance.missing_indexes to %I',
        grant_monitor.role
    );
    execute format(
        'grant execute on function maintenance.preview(text, boolean), '
        'maintenance.plan_policy(text, boolean), maintenance.describe_policy(text), '
        'maintenance.forecast(text), '
        'maintenance.find_sweep_faults(text), '
        'maintenance.find_sweep_risks(maintenance.policy), '
        'maintenance.pause_reason(), maintenance.load_signals(integer[], interval, interval), '
        'maintenance.is_alive(integer, timestamptz, timestamptz) to %I',
        grant_monitor.role
    );
end;
$function$;

revoke all on function maintenance.grant_monitor(name) from public;

comment on function maintenance.grant_monitor(name) is
    'Let a role see policies, runs and previews, and change nothing.';
