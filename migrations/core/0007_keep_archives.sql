-- Puts back what a run archived, and moves old rows of archives into files, and back.

create table maintenance.archive_file (
    id uuid constraint archive_file_pkey primary key,
    archive text not null,
    source text,
    file text not null,
    folder text not null,
    format text not null
        constraint archive_file_format_check check (format in ('gzip', 'zstd')),
    rows bigint not null constraint archive_file_rows_check check (rows > 0),
    oldest timestamptz not null,
    newest timestamptz not null,
    steps bigint[] not null,
    csv_bytes bigint not null,
    csv_sha256 text not null
        constraint archive_file_csv_sha256_check check (csv_sha256 ~ '^[0-9a-f]{64}$'),
    file_bytes bigint not null,
    file_sha256 text not null
        constraint archive_file_file_sha256_check check (file_sha256 ~ '^[0-9a-f]{64}$'),
    exported_at timestamptz,
    exported_by name,
    imported_at timestamptz,
    imported_by name,
    imported_into text,
    constraint archive_file_import_check
    check (
        (imported_at is null) = (imported_by is null)
        and (imported_at is null) = (imported_into is null)
    )
);

revoke all on table maintenance.archive_file from public;

comment on table maintenance.archive_file is
    'Files that rows of archives were moved into. Written in the transaction that moves the rows, '
    'by record_archive_file and return_archived.';
comment on column maintenance.archive_file.id is 'As in the manifest of the file.';
comment on column maintenance.archive_file.archive is 'Archive that the rows were in.';
comment on column maintenance.archive_file.source is 'Table that they were archived from.';
comment on column maintenance.archive_file.file is 'Name of the file; its manifest is FILE.json.';
comment on column maintenance.archive_file.folder is
    'Where the runner wrote it: machine and folder.';
comment on column maintenance.archive_file.format is 'How it is compressed.';
comment on column maintenance.archive_file.rows is 'How many rows are in it.';
comment on column maintenance.archive_file.oldest is 'When the first of them was archived.';
comment on column maintenance.archive_file.newest is 'When the last of them was archived.';
comment on column maintenance.archive_file.steps is
    'Steps in maintenance.run_step that archived them: what undoing these runs needs back.';
comment on column maintenance.archive_file.csv_bytes is 'Bytes of the CSV in it.';
comment on column maintenance.archive_file.csv_sha256 is 'SHA-256 of the CSV in it.';
comment on column maintenance.archive_file.file_bytes is 'Bytes of the file.';
comment on column maintenance.archive_file.file_sha256 is 'SHA-256 of the file.';
comment on column maintenance.archive_file.exported_at is
    'When its rows left the archive; null: another database exported it.';
comment on column maintenance.archive_file.exported_by is 'Who moved them.';
comment on column maintenance.archive_file.imported_at is
    'When its rows were put back; null: they are in the file alone.';
comment on column maintenance.archive_file.imported_by is 'Who put them back.';
comment on column maintenance.archive_file.imported_into is 'Table they were put into.';

\ir ../../sql/core/functions/undo_archives.sql
\ir ../../sql/core/functions/find_undo_problem.sql
\ir ../../sql/core/functions/count_archived.sql
\ir ../../sql/core/functions/judge_undo.sql
\ir ../../sql/core/functions/plan_undo.sql
\ir ../../sql/core/functions/assert_undoable.sql
\ir ../../sql/core/functions/open_undo.sql
\ir ../../sql/core/functions/undo_statement.sql
\ir ../../sql/core/functions/archived_key.sql
\ir ../../sql/core/functions/move_back.sql
\ir ../../sql/core/functions/is_of_rows.sql
\ir ../../sql/core/functions/put_back.sql
\ir ../../sql/core/functions/undo_batch.sql
\ir ../../sql/core/procedures/undo_run.sql
\ir ../../sql/core/functions/assert_movable.sql
\ir ../../sql/core/functions/file_columns.sql
\ir ../../sql/core/functions/plan_archive_export.sql
\ir ../../sql/core/functions/begin_archive_export.sql
\ir ../../sql/core/functions/take_archived.sql
\ir ../../sql/core/functions/record_archive_file.sql
\ir ../../sql/core/functions/unrecorded_files.sql
\ir ../../sql/core/functions/stage_archive_file.sql
\ir ../../sql/core/functions/return_archived.sql
\ir ../../sql/core/functions/oldest_archived.sql
\ir ../../sql/core/views/archive_status.sql
