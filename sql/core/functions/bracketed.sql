-- Puts a user's condition into brackets; a comment in it ends with a line feed before the last one.

create or replace function maintenance.bracketed(condition text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select format(
        '(%s%s)',
        bracketed.condition,
        case when position('--' in bracketed.condition) > 0 then E'\n' else '' end
    )
    where bracketed.condition is not null;
$function$;

revoke all on function maintenance.bracketed(text) from public;

comment on function maintenance.bracketed(text) is
    'Return a condition in brackets, null for none.';
