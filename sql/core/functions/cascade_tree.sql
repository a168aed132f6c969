-- Lists the tables that foreign keys lead to from a table, and what a deletion does to their rows.

create or replace function maintenance.cascade_tree(relation regclass)
returns table (child regclass, parent regclass, constraint_name name, action text, depth integer)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    with recursive tree (child, parent, constraint_name, action, depth, path) as (
        select
            referring.conrelid::regclass, referring.confrelid::regclass, referring.conname,
            referring.confdeltype, 1, array[referring.confrelid, referring.conrelid]
        from pg_catalog.pg_constraint as referring
        where referring.contype = 'f'
          and referring.conparentid = 0
          and referring.confrelid = cascade_tree.relation
        union all
        select
            referring.conrelid::regclass, referring.confrelid::regclass, referring.conname,
            referring.confdeltype, tree.depth + 1, tree.path || referring.conrelid
        from tree
        join pg_catalog.pg_constraint as referring on referring.confrelid = tree.child
        where referring.contype = 'f'
          and referring.conparentid = 0
          and tree.action = 'c'
          and referring.conrelid <> all (tree.path)
    )
    select
        tree.child, tree.parent, tree.constraint_name,
        case tree.action
            when 'c' then 'cascade'
            when 'n' then 'set null'
            when 'd' then 'set default'
            when 'r' then 'restrict'
            else 'no action'
        end,
        tree.depth
    from tree;
$function$;

revoke all on function maintenance.cascade_tree(regclass) from public;

comment on function maintenance.cascade_tree(regclass) is
    'List the foreign keys that a deletion from a table touches, and what each of them does.';
