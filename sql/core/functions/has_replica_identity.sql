-- Says whether deleted rows of a table can be named to subscribers, without which a DELETE fails
-- where a publication sends it.

create or replace function maintenance.has_replica_identity(relation regclass)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select case class.relreplident
        when 'n' then false
        when 'f' then true
        when 'd' then maintenance.primary_key_of(has_replica_identity.relation) is not null
        else
            exists (
                select
                from pg_catalog.pg_index as identity
                where identity.indrelid = class.oid
                  and identity.indisreplident
            )
    end
    from pg_catalog.pg_class as class
    where class.oid = has_replica_identity.relation;
$function$;

revoke all on function maintenance.has_replica_identity(regclass) from public;

comment on function maintenance.has_replica_identity(regclass) is
    'Say whether rows of a table can be deleted while a publication sends what is deleted.';
