-- Switches and sizes the sweep of a table. No lock on the table is needed: the next sweep reads it.

create or replace function maintenance.set_insert_sweep(
    relation regclass,
    enabled boolean default null,
    batch_size integer default null,
    rest interval default null
)
returns void
language plpgsql
security definer  -- nobody writes the settings but this function, which asks who calls
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_owner name;
begin
    select pg_get_userbyid(class.relowner)
    into v_owner
    from pg_catalog.pg_class as class
    join maintenance.insert_sweep as sweep on sweep.relation = class.oid
    where class.oid = set_insert_sweep.relation;

    if v_owner is null then
        raise exception using
            errcode = 'undefined_object',
            message = format(
                '%s does not sweep on insert',
                coalesce(set_insert_sweep.relation::text, 'null')
            ),
            hint = 'The tables that do are the rows of maintenance.insert_sweep.';
    end if;

    if not pg_has_role(maintenance.caller(), v_owner, 'member') then
        raise exception using
            errcode = 'insufficient_privilege',
            message = format('only the owner of %s may set its sweep', set_insert_sweep.relation),
            hint = format('Ask a member of role %I.', v_owner);
    end if;

    update maintenance.insert_sweep as sweep
    set
        enabled = coalesce(set_insert_sweep.enabled, sweep.enabled),
        batch_size = coalesce(set_insert_sweep.batch_size, sweep.batch_size),
        rest = coalesce(set_insert_sweep.rest, sweep.rest)
    where sweep.relation = set_insert_sweep.relation;
end;
$function$;

revoke all on function maintenance.set_insert_sweep(regclass, boolean, integer, interval)
    from public;

comment on function maintenance.set_insert_sweep(regclass, boolean, integer, interval) is
    'Switch the sweep of a table on or off, or set its size or rest; null leaves it as it is.';
