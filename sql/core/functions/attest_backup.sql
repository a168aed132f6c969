-- Vouches for a backup. Policies that ask for one run once somebody does.

create or replace function maintenance.attest_backup(
    kind text,
    reference text,
    taken_at timestamptz
)
returns bigint
language plpgsql
security definer  -- nobody writes attestations but this function
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_id bigint;
begin
    if attest_backup.taken_at is null or attest_backup.taken_at > now() then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format(
                'taken_at must be in the past, not %s', coalesce(taken_at::text, 'null')
            ),
            hint = 'It is the time whose data the backup holds.';
    end if;

    if coalesce(attest_backup.kind, '') = '' or coalesce(attest_backup.reference, '') = '' then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'a backup needs a kind and a reference',
            hint = 'For example ''snapshot'' and the provider''s name of it.';
    end if;

    insert into maintenance.backup_attestation (kind, reference, taken_at, attested_by)
    values (
        attest_backup.kind, attest_backup.reference, attest_backup.taken_at, maintenance.caller()
    )
    returning backup_attestation.id into v_id;

    return v_id;
end;
$function$;

revoke all on function maintenance.attest_backup(text, text, timestamptz) from public;

comment on function maintenance.attest_backup(text, text, timestamptz) is
    'Vouch for a backup: what it is, where it is, and when it was taken; returns its number.';
