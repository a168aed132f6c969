-- Takes the policies away: from here on the tables grow. What users changed about them stays for
-- their return.

select maintenance.remove_policy('maintenance_logs', chain => 'thebot');
select maintenance.remove_policy('task_logs', chain => 'thebot');
select maintenance.remove_policy('audit_logs', chain => 'thebot');
select maintenance.remove_policy('django_sessions', chain => 'thebot');

select maintenance.release_index(
    'public.core_task_execution_log', 'idx_core_task_execution_log_started_at'
);
select maintenance.release_index('public.core_audit_log', 'idx_core_audit_log_timestamp');
select maintenance.release_index('public.django_session', 'idx_django_session_expire_date');
