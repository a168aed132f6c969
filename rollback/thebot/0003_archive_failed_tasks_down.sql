-- Takes the policies away, and the archive: THE TASKS IN IT ARE LOST. It is refused while it holds
-- any, unless maintenance.drop_archives is on, which "runner rollback" sees to after a dump.

select maintenance.remove_policy('archived_failed_tasks', chain => 'thebot');
select maintenance.remove_policy('failed_tasks', chain => 'thebot');

select maintenance.release_index(declared.relation, declared.name)
from maintenance.required_index as declared
where declared.name = 'idx_core_failed_task_archive_failed_at'
  and declared.chain = 'thebot';
select maintenance.drop_archive(to_regclass('public.core_failed_task_archive'));

select maintenance.release_index('public.core_failed_task', 'idx_core_failed_task_failed_at');
