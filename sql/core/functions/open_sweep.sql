-- Decides what an insert may remove from its table now: null is nothing, 0 are only rows that were
-- eligible when they were inserted, and any other number is how many rows a sweep may take.
--
-- Only READ COMMITTED may (READ UNCOMMITTED is the same in PostgreSQL). At the other levels a row
-- that somebody else has removed would make the application's transaction fail, and the snapshot
-- hides a trigger that is new. The lock belongs to the transaction, so that one transaction at a
-- time sweeps a table, and nobody waits for it.
--
-- Whether sweeping is safe is asked each time, because what makes it unsafe can be added at any
-- time. Whoever may create a trigger on the table must not have it run with the rights of the
-- sweep; a foreign key that refers to the table could fail as late as at COMMIT. Both are triggers
-- on DELETE to PostgreSQL. What is unsafe is an error, which the sweep writes to the server's log.

create or replace function maintenance.open_sweep(
    policy text,
    relation oid,
    named oid,
    executor name,
    rests boolean
)
returns integer
language plpgsql
security definer  -- the owner of the table need not be able to read the settings
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_memory text := 'maintenance.rest_' || open_sweep.policy;
    v_now bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint;
    v_relation regclass;
    v_batch_size integer;
    v_rest interval;
    v_is_on boolean;
    v_resting_until bigint;
    v_owner oid;
    v_is_forced boolean;
    v_has_trigger boolean;
    v_is_stale boolean;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        perform set_config(v_memory, '~', true);
        return null;
    end if;

    -- A subscriber follows its publisher: what went there goes here.
    select
        sweep.relation,
        sweep.batch_size,
        sweep.rest,
        sweep.enabled
        and sweep.policy_enabled
        and maintenance.pause_reason() is null
        and current_setting('session_replication_role') <> 'replica'
        and not exists (
            select
            from pg_catalog.pg_subscription_rel as replicated
            where replicated.srrelid = open_sweep.relation
        )
        and not (
            class.relkind = 'p' and exists (
                select
                from maintenance.parts_of(open_sweep.relation) as part (oid)
                join pg_catalog.pg_subscription_rel as replicated on replicated.srrelid = part.oid
            )
        ),
        pg_sequence_last_value(sweep.pace),
        class.relowner,
        class.relforcerowsecurity,
        -- 8 is the bit of DELETE in pg_trigger.tgtype (PostgreSQL's catalog/pg_trigger.h).
        exists (
            select
            from pg_catalog.pg_trigger as deleting
            where deleting.tgrelid = class.oid
              and deleting.tgtype & 8 <> 0
        )
        or class.relkind = 'p' and exists (
            select
            from maintenance.leaves_of(open_sweep.relation) as leaf (oid)
            join pg_catalog.pg_trigger as deleting on deleting.tgrelid = leaf.oid
            where deleting.tgtype & 8 <> 0
        ),
        exists (
            select
            from unnest(sweep.keys, sweep.key_types) as written (name, type)
            left join pg_catalog.pg_attribute as attribute
                on attribute.attrelid = class.oid
                and attribute.attname = written.name
            where attribute.atttypid is distinct from written.type
        )
    into
        v_relation, v_batch_size, v_rest, v_is_on, v_resting_until, v_owner, v_is_forced,
        v_has_trigger, v_is_stale
    from maintenance.insert_sweep as sweep
    join pg_catalog.pg_class as class on class.oid = open_sweep.relation
    where sweep.policy = open_sweep.policy;

    if v_is_on is not true then
        perform set_config(
            v_memory,
            (
                v_now + extract(epoch from coalesce(v_rest, interval '1 s')) * 1000
            )::bigint::text,
            false
        );
        perform set_config(v_memory, '~', true);
        return null;
    end if;

    if open_sweep.named <> open_sweep.relation or v_relation <> open_sweep.relation then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the sweep is about another table than the one that carries its trigger',
            hint = 'select * from maintenance.attach_insert_sweep(policy) writes it anew.';
    end if;

    if pg_get_userbyid(v_owner) <> open_sweep.executor then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format(
                'the table belongs to %I, and its sweep to %I',
                pg_get_userbyid(v_owner),
                open_sweep.executor
            ),
            hint = 'select * from maintenance.attach_insert_sweep(policy) makes it the owner''s.';
    end if;

    if v_is_forced then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the table forces row-level security on its owner';
    end if;

    if v_has_trigger then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the table has a trigger on DELETE, or a foreign key refers to it';
    end if;

    if v_is_stale then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'a column that the sweep walks by has another type now, or another name',
            hint = 'select * from maintenance.attach_insert_sweep(policy) writes it anew.';
    end if;

    if open_sweep.rests then
        return 0;
    end if;

    -- Sessions learn from one another how long the table rests, each when its own rest is over.
    -- More than an hour is no rest: the clock was set back.
    if v_resting_until > v_now and v_resting_until <= v_now + 3600000 then
        perform set_config(v_memory, v_resting_until::text, false);
        return 0;
    end if;

    -- A chain's indexes are built after its scripts, which on a large table takes long. Until then
    -- the insert that sweeps would read all of it.
    perform
    from maintenance.insert_sweep as sweep
    cross join unnest(sweep.keys) as key (name)
    join maintenance.required_index as declared
        on declared.relation = sweep.relation
        and split_part(declared.keys, ',', 1) = quote_ident(key.name)
    where sweep.policy = open_sweep.policy
      and not exists (
          select
          from pg_catalog.pg_index as index
          join pg_catalog.pg_attribute as attribute
              on attribute.attrelid = index.indrelid
              and attribute.attnum = index.indkey[0]
          where index.indrelid = sweep.relation
            and index.indisvalid
            and attribute.attname = key.name
      );

    if found then
        perform set_config(v_memory, (v_now + 1000)::text, false);
        return 0;
    end if;

    -- The first half of the key is 'main' in ASCII, which keeps clear of the application's locks.
    if not pg_try_advisory_xact_lock(1835100526, open_sweep.relation::integer) then
        return 0;
    end if;

    return v_batch_size;
end;
$function$;

revoke all on function maintenance.open_sweep(text, oid, oid, name, boolean) from public;

comment on function maintenance.open_sweep(text, oid, oid, name, boolean) is
    'Return how many rows the calling trigger may sweep now: 0 only new ones, null none at all.';
