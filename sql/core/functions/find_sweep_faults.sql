-- Says what became of a sweep on insert: what somebody's migration, or hand, has done to it.
--
-- Tools that manage the application's schema may drop a trigger that they do not know, disable all
-- triggers for a while, build a table anew and give it the old one's name, or change its owner.

create or replace function maintenance.find_sweep_faults(policy text)
returns setof text
language plpgsql
stable
security definer  -- monitors may see how a sweep stands
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_policy maintenance.policy := maintenance.read_policy(find_sweep_faults.policy);
    v_sweep maintenance.insert_sweep;
    v_table pg_catalog.pg_class;
    v_routine pg_catalog.pg_proc;
    v_trigger pg_catalog.pg_trigger;
begin
    select sweep.*
    into v_sweep
    from maintenance.insert_sweep as sweep
    where sweep.policy = v_policy.name;

    if not found then
        return;
    end if;

    select class.*
    into v_table
    from pg_catalog.pg_class as class
    where class.oid = v_sweep.relation;

    if not found then
        return next 'the table is gone';
        return;
    end if;

    select routine.*
    into v_routine
    from pg_catalog.pg_proc as routine
    where routine.oid = to_regprocedure(format('maintenance.%I()', 'sweep_' || v_policy.name));

    if not found then
        return next 'its function is gone';
        return;
    end if;

    select trigger.*
    into v_trigger
    from pg_catalog.pg_trigger as trigger
    where trigger.tgrelid = v_sweep.relation
      and trigger.tgname = v_sweep.trigger;

    if not found then
        return next format('trigger %I is gone', v_sweep.trigger);
    elsif v_trigger.tgenabled <> 'O' then
        return next format(
            'trigger %I is %s', v_sweep.trigger,
            case v_trigger.tgenabled
                when 'D' then 'disabled'
                when 'R' then 'enabled for replication only'
                else 'enabled for replication as well'
            end
        );
    elsif not maintenance.has_sweep_trigger(v_sweep) then
        return next format('trigger %I was changed', v_sweep.trigger);
    end if;

    if v_routine.proowner <> v_table.relowner then
        return next format(
            'the table belongs to %I, and its sweep to %I',
            pg_get_userbyid(v_table.relowner), pg_get_userbyid(v_routine.proowner)
        );
    elsif not has_schema_privilege(v_table.relowner, 'maintenance', 'usage')
       or not has_function_privilege(
           v_table.relowner, 'maintenance.open_sweep(text, oid, oid, name, boolean)', 'execute'
       )
       or not has_function_privilege(
           v_table.relowner,
           'maintenance.close_sweep(text, integer, bigint, interval, jsonb)',
           'execute'
       )
    then
        return next format(
            'role %I may not call what its sweep calls', pg_get_userbyid(v_table.relowner)
        );
    end if;

    return query
    select wrong.message
    from maintenance.find_sweep_errors(v_policy, v_sweep.at_once) as wrong;

    if v_routine.prosrc <> maintenance.sweep_body(v_policy, v_sweep.at_once)
       or not v_routine.prosecdef
       or v_routine.proconfig is distinct from array['search_path=pg_catalog, pg_temp']
    then
        return next 'its function is not what the policy says';
    end if;
end;
$function$;

revoke all on function maintenance.find_sweep_faults(text) from public;

comment on function maintenance.find_sweep_faults(text) is
    'List what keeps the sweep of a policy from working, or makes it another than was meant.';
