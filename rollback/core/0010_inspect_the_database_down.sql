-- Removes the inspection views, and the sizes that were noted.

drop function maintenance.maintenance_estimate(text);
drop view maintenance.table_growth;
drop function maintenance.note_sizes(timestamptz);
drop view maintenance.settings_advice;
drop view maintenance.refresh_order;
drop view maintenance.reindex_needs;
drop view maintenance.analyze_needs;
drop view maintenance.vacuum_needs;
drop view maintenance.table_upkeep;
drop view maintenance.connections;
drop view maintenance.blocking_locks;
drop view maintenance.long_running_queries;
drop function maintenance.running_queries(interval, boolean);
drop view maintenance.duplicate_indexes;
drop view maintenance.unused_indexes;
drop view maintenance.index_bloat;
drop view maintenance.table_bloat;
drop view maintenance.statistics_state;
drop function maintenance.column_widths();
drop function maintenance.posting_lists(double precision, double precision, double precision);
drop function maintenance.items_per_page(double precision, double precision, double precision);
drop function maintenance.aligned_width(
    double precision[], integer[], double precision[], double precision[]
);
drop table maintenance.size_history;
