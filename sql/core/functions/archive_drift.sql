-- Says where an archive has come to differ from its table. Rows are moved by the names of columns,
-- and a value must not change its type or lose its place on the way.
--
-- What the table had when the archive was last brought into line is in maintenance.archive; a
-- column that is there no more was dropped, or renamed, and whoever did so has to know of it.

create or replace function maintenance.archive_drift(source regclass, archive regclass)
returns table (column_name name, change text, message text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    with attribute as (
        select
            attribute.attrelid as relation,
            attribute.attname as name,
            (attribute.atttypid, attribute.atttypmod) as type,
            format_type(attribute.atttypid, attribute.atttypmod) as type_name,
            attribute.attgenerated <> '' or attribute.attidentity = 'a' as is_computed,
            attribute.attnotnull
                and not attribute.atthasdef
                and attribute.attidentity = '' as is_required
        from pg_catalog.pg_attribute as attribute
        where attribute.attrelid in (archive_drift.source, archive_drift.archive)
          and attribute.attnum > 0
          and not attribute.attisdropped
    )
    select
        had.name,
        differing.change,
        case differing.change
            when 'added' then
                format('%s has no column %I of type %s', archive, had.name, had.type_name)
            when 'computed' then
                format('column %I of %s is computed, and cannot take what %s has in it', had.name,
                    archive, source)
            else
                format('column %I is of type %s in %s, and of type %s in %s', had.name,
                    had.type_name, source, kept.type_name, archive)
        end,
        case differing.change
            when 'retyped' then
                format('alter table %s alter column %I type %s', archive, had.name, had.type_name)
            when 'computed' then
                format('alter table %s rename column %I to another name', archive, had.name)
        end
    from attribute as had
    left join attribute as kept on kept.relation = archive_drift.archive and kept.name = had.name
    cross join lateral (
        select case
            when kept.name is null then 'added'
            when kept.is_computed then 'computed'
            when kept.type <> had.type then 'retyped'
        end
    ) as differing (change)
    where had.relation = archive_drift.source
      and differing.change is not null

    union all
    select
        kept.name,
        'required',
        format('column %I of %s must not be null, and %s has nothing for it', kept.name, archive,
            source),
        format('alter table %s alter column %I drop not null', archive, kept.name)
    from attribute as kept
    where kept.relation = archive_drift.archive
      and kept.is_required
      and kept.name not in ('_archived_at', '_archived_by_step')
      and not exists (
          select
          from attribute as had
          where had.relation = archive_drift.source
            and had.name = kept.name
      )
      and not exists (
          select
          from maintenance.archive as known
          where known.relation = archive_drift.archive
            and known.source = archive_drift.source
            and known.columns ? kept.name
      )

    union all
    select
        gone.key::name,
        'dropped',
        format('%s has no column %I any more, and %s keeps it', source, gone.key, archive),
        null
    from maintenance.archive as known
    cross join lateral jsonb_object_keys(known.columns) as gone (key)
    where known.relation = archive_drift.archive
      and known.source = archive_drift.source
      and not exists (
          select
          from attribute
          where attribute.relation = archive_drift.source
            and attribute.name = gone.key
      );
$function$;

revoke all on function maintenance.archive_drift(regclass, regclass) from public;

comment on function maintenance.archive_drift(regclass, regclass) is
    'Say where the columns of an archive and of its table differ, and what can be done.';
