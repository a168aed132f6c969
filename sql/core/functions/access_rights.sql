-- Lists what a monitor and, besides, an operator is granted. This is the one list: grant_monitor
-- and grant_operator give it, revoke_access takes it back, and the view access compares with it.

create or replace function maintenance.access_rights()
returns table (access text, kind text, object oid, name text, privilege text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        'monitor',
        'schema',
        namespace.oid,
        namespace.nspname::text,
        'usage'
    from pg_catalog.pg_namespace as namespace
    where namespace.nspname = 'maintenance'
    union all
    select 'monitor', 'table', class.oid, class.oid::regclass::text, 'select'
    from pg_catalog.pg_class as class
    where class.relnamespace = 'maintenance'::regnamespace
      and class.relname in (
          'access', 'archive', 'archive_file', 'archive_status', 'backup_attestation',
          'database_facts', 'endpoint', 'index_usage', 'insert_sweep', 'insert_sweep_status',
          'lease', 'lease_status', 'missing_indexes', 'pause', 'policy', 'policy_change',
          'policy_override', 'policy_status', 'required_index', 'run', 'run_history',
          'run_listener', 'run_step', 'table_facts', 'table_owners', 'table_sizes', 'token_growth',
          'watched_token', 'xmin_horizon'
      )
    union all
    select granted.access, 'routine', routine.oid, routine.oid::regprocedure::text, 'execute'
    from (
        values
            (
                'monitor',
                array[
                    'access_rights', 'assert_endpoint', 'count_tokens', 'describe_policy',
                    'diagnose', 'diagnose_identity', 'diagnose_indexes', 'diagnose_policies',
                    'diagnose_policy', 'diagnose_rights', 'diagnose_runs', 'diagnose_server',
                    'diagnose_sweeps', 'equivalent_indexes', 'executor_of', 'file_columns',
                    'find_sweep_faults', 'find_sweep_risks', 'forecast', 'free_index_name',
                    'identify', 'index_definition', 'is_alive', 'is_intact', 'leaves_of',
                    'load_signals', 'oldest_archived', 'parts_of', 'pause_reason',
                    'plan_policy', 'plan_undo', 'policy_archives', 'preview', 'removable',
                    'shortest_retention'
                ]
            ),
            (
                'operator',
                array[
                    'assert_outside_transaction', 'assert_undoable', 'attest_backup',
                    'begin_archive_export', 'check_step', 'close_run', 'close_step',
                    'deadline_of_call', 'drive_batches', 'drive_step', 'join_parts',
                    'next_transaction', 'open_run', 'open_step', 'open_undo', 'pause_runs',
                    'plan_archive_export', 'policies_of', 'purge_batch', 'record_archive_file',
                    'report_run', 'resume_runs', 'return_archived', 'run_batch',
                    'run_operations', 'run_policy', 'split_step', 'stage_archive_file',
                    'stop_run', 'take_archived', 'undo_batch', 'undo_run', 'unrecorded_files',
                    'vacuum_command'
                ]
            )
    ) as granted (access, names)
    join pg_catalog.pg_proc as routine on routine.proname = any (granted.names)
    where routine.pronamespace = 'maintenance'::regnamespace;
$function$;

revoke all on function maintenance.access_rights() from public;

comment on function maintenance.access_rights() is
    'List what grant_monitor grants, and what grant_operator grants besides.';
