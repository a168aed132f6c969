-- Removes sessions that have expired, and what the logs need not keep.
--
-- The record that maintenance keeps of itself is in the task log too. It stays for a year, and
-- would else be gone with the other tasks, after a month.

select maintenance.require_index(
    chain => 'thebot',
    relation => 'public.django_session',
    name => 'idx_django_session_expire_date',
    keys => 'expire_date',
    reason => 'Finds the sessions that have expired.'
);
select maintenance.require_index(
    chain => 'thebot',
    relation => 'public.core_audit_log',
    name => 'idx_core_audit_log_timestamp',
    keys => '"timestamp"',
    reason => 'Finds the oldest entries.'
);
select maintenance.require_index(
    chain => 'thebot',
    relation => 'public.core_task_execution_log',
    name => 'idx_core_task_execution_log_started_at',
    keys => 'started_at',
    reason => 'Finds the tasks that ran longest ago.'
);

select maintenance.register_policy(
    policy => 'django_sessions',
    relation => 'public.django_session',
    definition => '{
        "title": "Sessions",
        "operation": "sessions",
        "column": "expire_date",
        "max_silence": "2 days"
    }',
    chain => 'thebot'
);
select maintenance.register_policy(
    policy => 'audit_logs',
    relation => 'public.core_audit_log',
    definition => '{
        "title": "Audit Logs",
        "operation": "logs",
        "column": "timestamp",
        "retention": "90 days",
        "batch_size": 10000,
        "max_silence": "2 days"
    }',
    chain => 'thebot'
);
select maintenance.register_policy(
    policy => 'task_logs',
    relation => 'public.core_task_execution_log',
    definition => '{
        "title": "Task Logs",
        "operation": "logs",
        "branches": [
            {
                "column": "started_at",
                "condition": "task_name is distinct from ''database_maintenance''"
            }
        ],
        "retention": "30 days",
        "batch_size": 10000,
        "max_silence": "2 days"
    }',
    chain => 'thebot'
);
select maintenance.register_policy(
    policy => 'maintenance_logs',
    relation => 'public.core_task_execution_log',
    definition => '{
        "title": "Maintenance Logs",
        "operation": "logs",
        "branches": [
            {"column": "started_at", "condition": "task_name = ''database_maintenance''"}
        ],
        "retention": "365 days",
        "batch_size": 10000,
        "max_silence": "2 days"
    }',
    chain => 'thebot'
);
