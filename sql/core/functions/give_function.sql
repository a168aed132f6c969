-- Makes a role the owner of a function of ours, which the owner of the schema may still call.
--
-- PostgreSQL wants the new owner to have CREATE on the schema: for that one statement it has.

create or replace function maintenance.give_function(given regprocedure, owner name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_master name;
begin
    select pg_get_userbyid(namespace.nspowner)
    into v_master
    from pg_catalog.pg_namespace as namespace
    where namespace.nspname = 'maintenance';

    if give_function.owner = v_master then
        execute format('alter function %s owner to %I', given, give_function.owner);
        return;
    end if;

    execute format('grant create on schema maintenance to %I', give_function.owner);
    execute format('alter function %s owner to %I', given, give_function.owner);
    execute format('revoke create on schema maintenance from %I', give_function.owner);
    execute format('grant execute on function %s to %I', given, v_master);
end;
$function$;

revoke all on function maintenance.give_function(regprocedure, name) from public;

comment on function maintenance.give_function(regprocedure, name) is
    'Make a role the owner of a function in schema maintenance.';
