-- Lets people see who runs what, what would go now and what is wrong, and says who may do what.
--
-- What grants rights comes last: it names all that there is to grant.

\ir ../../sql/core/functions/identify.sql
\ir ../../sql/core/functions/assert_endpoint.sql
\ir ../../sql/core/functions/remember_endpoints.sql
\ir ../../sql/core/views/lease_status.sql
\ir ../../sql/core/functions/break_lease.sql
\ir ../../sql/core/views/xmin_horizon.sql
\ir ../../sql/core/views/database_facts.sql
\ir ../../sql/core/views/table_facts.sql
\ir ../../sql/core/functions/removable.sql
\ir ../../sql/core/views/table_owners.sql
\ir ../../sql/core/functions/diagnose_identity.sql
\ir ../../sql/core/functions/diagnose_rights.sql
\ir ../../sql/core/functions/diagnose_policy.sql
\ir ../../sql/core/functions/diagnose_policies.sql
\ir ../../sql/core/functions/diagnose_runs.sql
\ir ../../sql/core/functions/diagnose_sweeps.sql
\ir ../../sql/core/functions/diagnose_indexes.sql
\ir ../../sql/core/functions/diagnose_server.sql
\ir ../../sql/core/functions/diagnose.sql
\ir ../../sql/core/functions/access_rights.sql
\ir ../../sql/core/views/access.sql
\ir ../../sql/core/functions/grant_monitor.sql
\ir ../../sql/core/functions/grant_operator.sql
\ir ../../sql/core/functions/revoke_access.sql
