-- Decides whether an insert may sweep its table now, and how much.
--
-- Only READ COMMITTED may (READ UNCOMMITTED is the same in PostgreSQL): at the other levels a row
-- that somebody else has removed would make the application's transaction fail. The lock belongs to
-- the transaction, so that one transaction at a time sweeps a table, and nobody waits for it.

create or replace function maintenance.open_sweep(relation oid)
returns integer
language plpgsql
security definer  -- the owner of the table need not be able to read the settings
set search_path = pg_catalog, pg_temp
as $function$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        perform set_config('maintenance.sweep_' || open_sweep.relation, '~', true);
        return 0;
    end if;

    -- The first half of the key is 'main' in ASCII, which keeps clear of the application's locks.
    if not pg_try_advisory_xact_lock(1835100526, open_sweep.relation::integer) then
        return 0;
    end if;

    return (
        select sweep.batch_size
        from maintenance.insert_sweep as sweep
        where sweep.relation = open_sweep.relation
    );
end;
$function$;

revoke all on function maintenance.open_sweep(oid) from public;

comment on function maintenance.open_sweep(oid) is
    'Return how many rows the calling trigger may sweep from its table now; 0 means none.';
