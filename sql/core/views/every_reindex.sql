-- What the operation reindex executes with --all-indexes: every index, one at a time.

create or replace view maintenance.every_reindex
with (security_invoker = true)
as
select
    format('%I.%I', namespace.nspname, class.relname) as object,
    format('reindex index concurrently %I.%I', namespace.nspname, class.relname) as statement,
    'every index was asked for' as reason,
    true as is_patient
from pg_catalog.pg_index as index
join pg_catalog.pg_class as class on class.oid = index.indexrelid
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
where class.relkind = 'i'
  and class.relpersistence <> 't'
  and not index.indisexclusion  -- PostgreSQL cannot rebuild such a one while others write
  and namespace.nspname not in ('pg_catalog', 'information_schema')
  and namespace.nspname not like 'pg\_toast%'
order by class.relpages, namespace.nspname, class.relname;

revoke all on table maintenance.every_reindex from public;

comment on view maintenance.every_reindex is
    'REINDEX statements for all indexes, the smallest first.';
comment on column maintenance.every_reindex.object is 'Index.';
comment on column maintenance.every_reindex.statement is 'What to execute.';
comment on column maintenance.every_reindex.reason is 'Why.';
comment on column maintenance.every_reindex.is_patient is
    'That it may wait for its locks: nobody who reads or writes queues behind it.';
