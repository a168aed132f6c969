-- Lists materialized views in an order in which each comes after those that it reads, directly or
-- through views, with the statement that refreshes it.
--
-- CONCURRENTLY needs a unique index on plain columns without a condition, and rows to compare with:
-- a view that was never filled is filled plainly.

create or replace view maintenance.refresh_order
with (security_invoker = true)
as
with recursive reading as materialized (
    select distinct
        rule.ev_class as reader,
        needed.refobjid as relation
    from pg_catalog.pg_rewrite as rule
    join pg_catalog.pg_depend as needed
        on needed.classid = 'pg_catalog.pg_rewrite'::regclass
        and needed.objid = rule.oid
        and needed.refclassid = 'pg_catalog.pg_class'::regclass
        and needed.refobjid <> rule.ev_class
    join pg_catalog.pg_class as reader on reader.oid = rule.ev_class
    join pg_catalog.pg_class as relation on relation.oid = needed.refobjid
    where reader.relkind in ('v', 'm')
      and relation.relkind in ('v', 'm')
),
walk (view, relation, stage) as (
    select class.oid, class.oid, 1
    from pg_catalog.pg_class as class
    where class.relkind = 'm'
    union
    select
        walk.view,
        reading.relation,
        walk.stage + case when class.relkind = 'm' then 1 else 0 end
    from walk
    join reading on reading.reader = walk.relation
    join pg_catalog.pg_class as class on class.oid = reading.relation
)
select
    row_number() over (order by staged.stage, namespace.nspname, class.relname)::integer as place,
    namespace.nspname as schema_name,
    class.relname as view_name,
    staged.stage,
    class.relispopulated as is_populated,
    unique_index.name as unique_index,
    how.is_concurrent,
    format(
        'refresh materialized view %s%I.%I',
        case when how.is_concurrent then 'concurrently ' else '' end,
        namespace.nspname,
        class.relname
    ) as statement,
    case
        when how.is_concurrent then 'EXCLUSIVE: it can be read meanwhile'
        else 'ACCESS EXCLUSIVE: it cannot be read meanwhile'
    end as lock,
    case
        when unique_index.name is null and candidate.name is not null then format(
            'create unique index on %I.%I (%I)', namespace.nspname, class.relname, candidate.name
        )
    end as proposed_index
from (
    select walk.view, max(walk.stage) as stage
    from walk
    group by walk.view
) as staged
join pg_catalog.pg_class as class on class.oid = staged.view
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
left join lateral (
    select index.relname as name
    from pg_catalog.pg_index as defined
    join pg_catalog.pg_class as index on index.oid = defined.indexrelid
    where defined.indrelid = class.oid
      and defined.indisunique
      and defined.indisvalid
      and defined.indimmediate
      and defined.indpred is null
      and defined.indexprs is null
    order by index.relname
    limit 1
) as unique_index on true
left join lateral (
    select known.attname as name
    from pg_catalog.pg_stats as known
    join pg_catalog.pg_attribute as attribute
        on attribute.attrelid = class.oid
        and attribute.attname = known.attname
    where known.schemaname = namespace.nspname
      and known.tablename = class.relname
      and known.n_distinct = -1
      and known.null_frac = 0
    order by attribute.attnum
    limit 1
) as candidate on true
cross join lateral (
    select unique_index.name is not null and class.relispopulated as is_concurrent
) as how
order by place;

revoke all on table maintenance.refresh_order from public;

comment on view maintenance.refresh_order is
    'Materialized views in the order in which to refresh them, with the statements.';
comment on column maintenance.refresh_order.place is 'Number in that order.';
comment on column maintenance.refresh_order.schema_name is 'Schema of the view.';
comment on column maintenance.refresh_order.view_name is 'Name of the view, unquoted.';
comment on column maintenance.refresh_order.stage is
    '1 where it reads no other; else one more than the highest that it reads.';
comment on column maintenance.refresh_order.is_populated is 'Whether it was ever filled.';
comment on column maintenance.refresh_order.unique_index is
    'Unique index on plain columns, without a condition, that CONCURRENTLY can use.';
comment on column maintenance.refresh_order.is_concurrent is
    'Whether it can be refreshed CONCURRENTLY.';
comment on column maintenance.refresh_order.statement is
    'What to execute, as the owner of the view.';
comment on column maintenance.refresh_order.lock is 'Lock that it takes.';
comment on column maintenance.refresh_order.proposed_index is
    'Index that would make CONCURRENTLY possible, on a column whose values have all been different '
    'so far; null where none is missing, or none is known.';
