-- Lists what operations without policies execute and report.

\ir ../../sql/core/views/needed_vacuum.sql
\ir ../../sql/core/views/every_vacuum.sql
\ir ../../sql/core/views/needed_analyze.sql
\ir ../../sql/core/views/every_analyze.sql
\ir ../../sql/core/views/needed_reindex.sql
\ir ../../sql/core/views/every_reindex.sql
\ir ../../sql/core/views/needed_refresh.sql
\ir ../../sql/core/views/largest_tables.sql
\ir ../../sql/core/views/largest_indexes.sql
\ir ../../sql/core/views/bloated_tables.sql
\ir ../../sql/core/views/bloated_indexes.sql

select maintenance.offer_statements(
    operation => source.operation,
    source => source.view,
    chain => 'core',
    scope => source.scope
)
from (
    values
        ('views', 'maintenance.needed_refresh', 'needed'),
        ('analyze', 'maintenance.needed_analyze', 'needed'),
        ('analyze', 'maintenance.every_analyze', 'all'),
        ('reindex', 'maintenance.needed_reindex', 'needed'),
        ('reindex', 'maintenance.every_reindex', 'all'),
        ('vacuum', 'maintenance.needed_vacuum', 'needed'),
        ('vacuum', 'maintenance.every_vacuum', 'all')
) as source (operation, view, scope);
