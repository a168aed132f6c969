-- Names the base type of a column, below domains, as the statements of a policy cast to it.
--
-- Integers of every width are compared as bigint, which serves their indexes as well.

create or replace function maintenance.column_type(relation regclass, name name)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        case
            when type.base in ('smallint'::regtype, 'integer'::regtype) then 'bigint'
            when type.base = 'real'::regtype then 'double precision'
            else type.base::text
        end
    from pg_catalog.pg_attribute as attribute
    cross join lateral (
        with recursive below (oid) as (
            select attribute.atttypid
            union all
            select domain.typbasetype
            from below
            join pg_catalog.pg_type as domain on domain.oid = below.oid and domain.typtype = 'd'
        )
        select below.oid::regtype
        from below
        join pg_catalog.pg_type as last on last.oid = below.oid and last.typtype <> 'd'
    ) as type (base)
    where attribute.attrelid = column_type.relation
      and attribute.attname = column_type.name
      and attribute.attnum > 0
      and not attribute.attisdropped;
$function$;

revoke all on function maintenance.column_type(regclass, name) from public;

comment on function maintenance.column_type(regclass, name) is
    'Return the type that values of a column are compared as; null if there is no such column.';
