-- Holds the lease of a step until the transaction ends, or raises an error if it is not its own any
-- more. Whoever takes it over waits for that; whoever was overtaken does nothing more.

create or replace function maintenance.hold_lease(step bigint, token bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform
    from maintenance.lease as lease
    where lease.step = hold_lease.step
      and lease.token = hold_lease.token
    for share;

    if not found then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('step %s does not hold its lease any more', step),
            hint = 'Another run took it over. maintenance.run_history says which.';
    end if;
end;
$function$;

revoke all on function maintenance.hold_lease(bigint, bigint) from public;

comment on function maintenance.hold_lease(bigint, bigint) is
    'Keep the lease of a step until the transaction ends; an error if it was taken over.';
