-- Writes the statement that deletes, or archives, the rows of another table that refer to rows
-- about to go.

create or replace function maintenance.dependent_statement(
    dependent jsonb,
    leaf regclass,
    step bigint
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select case
        when dependent ? 'archive_table' then
            maintenance.archiving_statement(
                deletion.text,
                'dependent',
                (dependent ->> 'relation')::regclass,
                (dependent ->> 'archive_table')::regclass,
                step
            )
        else deletion.text
    end
    from (
        select format(
            'delete from %s as dependent using only %s as target '
            'where target.ctid = any ($2) and %s',
            (dependent ->> 'relation')::regclass,
            leaf,
            string_agg(format('dependent.%I = target.%I', pair.child, pair.parent), ' and ')
        )
        from rows from (
            jsonb_array_elements_text(dependent -> 'columns'),
            jsonb_array_elements_text(dependent -> 'references')
        ) as pair (child, parent)
    ) as deletion (text);
$function$;

revoke all on function maintenance.dependent_statement(jsonb, regclass, bigint) from public;

comment on function maintenance.dependent_statement(jsonb, regclass, bigint) is
    'Return the statement that removes the dependents of rows that are locked.';
