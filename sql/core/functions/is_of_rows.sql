-- Says whether an error is about the rows that a statement was to put back, and not about the
-- statement, the server or the session: another statement with fewer rows may go well.

create or replace function maintenance.is_of_rows(code text)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select code !~ '^(25|42|53|54|57|58|F0|XX|40001|55(?!P03))';
$function$;

revoke all on function maintenance.is_of_rows(text) from public;

comment on function maintenance.is_of_rows(text) is
    'Say whether an error, by its SQLSTATE, is about single rows of a statement.';
