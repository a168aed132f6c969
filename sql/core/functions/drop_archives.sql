-- Drops the archives that create_archive made, and forgets all archives: a rollback calls it.
--
-- Those that hold rows are refused: see drop_archive. What users made themselves stays.

create or replace function maintenance.drop_archives()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform maintenance.drop_archive(ours.relation)
    from (
        select known.relation
        from maintenance.archive as known
        where known.is_ours
        order by known.relation::text
    ) as ours;

    delete from maintenance.archive;
end;
$function$;

revoke all on function maintenance.drop_archives() from public;

comment on function maintenance.drop_archives() is
    'Drop the archives of our own, if they are empty or maintenance.drop_archives is on.';
