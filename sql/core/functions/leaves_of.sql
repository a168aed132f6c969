-- Lists the tables that hold the rows of a table: itself, or the leaves of its partitions.

create or replace function maintenance.leaves_of(relation regclass)
returns setof regclass
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select part
    from maintenance.parts_of(leaves_of.relation) as part
    join pg_catalog.pg_class as class on class.oid = part and class.relkind = 'r'
    order by part;
$function$;

revoke all on function maintenance.leaves_of(regclass) from public;

comment on function maintenance.leaves_of(regclass) is
    'List the tables that hold the rows of a table, by oid.';
