-- How the archives stand: what fills them, what takes old rows out of them again, and their files.

create or replace view maintenance.archive_status
with (security_invoker = true)
as
select
    archive.relation::text as archive,
    archive.source::text as source,
    array(
        select distinct filling.name
        from maintenance.policy as filling
        cross join maintenance.policy_archives(filling) as filled
        where filled.archive = archive.relation
        order by filling.name
    ) as policies,
    size.estimated_rows,
    size.bytes,
    maintenance.oldest_archived(archive.relation) as oldest,
    array(
        select emptying.name
        from maintenance.policy as emptying
        where emptying.relation = archive.relation
        order by emptying.name
    ) as retention,
    moved.files,
    moved.rows_in_files,
    archive.is_ours
from maintenance.archive
cross join lateral (
    select
        case when bool_and(class.reltuples >= 0) then sum(class.reltuples)::bigint end,
        coalesce(sum(pg_total_relation_size(class.oid)), 0)::bigint
    from maintenance.leaves_of(archive.relation) as leaf
    join pg_catalog.pg_class as class on class.oid = leaf
) as size (estimated_rows, bytes)
cross join lateral (
    select count(*), coalesce(sum(file.rows), 0)::bigint
    from maintenance.archive_file as file
    where file.archive = archive.relation::text
      and file.exported_at is not null
      and file.imported_at is null
) as moved (files, rows_in_files)
where exists (
    select from pg_catalog.pg_class as class where class.oid = archive.relation
)
order by archive.relation::text;

revoke all on table maintenance.archive_status from public;

comment on view maintenance.archive_status is
    'Archives: what fills them, how large and old they are, and which of their rows are in files.';
comment on column maintenance.archive_status.archive is 'The archive.';
comment on column maintenance.archive_status.source is 'Table whose rows it takes.';
comment on column maintenance.archive_status.policies is 'Policies that fill it.';
comment on column maintenance.archive_status.estimated_rows is
    'About how many rows are in it; null: never analyzed.';
comment on column maintenance.archive_status.bytes is 'Size, with indexes and TOAST.';
comment on column maintenance.archive_status.oldest is
    'When its oldest row was archived; null: it is empty, or finding out would mean reading all.';
comment on column maintenance.archive_status.retention is
    'Policies on the archive itself, which remove rows from it; none: they stay.';
comment on column maintenance.archive_status.files is 'Files that hold rows of it.';
comment on column maintenance.archive_status.rows_in_files is 'How many rows they hold.';
comment on column maintenance.archive_status.is_ours is 'Whether create_archive made it.';
