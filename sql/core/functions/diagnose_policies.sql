-- Says what is wrong with each policy. One that fails does not keep the others from being told.

create or replace function maintenance.diagnose_policies()
returns table (subject text, name text, state text, message text, remedy text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
begin
    for name in
        select known.name
        from maintenance.policy as known
        order by known.priority, known.name
    loop
        begin
            return query select * from maintenance.diagnose_policy(name);
        exception
            when others then
                get stacked diagnostics remedy = pg_exception_hint;
                subject := 'policy';
                state := case sqlstate when '42501' then 'unknown' else 'problem' end;
                message := sqlerrm;
                remedy := nullif(remedy, '');
                return next;
        end;
    end loop;
end;
$function$;

revoke all on function maintenance.diagnose_policies() from public;

comment on function maintenance.diagnose_policies() is
    'Say what is wrong with each policy, its table and its runs.';
