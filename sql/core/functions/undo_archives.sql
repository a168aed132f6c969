-- Lists the archives that a step moved rows into, in the order in which they are put back.

create or replace function maintenance.undo_archives(step bigint)
returns table (place bigint, source regclass, archive regclass)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select moved.place, known.source, moved.archive
    from maintenance.run_step as undone
    cross join lateral unnest(undone.archives) with ordinality as moved (archive, place)
    left join maintenance.archive as known on known.relation = moved.archive
    where undone.id = undo_archives.step
    order by moved.place;
$function$;

revoke all on function maintenance.undo_archives(bigint) from public;

comment on function maintenance.undo_archives(bigint) is
    'List the archives of a step and the tables whose rows they keep, in the order of undoing.';
