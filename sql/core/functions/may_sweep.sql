-- Says whether a table may be swept at all: it is switched on, and sweeping it is safe.
--
-- Asked before every DELETE, because what makes it unsafe can be added at any time. Whoever may
-- create a trigger on the table must not have it run with the rights of the sweep; a foreign key
-- that refers to the table could fail as late as at COMMIT. Both are triggers on DELETE to
-- PostgreSQL. What is unsafe is an error, which the sweep writes to the server's log. The answer is
-- as old as the snapshot, so it is good for a DELETE at READ COMMITTED only.

create or replace function maintenance.may_sweep(relation oid, executor name)
returns boolean
language plpgsql
stable
security definer  -- the owner of the table need not be able to read the settings
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'  -- an insert does not wait for whoever locks the settings
as $function$
declare
    v_table pg_catalog.pg_class;
begin
    if not exists (
        select
        from maintenance.insert_sweep as sweep
        where sweep.relation = may_sweep.relation
          and sweep.enabled
    ) then
        return false;
    end if;

    select class.*
    into strict v_table
    from pg_catalog.pg_class as class
    where class.oid = may_sweep.relation;

    if pg_get_userbyid(v_table.relowner) <> may_sweep.executor then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format(
                'the table belongs to %I, and its sweep to %I',
                pg_get_userbyid(v_table.relowner),
                may_sweep.executor
            );
    end if;

    if v_table.relforcerowsecurity then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the table forces row-level security on its owner';
    end if;

    -- 8 is the bit of DELETE in pg_trigger.tgtype (PostgreSQL's catalog/pg_trigger.h).
    if exists (
        select
        from pg_catalog.pg_trigger as deleting
        where deleting.tgrelid = may_sweep.relation
          and deleting.tgtype & 8 <> 0
    ) then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the table has a trigger on DELETE, or a foreign key refers to it';
    end if;

    return true;
end;
$function$;

revoke all on function maintenance.may_sweep(oid, name) from public;

comment on function maintenance.may_sweep(oid, name) is
    'Say whether the role that owns a sweep may delete from the table now; raise what is unsafe.';
