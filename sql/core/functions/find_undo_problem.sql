-- Says why no row of an archive can be put back into its table; null if rows can.

create or replace function maintenance.find_undo_problem(source regclass, archive regclass)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select case
        when kept.oid is null then 'its archive is gone'
        when had.oid is null then format('the table whose rows %s keeps is gone', archive)
        when not maintenance.records_steps(source, archive) then
            format('%s does not note which run archived a row', archive)
        when had.relowner <> kept.relowner then
            format('%s and %s do not have the same owner', source, archive)
        else coalesce(
            (
                select differing.message || ': ' || differing.remedy
                from maintenance.archive_drift(source, archive) as differing
                where differing.change in ('retyped', 'computed')
                order by differing.column_name
                limit 1
            ),
            (
                select format('%s has a rule on %s', ruled.ev_class::regclass, doing.what)
                from pg_catalog.pg_rewrite as ruled
                join (values (had.oid, '3', 'INSERT'), (kept.oid, '4', 'DELETE'))
                    as doing (relation, event, what)
                    on doing.relation = ruled.ev_class
                    and doing.event = ruled.ev_type::text
                order by ruled.oid
                limit 1
            ),
            (
                select format(
                    'publication %I sends deletes, and %s has no replica identity: '
                    'alter table %2$s replica identity full',
                    publication.pubname, archive
                )
                from pg_catalog.pg_publication as publication
                join pg_catalog.pg_publication_tables as published
                    on published.pubname = publication.pubname
                join pg_catalog.pg_namespace as namespace
                    on namespace.nspname = published.schemaname
                where publication.pubdelete
                  and namespace.oid = kept.relnamespace
                  and published.tablename = kept.relname
                  and not maintenance.has_replica_identity(archive)
                order by publication.pubname
                limit 1
            )
        )
    end
    from (values (true)) as one (row)
    left join pg_catalog.pg_class as had on had.oid = source
    left join pg_catalog.pg_class as kept on kept.oid = archive;
$function$;

revoke all on function maintenance.find_undo_problem(regclass, regclass) from public;

comment on function maintenance.find_undo_problem(regclass, regclass) is
    'Say why the rows of an archive cannot be put back into their table; null if they can.';
