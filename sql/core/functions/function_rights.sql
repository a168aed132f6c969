-- Writes the statements that give a function its owner and its rights again once it was dropped.
--
-- PostgreSQL wants an owner to have CREATE on the schema, which he may have lost since he made it.

create or replace function maintenance.function_rights(function regprocedure)
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        case
            when has_schema_privilege(routine.proowner, routine.pronamespace, 'create') then
                array[format('alter function %s owner to %I', function, owner.name)]
            else
                array[
                    format('grant create on schema %s to %I', schema.name, owner.name),
                    format('alter function %s owner to %I', function, owner.name),
                    format('revoke create on schema %s from %I', schema.name, owner.name)
                ]
        end
        || array(
            select format(
                'grant execute on function %s to %s%s',
                function,
                case granted.grantee
                    when 0 then 'public'
                    else quote_ident(pg_get_userbyid(granted.grantee))
                end,
                case when granted.is_grantable then ' with grant option' else '' end
            )
            from aclexplode(coalesce(routine.proacl, acldefault('f', routine.proowner))) as granted
            order by granted.grantee
        )
    from pg_catalog.pg_proc as routine
    cross join pg_get_userbyid(routine.proowner) as owner (name)
    cross join text(routine.pronamespace::regnamespace) as schema (name)
    where routine.oid = function_rights.function;
$function$;

revoke all on function maintenance.function_rights(regprocedure) from public;

comment on function maintenance.function_rights(regprocedure) is
    'Write the statements that give a function that is made again its owner and its rights.';
