-- Counts the rows of a step that are in its archives still.

create or replace function maintenance.count_archived(step bigint)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(
        sum(
            maintenance.run_as_owner(
                moved.source,
                format(
                    'select to_jsonb(count(*)) from only %s where _archived_by_step = %s',
                    leaf, count_archived.step
                )
            )::bigint
        ),
        0
    )::bigint
    from (
        select distinct undone.source, undone.archive
        from maintenance.undo_archives(count_archived.step) as undone
    ) as moved
    cross join lateral maintenance.leaves_of(moved.archive) as leaf;
$function$;

revoke all on function maintenance.count_archived(bigint) from public;

comment on function maintenance.count_archived(bigint) is
    'Count the rows that a step archived, and that are in the archives still.';
