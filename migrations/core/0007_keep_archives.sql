-- Puts back what a run archived.

\ir ../../sql/core/functions/undo_archives.sql
\ir ../../sql/core/functions/find_undo_problem.sql
\ir ../../sql/core/functions/count_archived.sql
\ir ../../sql/core/functions/judge_undo.sql
\ir ../../sql/core/functions/plan_undo.sql
\ir ../../sql/core/functions/assert_undoable.sql
\ir ../../sql/core/functions/open_undo.sql
\ir ../../sql/core/functions/undo_statement.sql
\ir ../../sql/core/functions/archived_key.sql
\ir ../../sql/core/functions/put_back.sql
\ir ../../sql/core/functions/undo_batch.sql
\ir ../../sql/core/procedures/undo_run.sql
