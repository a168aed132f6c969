-- Writes down what an index is, from its method on: two indexes with the same text do the same.
--
-- It is PostgreSQL's own text: keys, operator classes, collations, options, INCLUDE and WHERE, each
-- left out where it is the default. Names are qualified and constants written in one way, whatever
-- the session's settings. Left out is what makes no other index of it: name and table, which
-- may stand before the method in any words; storage parameters; whether nulls are distinct, which
-- equivalent_indexes looks at.

create or replace function maintenance.index_definition(index regclass)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set timezone = 'UTC'
set extra_float_digits = 1
set bytea_output = 'hex'
as $function$
    select case
            when defined.indnullsnotdistinct
                then regexp_replace(stored.keys, ' NULLS NOT DISTINCT$', '')
            else stored.keys
        end
        || written.condition
    from pg_catalog.pg_index as defined
    join pg_catalog.pg_class as class on class.oid = defined.indexrelid
    cross join lateral (
        select
            pg_get_indexdef(defined.indexrelid) as text,
            format(
                'CREATE %sINDEX %I ON %s%s USING ',
                case when defined.indisunique then 'UNIQUE ' else '' end,
                class.relname,
                case when class.relkind = 'I' then 'ONLY ' else '' end,
                defined.indrelid::regclass
            ) as heading,
            coalesce(' WHERE ' || pg_get_expr(defined.indpred, defined.indrelid), '') as condition
    ) as written
    cross join lateral (
        select substr(
            written.text,
            length(written.heading) + 1,
            length(written.text) - length(written.heading) - length(written.condition)
        ) as text
    ) as body
    cross join lateral (
        select case
            when class.reloptions is null then body.text
            else regexp_replace(body.text, ' WITH \([^()]*\)$', '')
        end as keys
    ) as stored
    where defined.indexrelid = index_definition.index;
$function$;

revoke all on function maintenance.index_definition(regclass) from public;

comment on function maintenance.index_definition(regclass) is
    'Return what an index is, as CREATE INDEX takes it after USING; the same text, the same index.';
