-- Writes the statement that moves rows into an archive: it deletes them, and inserts what it
-- deleted, column by column, by name. Its answer says how many rows went, and how many came.
--
-- deletion calls the table that it deletes from by alias.

create or replace function maintenance.archiving_statement(
    deletion text,
    alias name,
    source regclass,
    archive regclass,
    step bigint
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'with removed as (%s returning %s), '
        'kept as (insert into %s (%s%s) select %s%s from removed returning 1) '
        'select jsonb_build_object(''removed'', (select count(*) from removed), '
        '''proof'', (select count(*) from kept))',
        deletion,
        string_agg(format('%I.%I', alias, attribute.attname), ', ' order by attribute.attnum),
        archive,
        string_agg(format('%I', attribute.attname), ', ' order by attribute.attnum),
        case when note.is_taken then ', _archived_at, _archived_by_step' else '' end,
        string_agg(format('%I', attribute.attname), ', ' order by attribute.attnum),
        case when note.is_taken then format(', now(), %L::bigint', step) else '' end
    )
    from pg_catalog.pg_attribute as attribute
    cross join lateral (
        select maintenance.records_steps(source, archive)
    ) as note (is_taken)
    where attribute.attrelid = source
      and attribute.attnum > 0
      and not attribute.attisdropped
    group by note.is_taken;
$function$;

revoke all on function maintenance.archiving_statement(text, name, regclass, regclass, bigint)
    from public;

comment on function maintenance.archiving_statement(text, name, regclass, regclass, bigint) is
    'Return the statement that deletes rows and inserts them into an archive.';
