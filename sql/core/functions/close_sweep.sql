-- Remembers that this transaction has swept a table, and how long its session shall rest.
--
-- The memory is a setting of the session, maintenance.sweep_<oid of the table>: the time, in
-- milliseconds since 1970, before which this session does not look again. Until the transaction
-- ends it is '~', which sorts after every number. The order of the two calls matters: the value
-- for the transaction has to cover the one for the session, which reappears at its end.
--
-- A sweep that found nothing rests as long as the settings say, and one of a table that has none
-- for a second. A slow one, which has met dead index entries that an old snapshot keeps, or no
-- index at all, rests ten times as long as it took: it costs a session a tenth of its time at most.

create or replace function maintenance.close_sweep(relation oid, removed bigint, began timestamptz)
returns void
language plpgsql
security definer  -- the owner of the table need not be able to read the settings
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_memory text := 'maintenance.sweep_' || close_sweep.relation;
    v_took interval := clock_timestamp() - close_sweep.began;
    v_rest interval := interval '0 s';
begin
    if close_sweep.removed = 0 then
        v_rest := coalesce(
            (
                select sweep.rest
                from maintenance.insert_sweep as sweep
                where sweep.relation = close_sweep.relation
            ),
            interval '1 s'
        );
    end if;

    if v_took > interval '20 ms' then
        v_rest := greatest(v_rest, 10 * v_took);
    end if;

    if v_rest > interval '0 s' then
        perform set_config(
            v_memory,
            (extract(epoch from clock_timestamp() + v_rest) * 1000)::bigint::text,
            false
        );
    end if;

    perform set_config(v_memory, '~', true);
end;
$function$;

revoke all on function maintenance.close_sweep(oid, bigint, timestamptz) from public;

comment on function maintenance.close_sweep(oid, bigint, timestamptz) is
    'Note that this transaction has swept the table, and for how long its session rests.';
