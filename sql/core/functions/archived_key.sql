-- Names a row of an archive for the log: by the primary key of its table, or else by its place.

create or replace function maintenance.archived_key(
    source regclass,
    archive regclass,
    leaf regclass,
    place tid[]
)
returns jsonb
language sql
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(
        (
            select maintenance.run_as_owner(
                source,
                format(
                    'select to_jsonb(found) from (select %s from only %s as target '
                    'where target.ctid = any ($2)) as found',
                    string_agg(format('target.%I', key.name), ', ' order by key.ordinality),
                    leaf
                ),
                taken => place
            )
            from unnest(maintenance.primary_key_of(source)) with ordinality as key (name)
            having bool_and(maintenance.column_type(archive, key.name) is not null)
        ),
        jsonb_build_object('ctid', place[1]::text)
    );
$function$;

revoke all on function maintenance.archived_key(regclass, regclass, regclass, tid[]) from public;

comment on function maintenance.archived_key(regclass, regclass, regclass, tid[]) is
    'Return the primary key of a row that is archived, as an object.';
