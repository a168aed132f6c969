-- Makes the functions that act for the owners whose tables have policies or archives, and drops
-- those of former owners: after a restore, tables may belong to others.
--
-- What the owner of the schema may not act for is left, and said: a run of such a policy fails.

create or replace function maintenance.renew_executors()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_owner name;
begin
    for v_owner in
        select distinct pg_get_userbyid(class.relowner)
        from pg_catalog.pg_class as class
        where class.oid in (
            select policy.relation from maintenance.policy as policy
            union all
            select archive.relation from maintenance.archive as archive
        )
    loop
        begin
            perform maintenance.install_executor(v_owner);
        exception
            when insufficient_privilege then
                raise warning using
                    message = format('nothing acts for %I, whose tables have policies', v_owner),
                    detail = sqlerrm,
                    hint = format('grant %I to %I, and adopt once more', v_owner, current_user);
        end;
    end loop;

    perform maintenance.drop_idle_executors();
end;
$function$;

revoke all on function maintenance.renew_executors() from public;

comment on function maintenance.renew_executors() is
    'Make the functions that act for the present owners of the tables that are tended.';
