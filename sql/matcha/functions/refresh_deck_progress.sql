-- Adds up what a user knows of one deck.
--
-- A card without progress counts towards the deck, and is neither mastered nor due. Figures that
-- are right already are left alone. One transaction at a time adds up a user's decks: figures that
-- were counted before another's commit would else replace newer ones, and pass for fresh.

create or replace function public.refresh_deck_progress(p_user_id uuid, p_deck_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
    -- The first half of the key is 'deck' in ASCII.
    perform pg_advisory_xact_lock(1684366187, hashtext(p_user_id::text));

    insert into public.user_deck_progress as progress (
        user_id, deck_id, total_cards, mastered_cards, cards_due_today, total_practices,
        last_practiced_at, updated_at
    )
    select
        p_user_id,
        p_deck_id,
        count(card.flashcard_id),
        count(known.mastered_at),
        count(*) filter (where known.next_review_at <= now()),
        least(coalesce(sum(known.times_correct::bigint + known.times_wrong), 0), 2147483647),
        max(known.last_review_at),
        now()
    from public.deck_flashcards as card
    left join public.user_card_progress as known
        on known.user_id = p_user_id
        and known.flashcard_id = card.flashcard_id
    where card.deck_id = p_deck_id
    on conflict (user_id, deck_id) do update
    set
        total_cards = excluded.total_cards,
        mastered_cards = excluded.mastered_cards,
        cards_due_today = excluded.cards_due_today,
        total_practices = excluded.total_practices,
        last_practiced_at = excluded.last_practiced_at,
        updated_at = excluded.updated_at
    where progress.updated_at is null
       or (
           progress.total_cards, progress.mastered_cards, progress.cards_due_today,
           progress.total_practices, progress.last_practiced_at
       ) is distinct from (
           excluded.total_cards, excluded.mastered_cards, excluded.cards_due_today,
           excluded.total_practices, excluded.last_practiced_at
       );
end;
$function$;

comment on function public.refresh_deck_progress(uuid, uuid) is
    'Bring the figures of one user''s progress through one deck up to date.';
