-- Lists the archives that a step moved rows into, in the order in which they are put back.
--
-- of_waiting is, for dependents, the condition that the row which they went with is in its archive
-- still. They must not come back before it: another row may have taken its key.

create or replace function maintenance.undo_archives(step bigint)
returns table (place bigint, source regclass, archive regclass, of_waiting text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select
        moved.place,
        known.source,
        moved.archive,
        (
            select string_agg(
                format(
                    'exists (select from %s as waiting where waiting._archived_by_step = %s '
                    'and %s)',
                    undone.archives[1],
                    undone.id,
                    (
                        select string_agg(
                            format('waiting.%I = target.%I', pair.parent, pair.child), ' and '
                        )
                        from rows from (
                            jsonb_array_elements_text(dependent.value -> 'columns'),
                            jsonb_array_elements_text(dependent.value -> 'references')
                        ) as pair (child, parent)
                    )
                ),
                ' or '
            )
            from maintenance.policy_change as change
            cross join lateral jsonb_array_elements(change.settings -> 'dependents') as dependent
            where moved.place > 1
              and change.policy = undone.policy
              and change.version = undone.version
              and to_regclass(dependent.value ->> 'relation') = known.source
        )
    from maintenance.run_step as undone
    cross join lateral unnest(undone.archives) with ordinality as moved (archive, place)
    left join maintenance.archive as known on known.relation = moved.archive
    where undone.id = undo_archives.step
    order by moved.place;
$function$;

revoke all on function maintenance.undo_archives(bigint) from public;

comment on function maintenance.undo_archives(bigint) is
    'List the archives of a step and the tables whose rows they keep, in the order of undoing.';
