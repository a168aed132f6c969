-- Removes what the sweeps share, and the settings of the tables that swept.

drop function maintenance.set_insert_sweep(regclass, boolean, integer, interval);
drop function maintenance.close_sweep(oid, bigint, timestamptz);
drop function maintenance.open_sweep(oid);
drop function maintenance.may_sweep(oid, name);
drop function maintenance.caller();
drop table maintenance.insert_sweep;
