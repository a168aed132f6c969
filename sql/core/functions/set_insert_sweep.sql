-- Switches and sizes the sweep of a table. No lock on the table is needed: the next sweep reads it.

create or replace function maintenance.set_insert_sweep(
    policy text,
    enabled boolean default null,
    batch_size integer default null,
    rest interval default null,
    slow interval default null
)
returns void
language plpgsql
security definer  -- nobody writes the settings but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_constraint text;
begin
    perform maintenance.assert_sweeps(set_insert_sweep.policy);

    update maintenance.insert_sweep as sweep
    set
        enabled = coalesce(set_insert_sweep.enabled, sweep.enabled),
        batch_size = coalesce(set_insert_sweep.batch_size, sweep.batch_size),
        rest = coalesce(set_insert_sweep.rest, sweep.rest),
        slow = coalesce(set_insert_sweep.slow, sweep.slow)
    where sweep.policy = set_insert_sweep.policy;
exception
    when check_violation then
        get stacked diagnostics v_constraint = constraint_name;
        raise exception using
            errcode = 'check_violation',
            constraint = v_constraint,
            message = (
                select obj_description(checked.oid, 'pg_constraint')
                from pg_catalog.pg_constraint as checked
                where checked.conname = v_constraint
                  and checked.conrelid = 'maintenance.insert_sweep'::regclass
            ),
            hint = 'Nothing was changed.';
end;
$function$;

revoke all on function
    maintenance.set_insert_sweep(text, boolean, integer, interval, interval)
    from public;

comment on function
    maintenance.set_insert_sweep(text, boolean, integer, interval, interval)
is
    'Switch the sweep of a table on or off, or set how it works; null leaves a setting as it is.';
