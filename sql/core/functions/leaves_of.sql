-- Lists the tables that hold the rows of a table: itself, or the leaves of its partitions.
--
-- The catalog is read, since pg_partition_tree() would wait for whoever has locked a partition.

create or replace function maintenance.leaves_of(relation regclass)
returns setof regclass
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    with recursive tree (relation) as (
        select leaves_of.relation::oid
        union all
        select part.inhrelid
        from tree
        join pg_catalog.pg_class as whole on whole.oid = tree.relation and whole.relkind = 'p'
        join pg_catalog.pg_inherits as part on part.inhparent = whole.oid
        where not part.inhdetachpending
    )
    select class.oid::regclass
    from tree
    join pg_catalog.pg_class as class on class.oid = tree.relation and class.relkind = 'r'
    order by class.oid;
$function$;

revoke all on function maintenance.leaves_of(regclass) from public;

comment on function maintenance.leaves_of(regclass) is
    'List the tables that hold the rows of a table, by oid.';
