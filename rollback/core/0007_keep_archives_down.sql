-- Forgets which files hold rows of archives. The files stay, and so do their manifests.

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

drop table maintenance.archive_file;
drop table maintenance.archive;
