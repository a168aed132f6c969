-- Adds up what a user knows of every deck whose figures have not changed for an hour.
--
-- One statement for all decks, planned anew each time: one stale deck wants a loop over its cards,
-- and two hundred want a join. Figures that are right already are left alone, so a dashboard that
-- is loaded again and again reads and does not write. The others are locked in one order, so that
-- two dashboards of the same user cannot deadlock.

create or replace function public.refresh_stale_deck_progress(p_user_id uuid)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $function$
declare
    v_stale uuid[];
begin
    select array_agg(progress.deck_id)
    into v_stale
    from public.user_deck_progress as progress
    where progress.user_id = p_user_id
      and (progress.updated_at < now() - interval '1 hour' or progress.updated_at is null);

    if v_stale is null then
        return 0;
    end if;

    with counted as materialized (
        select
            stale.deck_id,
            count(card.flashcard_id) as total_cards,
            count(known.mastered_at) as mastered_cards,
            count(*) filter (where known.next_review_at <= now()) as cards_due_today,
            coalesce(sum(known.times_correct + known.times_wrong), 0) as total_practices,
            max(known.last_review_at) as last_practiced_at
        from unnest(v_stale) as stale (deck_id)
        left join public.deck_flashcards as card on card.deck_id = stale.deck_id
        left join public.user_card_progress as known
            on known.user_id = p_user_id
            and known.flashcard_id = card.flashcard_id
        group by stale.deck_id
    ),
    wrong as materialized (
        select counted.*
        from counted
        join public.user_deck_progress as progress
            on progress.user_id = p_user_id
            and progress.deck_id = counted.deck_id
        -- asked again of the row that is locked: another dashboard may just have counted later
        where progress.updated_at is null
           or (
               progress.updated_at < now() - interval '1 hour'
               and (
                   progress.total_cards, progress.mastered_cards, progress.cards_due_today,
                   progress.total_practices, progress.last_practiced_at
               ) is distinct from (
                   counted.total_cards, counted.mastered_cards, counted.cards_due_today,
                   counted.total_practices, counted.last_practiced_at
               )
           )
        order by progress.deck_id
        for no key update of progress
    )
    update public.user_deck_progress as progress
    set
        total_cards = wrong.total_cards,
        mastered_cards = wrong.mastered_cards,
        cards_due_today = wrong.cards_due_today,
        total_practices = wrong.total_practices,
        last_practiced_at = wrong.last_practiced_at,
        updated_at = now()
    from wrong
    where progress.user_id = p_user_id
      and progress.deck_id = wrong.deck_id;

    return cardinality(v_stale);
end;
$function$;

comment on function public.refresh_stale_deck_progress(uuid) is
    'Bring those figures of a user''s decks up to date that are an hour old; returns how many.';
