-- Moves tasks that failed a year ago into an archive, and removes them from there after another.
--
-- The archive is tended by when a task failed, and not by when it was moved: what was overdue when
-- it came is removed by the same run of operation cleanup, in which archiving comes first.

select maintenance.require_index(
    chain => 'thebot',
    relation => 'public.core_failed_task',
    name => 'idx_core_failed_task_failed_at',
    keys => 'failed_at',
    reason => 'Finds the tasks that failed longest ago.'
);

-- One that is there is used, if its columns fit.
select maintenance.create_archive('public.core_failed_task', 'public.core_failed_task_archive')
where to_regclass('public.core_failed_task_archive') is null;

select maintenance.require_index(
    chain => 'thebot',
    relation => 'public.core_failed_task_archive',
    name => 'idx_core_failed_task_archive_failed_at',
    keys => 'failed_at',
    reason => 'Finds the archived tasks that failed longest ago.'
);

select maintenance.register_policy(
    policy => 'failed_tasks',
    relation => 'public.core_failed_task',
    definition => '{
        "title": "FailedTask",
        "operation": "cleanup",
        "action": "archive",
        "archive_table": "public.core_failed_task_archive",
        "column": "failed_at",
        "retention": "365 days",
        "batch_size": 1000,
        "priority": 90,
        "guard_rows": 100000,
        "max_silence": "14 days"
    }',
    chain => 'thebot'
);
select maintenance.register_policy(
    policy => 'archived_failed_tasks',
    relation => 'public.core_failed_task_archive',
    definition => '{
        "title": "Archived FailedTask",
        "operation": "cleanup",
        "column": "failed_at",
        "retention": "730 days",
        "batch_size": 1000,
        "guard_rows": 100000,
        "max_silence": "14 days"
    }',
    chain => 'thebot'
);
