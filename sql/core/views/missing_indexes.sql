-- Lists the declared indexes that do not exist yet, with the statements that build them.
--
-- In psql: select create_statement, comment_statement from maintenance.missing_indexes \gexec

create or replace view maintenance.missing_indexes
with (security_invoker = true)
as
select
    declared.chain,
    declared.relation,
    declared.name,
    declared.reason,
    format(
        'create %sindex %I on %I.%I (%s)%s%s',
        case when declared.is_unique then 'unique ' else '' end,
        declared.name,
        namespace.nspname,
        indexed.relname,
        declared.keys,
        ' include (' || declared.included || ')',
        ' where ' || declared.predicate
    ) as create_statement,
    format(
        'comment on index %I.%I is %L',
        namespace.nspname,
        declared.name,
        declared.reason
    ) as comment_statement
from maintenance.required_index as declared
join pg_catalog.pg_class as indexed on indexed.oid = declared.relation
join pg_catalog.pg_namespace as namespace on namespace.oid = indexed.relnamespace
where not exists (
    select
    from pg_catalog.pg_index as built
    join pg_catalog.pg_class as class on class.oid = built.indexrelid
    where built.indrelid = declared.relation
      and class.relname = declared.name
      and built.indisvalid
      and built.indisready
)
order by declared.chain, namespace.nspname, indexed.relname, declared.name;

revoke all on table maintenance.missing_indexes from public;

comment on view maintenance.missing_indexes is
    'Declared indexes that are yet to be built, with the statements that build and describe them.';
comment on column maintenance.missing_indexes.chain is 'Chain that declared the index.';
comment on column maintenance.missing_indexes.relation is 'Table to index.';
comment on column maintenance.missing_indexes.name is 'Name of the index.';
comment on column maintenance.missing_indexes.reason is 'What the index is for.';
comment on column maintenance.missing_indexes.create_statement is 'Builds the index.';
comment on column maintenance.missing_indexes.comment_statement is
    'Says on the index what it is for.';
