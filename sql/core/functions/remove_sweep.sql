-- Takes a sweep away, without a trace: trigger, function, sequence, row, and what its owner was
-- granted for it. Of a table that is gone or has lost the trigger, whatever is left goes.

create or replace function maintenance.remove_sweep(policy text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_sweep maintenance.insert_sweep;
    v_function regprocedure := to_regprocedure(
        format('maintenance.%I()', 'sweep_' || remove_sweep.policy)
    );
    v_carrier record;
begin
    select sweep.*
    into strict v_sweep
    from maintenance.insert_sweep as sweep
    where sweep.policy = remove_sweep.policy;

    for v_carrier in
        select
            trigger.tgrelid::regclass as relation,
            trigger.tgname as name,
            pg_get_userbyid(class.relowner) as owner
        from pg_catalog.pg_trigger as trigger
        join pg_catalog.pg_class as class on class.oid = trigger.tgrelid
        where trigger.tgfoid = v_function
    loop
        perform maintenance.install_executor(v_carrier.owner);
        perform maintenance.run_with_patience(
            v_carrier.relation,
            format('drop trigger %I on %s', v_carrier.name, v_carrier.relation)
        );
    end loop;

    delete from maintenance.insert_sweep as sweep
    where sweep.policy = remove_sweep.policy;

    execute format('drop sequence %s', v_sweep.pace);

    if v_function is not null then
        execute format('drop function %s', v_function);
    end if;

    perform maintenance.revoke_idle_sweepers();
    perform maintenance.drop_idle_executors();
end;
$function$;

revoke all on function maintenance.remove_sweep(text) from public;

comment on function maintenance.remove_sweep(text) is
    'Take the trigger of a sweep away, and everything that was made for it.';
