-- Counts the rows that foreign keys have deleted along in this transaction, as the statistics know.

create or replace function maintenance.count_cascaded(relation regclass)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(sum(pg_stat_get_xact_tuples_deleted(leaf)), 0)::bigint
    from (
        select distinct tree.child
        from maintenance.cascade_tree(count_cascaded.relation) as tree
        where tree.action = 'cascade'
          and tree.child <> count_cascaded.relation
    ) as cascading
    cross join lateral maintenance.leaves_of(cascading.child) as leaf;
$function$;

revoke all on function maintenance.count_cascaded(regclass) from public;

comment on function maintenance.count_cascaded(regclass) is
    'Count rows that this transaction deleted from tables whose foreign keys cascade.';
