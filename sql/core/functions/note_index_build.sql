-- Notes, before an index is built, that it is going to be ours.
--
-- CREATE INDEX CONCURRENTLY cannot share a transaction with the comment that says whose the index
-- is, so a build that is killed may leave an index without one. See release_index.

create or replace function maintenance.note_index_build(relation regclass, name name)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $function$
    insert into maintenance.index_build (relation, name)
    values (note_index_build.relation, note_index_build.name)
    on conflict on constraint index_build_pkey do update set begun_at = now();
$function$;

revoke all on function maintenance.note_index_build(regclass, name) from public;

comment on function maintenance.note_index_build(regclass, name) is
    'Note that an index of this name is about to be built by us.';
