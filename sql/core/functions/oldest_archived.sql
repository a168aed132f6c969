-- Returns when the oldest row of an archive was archived. Null: there is none, or it would take
-- reading a large archive without an index to know.

create or replace function maintenance.oldest_archived(archive regclass)
returns timestamptz
language plpgsql
security definer  -- monitors need no right on archives: see install_executor
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    c_small_table constant bigint := 100000000::bigint;  -- bytes
begin
    if not exists (
        select
        from maintenance.archive as known
        join pg_catalog.pg_attribute as attribute on attribute.attrelid = known.relation
        where known.relation = archive
          and attribute.attname = '_archived_at'
          and attribute.atttypid = 'timestamptz'::regtype
          and not attribute.attisdropped
    ) then
        return null;
    end if;

    if exists (
        select
        from maintenance.leaves_of(archive) as leaf
        where pg_relation_size(leaf) > c_small_table
          and not exists (
              select
              from pg_catalog.pg_index as index
              join pg_catalog.pg_class as class on class.oid = index.indexrelid
              join pg_catalog.pg_am as method on method.oid = class.relam
              join pg_catalog.pg_attribute as attribute
                  on attribute.attrelid = index.indrelid
                  and attribute.attnum = index.indkey[0]
              where index.indrelid = leaf
                and index.indisvalid
                and index.indpred is null
                and method.amname = 'btree'
                and attribute.attname = '_archived_at'
          )
    ) then
        return null;
    end if;

    return (
        maintenance.run_as_owner(
            archive,
            format('select to_jsonb(min(_archived_at)) from %s', archive)
        ) #>> '{}'
    )::timestamptz;
exception
    when others then  -- no function that acts as its owner, for one
        return null;
end;
$function$;

revoke all on function maintenance.oldest_archived(regclass) from public;

comment on function maintenance.oldest_archived(regclass) is
    'Return when the oldest row of an archive was archived; null where that is not known.';
