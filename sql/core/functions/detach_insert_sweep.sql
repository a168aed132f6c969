-- Ends the sweep of a table: its trigger and all that was made for it are gone afterwards.

create or replace function maintenance.detach_insert_sweep(policy text)
returns void
language plpgsql
security definer  -- nobody writes the settings but functions that ask who calls
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform maintenance.take_turn(detach_insert_sweep.policy);
    perform maintenance.assert_sweeps(detach_insert_sweep.policy);
    perform maintenance.remove_sweep(detach_insert_sweep.policy);
end;
$function$;

revoke all on function maintenance.detach_insert_sweep(text) from public;

comment on function maintenance.detach_insert_sweep(text) is
    'Remove the trigger that sweeps the table of a policy, without a trace.';
