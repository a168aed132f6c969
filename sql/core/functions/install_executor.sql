-- Makes the function through which policies act on the tables of a role, with its rights alone.
--
-- It belongs to that role, so that a trigger on a table runs as the table's owner, whoever starts a
-- run, superusers included. Nobody but the owner of schema maintenance may call it otherwise. Its
-- owner can neither replace the body, for want of CREATE on the schema, nor gain by changing its
-- options: run_as_owner refuses it then. Should they change just after that, the body pins the path
-- before anything else, without a type or an operator that a path could choose, and then asks who
-- it runs as. A trigger may have set another path, which would choose the operators of our own
-- functions, so the body pins it once more at its end.

create or replace function maintenance.install_executor(owner name)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_signature text := format(
        'maintenance.%I(text, bigint, tid[], boolean)',
        maintenance.executor_of(install_executor.owner)
    );
    v_executor regprocedure := to_regprocedure(v_signature);
begin
    if maintenance.is_intact(v_executor, install_executor.owner) then
        return;
    end if;

    if v_executor is not null then
        execute format('drop function %s', v_signature);
    end if;

    execute format(
        $create$
    create function maintenance.%I(
        statement text,
        size bigint,
        taken tid[],
        answers boolean
    )
    returns jsonb
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    set row_security = off
    set lock_timeout = '20ms'
    set timezone = 'UTC'
    set datestyle = 'ISO, YMD'
    set intervalstyle = 'postgres'
    as $body$
    declare
        v_answer pg_catalog.jsonb;
        v_rows pg_catalog.int8;
    begin
        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

        if current_user <> %L then
            raise exception using
                errcode = 'insufficient_privilege',
                message = 'this function has to run as its owner',
                hint = 'Somebody altered it: drop it, and register its policies anew.';
        end if;

        if answers then
            execute statement into v_answer using size, taken;
        else
            execute statement using size, taken;
            get diagnostics v_rows = row_count;
        end if;

        perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        return case when answers then v_answer else to_jsonb(v_rows) end;
    end;
    $body$
$create$,
        maintenance.executor_of(install_executor.owner),
        install_executor.owner
    );

    execute format('revoke all on function %s from public', v_signature);
    execute format(
        'comment on function %s is %L',
        v_signature,
        format('Carry out policies on the tables of %I, with the rights of %1$I.', owner)
    );

    perform maintenance.give_function(v_signature::regprocedure, install_executor.owner);
end;
$function$;

revoke all on function maintenance.install_executor(name) from public;

comment on function maintenance.install_executor(name) is
    'Make the function that carries out policies on the tables of a role, unless it is there.';
