-- Says which declared indexes are missing.

create or replace function maintenance.diagnose_indexes()
returns table (subject text, name text, state text, message text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        'index',
        missing.name::text,
        'problem',
        format('it is missing on %s: %s', missing.relation, missing.reason),
        missing.create_statement
    from maintenance.missing_indexes as missing;
$function$;

revoke all on function maintenance.diagnose_indexes() from public;

comment on function maintenance.diagnose_indexes() is
    'Say which declared indexes are missing, with the statements that build them.';
