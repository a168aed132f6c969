-- Adds up the stale decks of every user, one user to a transaction. Returns how many decks.

create or replace procedure maintenance.refresh_stale_progress(inout refreshed bigint default 0)
language plpgsql
as $procedure$
declare
    v_user pg_catalog.uuid;
begin
    refreshed := 0;

    for v_user in
        select distinct progress.user_id
        from public.user_deck_progress as progress
        where progress.updated_at < pg_catalog.now() - '1 hour'::pg_catalog.interval
           or progress.updated_at is null
    loop
        refreshed := refreshed + public.refresh_stale_deck_progress(v_user);
        commit;
    end loop;
end;
$procedure$;

revoke all on procedure maintenance.refresh_stale_progress(bigint) from public;

comment on procedure maintenance.refresh_stale_progress(bigint) is
    'Bring the figures of all users'' decks up to date that are an hour old; returns how many.';
