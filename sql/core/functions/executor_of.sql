-- Names the function through which statements run with the rights of a table's owner.

create or replace function maintenance.executor_of(owner name)
returns name
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select case
        when octet_length(executor_of.owner::text) <= 56 then 'act_as_' || executor_of.owner::text
        else 'act_as_' || md5(executor_of.owner::text)
    end::name;
$function$;

revoke all on function maintenance.executor_of(name) from public;

comment on function maintenance.executor_of(name) is
    'Return the name of the function in schema maintenance that acts as a role.';
