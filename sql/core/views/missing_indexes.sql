-- Lists the declared indexes that are yet to be built, with the statements that build them.
--
-- An index counts, whoever built it, if it does what was declared; so does one with our name and
-- our comment, for another major version of PostgreSQL may write the same index in other words.
--
-- In psql: select drop_statement, create_statement, comment_statement
--          from maintenance.missing_indexes \gexec
-- and again until nothing is listed: of a large partitioned table, the partitions come first, since
-- its own index cannot be built CONCURRENTLY, but takes over those that they have.
--
-- A plain build keeps writers out until it is done. On a table of 2 MB it took 3 to 55 ms, the more
-- the shorter the rows (47,500 at most) and the longer the text in the keys, in C.UTF-8; most other
-- collations compare more slowly. So above 1 MB it is CONCURRENTLY.

create or replace view maintenance.missing_indexes
with (security_invoker = true)
as
with part as (
    select
        declared.*,
        declared.relation as target,
        declared.name as wanted,
        class.relkind = 'p' as is_partitioned,
        false as is_partition,
        pg_relation_size(declared.relation) as bytes
    from maintenance.required_index as declared
    join pg_catalog.pg_class as class on class.oid = declared.relation
    union all
    select
        declared.*,
        leaf.oid::regclass,
        -- the names of partitions may be alike for longer than a name can be
        format('%s_%s', left(declared.name::text, 40), leaf.oid)::name,
        false,
        true,
        pg_relation_size(leaf.oid)
    from maintenance.required_index as declared
    join pg_catalog.pg_class as class on class.oid = declared.relation
    cross join lateral pg_partition_tree(declared.relation) as tree
    join pg_catalog.pg_class as leaf on leaf.oid = tree.relid
    where class.relkind = 'p'
      and leaf.relkind = 'r'
),
lacking as (
    select part.*
    from part
    where not exists (
        select
        from maintenance.equivalent_indexes(
            relation => part.target,
            definition => part.definition,
            must_be_unique => part.is_unique
        ) as equivalent
        where equivalent.is_usable
          -- the index of a partitioned table takes over only those that are unique as it is
          and (not part.is_partition or equivalent.is_unique = part.is_unique)
    )
    and not exists (
        select
        from pg_catalog.pg_index as built
        join pg_catalog.pg_class as class on class.oid = built.indexrelid
        where built.indrelid = part.target
          and class.relname = part.wanted
          and built.indisvalid
          and built.indisready
          and obj_description(built.indexrelid, 'pg_class') = part.reason
    )
),
next as (
    select lacking.*, lacking.bytes > 1048576 and not lacking.is_partitioned as is_large
    from lacking
    cross join lateral (
        select coalesce(sum(leaf.bytes), 0) > 1048576 as is_large
        from part as leaf
        where leaf.relation = lacking.relation
          and leaf.name = lacking.name
          and leaf.is_partition
    ) as whole
    where case
        when lacking.is_partition then whole.is_large and exists (
            select
            from lacking as parent
            where parent.relation = lacking.relation
              and parent.name = lacking.name
              and parent.is_partitioned
        )
        when lacking.is_partitioned and whole.is_large then not exists (
            select
            from lacking as leaf
            where leaf.relation = lacking.relation
              and leaf.name = lacking.name
              and leaf.is_partition
        )
        else true
    end
    -- of two declarations of the same index, one builds it
    and not exists (
        select
        from lacking as other
        where other.target = lacking.target
          and other.definition = lacking.definition
          and (not other.is_unique, other.chain, other.name)
              < (not lacking.is_unique, lacking.chain, lacking.name)
    )
)
select
    next.chain,
    next.target as relation,
    free.name,
    next.reason,
    next.is_large as is_concurrent,
    building.pid as built_by,
    case
        when left_over.oid is not null and building.pid is null then format(
            'drop index %s%I.%I',
            case when next.is_large then 'concurrently ' else '' end,
            namespace.nspname,
            free.name
        )
    end as drop_statement,
    case
        when building.pid is null then format(
            'create %sindex %s%I on %I.%I using %s',
            case when next.is_unique then 'unique ' else '' end,
            case when next.is_large then 'concurrently ' else '' end,
            free.name,
            namespace.nspname,
            class.relname,
            next.definition
        )
    end as create_statement,
    case
        when building.pid is null then format(
            'comment on index %I.%I is %L',
            namespace.nspname,
            free.name,
            next.reason
        )
    end as comment_statement
from next
join pg_catalog.pg_class as class on class.oid = next.target
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
cross join lateral (
    select maintenance.free_index_name(
        relation => next.target, name => next.wanted, definition => next.definition
    ) as name
) as free
left join pg_catalog.pg_class as left_over
    on left_over.relnamespace = class.relnamespace
    and left_over.relname = free.name
left join pg_catalog.pg_stat_progress_create_index as building
    on building.datid = (
        select here.oid
        from pg_catalog.pg_database as here
        where here.datname = current_database()
    )
    and building.index_relid = left_over.oid
order by next.chain, namespace.nspname, class.relname, next.name;

revoke all on table maintenance.missing_indexes from public;

comment on view maintenance.missing_indexes is
    'Declared indexes that are yet to be built, with the statements that build and describe them.';
comment on column maintenance.missing_indexes.chain is 'Chain that declared the index.';
comment on column maintenance.missing_indexes.relation is
    'Table to index; of a large partitioned table, a partition that comes first.';
comment on column maintenance.missing_indexes.name is
    'Name that the index gets: as declared, or with a number where that name is taken.';
comment on column maintenance.missing_indexes.reason is 'What the index is for.';
comment on column maintenance.missing_indexes.is_concurrent is
    'Whether the table is so large that the index is built CONCURRENTLY, outside any transaction.';
comment on column maintenance.missing_indexes.built_by is
    'Process of the session that is building the index right now; there are no statements then.';
comment on column maintenance.missing_indexes.drop_statement is
    'Drops what a build that was broken off has left; null where there is nothing.';
comment on column maintenance.missing_indexes.create_statement is
    'Builds the index; null while somebody builds it.';
comment on column maintenance.missing_indexes.comment_statement is
    'Describes the index, and marks it as ours.';
