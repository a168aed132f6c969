-- Says which sweeps on insert do not work. One that fails does not keep the others from being told.

create or replace function maintenance.diagnose_sweeps()
returns table (subject text, name text, state text, message text, remedy text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
begin
    for name in
        select sweep.policy
        from maintenance.insert_sweep as sweep
        order by sweep.policy
    loop
        begin
            return query
            select
                'sweep',
                status.policy,
                case status.state
                    when 'broken' then 'problem'
                    when 'on' then 'ok'
                    else 'notice'
                end,
                concat_ws(': ', status.state, status.detail),
                status.remedy
            from maintenance.insert_sweep_status as status
            where status.policy = name;
        exception
            when others then
                get stacked diagnostics remedy = pg_exception_hint;
                subject := 'sweep';
                state := case sqlstate when '42501' then 'unknown' else 'problem' end;
                message := sqlerrm;
                remedy := nullif(remedy, '');
                return next;
        end;
    end loop;
end;
$function$;

revoke all on function maintenance.diagnose_sweeps() from public;

comment on function maintenance.diagnose_sweeps() is
    'Say which sweeps on insert are broken, idle or switched off.';
