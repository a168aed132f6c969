-- Says what in the settings of server and tables is in the way of housekeeping: one sentence with
-- its reason, and one statement. Nothing is said of what is a matter of taste.

create or replace view maintenance.settings_advice
with (security_invoker = true)
as
select
    advice.subject,
    advice.name,
    advice.message,
    advice.statement
from (
    select
        1 as place,
        'server' as subject,
        setting.name as name,
        setting.name || ' is off: ' || setting.effect as message,
        format('alter system set %I = on', setting.name) as statement
    from (
        values
            ('autovacuum', 'dead rows stay, and statistics age, unless somebody sees to it'),
            ('track_counts', 'autovacuum does not know which tables need it')
    ) as setting (name, effect)
    where not current_setting(setting.name)::boolean
    union all
    select
        2 as place,
        'server' as subject,
        'maintenance_work_mem' as name,
        format(
            'maintenance_work_mem is %s: the dead rows of %I.%I, of %s rows, may not fit, and '
            'then its indexes are read more than once in each VACUUM',
            current_setting('maintenance_work_mem'),
            largest.schema_name, largest.table_name, largest.estimated_rows
        ) as message,
        'alter system set maintenance_work_mem = ''256MB''' as statement
    from (
        select sizes.schema_name, sizes.table_name, sizes.estimated_rows
        from maintenance.table_sizes as sizes
        where sizes.estimated_rows is not null
        order by sizes.estimated_rows desc
        limit 1
    ) as largest
    -- Before PostgreSQL 17 it is six bytes for each dead row, and autovacuum lets a fifth of the
    -- rows come up; since then far less.
    where current_setting('server_version_num')::integer < 170000
      and largest.estimated_rows * 0.2 * 6
          > pg_size_bytes(current_setting('maintenance_work_mem'))
      and pg_size_bytes(current_setting('maintenance_work_mem')) < 268435456
    union all
    select
        3 as place,
        'table' as subject,
        format('%I.%I', namespace.nspname, class.relname) as name,
        'autovacuum is off for it: its dead rows stay, and its statistics age' as message,
        format(
            'alter table %I.%I reset (autovacuum_enabled)', namespace.nspname, class.relname
        ) as statement
    from pg_catalog.pg_class as class
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    cross join lateral pg_options_to_table(class.reloptions) as option
    where class.relkind in ('r', 'm')
      and class.relpersistence <> 't'
      and option.option_name = 'autovacuum_enabled'
      and not option.option_value::boolean
    union all
    select
        4 as place,
        'table' as subject,
        format('%I.%I', namespace.nspname, class.relname) as name,
        format(
            'autovacuum waits for %s dead rows, %s of %s: it comes late, and then it takes long',
            round((scale.factor * class.reltuples)::numeric),
            scale.factor,
            class.reltuples::bigint
        ) as message,
        format(
            'alter table %I.%I set (autovacuum_vacuum_scale_factor = 0.01)',
            namespace.nspname, class.relname
        ) as statement
    from pg_catalog.pg_class as class
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    cross join lateral (
        select coalesce(
            (
                select option.option_value::double precision
                from pg_options_to_table(class.reloptions) as option
                where option.option_name = 'autovacuum_vacuum_scale_factor'
            ),
            current_setting('autovacuum_vacuum_scale_factor')::double precision
        ) as factor
    ) as scale
    where class.relkind in ('r', 'm')
      and class.relpersistence <> 't'
      and class.reltuples > 10000000
      and scale.factor > 0.05
      -- since PostgreSQL 18 there is an upper bound
      and scale.factor * class.reltuples <= coalesce(
          nullif(current_setting('autovacuum_vacuum_max_threshold', true), '-1')::double precision,
          'infinity'
      )
    union all
    select
        5 as place,
        'table' as subject,
        format('%I.%I', sizes.schema_name, sizes.table_name) as name,
        format(
            'it has %s rows and %s, and is not partitioned: rows that expire can only be deleted '
            'one by one, and each VACUUM is about all of it',
            sizes.estimated_rows, sizes.size
        ) as message,
        format(
            'create table %I.%I (like %I.%I including defaults) partition by range (...)',
            sizes.schema_name, left(sizes.table_name, 51) || '_partitioned',
            sizes.schema_name, sizes.table_name
        ) as statement
    from maintenance.table_sizes as sizes
    join pg_catalog.pg_namespace as namespace on namespace.nspname = sizes.schema_name
    join pg_catalog.pg_class as class
        on class.relnamespace = namespace.oid
        and class.relname = sizes.table_name
    where not class.relispartition
      and class.relkind = 'r'
      and (sizes.estimated_rows > 100000000 or sizes.total_bytes > 50 * 1073741824::bigint)
) as advice
order by advice.place, advice.name;

revoke all on table maintenance.settings_advice from public;

comment on view maintenance.settings_advice is
    'What in the settings of server and tables is in the way of housekeeping, and what to do.';
comment on column maintenance.settings_advice.subject is 'server or table.';
comment on column maintenance.settings_advice.name is 'The setting, or the table as SQL takes it.';
comment on column maintenance.settings_advice.message is 'What is wrong, and why it matters.';
comment on column maintenance.settings_advice.statement is
    'A statement that helps, or begins to; a managed host may have its own way to set what is the '
    'server''s.';
