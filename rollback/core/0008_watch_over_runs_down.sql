-- Removes what watches over runs, and what grants rights. What was granted on what stays, stays.

drop function maintenance.revoke_access(name);
drop function maintenance.grant_operator(name);
drop function maintenance.grant_monitor(name);
drop view maintenance.access;
drop function maintenance.access_rights();
drop function maintenance.diagnose();
drop function maintenance.diagnose_server(interval, bigint);
drop function maintenance.diagnose_indexes();
drop function maintenance.diagnose_sweeps();
drop function maintenance.diagnose_runs();
drop function maintenance.diagnose_policies();
drop function maintenance.diagnose_policy(text);
drop function maintenance.diagnose_rights();
drop function maintenance.diagnose_identity();
drop view maintenance.table_owners;
drop function maintenance.removable(boolean);
drop view maintenance.table_facts;
drop view maintenance.database_facts;
drop view maintenance.xmin_horizon;
drop function maintenance.break_lease(text, bigint);
drop view maintenance.lease_status;
drop function maintenance.remember_endpoints(text[], boolean);
drop function maintenance.assert_endpoint(text);
drop function maintenance.identify();
