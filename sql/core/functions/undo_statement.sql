-- Writes the statement that puts rows of an archive back into their table: $2 are the rows.
--
-- It answers how many left the archive and how many came to the table (a trigger may keep rows
-- out); how many have a value that the table has no column for any more; and, where triggers or
-- generated columns could make another row of it, how many came back otherwise than they went, and
-- where they are, so that whoever asks can see that they stay. Rows are compared as PostgreSQL
-- writes them, since not every type can be compared.

create or replace function maintenance.undo_statement(
    source regclass,
    archive regclass,
    leaf regclass,
    is_proved boolean
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'with back as ('
        'delete from only %1$s as target where target.ctid = any ($2) returning %2$s),'
        ' put as (insert into %3$s as target (%4$s) overriding system value select %4$s from back'
        ' returning target.tableoid::regclass as part, target.ctid as place, %5$s)'
        ' select jsonb_build_object(''taken'', (select count(*) from back),'
        ' ''put'', (select count(*) from put), ''homeless'', %6$s',
        leaf,
        concat_ws(', ', columns.all_of_them, columns.homeless),
        source,
        columns.insertable,
        columns.all_of_them,
        coalesce(
            '(select count(*) from back where num_nonnulls(' || columns.homeless || ') > 0)', '0'
        )
    )
    || case
        when is_proved then
            format(
                ', ''changed'', (select count(*) from ('
                'select row(%1$s)::text collate "C" from back'
                ' except all select row(%1$s)::text collate "C" from put) as differing)'
                ', ''parts'', (select jsonb_object_agg(at.part, at.places) from ('
                'select put.part::text, jsonb_agg(put.place::text) from put group by put.part)'
                ' as at (part, places)))',
                columns.all_of_them
            )
        else ')'
    end
    from (
        select
            string_agg(format('%I', attribute.attname), ', ' order by attribute.attnum)
                filter (where had.attname is not null),
            string_agg(format('%I', attribute.attname), ', ' order by attribute.attnum)
                filter (where had.attgenerated = ''),
            string_agg(format('%I', attribute.attname), ', ' order by attribute.attnum)
                filter (where had.attname is null)
        from pg_catalog.pg_attribute as attribute
        join maintenance.archive as known on known.relation = undo_statement.archive
        left join pg_catalog.pg_attribute as had
            on had.attrelid = undo_statement.source
            and had.attname = attribute.attname
            and had.attnum > 0
            and not had.attisdropped
        where attribute.attrelid = undo_statement.archive
          and attribute.attnum > 0
          and not attribute.attisdropped
          and (
              had.attname is not null
              or known.columns ? attribute.attname
              or attribute.attname = any (known.former)
          )
    ) as columns (all_of_them, insertable, homeless);
$function$;

revoke all on function maintenance.undo_statement(regclass, regclass, regclass, boolean)
    from public;

comment on function maintenance.undo_statement(regclass, regclass, regclass, boolean) is
    'Return the statement that moves rows of an archive back, and proves that it did.';
