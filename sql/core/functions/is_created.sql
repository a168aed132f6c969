-- Says whether a script of ours created something, or found it.

create or replace function maintenance.is_created(kind text, name text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select exists (
        select
        from maintenance.owned_object as owned
        where owned.kind = is_created.kind
          and owned.name = is_created.name
          and owned.origin = 'created'
    );
$function$;

revoke all on function maintenance.is_created(text, text) from public;

comment on function maintenance.is_created(text, text) is
    'Say whether a script created an object outside schema maintenance, and did not find it.';
