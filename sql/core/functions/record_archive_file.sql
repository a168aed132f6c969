-- Notes a file that rows of an archive were moved into, in the transaction that deletes them.

create or replace function maintenance.record_archive_file(
    archive regclass,
    folder text,
    manifest jsonb
)
returns void
language plpgsql
security definer  -- nobody writes the list of files but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
begin
    perform maintenance.assert_movable(archive, 'delete');

    insert into maintenance.archive_file (
        id, archive, source, file, folder, format, rows, oldest, newest, steps, csv_bytes,
        csv_sha256, file_bytes, file_sha256, exported_at, exported_by
    )
    select
        (manifest ->> 'id')::uuid,
        archive::text,
        manifest ->> 'source',
        manifest ->> 'file',
        folder,
        manifest ->> 'compression',
        (manifest ->> 'rows')::bigint,
        (manifest ->> 'oldest')::timestamptz,
        (manifest ->> 'newest')::timestamptz,
        array(
            select step.value::bigint
            from jsonb_array_elements_text(manifest -> 'steps') as step
            order by 1
        ),
        (manifest #>> '{csv,bytes}')::bigint,
        manifest #>> '{csv,sha256}',
        (manifest #>> '{compressed,bytes}')::bigint,
        manifest #>> '{compressed,sha256}',
        now(),
        maintenance.caller();
end;
$function$;

revoke all on function maintenance.record_archive_file(regclass, text, jsonb) from public;

comment on function maintenance.record_archive_file(regclass, text, jsonb) is
    'Note a file that rows of an archive were moved into, from its manifest.';
