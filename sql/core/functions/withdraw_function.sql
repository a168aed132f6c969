-- Drops a function that makes calls of another one ambiguous, which the application has beside it.
--
-- If it was there before the script, rolling back makes it again.

create or replace function maintenance.withdraw_function(chain text, signature text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_rights text[] := maintenance.function_rights(withdraw_function.signature::regprocedure);
begin
    execute format('drop function %s', signature::regprocedure);

    update maintenance.owned_object as owned
    set origin = 'removed', restoring = owned.restoring || v_rights
    where owned.chain = withdraw_function.chain
      and owned.kind = 'function'
      and owned.name = withdraw_function.signature
      and owned.origin = 'replaced';

    if not found then
        update maintenance.owned_object as owned
        set origin = 'adopted'
        where owned.chain = withdraw_function.chain
          and owned.kind = 'function'
          and owned.name = withdraw_function.signature;
    end if;
end;
$function$;

revoke all on function maintenance.withdraw_function(text, text) from public;

comment on function maintenance.withdraw_function(text, text) is
    'Drop a function beside which calls of another one of the application are ambiguous.';
