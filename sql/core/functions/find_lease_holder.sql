-- Says which step holds the lease of a policy, and the process of its session. Where nobody does,
-- both are null, and nobody else can take it until the transaction ends.
--
-- A batch in hand holds the row: whoever sees that it is somebody's does not wait for it. Taking
-- over the lease of a session that is gone waits for the batch that its ghost may still be in.

create or replace function maintenance.find_lease_holder(
    policy text,
    out step bigint,
    out pid integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
begin
    for v_look in 1..2 loop
        if v_look = 2 then
            perform from maintenance.lease as lease where lease.policy = policy for update;
        end if;

        select lease.step, lease.owner_pid
        into step, pid
        from maintenance.lease as lease
        left join maintenance.run_step as held on held.id = lease.step
        where lease.policy = policy
          and lease.step is not null
          and lease.owner_pid <> pg_backend_pid()  -- what this session began, it gave up
          and maintenance.is_alive(lease.owner_pid, lease.owner_start, held.heartbeat_at);

        exit when step is not null;
    end loop;
end;
$function$;

revoke all on function maintenance.find_lease_holder(text) from public;

comment on function maintenance.find_lease_holder(text) is
    'Say which step and process hold the lease of a policy; null, and locked, if none does.';
