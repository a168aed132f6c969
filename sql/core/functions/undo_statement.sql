-- Writes the statement that puts rows of an archive back into their table; scope says which ones.
--
-- It answers how many left the archive and how many came to the table (a trigger may keep rows
-- out); how many have a value that the table has no column for any more; and, where triggers or
-- generated columns could make another row of it, how many came back otherwise than they went, and
-- where they are, so that whoever asks can see that they stay. Rows are compared as PostgreSQL
-- writes them, since not every type can be compared. Columns and tables go by numbers on the way:
-- users may have called one of theirs like one of ours, and a trigger may change the search_path.

create or replace function maintenance.undo_statement(
    source regclass,
    archive regclass,
    leaf regclass,
    scope text,
    is_proved boolean
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'with back (%1$s) as ('
        'delete from only %2$s as target where %10$s returning %3$s),'
        ' put (%4$s) as ('
        'insert into %5$s as target (%6$s) overriding system value select %7$s from back'
        ' returning %8$s)'
        ' select jsonb_build_object(''taken'', (select count(*) from back),'
        ' ''put'', (select count(*) from put),'
        ' ''homeless'', (select count(*) from back where %9$s)',
        columns.numbers,
        leaf,
        columns.names,
        case when is_proved then 'part, place, ' || columns.had_numbers else 'is_put' end,
        source,
        columns.insertable,
        columns.insertable_numbers,
        case
            when is_proved then 'target.tableoid, target.ctid, ' || columns.had_names
            else 'true'
        end,
        coalesce(columns.is_homeless, 'false'),
        scope
    )
    || case
        when is_proved then
            format(
                ', ''changed'', (select count(*) from ('
                'select row(%1$s)::text collate "C" from back'
                ' except all select row(%1$s)::text collate "C" from put) as differing)'
                ', ''parts'', (select coalesce(jsonb_object_agg(at.part, at.places), ''{}'') from ('
                'select put.part::text, jsonb_agg(put.place::text) from put group by put.part)'
                ' as at (part, places)))',
                columns.had_numbers
            )
        else ')'
    end
    from (
        select
            string_agg(numbered.number, ', ' order by numbered.number),
            string_agg(numbered.name, ', ' order by numbered.number),
            string_agg(numbered.number, ', ' order by numbered.number) filter (where is_had),
            string_agg(numbered.name, ', ' order by numbered.number) filter (where is_had),
            string_agg(numbered.number, ', ' order by numbered.number) filter (where is_insertable),
            string_agg(numbered.name, ', ' order by numbered.number) filter (where is_insertable),
            string_agg(numbered.number || ' is distinct from null', ' or ')
                filter (where not is_had)
        from (
            select
                'c' || attribute.attnum,
                format('%I', attribute.attname),
                had.attname is not null,
                had.attgenerated = ''
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
        ) as numbered (number, name, is_had, is_insertable)
    ) as columns (
        numbers, names, had_numbers, had_names, insertable_numbers, insertable, is_homeless
    );
$function$;

revoke all on function maintenance.undo_statement(regclass, regclass, regclass, text, boolean)
    from public;

comment on function maintenance.undo_statement(regclass, regclass, regclass, text, boolean) is
    'Return the statement that moves rows of an archive back, and proves that it did.';
