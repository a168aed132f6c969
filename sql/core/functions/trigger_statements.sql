-- Writes the statements that make a trigger again as it is now: when it fires, and its comment.

create or replace function maintenance.trigger_statements(trigger_oid oid)
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select array_remove(
        array[
            pg_get_triggerdef(trigger.oid),
            'alter table ' || trigger.tgrelid::regclass::text
                || case trigger.tgenabled  -- null, and no statement, where it fires as usual
                    when 'D' then ' disable trigger '
                    when 'R' then ' enable replica trigger '
                    when 'A' then ' enable always trigger '
                end
                || quote_ident(trigger.tgname),
            format(
                'comment on trigger %I on %s is %L',
                trigger.tgname,
                trigger.tgrelid::regclass,
                obj_description(trigger.oid, 'pg_trigger')
            )
        ],
        null
    )
    from pg_catalog.pg_trigger as trigger
    where trigger.oid = trigger_statements.trigger_oid;
$function$;

revoke all on function maintenance.trigger_statements(oid) from public;

comment on function maintenance.trigger_statements(oid) is
    'Write the statements that make a trigger again, with its state and comment.';
