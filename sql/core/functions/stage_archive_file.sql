-- Checks that a file may be put back into a table, and makes the temporary table that the caller
-- copies it into: as text, so that no code of the table's owner runs in the caller's session.
--
-- anyway takes a file that this database did not export, or whose rows are back already.

create or replace function maintenance.stage_archive_file(
    archive regclass,
    manifest jsonb,
    anyway boolean default false
)
returns void
language plpgsql
security definer  -- the list of files is locked, and the table with the rights of its owner
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_owner name;
    v_file maintenance.archive_file;
    v_wanted record;
begin
    perform maintenance.assert_movable(archive, 'insert');

    select pg_get_userbyid(class.relowner)
    into v_owner
    from pg_catalog.pg_class as class
    where class.oid = archive;

    perform maintenance.install_executor(v_owner);
    perform maintenance.run_as_owner(
        archive,
        format('lock table %s in share update exclusive mode', archive),
        answers => false
    );
    perform maintenance.assert_movable(archive, 'insert');

    select file.*
    into v_file
    from maintenance.archive_file as file
    where file.id = (manifest ->> 'id')::uuid
    for update;

    if v_file.id is not null and (
        v_file.csv_sha256 is distinct from manifest #>> '{csv,sha256}'
        or v_file.rows is distinct from (manifest ->> 'rows')::bigint
    ) then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('%s is not the file that was exported under its id',
                manifest ->> 'file'),
            detail = format('It had %s rows, and SHA-256 %s.', v_file.rows, v_file.csv_sha256),
            hint = 'Look for the file that was exported, and its manifest.';
    end if;

    if not anyway and v_file.id is null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('database %I did not export %s', current_database(),
                manifest ->> 'file'),
            detail = format('Its manifest names database %s. If an export was cut off here, its '
                'rows are still in the archive.', manifest #>> '{database,name}'),
            hint = '--anyway takes it all the same; undo will not know its rows.';
    end if;

    if not anyway and v_file.imported_at is not null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('the rows of %s are back already', manifest ->> 'file'),
            detail = format('%I put them into %s at %s.', v_file.imported_by, v_file.imported_into,
                v_file.imported_at),
            hint = '--anyway puts them back once more.';
    end if;

    select wanted.name, wanted.type, present.type as present
    into v_wanted
    from jsonb_to_recordset(manifest -> 'columns') as wanted (name text, type text)
    left join jsonb_to_recordset(maintenance.file_columns(archive))
        as present (name text, type text) on present.name = wanted.name
    where present.type is distinct from wanted.type
    limit 1;

    if v_wanted.name is not null then
        raise exception using
            errcode = 'datatype_mismatch',
            message = case
                when v_wanted.present is null then
                    format('%s has no column %I, which the file has', archive, v_wanted.name)
                else format('column %I of %s is %s, and %s in the file', v_wanted.name, archive,
                    v_wanted.present, v_wanted.type)
            end,
            hint = 'Give it the column of that type, or name another table.';
    end if;

    execute format(
        'create temporary table returned_rows (%s) on commit drop',
        (
            select string_agg(format('%I text', wanted.value ->> 'name'), ', '
                order by wanted.ordinality)
            from jsonb_array_elements(manifest -> 'columns') with ordinality as wanted
        )
    );
    execute format('grant select on table pg_temp.returned_rows to %I', v_owner);
    execute format('grant insert on table pg_temp.returned_rows to %I', maintenance.caller());
end;
$function$;

revoke all on function maintenance.stage_archive_file(regclass, jsonb, boolean) from public;

comment on function maintenance.stage_archive_file(regclass, jsonb, boolean) is
    'Check that a file may be put back, and make the temporary table returned_rows for it.';
