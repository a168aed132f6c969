-- Lets the application keep a function of its own that knows more than ours: it is put back.

create or replace function maintenance.keep_function(chain text, signature text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set check_function_bodies = off  -- a body may name things that are found by the caller's path
as $function$
declare
    v_owned maintenance.owned_object;
    v_statement text;
begin
    select owned.*
    into strict v_owned
    from maintenance.owned_object as owned
    where owned.chain = keep_function.chain
      and owned.kind = 'function'
      and owned.name = keep_function.signature;

    foreach v_statement in array v_owned.restoring loop
        execute v_statement;
    end loop;

    update maintenance.owned_object as owned
    set origin = 'adopted', restoring = '{}'
    where (owned.chain, owned.kind, owned.name) = (v_owned.chain, v_owned.kind, v_owned.name);
end;
$function$;

revoke all on function maintenance.keep_function(text, text) from public;

comment on function maintenance.keep_function(text, text) is
    'Put a function of the application back that a script has replaced, and use it as it is.';
