-- Says in one sentence why a policy may not archive now, with the way out; null if it may.

create or replace function maintenance.find_archive_drift(policy maintenance.policy)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(
        (
            select differing.message || ': ' || coalesce(
                differing.remedy,
                format(
                    '"runner policy set %s --evolve-archive", or '
                    'maintenance.evolve_archive(%L), %s',
                    (policy).name,
                    (policy).name,
                    case differing.change
                        when 'added' then 'adds it'
                        else 'leaves it empty from now on'
                    end
                )
            )
            from maintenance.archive_drift(archived.source, archived.archive) as differing
            where kept.relkind in ('r', 'p')
            order by differing.column_name
            limit 1
        ),
        case
            when kept.relkind is null then
                format('there is no archive of %s any more: alter_policy(%L, ...) names another',
                    archived.source, (policy).name)
            when kept.relkind not in ('r', 'p') then format('%s is not a table', archived.archive)
            when kept.relowner <> had.relowner then
                format('%s and %s do not have the same owner', archived.source, archived.archive)
        end
    )
    from maintenance.policy_archives(policy) as archived
    join pg_catalog.pg_class as had on had.oid = archived.source
    left join pg_catalog.pg_class as kept on kept.oid = archived.archive
    order by 1 nulls last, archived.place
    limit 1;
$function$;

revoke all on function maintenance.find_archive_drift(maintenance.policy) from public;

comment on function maintenance.find_archive_drift(maintenance.policy) is
    'Say how an archive of a policy differs from its table, and what to do; null if none does.';
