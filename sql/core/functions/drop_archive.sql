-- Drops an archive that create_archive made: a rollback of the chain that had it made calls it.
--
-- One that holds rows is refused, unless maintenance.drop_archives is set to on: the runner does so
-- once that was confirmed, and a dump was taken or declined. What users made themselves stays.

create or replace function maintenance.drop_archive(archive regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_archive regclass;
    v_held bigint;
begin
    -- It may have changed hands since the last policy of its new owner, or have no policy any more.
    perform maintenance.install_executor(pg_get_userbyid(class.relowner))
    from maintenance.archive as known
    join pg_catalog.pg_class as class on class.oid = known.relation
    where known.relation = drop_archive.archive
      and known.is_ours;

    select counted.name, counted.held
    into v_archive, v_held
    from maintenance.archived_rows(drop_archive.archive) as counted;

    if v_held > 0
       and current_setting('maintenance.drop_archives', true) is distinct from 'on'
    then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('archive %s holds %s rows, and would be dropped', v_archive, v_held),
            hint = 'Move them, or take a dump; then set maintenance.drop_archives to on, '
                'as "runner rollback" does.';
    end if;

    if v_archive is not null then
        perform maintenance.run_as_owner(
            v_archive, format('drop table %s', v_archive), answers => false
        );
    end if;

    delete from maintenance.archive as known
    where known.relation = drop_archive.archive;

    perform maintenance.drop_idle_executors();
end;
$function$;

revoke all on function maintenance.drop_archive(regclass) from public;

comment on function maintenance.drop_archive(regclass) is
    'Drop an archive of our own, if it is empty or maintenance.drop_archives is on.';
