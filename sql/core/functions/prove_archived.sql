-- Raises an error unless as many rows came to an archive as left their table, and unless both have
-- the columns that they should have. is_same says whether the statement would be the same if it was
-- written now: under its own locks, which keep it so until the transaction ends.

create or replace function maintenance.prove_archived(
    source regclass,
    archive regclass,
    is_same boolean,
    answer jsonb
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_drift text;
begin
    if answer ->> 'removed' is distinct from answer ->> 'proof' then
        raise exception using
            errcode = 'data_exception',
            message = format('%s rows left %s, and %s came to %s', answer ->> 'removed', source,
                answer ->> 'proof', archive),
            hint = 'A trigger or a rule of the archive keeps rows out.';
    end if;

    select differing.message
    into v_drift
    from maintenance.archive_drift(source, archive) as differing
    limit 1;

    if not is_same then
        v_drift := coalesce(v_drift, format('the columns of %s have just changed', source));
    end if;

    if v_drift is not null then
        raise exception using
            errcode = 'data_exception',
            message = v_drift,
            detail = 'It changed while rows were archived; those went back.',
            hint = 'Start the run again: it says what to do, if anything.';
    end if;
end;
$function$;

revoke all on function maintenance.prove_archived(regclass, regclass, boolean, jsonb) from public;

comment on function maintenance.prove_archived(regclass, regclass, boolean, jsonb) is
    'Raise an error unless what left a table has come to its archive, column by column.';
