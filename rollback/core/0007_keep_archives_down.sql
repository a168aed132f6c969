-- Removes what puts archived rows back, and forgets which files hold rows. Archives stay, with the
-- policies that fill them, and so do the files with their manifests.

drop view maintenance.archive_status;
drop function maintenance.oldest_archived(regclass);
drop function maintenance.return_archived(regclass, jsonb, boolean);
drop function maintenance.stage_archive_file(regclass, jsonb, boolean);
drop function maintenance.unrecorded_files(jsonb);
drop function maintenance.record_archive_file(regclass, text, jsonb);
drop function maintenance.take_archived(regclass, regclass, timestamptz, tid, bigint, boolean);
drop function maintenance.begin_archive_export(regclass);
drop function maintenance.plan_archive_export(regclass, interval, timestamptz);
drop function maintenance.file_columns(regclass);
drop function maintenance.assert_movable(regclass, text);
drop procedure maintenance.undo_run(bigint, text, integer, bigint, bigint);
drop function maintenance.undo_batch(bigint, bigint, jsonb, integer, interval);
drop function maintenance.put_back(
    regclass, regclass, regclass, tid[], boolean, boolean, timestamptz, integer
);
drop function maintenance.is_of_rows(text);
drop function maintenance.move_back(regclass, text, tid[], boolean);
drop function maintenance.archived_key(regclass, regclass, regclass, tid[]);
drop function maintenance.undo_statement(regclass, regclass, regclass, text, boolean);
drop function maintenance.open_undo(bigint, bigint);
drop function maintenance.assert_undoable(bigint, text);
drop function maintenance.plan_undo(bigint);
drop function maintenance.judge_undo(maintenance.run_step);
drop function maintenance.count_archived(bigint, regclass, text);
drop function maintenance.find_undo_problem(regclass, regclass);
drop function maintenance.undo_archives(bigint);

drop table maintenance.archive_file;
