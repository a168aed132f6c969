-- Lets the application keep what it has changed since a script of ours made it: giving back changes
-- nothing then.

create or replace function maintenance.leave_object(chain text, kind text, name text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $function$
    update maintenance.owned_object as owned
    set origin = 'adopted', restoring = '{}'
    where owned.chain = leave_object.chain
      and owned.kind = leave_object.kind
      and owned.name = leave_object.name;
$function$;

revoke all on function maintenance.leave_object(text, text, text) from public;

comment on function maintenance.leave_object(text, text, text) is
    'Note that an object is the application''s own: give_back leaves it as it is.';
