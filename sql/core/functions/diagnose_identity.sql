-- Says whether this is the database that was set up, or a copy of it.

create or replace function maintenance.diagnose_identity()
returns table (subject text, name text, state text, message text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        'identity',
        identity.database::text,
        case when identity.is_adopted then 'ok' else 'problem' end,
        case
            when identity.is_adopted then
                format('adopted %s', date_trunc('second', identity.adopted_at))
            else 'this is a copy of the database that was set up, and nothing runs in it'
        end,
        case
            when not identity.is_adopted then
                'select maintenance.adopt_clone(), if rows shall be removed here as well'
        end
    from maintenance.identify() as identity;
$function$;

revoke all on function maintenance.diagnose_identity() from public;

comment on function maintenance.diagnose_identity() is
    'Say whether the database was adopted, or is a copy in which nothing runs.';
