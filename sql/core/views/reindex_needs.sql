-- Lists the indexes that want to be rebuilt or dropped, with the statement that does it.
--
-- A rebuild that was broken off leaves an invalid index: name_ccnew, which never came into use, or
-- name_ccold, the one that it replaced; either may have a number. Both can be dropped. Any other
-- invalid index is what CREATE INDEX CONCURRENTLY left: REINDEX completes it. REINDEX TABLE would
-- pass over it. While a build is under way, it is left alone.

create or replace view maintenance.reindex_needs
with (security_invoker = true)
as
select
    bloat.schema_name,
    bloat.table_name,
    bloat.index_name,
    format('about %s %% of it is empty', round(bloat.wasted_percent::numeric)) as reason,
    format('reindex index concurrently %I.%I', bloat.schema_name, bloat.index_name) as statement,
    bloat.wasted_bytes as gives_back_bytes,
    bloat.rebuilt_bytes as needs_bytes
from maintenance.index_bloat as bloat
where bloat.wasted_percent > 30
  and bloat.wasted_bytes > 1048576
union all
select
    namespace.nspname,
    relation.relname,
    class.relname,
    case left_by.suffix
        when 'ccnew' then 'a rebuild was broken off, and left it'
        when 'ccold' then 'a rebuild replaced it, and was broken off before it was dropped'
        else 'it is invalid: the build was broken off'
    end,
    format(
        '%s index concurrently %I.%I',
        case when left_by.suffix is not null then 'drop' else 'reindex' end,
        namespace.nspname,
        class.relname
    ),
    case when left_by.suffix is not null then pg_relation_size(class.oid) else 0 end,
    case when left_by.suffix is not null then 0 end
from pg_catalog.pg_index as defined
join pg_catalog.pg_class as class on class.oid = defined.indexrelid
join pg_catalog.pg_class as relation on relation.oid = defined.indrelid
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
cross join lateral (
    select substring(class.relname from '_(ccnew|ccold)[0-9]*$') as suffix
) as left_by
where not defined.indisvalid
  and class.relkind = 'i'
  and class.relpersistence <> 't'
  and namespace.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
  and pg_relation_size(class.oid) is not null
  and not exists (
      select
      from pg_catalog.pg_stat_progress_create_index as building
      join pg_catalog.pg_database as here
          on here.oid = building.datid
          and here.datname = current_database()
      where building.relid = defined.indrelid
         or building.relid is null  -- hidden: it may be this one
  )
order by gives_back_bytes desc, schema_name, index_name;

revoke all on table maintenance.reindex_needs from public;

comment on view maintenance.reindex_needs is
    'Indexes that want to be rebuilt, or that a rebuild left behind, with what to do.';
comment on column maintenance.reindex_needs.schema_name is 'Schema of the table and its index.';
comment on column maintenance.reindex_needs.table_name is 'Table that is indexed, unquoted.';
comment on column maintenance.reindex_needs.index_name is 'Name of the index, unquoted.';
comment on column maintenance.reindex_needs.reason is 'Why.';
comment on column maintenance.reindex_needs.statement is
    'What to execute, outside any transaction, as the owner of the table.';
comment on column maintenance.reindex_needs.gives_back_bytes is
    'About how much space it gives back.';
comment on column maintenance.reindex_needs.needs_bytes is
    'About how much space it takes meanwhile; null where that is not known.';
