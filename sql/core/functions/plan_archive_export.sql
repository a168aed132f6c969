-- Says what of an archive is older than an age, by counting it, or older than a moment.
--
-- The archive is read as its owner. Days and months are counted in UTC.

create or replace function maintenance.plan_archive_export(
    archive regclass,
    older_than interval,
    before timestamptz default null
)
returns jsonb
language plpgsql
security definer  -- the archive is read with the rights of its owner: see install_executor
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $function$
#variable_conflict use_variable
declare
    v_owner name;
    v_before timestamptz := coalesce(before, now() - older_than);
begin
    if not exists (
        select from maintenance.archive as known where known.relation = archive
    ) then
        raise exception using
            errcode = 'undefined_object',
            message = format('%s is not an archive of any policy', archive),
            hint = 'maintenance.archive_status lists those that are.';
    end if;

    perform maintenance.assert_movable(archive, 'delete');

    if v_before is null or v_before > now() then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('an age must be an interval that is not negative, not %s',
                coalesce(older_than::text, 'null')),
            hint = 'For example ''1 year'' or ''90 days''.';
    end if;

    if not exists (
        select
        from pg_catalog.pg_attribute as attribute
        where attribute.attrelid = archive
          and attribute.attname = '_archived_at'
          and attribute.atttypid = 'timestamptz'::regtype
          and not attribute.attisdropped
    ) then
        raise exception using
            errcode = 'undefined_column',
            message = format('%s does not say when its rows were archived', archive),
            detail = 'It has no column _archived_at with a time.',
            hint = 'An archive that create_archive made has one.';
    end if;

    select pg_get_userbyid(class.relowner)
    into v_owner
    from pg_catalog.pg_class as class
    where class.oid = archive;

    perform maintenance.install_executor(v_owner);

    return maintenance.run_as_owner(
        archive,
        format(
            'select jsonb_build_object(''rows'', count(*), ''oldest'', min(_archived_at),'
            ' ''newest'', max(_archived_at), ''before'', %1$L::timestamptz) from %2$s'
            ' where _archived_at < %1$L::timestamptz',
            v_before,
            archive
        )
    );
end;
$function$;

revoke all on function maintenance.plan_archive_export(regclass, interval, timestamptz)
    from public;

comment on function maintenance.plan_archive_export(regclass, interval, timestamptz) is
    'Count the rows of an archive that are older than an age, or than a moment.';
