-- Removes the monitoring views, and the list of token tables that they counted.

drop view maintenance.index_usage;
drop view maintenance.table_sizes;
drop view maintenance.token_growth;
drop function maintenance.count_tokens();
drop table maintenance.watched_token;
