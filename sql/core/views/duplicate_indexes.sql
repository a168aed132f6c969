-- Lists indexes that another one on the same table makes superfluous.
--
-- Either both are the same (index_definition), or the keys of a btree index are the first keys of
-- another one with the same condition. What is unique, belongs to a constraint, is the replica
-- identity, or has been declared by housekeeping stays. Of two that are the same and might both
-- go, the older stays.

create or replace view maintenance.duplicate_indexes
with (security_invoker = true)
as
with known as materialized (
    select
        defined.indexrelid as index,
        defined.indrelid as relation,
        class.relname as name,
        namespace.nspname as schema_name,
        class.relam as method,
        method.amname = 'btree' as is_btree,
        defined.indnatts as columns,
        defined.indnkeyatts as keys,
        pg_get_expr(defined.indpred, defined.indrelid) as condition,
        array(
            select (
                defined.indkey[place], defined.indclass[place], defined.indcollation[place],
                defined.indoption[place],
                case
                    when defined.indkey[place] = 0
                        then pg_get_indexdef(defined.indexrelid, place + 1, false)
                end
            )::text
            from generate_series(0, defined.indnkeyatts - 1) as place
            order by place
        ) as parts,
        not defined.indisunique
        and not class.relispartition
        and not exists (
            select
            from pg_catalog.pg_constraint as bound
            where bound.conindid = defined.indexrelid
        )
        and not exists (
            select
            from maintenance.required_index as declared
            where declared.relation = defined.indrelid
              and declared.name = class.relname
        ) as may_go
    from pg_catalog.pg_index as defined
    join pg_catalog.pg_class as class on class.oid = defined.indexrelid
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    join pg_catalog.pg_am as method on method.oid = class.relam
    where defined.indisvalid
      and class.relpersistence <> 't'
      and namespace.nspname not in (
          'pg_catalog', 'information_schema', 'pg_toast', 'maintenance'
      )
)
select
    superfluous.schema_name,
    relation.relname as table_name,
    superfluous.name as index_name,
    pg_relation_size(superfluous.index) as index_bytes,
    match.name as covered_by,
    format(
        case
            when alike.is_same then 'it is the same as %I'
            else 'its keys are the first ones of %I'
        end,
        match.name
    ) as reason,
    format(
        'drop index %s%I.%I',
        case when class.relkind = 'i' then 'concurrently ' else '' end,
        superfluous.schema_name,
        superfluous.name
    ) as statement
from known as superfluous
join pg_catalog.pg_class as relation on relation.oid = superfluous.relation
join pg_catalog.pg_class as class on class.oid = superfluous.index
join known as match
    on match.relation = superfluous.relation
    and match.method = superfluous.method
    and match.index <> superfluous.index
    and match.condition is not distinct from superfluous.condition
cross join lateral (
    select
        match.parts = superfluous.parts
        and maintenance.index_definition(match.index)
            = maintenance.index_definition(superfluous.index) as is_same,
        superfluous.is_btree
        and superfluous.columns = superfluous.keys
        and match.keys > superfluous.keys
        and match.parts[1:superfluous.keys] = superfluous.parts as is_prefix
) as alike
where superfluous.may_go
  and (
      (alike.is_same and (not match.may_go or match.index < superfluous.index))
      or alike.is_prefix
  )
order by index_bytes desc, superfluous.schema_name, superfluous.name, match.name;

revoke all on table maintenance.duplicate_indexes from public;

comment on view maintenance.duplicate_indexes is
    'Indexes that another one on the same table makes superfluous, and why.';
comment on column maintenance.duplicate_indexes.schema_name is 'Schema of the table and its index.';
comment on column maintenance.duplicate_indexes.table_name is 'Table that is indexed, unquoted.';
comment on column maintenance.duplicate_indexes.index_name is 'The index that can go, unquoted.';
comment on column maintenance.duplicate_indexes.index_bytes is 'Its size.';
comment on column maintenance.duplicate_indexes.covered_by is 'The index that does its work.';
comment on column maintenance.duplicate_indexes.reason is 'Why it can go.';
comment on column maintenance.duplicate_indexes.statement is 'Drops it: a proposal.';
