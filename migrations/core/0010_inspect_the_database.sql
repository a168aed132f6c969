-- Shows what the database wastes, waits for and needs: bloat, locks, sessions, vacuum, indexes.
--
-- All is read from catalogs and statistics, with the rights of whoever asks: no extension, and no
-- table of an application is read.

create table maintenance.size_history (
    day date not null,
    schema_name name not null,
    table_name name not null,
    total_bytes bigint not null,
    estimated_rows bigint,
    constraint size_history_pkey primary key (schema_name, table_name, day)
);

revoke all on table maintenance.size_history from public;

comment on table maintenance.size_history is 'Size of each table, once a day: see note_sizes.';
comment on column maintenance.size_history.day is 'The day, in UTC.';
comment on column maintenance.size_history.schema_name is 'Schema of the table.';
comment on column maintenance.size_history.table_name is 'Name of the table, unquoted.';
comment on column maintenance.size_history.total_bytes is 'What it took on disk.';
comment on column maintenance.size_history.estimated_rows is
    'Rows at the last VACUUM or ANALYZE; null before the first.';

\ir ../../sql/core/functions/aligned_width.sql
\ir ../../sql/core/functions/items_per_page.sql
\ir ../../sql/core/functions/posting_lists.sql
\ir ../../sql/core/functions/column_widths.sql
\ir ../../sql/core/views/statistics_state.sql
\ir ../../sql/core/views/table_bloat.sql
\ir ../../sql/core/views/index_bloat.sql
\ir ../../sql/core/views/unused_indexes.sql
\ir ../../sql/core/views/duplicate_indexes.sql
\ir ../../sql/core/functions/running_queries.sql
\ir ../../sql/core/views/long_running_queries.sql
\ir ../../sql/core/views/blocking_locks.sql
\ir ../../sql/core/views/connections.sql
\ir ../../sql/core/views/table_upkeep.sql
\ir ../../sql/core/views/vacuum_needs.sql
\ir ../../sql/core/views/analyze_needs.sql
\ir ../../sql/core/views/reindex_needs.sql
\ir ../../sql/core/views/refresh_order.sql
\ir ../../sql/core/views/settings_advice.sql
\ir ../../sql/core/functions/note_sizes.sql
\ir ../../sql/core/views/table_growth.sql
\ir ../../sql/core/functions/maintenance_estimate.sql
