-- Declares an index. It is built later: see maintenance.missing_indexes.

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
language sql
set search_path = pg_catalog, pg_temp
as $function$
    insert into maintenance.required_index (
        relation, name, chain, keys, included, predicate, is_unique, reason
    )
    values (
        require_index.relation, require_index.name, require_index.chain, require_index.keys,
        require_index.included, require_index.predicate, require_index.is_unique,
        require_index.reason
    );
$function$;

revoke all on function maintenance.require_index(
    text, regclass, name, text, text, text, text, boolean
)
    from public;

comment on function maintenance.require_index(
    text, regclass, name, text, text, text, text, boolean
) is
    'Declare an index that a chain needs; the runner, or missing_indexes with \gexec, builds it.';
