-- Notes which function is there, before a script replaces it, or that the script creates it.
--
-- The signature has the argument types alone; result is what the script's own function returns,
-- which CREATE OR REPLACE cannot change. Owner and rights stay.

create or replace function maintenance.adopt_function(chain text, signature text, result text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_found pg_catalog.pg_proc;
begin
    select routine.*
    into v_found
    from pg_catalog.pg_proc as routine
    where routine.oid = to_regprocedure(adopt_function.signature);

    if v_found.oid is null then
        insert into maintenance.owned_object (chain, kind, name, origin)
        values (adopt_function.chain, 'function', adopt_function.signature, 'created');
        return;
    end if;

    if pg_get_function_result(v_found.oid) is distinct from result then
        raise exception using
            errcode = 'invalid_function_definition',
            message = format(
                'function %s returns %s, and has to return %s',
                signature, coalesce(pg_get_function_result(v_found.oid), 'nothing'), result
            ),
            hint = 'Rename it, so that there is room for the function of that name which '
                'the documentation describes.';
    end if;

    perform maintenance.assert_member(
        owner => v_found.proowner, deed => format('replace function %s', signature)
    );

    insert into maintenance.owned_object (chain, kind, name, origin, restoring)
    values (
        adopt_function.chain, 'function', adopt_function.signature, 'replaced',
        array[
            pg_get_functiondef(v_found.oid),
            format(
                'comment on function %s is %L', signature, obj_description(v_found.oid, 'pg_proc')
            )
        ]
        || array(  -- of which CREATE OR REPLACE knows nothing afterwards
            select format('alter function %s depends on extension %I', signature, extension.extname)
            from pg_catalog.pg_depend as dependency
            join pg_catalog.pg_extension as extension on extension.oid = dependency.refobjid
            where dependency.classid = 'pg_catalog.pg_proc'::regclass
              and dependency.objid = v_found.oid
              and dependency.refclassid = 'pg_catalog.pg_extension'::regclass
              and dependency.deptype = 'x'
            order by extension.extname
        )
    );
end;
$function$;

revoke all on function maintenance.adopt_function(text, text, text) from public;

comment on function maintenance.adopt_function(text, text, text) is
    'Note which function of that name is there, before a script creates or replaces it.';
