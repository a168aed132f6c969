-- Locks an archive for moving rows out of it, and says what the manifest of a file tells of it.
--
-- SHARE UPDATE EXCLUSIVE lets rows come and go, and keeps away a second export, a change of the
-- columns, and new triggers and rules.

create or replace function maintenance.begin_archive_export(archive regclass)
returns jsonb
language plpgsql
security definer  -- the archive is locked with the rights of its owner: see install_executor
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
begin
    perform maintenance.assert_owner(archive);
    perform maintenance.run_as_owner(
        archive,
        format('lock table %s in share update exclusive mode', archive),
        answers => false
    );
    perform maintenance.assert_movable(archive, 'delete');

    return (
        select jsonb_build_object(
            'archive', archive::text,
            'source', known.source::text,
            'columns', maintenance.file_columns(archive),
            'encoding', getdatabaseencoding(),
            'server_version', current_setting('server_version'),
            'database', jsonb_build_object(
                'name', current_database(),
                'system_identifier', installation.system_identifier::text,
                'oid', installation.database_oid::bigint
            ),
            'exported_by', maintenance.caller(),
            'exported_at', now(),
            'transaction', pg_current_xact_id()::text
        )
        from maintenance.installation as installation
        left join maintenance.archive as known on known.relation = archive
    );
end;
$function$;

revoke all on function maintenance.begin_archive_export(regclass) from public;

comment on function maintenance.begin_archive_export(regclass) is
    'Lock an archive for moving rows out of it, and describe it.';
