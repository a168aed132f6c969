-- What the operation analyze executes with --all-tables: every table, and those that are
-- partitioned, whose own statistics nobody else gathers.

create or replace view maintenance.every_analyze
with (security_invoker = true)
as
select
    format('%I.%I', namespace.nspname, class.relname) as object,
    format('analyze %I.%I', namespace.nspname, class.relname) as statement,
    'every table was asked for' as reason,
    true as is_patient
from pg_catalog.pg_class as class
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
where class.relkind in ('r', 'm', 'p')
  and class.relpersistence <> 't'
  and namespace.nspname not in ('pg_catalog', 'information_schema')
  and namespace.nspname not like 'pg\_toast%'
order by class.relpages, namespace.nspname, class.relname;

revoke all on table maintenance.every_analyze from public;

comment on view maintenance.every_analyze is
    'ANALYZE statements for all tables, the smallest first.';
comment on column maintenance.every_analyze.object is 'Table.';
comment on column maintenance.every_analyze.statement is 'What to execute.';
comment on column maintenance.every_analyze.reason is 'Why.';
comment on column maintenance.every_analyze.is_patient is
    'That it may wait for its locks: nobody who reads or writes queues behind it.';
