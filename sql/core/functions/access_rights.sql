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
          'access', 'analyze_needs', 'archive', 'archive_file', 'archive_status',
          'backup_attestation', 'bloated_indexes', 'bloated_tables', 'blocking_locks', 'bundle',
          'connections', 'database_facts', 'duplicate_indexes', 'endpoint', 'every_analyze',
          'every_reindex', 'every_vacuum', 'index_bloat', 'index_build', 'index_usage',
          'insert_sweep', 'insert_sweep_status', 'largest_indexes', 'largest_tables', 'lease',
          'lease_status', 'long_running_queries', 'missing_indexes', 'needed_analyze',
          'needed_refresh', 'needed_reindex', 'needed_vacuum', 'operation', 'pause', 'policy',
          'policy_change', 'policy_override', 'policy_status', 'refresh_order', 'reindex_needs',
          'required_index', 'run', 'run_history', 'run_listener', 'run_step', 'run_task',
          'settings_advice', 'size_history', 'stale_progress', 'statement_source',
          'statistics_state', 'table_bloat', 'table_facts', 'table_growth', 'table_owners',
          'table_sizes', 'table_upkeep', 'token_growth', 'unused_indexes', 'vacuum_needs',
          'watched_token', 'xmin_horizon'
      )
    union all
    select granted.access, 'routine', routine.oid, routine.oid::regprocedure::text, 'execute'
    from (
        values
            (
                'monitor',
                array[
                    'access_rights', 'aligned_width', 'assert_endpoint', 'column_widths',
                    'count_tokens', 'describe_policy', 'diagnose', 'diagnose_identity',
                    'diagnose_indexes', 'diagnose_policies', 'diagnose_policy', 'diagnose_rights',
                    'diagnose_runs', 'diagnose_server', 'diagnose_sweeps', 'equivalent_indexes',
                    'executor_of', 'file_columns', 'find_stale_progress', 'find_sweep_faults',
                    'find_sweep_risks', 'forecast', 'free_index_name', 'identify',
                    'index_definition', 'is_alive', 'is_intact', 'items_per_page', 'leaves_of',
                    'load_signals', 'maintenance_estimate', 'oldest_archived', 'parts_of',
                    'pause_reason', 'plan_policy', 'plan_undo', 'policy_archives', 'posting_lists',
                    'preview', 'removable', 'running_queries', 'shortest_retention',
                    'vacuum_statement'
                ]
            ),
            (
                'operator',
                array[
                    'assert_outside_transaction', 'assert_undoable', 'attest_backup',
                    'begin_archive_export', 'bundled', 'check_step', 'close_run', 'close_step',
                    'close_task', 'deadline_of_call', 'drive_batches', 'drive_step', 'join_parts',
                    'next_transaction', 'note_sizes', 'open_run', 'open_step', 'open_task',
                    'open_undo', 'pause_runs', 'plan_archive_export', 'policies_of', 'purge_batch',
                    'record_archive_file', 'report_run', 'resume_runs', 'return_archived',
                    'run_batch', 'run_operations', 'run_policy', 'split_step', 'stage_archive_file',
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
