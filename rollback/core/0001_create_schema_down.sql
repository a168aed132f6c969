-- Removes the schema. Nothing is lost but the record of which scripts were applied.

drop table maintenance.applied_object;
drop table maintenance.applied_script;
drop table maintenance.chain;
drop schema maintenance;
