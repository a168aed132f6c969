-- Drops the archives that create_archive made, and forgets all archives: a rollback calls it.
--
-- Those that hold rows are refused, unless maintenance.drop_archives is set to on: the runner does
-- so once that was confirmed, and a dump was taken or declined. What users made themselves stays.

create or replace function maintenance.drop_archives()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_archive regclass;
    v_held bigint;
begin
    -- An archive may have changed hands since the last policy of its new owner.
    perform maintenance.install_executor(owning.name)
    from (
        select distinct pg_get_userbyid(class.relowner)
        from maintenance.archive as known
        join pg_catalog.pg_class as class on class.oid = known.relation
        where known.is_ours
    ) as owning (name);

    for v_archive, v_held in
        select counted.archive, counted.held
        from maintenance.archived_rows() as counted
    loop
        if v_held > 0
           and current_setting('maintenance.drop_archives', true) is distinct from 'on'
        then
            raise exception using
                errcode = 'object_not_in_prerequisite_state',
                message = format('archive %s holds %s rows, and would be dropped', v_archive,
                    v_held),
                hint = 'Move them, or take a dump; then set maintenance.drop_archives to on, '
                    'as "runner rollback" does.';
        end if;

        perform maintenance.run_as_owner(
            v_archive, format('drop table %s', v_archive), answers => false
        );
    end loop;

    delete from maintenance.archive;
end;
$function$;

revoke all on function maintenance.drop_archives() from public;

comment on function maintenance.drop_archives() is
    'Drop the archives of our own, if they are empty or maintenance.drop_archives is on.';
