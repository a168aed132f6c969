-- Adds up what a user knows of every deck whose figures have not changed for an hour.
--
-- One statement for all decks, planned anew each time: one stale deck wants a loop over its cards,
-- and two hundred want a join. Figures that are right already are left alone, so a dashboard that
-- is loaded again and again reads and does not write.
--
-- An application that also counts progress_percentage has a refresh_deck_progress of its own, which
-- knows how: that is asked deck by deck.

create or replace function public.refresh_stale_deck_progress(p_user_id uuid)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $function$
declare
    v_stale uuid[];
begin
    -- refresh_deck_progress says why, and takes the same.
    perform pg_advisory_xact_lock(1684366187, hashtext(p_user_id::text));

    select array_agg(progress.deck_id)
    into v_stale
    from public.user_deck_progress as progress
    where progress.user_id = p_user_id
      and (progress.updated_at < now() - interval '1 hour' or progress.updated_at is null);

    if v_stale is null then
        return 0;
    end if;

    if exists (
        select
        from pg_attribute as own
        where own.attrelid = 'public.user_deck_progress'::regclass
          and own.attname = 'progress_percentage'
          and not own.attisdropped
    ) then
        -- it may name its tables as the application does, without their schema
        perform set_config('search_path', 'public, pg_temp', true);
        perform public.refresh_deck_progress(p_user_id, stale.deck_id)
        from unnest(v_stale) as stale (deck_id);

        return cardinality(v_stale);
    end if;

    with counted as materialized (
        select
            stale.deck_id,
            count(card.flashcard_id) as total_cards,
            count(known.mastered_at) as mastered_cards,
            count(*) filter (where known.next_review_at <= now()) as cards_due_today,
            least(
                coalesce(sum(known.times_correct::bigint + known.times_wrong), 0), 2147483647
            ) as total_practices,
            max(known.last_review_at) as last_practiced_at
        from unnest(v_stale) as stale (deck_id)
        left join public.deck_flashcards as card on card.deck_id = stale.deck_id
        left join public.user_card_progress as known
            on known.user_id = p_user_id
            and known.flashcard_id = card.flashcard_id
        group by stale.deck_id
    )
    update public.user_deck_progress as progress
    set
        total_cards = counted.total_cards,
        mastered_cards = counted.mastered_cards,
        cards_due_today = counted.cards_due_today,
        total_practices = counted.total_practices,
        last_practiced_at = counted.last_practiced_at,
        updated_at = now()
    from counted
    where progress.user_id = p_user_id
      and progress.deck_id = counted.deck_id
      and (
          progress.updated_at is null
          -- asked again of a row that was waited for: somebody may just have counted later
          or progress.updated_at < now() - interval '1 hour'
      )
      and (
          progress.updated_at is null
          or (
              progress.total_cards, progress.mastered_cards, progress.cards_due_today,
              progress.total_practices, progress.last_practiced_at
          ) is distinct from (
              counted.total_cards, counted.mastered_cards, counted.cards_due_today,
              counted.total_practices, counted.last_practiced_at
          )
      );

    return cardinality(v_stale);
end;
$function$;

comment on function public.refresh_stale_deck_progress(uuid) is
    'Bring those figures of a user''s decks up to date that are an hour old; returns how many.';
