-- Declares an index. It is built later: see maintenance.missing_indexes.
--
-- What PostgreSQL makes of the keys is found out by building the index once, on an empty table with
-- the same columns: what a person wrote could not be compared with the indexes that exist. That
-- table is in our schema, and not a temporary one, for which a role may lack the right.

create or replace function maintenance.require_index(
    chain text,
    relation regclass,
    name name,
    keys text,
    reason text,
    included text default null,
    predicate text default null,
    is_unique boolean default false
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set timezone = 'UTC'
as $function$
declare
    v_definition text;
begin
    execute format(
        'create table maintenance.index_draft (like %s)', require_index.relation
    );
    execute format(
        'create index index_draft_idx on maintenance.index_draft (%s)%s%s',
        require_index.keys,
        ' include (' || require_index.included || ')',
        ' where ' || require_index.predicate
    );
    v_definition := maintenance.index_definition(to_regclass('maintenance.index_draft_idx'));
    drop table maintenance.index_draft;

    insert into maintenance.required_index (
        relation, name, chain, keys, included, predicate, is_unique, reason, definition, found
    )
    values (
        require_index.relation, require_index.name, require_index.chain, require_index.keys,
        require_index.included, require_index.predicate, require_index.is_unique,
        require_index.reason, v_definition,
        -- Whatever is there now is the application's.
        array(
            select format('%s.%I', class.relnamespace::regnamespace, class.relname)
            from (
                select require_index.relation as oid
                union
                select tree.relid
                from pg_catalog.pg_partition_tree(require_index.relation) as tree
            ) as part
            cross join lateral maintenance.equivalent_indexes(
                relation => part.oid, definition => v_definition, must_be_unique => false
            ) as equivalent
            join pg_catalog.pg_class as class on class.oid = equivalent.index
            where equivalent.is_usable
            order by 1
        )
    );
end;
$function$;

revoke all on function maintenance.require_index(
    text, regclass, name, text, text, text, text, boolean
)
    from public;

comment on function maintenance.require_index(
    text, regclass, name, text, text, text, text, boolean
) is
    'Declare an index that a chain needs; the runner, or missing_indexes with \gexec, builds it.';
