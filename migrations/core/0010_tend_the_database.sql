-- Lists what operations without policies execute and report.

\ir ../../sql/core/views/every_vacuum.sql
\ir ../../sql/core/views/every_analyze.sql
\ir ../../sql/core/views/every_reindex.sql
\ir ../../sql/core/views/largest_tables.sql
\ir ../../sql/core/views/largest_indexes.sql

select maintenance.offer_statements('vacuum', 'maintenance.every_vacuum', 'core', scope => 'all');
select maintenance.offer_statements('analyze', 'maintenance.every_analyze', 'core', scope => 'all');
select maintenance.offer_statements('reindex', 'maintenance.every_reindex', 'core', scope => 'all');
