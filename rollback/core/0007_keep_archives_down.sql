-- Removes what puts archived rows back. Archives stay, with the policies that fill them.

drop procedure maintenance.undo_run(bigint, text, integer, bigint, bigint, bigint);
drop function maintenance.undo_batch(bigint, bigint, jsonb, integer, interval);
drop function maintenance.put_back(
    regclass, regclass, regclass, tid[], boolean, boolean, timestamptz, integer
);
drop function maintenance.archived_key(regclass, regclass, regclass, tid[]);
drop function maintenance.undo_statement(regclass, regclass, regclass, boolean);
drop function maintenance.open_undo(bigint, bigint);
drop function maintenance.assert_undoable(bigint, text);
drop function maintenance.plan_undo(bigint);
drop function maintenance.judge_undo(maintenance.run_step);
drop function maintenance.count_archived(bigint);
drop function maintenance.find_undo_problem(regclass, regclass);
drop function maintenance.undo_archives(bigint);
