-- Lists a table and its partitions, at every level.
--
-- The catalog is read, since pg_partition_tree() would wait for whoever has locked a partition.

create or replace function maintenance.parts_of(relation regclass)
returns setof regclass
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    with recursive tree (relation) as (
        select parts_of.relation::oid
        union all
        select part.inhrelid
        from tree
        join pg_catalog.pg_class as whole on whole.oid = tree.relation and whole.relkind = 'p'
        join pg_catalog.pg_inherits as part on part.inhparent = whole.oid
        where not part.inhdetachpending
    )
    select tree.relation::regclass
    from tree
    order by tree.relation;
$function$;

revoke all on function maintenance.parts_of(regclass) from public;

comment on function maintenance.parts_of(regclass) is
    'List a table and its partitions, by oid.';
