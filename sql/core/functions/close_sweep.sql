-- Remembers that this transaction has swept a table, and that there was nothing to sweep.
--
-- The memory is a setting of the session, maintenance.sweep_<oid of the table>: the time, in
-- milliseconds since 1970, before which this session does not look again. Until the transaction
-- ends it is '~', which sorts after every number. The order of the two calls matters: the value
-- for the transaction has to cover the one for the session, which reappears at its end.

create or replace function maintenance.close_sweep(relation oid, removed bigint)
returns void
language plpgsql
security definer  -- the settings are not for the inserting role to read
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_memory text := 'maintenance.sweep_' || close_sweep.relation;
    v_rest interval;
begin
    if close_sweep.removed = 0 then
        select sweep.rest
        into v_rest
        from maintenance.insert_sweep as sweep
        where sweep.relation = close_sweep.relation;

        perform set_config(
            v_memory,
            (extract(epoch from clock_timestamp() + coalesce(v_rest, '1 s')) * 1000)::bigint::text,
            false
        );
    end if;

    perform set_config(v_memory, '~', true);
end;
$function$;

revoke all on function maintenance.close_sweep(oid, bigint) from public;

comment on function maintenance.close_sweep(oid, bigint) is
    'Note that this transaction has swept the table; when nothing was removed, rest the session.';
