-- Makes the function and the trigger of a sweep what the policy says, where they are not.
--
-- The function belongs to the owner of the table. Its trigger comes last, because it locks the
-- table until the transaction ends; where it is right already, the table is not touched.

create or replace function maintenance.install_sweep(policy maintenance.policy)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_sweep maintenance.insert_sweep;
    v_owner name;
    v_body text;
    v_function text := format('maintenance.%I()', 'sweep_' || policy.name);
    v_errors text[];
    v_stray record;
begin
    update maintenance.insert_sweep as sweep
    set
        relation = install_sweep.policy.relation,
        policy_enabled = install_sweep.policy.is_enabled,
        keys = walked.keys,
        key_types = walked.types
    from (
        select
            coalesce(array_agg(attribute.attname), '{}'),
            coalesce(array_agg(attribute.atttypid::regtype), '{}')
        from generate_series(1, jsonb_array_length(install_sweep.policy.branches)) as series
        join pg_catalog.pg_attribute as attribute
            on attribute.attrelid = install_sweep.policy.relation
            and attribute.attname = maintenance.branch_key(install_sweep.policy, series)
    ) as walked (keys, types)
    where sweep.policy = install_sweep.policy.name
    returning sweep.*
    into strict v_sweep;

    v_errors := array(
        select wrong.message
        from maintenance.find_sweep_errors(policy, v_sweep.at_once) as wrong
    );

    if cardinality(v_errors) > 0 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format(
                'policy %s cannot sweep %s on insert: %s', policy.name, policy.relation, v_errors[1]
            ),
            detail = array_to_string(v_errors[2:] || text 'Nothing was changed.', E'\n'),
            hint = 'A run of the policy does without; maintenance.detach_insert_sweep removes a '
                'sweep.';
    end if;

    select pg_get_userbyid(class.relowner)
    into v_owner
    from pg_catalog.pg_class as class
    where class.oid = policy.relation;

    v_body := maintenance.sweep_body(policy, v_sweep.at_once);

    if not exists (
        select
        from pg_catalog.pg_proc as routine
        where routine.oid = to_regprocedure(v_function)
          and routine.prosrc = v_body
          and routine.prosecdef
          and routine.proconfig = array['search_path=pg_catalog, pg_temp']
          and pg_get_userbyid(routine.proowner) = v_owner
    ) then
        execute format(
            'create or replace function %s returns trigger language plpgsql security definer '
            'set search_path = pg_catalog, pg_temp as %L',
            v_function, v_body
        );
        execute format('revoke all on function %s from public', v_function);
        execute format(
            'comment on function %s is %L',
            v_function,
            format(
                'Sweep %s by the policy %s when rows are inserted.', policy.relation, policy.name
            )
        );
        perform maintenance.give_function(v_function::regprocedure, v_owner);
    end if;

    if not has_schema_privilege(v_owner, 'maintenance', 'usage')
       or not has_function_privilege(
           v_owner, 'maintenance.open_sweep(text, oid, oid, name, boolean)', 'execute'
       )
       or not has_function_privilege(
           v_owner, 'maintenance.close_sweep(text, integer, bigint, interval, jsonb)', 'execute'
       )
    then
        execute format('grant usage on schema maintenance to %I', v_owner);
        execute format(
            'grant execute on function '
            'maintenance.open_sweep(text, oid, oid, name, boolean), '
            'maintenance.close_sweep(text, integer, bigint, interval, jsonb) to %I',
            v_owner
        );
    end if;

    perform maintenance.revoke_idle_sweepers();

    for v_stray in
        select trigger.tgrelid::regclass as relation, trigger.tgname as name
        from pg_catalog.pg_trigger as trigger
        where trigger.tgfoid = v_function::regprocedure
          and (trigger.tgrelid, trigger.tgname) <> (policy.relation::oid, v_sweep.trigger)
    loop
        perform maintenance.run_with_patience(
            v_stray.relation, format('drop trigger %I on %s', v_stray.name, v_stray.relation)
        );
    end loop;

    if not maintenance.has_sweep_trigger(v_sweep) then
        perform maintenance.run_with_patience(
            policy.relation,
            format(
                'create or replace trigger %I after insert on %s %sfor each statement '
                'execute function %s',
                v_sweep.trigger, policy.relation,
                case when v_sweep.at_once then 'referencing new table as inserted ' else '' end,
                v_function
            )
        );
        perform maintenance.run_as_owner(
            policy.relation,
            format(
                'comment on trigger %I on %s is %L',
                v_sweep.trigger, policy.relation,
                format('Sweeps by the policy %s: see maintenance.insert_sweep_status.', policy.name)
            ),
            answers => false
        );
    end if;
end;
$function$;

revoke all on function maintenance.install_sweep(maintenance.policy) from public;

comment on function maintenance.install_sweep(maintenance.policy) is
    'Make the function and the trigger of a sweep what its policy says.';
