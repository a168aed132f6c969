-- Says whether a table carries the trigger of its sweep, whole and switched on.

create or replace function maintenance.has_sweep_trigger(sweep maintenance.insert_sweep)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select exists (
        select
        from pg_catalog.pg_trigger as trigger
        where trigger.tgrelid = (sweep).relation
          and trigger.tgname = (sweep).trigger
          and trigger.tgfoid = to_regprocedure(
              format('maintenance.%I()', 'sweep_' || (sweep).policy)
          )
          and trigger.tgenabled = 'O'
          -- 4 is the bit of INSERT; without those of ROW and BEFORE it is after the statement.
          and trigger.tgtype = 4
          and trigger.tgqual is null
          and coalesce(trigger.tgnewtable = 'inserted', false) = (sweep).at_once
    );
$function$;

revoke all on function maintenance.has_sweep_trigger(maintenance.insert_sweep) from public;

comment on function maintenance.has_sweep_trigger(maintenance.insert_sweep) is
    'Say whether the table of a sweep carries the right trigger, switched on.';
