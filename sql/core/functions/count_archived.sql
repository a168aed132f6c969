-- Counts the rows of a step that are in its archives still, in all of them or in one, those of a
-- condition or all.

create or replace function maintenance.count_archived(
    step bigint,
    archive regclass default null,
    condition text default 'true'
)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(
        sum(
            maintenance.run_as_owner(
                moved.source,
                format(
                    'select to_jsonb(count(*)) from only %s as target '
                    'where target._archived_by_step = %s and (%s)',
                    leaf, count_archived.step, condition
                )
            )::bigint
        ),
        0
    )::bigint
    from (
        select distinct undone.source, undone.archive
        from maintenance.undo_archives(count_archived.step) as undone
        where undone.archive = coalesce(count_archived.archive, undone.archive)
    ) as moved
    cross join lateral maintenance.leaves_of(moved.archive) as leaf;
$function$;

revoke all on function maintenance.count_archived(bigint, regclass, text) from public;

comment on function maintenance.count_archived(bigint, regclass, text) is
    'Count the rows that a step archived, and that are in the archives still.';
