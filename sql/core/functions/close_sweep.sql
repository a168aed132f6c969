-- Remembers that this transaction has swept a table, how long its session and the table shall rest,
-- and where a slow sweep came to.
--
-- What a session remembers are settings of its own. maintenance.rest_<policy> is the time, in
-- milliseconds since 1970, before which it does not look again; until the transaction ends it is
-- '~', which sorts after every number. The order of the two calls matters: the value for the
-- transaction has to cover the one for the session, which reappears at its end.
--
-- A sweep that found nothing rests its session as long as the settings say. One that found as much
-- as it may take has more to do; it rests the whole table three times as long as it took. However
-- many sessions insert, sweeping is a quarter of one session's time at most. What all sessions see
-- is a sequence, for that is changed at once, in place, and without a lock on the settings.
--
-- A sweep that takes long has met dead index entries that an old snapshot keeps, or no index at
-- all. From a quarter of what is slow, it rests the table three times as long as well, and a slow
-- one ten times; and the session begins behind what it has seen (maintenance.reached_<policy>) for
-- a thousand times as long, so that reading it all again costs a thousandth. Rows that are left
-- behind there are found later, or by a run.

create or replace function maintenance.close_sweep(
    policy text,
    size integer,
    taken bigint,
    took interval,
    reached jsonb
)
returns void
language plpgsql
security definer  -- the owner of the table need not be able to read the settings
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_memory text := 'maintenance.rest_' || close_sweep.policy;
    v_now numeric := extract(epoch from clock_timestamp()) * 1000;
    v_rest interval := interval '0 s';
    v_sweep maintenance.insert_sweep;
    v_slow boolean;
    v_slows_down boolean;
begin
    select sweep.*
    into strict v_sweep
    from maintenance.insert_sweep as sweep
    where sweep.policy = close_sweep.policy;

    v_slow := close_sweep.took > v_sweep.slow;
    v_slows_down := 4 * close_sweep.took > v_sweep.slow;

    if close_sweep.taken = 0 then
        v_rest := v_sweep.rest;
    end if;

    if v_slows_down or close_sweep.taken >= close_sweep.size then
        v_rest := greatest(
            v_rest,
            least(case when v_slow then 10 else 3 end * close_sweep.took, interval '10 min')
        );
        perform setval(v_sweep.pace, (v_now + extract(epoch from v_rest) * 1000)::bigint);
    end if;

    if v_slows_down then
        perform set_config(
            'maintenance.reached_' || close_sweep.policy,
            (
                reached || jsonb_build_object(
                    'until',
                    (
                        v_now + 1000 * extract(
                            epoch from least(1000 * close_sweep.took, interval '1 h')
                        )
                    )::bigint
                )
            )::text,
            false
        );
    end if;

    if v_rest > interval '0 s' then
        perform set_config(
            v_memory, (v_now + extract(epoch from v_rest) * 1000)::bigint::text, false
        );
    end if;

    perform set_config(v_memory, '~', true);
end;
$function$;

revoke all on function maintenance.close_sweep(text, integer, bigint, interval, jsonb) from public;

comment on function maintenance.close_sweep(text, integer, bigint, interval, jsonb) is
    'Note that this transaction has swept the table, and for how long session and table rest.';
