-- Removes what operations without policies execute and report.

delete from maintenance.statement_source
where chain = 'core';

drop view maintenance.bloated_indexes;
drop view maintenance.bloated_tables;
drop view maintenance.largest_indexes;
drop view maintenance.largest_tables;
drop view maintenance.needed_refresh;
drop view maintenance.every_reindex;
drop view maintenance.needed_reindex;
drop view maintenance.every_analyze;
drop view maintenance.needed_analyze;
drop view maintenance.every_vacuum;
drop view maintenance.needed_vacuum;
