-- Returns which files claim rows of this database though no transaction of it has moved them: their
-- exports were cut off, so their rows are still in the archive. claimed is an array of
-- {id, transaction, system_identifier, oid}, as manifests have them.

create or replace function maintenance.unrecorded_files(claimed jsonb)
returns setof text
language sql
stable
security definer  -- the secret beside the identity is not for operators
set search_path = pg_catalog, pg_temp
as $function$
    select claim.id
    from jsonb_to_recordset(claimed)
        as claim (id text, transaction xid8, system_identifier text, oid bigint)
    join maintenance.installation
        on installation.system_identifier::text = claim.system_identifier
        and installation.database_oid::bigint = claim.oid
    where not exists (select from maintenance.archive_file as file where file.id::text = claim.id)
      and pg_visible_in_snapshot(claim.transaction, pg_current_snapshot())  -- it has ended
    order by claim.id;
$function$;

revoke all on function maintenance.unrecorded_files(jsonb) from public;

comment on function maintenance.unrecorded_files(jsonb) is
    'Return which files claim rows of this database that no transaction has moved into them.';
