-- Says in one sentence why a policy may not archive now, with the way out; null if it may.

create or replace function maintenance.find_archive_drift(policy maintenance.policy)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select differing.message || ': ' || coalesce(
        differing.remedy,
        format(
            '"runner policy set %s --evolve-archive", or maintenance.evolve_archive(%L), %s',
            (policy).name,
            (policy).name,
            case differing.change
                when 'added' then 'adds it'
                else 'leaves it empty from now on'
            end
        )
    )
    from maintenance.policy_archives(policy) as archived
    cross join lateral maintenance.archive_drift(archived.source, archived.archive) as differing
    order by archived.place, differing.column_name
    limit 1;
$function$;

revoke all on function maintenance.find_archive_drift(maintenance.policy) from public;

comment on function maintenance.find_archive_drift(maintenance.policy) is
    'Say how an archive of a policy differs from its table, and what to do; null if none does.';
