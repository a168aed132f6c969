-- Puts a line into the application's own task log for each run, as its history expects.

\ir ../../sql/thebot/functions/log_task_execution.sql

insert into maintenance.run_listener (chain, routine)
values ('thebot', 'maintenance.log_task_execution(bigint,jsonb)');
