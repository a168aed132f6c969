-- Lists the tables that hold the rows of a table: itself, or the leaves of its partitions.

create or replace function maintenance.leaves_of(relation regclass)
returns setof regclass
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select leaf.relation
    from (
        select tree.relid
        from pg_catalog.pg_partition_tree(leaves_of.relation) as tree
        where tree.isleaf
        union
        select leaves_of.relation
        from pg_catalog.pg_class as class
        where class.oid = leaves_of.relation
          and class.relkind = 'r'
    ) as leaf (relation)
    order by leaf.relation::oid;
$function$;

revoke all on function maintenance.leaves_of(regclass) from public;

comment on function maintenance.leaves_of(regclass) is
    'List the tables that hold the rows of a table, by oid.';
