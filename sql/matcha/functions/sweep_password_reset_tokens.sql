-- Sweeps password reset tokens that are of no use any more when new ones arrive.
--
-- A token that is dead on arrival goes at once, at every isolation level: nobody else can see it.
-- Others go when no other transaction sweeps: at most a batch, and none that somebody holds.
-- Whatever happens, the insert goes on.

create or replace function maintenance.sweep_password_reset_tokens()
returns trigger
language plpgsql
security definer  -- the role that inserts tokens needs no right to delete them
set search_path = pg_catalog, pg_temp
as $trigger$
declare
    v_batch_size integer;
    v_removed bigint;
begin
    if exists (
        select
        from inserted
        where inserted.used_at is not null
           or inserted.expires_at < now()
    ) then
        delete from public.password_reset_tokens as token
        using inserted
        where token.id = inserted.id
          and (token.used_at is not null or token.expires_at < now());
    end if;

    -- close_sweep says what this setting means.
    if current_setting('maintenance.sweep_' || tg_relid, true) collate "C"
       > (extract(epoch from clock_timestamp()) * 1000)::bigint::text
    then
        return null;
    end if;

    v_batch_size := maintenance.open_sweep(tg_relid);

    if v_batch_size > 0 then
        with expired as materialized (
            select token.ctid
            from public.password_reset_tokens as token
            where token.used_at is null
              and token.expires_at < now()
            order by token.expires_at
            limit v_batch_size
            for update skip locked
        ),
        used as materialized (
            select token.ctid
            from public.password_reset_tokens as token
            where token.used_at is not null
            order by token.used_at  -- keeps to the index, even where most tokens are used
            limit v_batch_size - (select count(*) from expired)
            for update skip locked
        )
        delete from public.password_reset_tokens as token
        where token.ctid = any (array(
            select expired.ctid from expired
            union all
            select used.ctid from used
        ));

        get diagnostics v_removed = row_count;
        perform maintenance.close_sweep(tg_relid, v_removed);
    end if;

    return null;
exception
    when others then
        raise log 'sweep of % failed: % (SQLSTATE %)', tg_relid::regclass, sqlerrm, sqlstate;
        -- What failed will fail again: rest for a minute, and keep the log readable.
        perform set_config(
            'maintenance.sweep_' || tg_relid,
            (extract(epoch from clock_timestamp() + interval '1 minute') * 1000)::bigint::text,
            false
        );
        perform set_config('maintenance.sweep_' || tg_relid, '~', true);
        return null;
end;
$trigger$;

revoke all on function maintenance.sweep_password_reset_tokens() from public;

comment on function maintenance.sweep_password_reset_tokens() is
    'Trigger that sweeps password reset tokens of no more use when new ones arrive.';
