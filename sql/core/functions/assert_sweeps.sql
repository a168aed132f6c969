-- Refuses a policy whose table does not sweep on insert, and whoever does not own that table.

create or replace function maintenance.assert_sweeps(policy text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_policy maintenance.policy := maintenance.read_policy(assert_sweeps.policy);
begin
    if not exists (
        select
        from maintenance.insert_sweep as sweep
        where sweep.policy = v_policy.name
    ) then
        raise exception using
            errcode = 'undefined_object',
            message = format('the policy %s does not sweep on insert', v_policy.name),
            hint = 'Those that do are the rows of maintenance.insert_sweep; '
                'maintenance.attach_insert_sweep adds one.';
    end if;

    -- Of a table that is gone, the sweep belongs to whoever owns the schema.
    perform maintenance.assert_owner(
        coalesce(
            (
                select class.oid
                from pg_catalog.pg_class as class
                where class.oid = v_policy.relation
            ),
            'maintenance'::regnamespace::oid
        )
    );
end;
$function$;

revoke all on function maintenance.assert_sweeps(text) from public;

comment on function maintenance.assert_sweeps(text) is
    'Raise an error unless a policy sweeps on insert and the caller owns its table.';
