-- Sweeps password reset tokens that are of no use any more when new ones arrive.
--
-- A token that is dead on arrival goes with its insert: nobody else can see it. Other tokens go
-- when no other transaction sweeps: at most a batch, and none that another holds. ONLY keeps out of
-- tables that inherit, whose rows have the same ctids. At REPEATABLE READ and SERIALIZABLE nothing
-- goes: the transaction could fail, and its snapshot hides from may_sweep a trigger that is new.

create or replace function maintenance.sweep_password_reset_tokens()
returns trigger
language plpgsql
security definer  -- the role that inserts tokens needs no right to delete them
set search_path = pg_catalog, pg_temp
as $trigger$
declare
    v_memory text := 'maintenance.sweep_' || tg_relid;
    v_began timestamptz := clock_timestamp();
    v_now text := (extract(epoch from v_began) * 1000)::bigint::text;
    v_has_dead boolean;
    v_batch_size integer;
    v_removed bigint;
begin
    v_has_dead := exists (
        select
        from inserted
        where inserted.used_at is not null
           or inserted.expires_at < now()
    );

    -- close_sweep says what this setting means.
    if not v_has_dead and current_setting(v_memory, true) collate "C" > v_now then
        return null;
    end if;

    -- An insert that a trigger makes may belong to a command on the very rows that would go.
    if pg_trigger_depth() > 1
       or current_setting(v_memory || '_failed', true) collate "C" > v_now
    then
        return null;
    end if;

    -- The lock of the insert keeps the table where it is, and triggers away, until the end.
    if tg_relid <> 'public.password_reset_tokens'::regclass then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = 'the table is not public.password_reset_tokens any more';
    end if;

    if not maintenance.may_sweep(tg_relid, current_user) then
        perform maintenance.close_sweep(tg_relid, removed => 0, began => v_began);
        return null;
    end if;

    if v_has_dead
       and current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
    then
        delete from only public.password_reset_tokens as token
        using inserted
        where token.id = inserted.id
          and (token.used_at is not null or token.expires_at < now());
    end if;

    if current_setting(v_memory, true) collate "C" > v_now then
        return null;
    end if;

    v_batch_size := maintenance.open_sweep(tg_relid);

    if v_batch_size > 0 then
        with expired as materialized (
            select token.ctid
            from only public.password_reset_tokens as token
            where token.used_at is null
              and token.expires_at < now()
            order by token.expires_at
            limit v_batch_size
            for update skip locked
        ),
        used as materialized (
            select token.ctid
            from only public.password_reset_tokens as token
            where token.used_at is not null
            order by token.used_at  -- keeps to the index, even where most tokens are used
            limit v_batch_size - (select count(*) from expired)
            for update skip locked
        )
        delete from only public.password_reset_tokens as token
        where token.ctid = any (array(
            select expired.ctid from expired
            union all
            select used.ctid from used
        ))
          and (token.used_at is not null or token.expires_at < now());

        get diagnostics v_removed = row_count;
        perform maintenance.close_sweep(tg_relid, v_removed, began => v_began);
    end if;

    return null;
exception
    when others then
        -- What failed will fail again: leave the insert alone, and for a minute the log too.
        raise log 'sweep of % failed: % (SQLSTATE %)', tg_relid::regclass, sqlerrm, sqlstate;
        perform set_config(v_memory || '_failed', (v_now::bigint + 60000)::text, false);
        perform set_config(v_memory, (v_now::bigint + 60000)::text, false);
        return null;
end;
$trigger$;

revoke all on function maintenance.sweep_password_reset_tokens() from public;

comment on function maintenance.sweep_password_reset_tokens() is
    'Trigger that sweeps password reset tokens of no more use when new ones arrive.';
