-- How far the index is that session %(pid)s builds: the phase, and the percent of it.
select
    progress.phase,
    case
        when progress.phase like 'waiting%%'
            then 100.0 * progress.lockers_done / nullif(progress.lockers_total, 0)
        when progress.phase like '%%tuples%%'
            then 100.0 * progress.tuples_done / nullif(progress.tuples_total, 0)
        else 100.0 * progress.blocks_done / nullif(progress.blocks_total, 0)
    end::float8 as percent
from pg_stat_progress_create_index as progress
where progress.pid = %(pid)s
