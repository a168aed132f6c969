-- Puts the rows of the temporary table returned_rows into the table that stage_archive_file has
-- checked, proves their number, and notes that the file is back. It runs as the table's owner.
--
-- A whole row of texts becomes a row of the table, so that each value is read by the input function
-- of its type, exactly as COPY would. The steps of a file that this database did not export are
-- those of other runs: they are left out, so that no undo takes its rows for its own.

create or replace function maintenance.return_archived(
    archive regclass,
    manifest jsonb,
    anyway boolean default false
)
returns bigint
language plpgsql
security definer  -- nobody writes the list of files but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_is_known boolean;
    v_fields text;
    v_columns text;
    v_values text;
    v_rows bigint;
begin
    perform maintenance.assert_movable(archive, 'insert');

    select exists (
        select
        from maintenance.archive_file as file
        where file.id = (manifest ->> 'id')::uuid
          and file.exported_at is not null
          and file.csv_sha256 = manifest #>> '{csv,sha256}'
          and (anyway or file.imported_at is null)
    )
    into v_is_known;

    if not (v_is_known or anyway) then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('%s was not staged', manifest ->> 'file'),
            hint = 'Call stage_archive_file first, in the same transaction.';
    end if;

    select
        string_agg(
            case
                when wanted.name is null then 'null'
                when attribute.attname = '_archived_by_step' and not v_is_known then 'null'
                else format('staged.%I', attribute.attname)
            end,
            ', '
            order by attribute.attnum
        ),
        string_agg(quote_ident(attribute.attname), ', ' order by attribute.attnum)
            filter (where wanted.name is not null),
        string_agg(format('(read.line).%I', attribute.attname), ', ' order by attribute.attnum)
            filter (where wanted.name is not null)
    into v_fields, v_columns, v_values
    from pg_catalog.pg_attribute as attribute
    left join jsonb_to_recordset(manifest -> 'columns') as wanted (name text)
        on wanted.name = attribute.attname
    where attribute.attrelid = archive
      and attribute.attnum > 0
      and not attribute.attisdropped;

    v_rows := (
        maintenance.run_as_owner(
            archive,
            format(
                'with read as ('
                'select row(%1$s)::text::%2$s as line from pg_temp.returned_rows as staged offset 0'
                '), put as ('
                'insert into %2$s (%3$s) overriding system value'
                ' select %4$s from read returning 1'
                ') select to_jsonb(count(*)) from put',
                v_fields,
                archive,
                v_columns,
                v_values
            )
        ) #>> '{}'
    )::bigint;

    if v_rows is distinct from (manifest ->> 'rows')::bigint then
        raise exception using
            errcode = 'cardinality_violation',
            message = format('%s rows came into %s, and not the %s of the file', v_rows, archive,
                manifest ->> 'rows'),
            detail = 'Nothing was changed.',
            hint = 'Something on the table keeps rows away.';
    end if;

    update maintenance.archive_file as file
    set
        imported_at = now(),
        imported_by = maintenance.caller(),
        imported_into = archive::text
    where file.id = (manifest ->> 'id')::uuid;

    if not found then
        insert into maintenance.archive_file (
            id, archive, source, file, folder, format, rows, oldest, newest, steps, csv_bytes,
            csv_sha256, file_bytes, file_sha256, imported_at, imported_by, imported_into
        )
        select
            (manifest ->> 'id')::uuid,
            manifest ->> 'archive',
            manifest ->> 'source',
            manifest ->> 'file',
            '',
            manifest ->> 'compression',
            v_rows,
            (manifest ->> 'oldest')::timestamptz,
            (manifest ->> 'newest')::timestamptz,
            '{}'::bigint[],
            (manifest #>> '{csv,bytes}')::bigint,
            manifest #>> '{csv,sha256}',
            (manifest #>> '{compressed,bytes}')::bigint,
            manifest #>> '{compressed,sha256}',
            now(),
            maintenance.caller(),
            archive::text;
    end if;

    return v_rows;
end;
$function$;

revoke all on function maintenance.return_archived(regclass, jsonb, boolean) from public;

comment on function maintenance.return_archived(regclass, jsonb, boolean) is
    'Put the rows of returned_rows into a table, and note that their file is back.';
