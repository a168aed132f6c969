-- Ends the lines on runs in the application's task log. Those that are there stay.

delete from maintenance.run_listener
where chain = 'thebot';

drop function maintenance.log_task_execution(bigint, jsonb);
