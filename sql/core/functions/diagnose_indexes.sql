-- Says which declared indexes are missing, or were left invalid by a build that was broken off.

create or replace function maintenance.diagnose_indexes()
returns table (subject text, name text, state text, message text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        'index',
        missing.name::text,
        case when missing.built_by is null then 'problem' else 'notice' end,
        format(
            case
                when missing.built_by is not null then 'it is being built on %s: %s'
                when missing.drop_statement is not null
                    then 'it is invalid on %s, its build was broken off: %s'
                else 'it is missing on %s: %s'
            end,
            missing.relation,
            missing.reason
        ),
        nullif(concat_ws('; ', missing.drop_statement, missing.create_statement), '')
    from maintenance.missing_indexes as missing;
$function$;

revoke all on function maintenance.diagnose_indexes() from public;

comment on function maintenance.diagnose_indexes() is
    'Say which declared indexes are missing, with the statements that build them.';
