-- Removes those tables of THE_BOT that were created here, WITH ALL THAT IS IN THEM. Tables that
-- were there before stay as they are.

select maintenance.release_index('public.core_failed_task', 'idx_core_failed_task_task')
where maintenance.is_created(kind => 'table', name => 'public.core_failed_task');
select maintenance.release_index(
    'public.core_task_execution_log', 'idx_core_task_execution_log_task'
)
where maintenance.is_created(kind => 'table', name => 'public.core_task_execution_log');
select maintenance.release_index('public.core_audit_log', 'idx_core_audit_log_action')
where maintenance.is_created(kind => 'table', name => 'public.core_audit_log');
select maintenance.release_index('public.core_audit_log', 'idx_core_audit_log_user')
where maintenance.is_created(kind => 'table', name => 'public.core_audit_log');

select maintenance.give_back('thebot', 'table', 'public.core_failed_task');
select maintenance.give_back('thebot', 'table', 'public.core_task_execution_log');
select maintenance.give_back('thebot', 'table', 'public.core_audit_log');
select maintenance.give_back('thebot', 'table', 'public.django_session');
