-- Finds the indexes of a table that do what a definition says, whoever built them and whatever they
-- are called, those of constraints among them.
--
-- Where keys need not be unique, a unique index does as well. Where they must be, one that checks
-- at the end of the transaction, or lets nulls meet only once, is another promise.

create or replace function maintenance.equivalent_indexes(
    relation regclass, definition text, must_be_unique boolean
)
returns table (index regclass, is_unique boolean, is_usable boolean)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        built.indexrelid::regclass,
        built.indisunique,
        built.indisvalid and built.indisready and built.indislive
    from pg_catalog.pg_index as built
    where built.indrelid = equivalent_indexes.relation
      and (
          not equivalent_indexes.must_be_unique
          or (built.indisunique and built.indimmediate and not built.indnullsnotdistinct)
      )
      and maintenance.index_definition(built.indexrelid) = equivalent_indexes.definition;
$function$;

revoke all on function maintenance.equivalent_indexes(regclass, text, boolean) from public;

comment on function maintenance.equivalent_indexes(regclass, text, boolean) is
    'Find the indexes of a table that are what a definition says, and whether they can be used.';
