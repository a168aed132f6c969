-- Says what is wrong with housekeeping in this database, and what helps; writes nothing.
--
-- state is ok, notice, problem, or unknown where a right is missing. Each part is looked at by a
-- function of its own; one that fails is a finding, and the others go on.

create or replace function maintenance.diagnose()
returns table (subject text, name text, state text, message text, remedy text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_part text;
begin
    foreach v_part in array array[
        'identity', 'rights', 'policies', 'runs', 'sweeps', 'indexes', 'server'
    ]
    loop
        begin
            return query execute format('select * from maintenance.%I()', 'diagnose_' || v_part);
        exception
            when others then
                subject := v_part;
                name := null;
                state := case sqlstate when '42501' then 'unknown' else 'problem' end;
                message := sqlerrm;
                get stacked diagnostics remedy = pg_exception_hint;
                remedy := nullif(remedy, '');
                return next;
        end;
    end loop;
end;
$function$;

revoke all on function maintenance.diagnose() from public;

comment on function maintenance.diagnose() is
    'Say what is wrong with housekeeping in this database, and what helps.';
