-- Undoes what a script did to one object outside this schema.
--
-- What was created is dropped, if it is still there; what was replaced or removed is what it was
-- before; what was adopted is left alone. Policies, sweeps and indexes have their own ways to go.

create or replace function maintenance.give_back(chain text, kind text, name text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set check_function_bodies = off  -- a body may name things that are found by the caller's path
as $function$
declare
    v_owned maintenance.owned_object;
    v_path text[];
    v_grantee text;
    v_statement text;
begin
    delete from maintenance.owned_object as owned
    where owned.chain = give_back.chain
      and owned.kind = give_back.kind
      and owned.name = give_back.name
    returning owned.*
    into v_owned;

    -- Nothing was noted of what was not needed: a trigger that was not there, a column of a table
    -- that was found.
    if v_owned.origin = 'created' then
        if kind = 'column' then
            v_path := parse_ident(name);
            execute format(
                'alter table if exists %I.%I drop column if exists %I',
                v_path[1], v_path[2], v_path[3]
            );
        else  -- a table, a type or a function
            execute format('drop %s if exists %s', kind, name);
        end if;
    end if;

    if v_owned.origin = 'removed' then
        if to_regprocedure(name) is not null then
            return;  -- the application has made it anew
        end if;

        execute v_owned.restoring[1];

        for v_grantee in  -- default privileges may have given more than it had
            select case granted.grantee
                when 0 then 'public'
                else quote_ident(pg_get_userbyid(granted.grantee))
            end
            from pg_catalog.pg_proc as routine
            cross join aclexplode(
                coalesce(routine.proacl, acldefault('f', routine.proowner))
            ) as granted
            where routine.oid = to_regprocedure(give_back.name)
        loop
            execute format('revoke all on function %s from %s', name, v_grantee);
        end loop;
    end if;

    foreach v_statement in array
        coalesce(v_owned.restoring[case v_owned.origin when 'removed' then 2 else 1 end:], '{}')
    loop
        begin
            execute v_statement;
        exception
            when undefined_object then
                if v_owned.origin <> 'removed' then
                    raise;
                end if;

                -- It has had these rights; a role of them did not come along with a dump.
                raise warning using message = format('%s: %s', sqlerrm, v_statement);
        end;
    end loop;
end;
$function$;

revoke all on function maintenance.give_back(text, text, text) from public;

comment on function maintenance.give_back(text, text, text) is
    'Undo what a script did to a table, column, type, function or trigger of the application.';
