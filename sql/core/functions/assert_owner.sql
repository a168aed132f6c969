-- Refuses whoever is not a member of the owner of a table, or of the schema maintenance.

create or replace function maintenance.assert_owner(owned oid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_name text;
    v_owner name;
    v_context text;
begin
    -- Whoever calls here from a trigger or a condition in a run is not whom maintenance.caller()
    -- names: that is who started the run.
    get diagnostics v_context = pg_context;

    if v_context ~ '\mact_as_.*,tid\[\],boolean\)' then
        raise exception using
            errcode = 'insufficient_privilege',
            message = 'policies cannot be changed from within a run',
            hint = 'Take the call out of the trigger or the condition.';
    end if;

    select owned_object.name, pg_get_userbyid(owned_object.owner)
    into v_name, v_owner
    from (
        select class.oid, class.oid::regclass::text, class.relowner
        from pg_catalog.pg_class as class
        union all
        select namespace.oid, 'schema ' || namespace.nspname, namespace.nspowner
        from pg_catalog.pg_namespace as namespace
    ) as owned_object (oid, name, owner)
    where owned_object.oid = assert_owner.owned;

    if v_owner is null then
        raise exception using
            errcode = 'undefined_table',
            message = format('there is no table with oid %s', coalesce(owned::text, 'null')),
            hint = 'Name a table that exists.';
    end if;

    if not pg_has_role(maintenance.caller(), v_owner, 'member') then
        raise exception using
            errcode = 'insufficient_privilege',
            message = format('only the owner of %s may do this', v_name),
            hint = format('Ask a member of role %I.', v_owner);
    end if;
end;
$function$;

revoke all on function maintenance.assert_owner(oid) from public;

comment on function maintenance.assert_owner(oid) is
    'Raise an error unless the caller is a member of the role that owns the table or schema.';
