-- Writes the statement that deletes the rows of another table that refer to rows about to go.

create or replace function maintenance.dependent_statement(dependent jsonb, leaf regclass)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        'delete from %s as dependent using only %s as target where target.ctid = any ($2) and %s',
        (dependent ->> 'relation')::regclass,
        leaf,
        string_agg(format('dependent.%I = target.%I', pair.child, pair.parent), ' and ')
    )
    from rows from (
        jsonb_array_elements_text(dependent -> 'columns'),
        jsonb_array_elements_text(dependent -> 'references')
    ) as pair (child, parent);
$function$;

revoke all on function maintenance.dependent_statement(jsonb, regclass) from public;

comment on function maintenance.dependent_statement(jsonb, regclass) is
    'Return the statement that deletes the dependents of rows that are locked.';
