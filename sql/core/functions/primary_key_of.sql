-- Names the columns of the primary key of a table, and not what its index includes besides.

create or replace function maintenance.primary_key_of(relation regclass)
returns name[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select array_agg(attribute.attname order by keyed.place)
    from pg_catalog.pg_index as key
    cross join lateral unnest(key.indkey::smallint[]) with ordinality as keyed (number, place)
    join pg_catalog.pg_attribute as attribute
        on attribute.attrelid = key.indrelid
        and attribute.attnum = keyed.number
    where key.indrelid = primary_key_of.relation
      and key.indisprimary
      and keyed.place <= key.indnkeyatts;
$function$;

revoke all on function maintenance.primary_key_of(regclass) from public;

comment on function maintenance.primary_key_of(regclass) is
    'Return the columns of the primary key of a table; null if it has none.';
