-- Lets a table sweep on insert in place of a trigger of the application that did the same.
--
-- A trigger of that name that calls something else is refused: nobody knows what it is for. One
-- that was switched off leaves the sweep switched off: somebody wanted it so.

create or replace function maintenance.adopt_sweep(chain text, policy text, calls text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_relation regclass := (maintenance.read_policy(adopt_sweep.policy)).relation;
    v_trigger pg_catalog.pg_trigger;
begin
    select trigger.*
    into v_trigger
    from pg_catalog.pg_trigger as trigger
    where trigger.tgrelid = v_relation
      and trigger.tgname = 'trigger_cleanup_' || adopt_sweep.policy;

    if v_trigger.oid is not null and v_trigger.tgfoid is distinct from to_regprocedure(calls) then
        raise exception using
            errcode = 'duplicate_object',
            message = format(
                'trigger %I on %s calls %s, and is not the one with which application %s cleans up',
                v_trigger.tgname, v_relation, v_trigger.tgfoid::regprocedure, chain
            ),
            hint = format(
                'Rename it: alter trigger %I on %s rename to another_name.',
                v_trigger.tgname, v_relation
            );
    end if;

    if v_trigger.oid is not null then
        insert into maintenance.owned_object (chain, kind, name, origin, restoring)
        values (
            adopt_sweep.chain, 'trigger', format('%s.%I', v_relation, v_trigger.tgname), 'replaced',
            maintenance.trigger_statements(v_trigger.oid)
        );
    end if;

    perform maintenance.attach_insert_sweep(
        policy => adopt_sweep.policy, replaces => v_trigger.tgfoid::regprocedure
    );

    if v_trigger.tgenabled in ('D', 'R') then
        perform maintenance.set_insert_sweep(adopt_sweep.policy, enabled => false);
    end if;
end;
$function$;

revoke all on function maintenance.adopt_sweep(text, text, text) from public;

comment on function maintenance.adopt_sweep(text, text, text) is
    'Attach the sweep of a policy, in place of the trigger with which the application cleaned up.';
