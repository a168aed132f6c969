-- Notes what a script made, and forgets what it removed; fingerprints[i] is of kinds[i], names[i].
with gone as (
    delete from maintenance.applied_object as object
    using unnest(%(gone_kinds)s::text[], %(gone_names)s::text[]) as removed (kind, name)
    where object.kind = removed.kind
      and object.name = removed.name
)

insert into maintenance.applied_object as object (
    kind, name, migration_id, fingerprint, server_major
)
select
    made.kind,
    made.name,
    made.migration_id,
    made.fingerprint,
    current_setting('server_version_num')::integer / 10000
from unnest(
    %(kinds)s::text[], %(names)s::text[], %(migration_ids)s::text[], %(fingerprints)s::text[]
) as made (kind, name, migration_id, fingerprint)
on conflict on constraint applied_object_pkey do update
set
    migration_id = excluded.migration_id,
    fingerprint = excluded.fingerprint,
    server_major = excluded.server_major
