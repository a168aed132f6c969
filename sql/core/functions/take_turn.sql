-- Makes those who change a policy, or attach its sweep, wait for one another until they commit.
--
-- A row lock on the policy would not do: changing it writes a new row.

create or replace function maintenance.take_turn(policy text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $function$
    -- The first half of the key is 'main' in ASCII, plus one: sweeps have that.
    select pg_advisory_xact_lock(1835100527, hashtext(take_turn.policy));
$function$;

revoke all on function maintenance.take_turn(text) from public;

comment on function maintenance.take_turn(text) is
    'Wait for whoever is changing a policy, and keep others waiting until the transaction ends.';
