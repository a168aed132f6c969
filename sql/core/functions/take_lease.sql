-- Gives the lease of a policy to a step, and returns its token. find_lease_holder comes before it,
-- and locks the lease.
--
-- The step of a session that is gone, which held it, is closed in the log.

create or replace function maintenance.take_lease(policy text, step bigint)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_token bigint;
begin
    update maintenance.run_step as held
    set
        ended_at = clock_timestamp(),
        exit_reason = 'interrupted',
        message = 'its session ended without a word'
    from maintenance.lease as lease
    where lease.policy = policy
      and held.id = lease.step
      and held.ended_at is null;

    update maintenance.lease as lease
    set
        token = lease.token + 1,
        step = step,
        owner_pid = run.owner_pid,
        owner_start = run.owner_start
    from maintenance.run_step as taking
    join maintenance.run as run on run.id = taking.run
    where taking.id = step
      and lease.policy = policy
    returning lease.token into strict v_token;

    return v_token;
end;
$function$;

revoke all on function maintenance.take_lease(text, bigint) from public;

comment on function maintenance.take_lease(text, bigint) is
    'Give the lease of a policy to a step, and return the token that its batches have to show.';
