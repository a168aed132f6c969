-- What Matcha Time's own migrations 0007 to 0012 add to 0006.sql.

-- 0007

alter table users add column native_language char(2);
alter table users add column learning_language char(2);

create index idx_users_language_preferences on users (native_language, learning_language)
    where native_language is not null and learning_language is not null;

-- 0008

alter table user_deck_progress
    add column progress_percentage numeric(5, 2) not null default 0.00;

create or replace function refresh_deck_progress(p_user_id uuid, p_deck_id uuid)
returns void as $$
begin
    insert into user_deck_progress (
        user_id, deck_id, total_cards, mastered_cards, cards_due_today, total_practices,
        last_practiced_at, progress_percentage, updated_at
    )
    select
        p_user_id,
        p_deck_id,
        count(df.flashcard_id),
        count(ucp.mastered_at),
        count(*) filter (where ucp.next_review_at <= now()),
        coalesce(sum(ucp.times_correct + ucp.times_wrong), 0),
        max(ucp.last_review_at),
        case when count(df.flashcard_id) = 0 then 0 else least(
            100,
            coalesce(sum(greatest(0, ucp.times_correct - ucp.times_wrong)), 0)::numeric
                / (count(df.flashcard_id) * 10) * 100
        ) end,
        now()
    from deck_flashcards df
    left join user_card_progress ucp
        on ucp.flashcard_id = df.flashcard_id and ucp.user_id = p_user_id
    where df.deck_id = p_deck_id
    on conflict (user_id, deck_id) do update set
        total_cards = excluded.total_cards,
        mastered_cards = excluded.mastered_cards,
        cards_due_today = excluded.cards_due_today,
        total_practices = excluded.total_practices,
        last_practiced_at = excluded.last_practiced_at,
        progress_percentage = excluded.progress_percentage,
        updated_at = now();
end;
$$ language plpgsql;

-- 0009

create function calculate_and_update_streak(p_user_id uuid) returns integer as $$
declare
    streak integer;
begin
    with days as (
        select activity_date,
            current_date - activity_date - row_number() over (order by activity_date desc) as gap
        from user_activity
        where user_id = p_user_id and activity_date <= current_date
    )
    select count(*) into streak from days where gap = -1;

    insert into user_stats (user_id, current_streak_days, longest_streak_days, updated_at)
    values (p_user_id, streak, streak, now())
    on conflict (user_id) do update set
        current_streak_days = excluded.current_streak_days,
        longest_streak_days = greatest(
            user_stats.longest_streak_days, excluded.current_streak_days
        ),
        updated_at = now();
    return streak;
end;
$$ language plpgsql;

-- 0010: an overload; the function of two arguments stays, and no call with two fits one only.

create function refresh_deck_progress(
    p_user_id uuid, p_deck_id uuid, p_mastery_threshold integer default 10
) returns void as $$
begin
    insert into user_deck_progress (
        user_id, deck_id, total_cards, mastered_cards, cards_due_today, total_practices,
        last_practiced_at, progress_percentage, updated_at
    )
    select
        p_user_id,
        p_deck_id,
        count(df.flashcard_id),
        count(*) filter (where ucp.times_correct - ucp.times_wrong >= p_mastery_threshold),
        count(*) filter (where ucp.next_review_at <= now()),
        coalesce(sum(ucp.times_correct + ucp.times_wrong), 0),
        max(ucp.last_review_at),
        case when count(df.flashcard_id) = 0 then 0 else least(
            100,
            coalesce(sum(greatest(0, ucp.times_correct - ucp.times_wrong)), 0)::numeric
                / (count(df.flashcard_id) * p_mastery_threshold) * 100
        ) end,
        now()
    from deck_flashcards df
    left join user_card_progress ucp
        on ucp.flashcard_id = df.flashcard_id and ucp.user_id = p_user_id
    where df.deck_id = p_deck_id
    on conflict (user_id, deck_id) do update set
        total_cards = excluded.total_cards,
        mastered_cards = excluded.mastered_cards,
        cards_due_today = excluded.cards_due_today,
        total_practices = excluded.total_practices,
        last_practiced_at = excluded.last_practiced_at,
        progress_percentage = excluded.progress_percentage,
        updated_at = now();
end;
$$ language plpgsql;

-- 0011

create function set_updated_at() returns trigger as $$
begin
    new.updated_at = now();
    return new;
end;
$$ language plpgsql;

create trigger set_user_card_progress_updated_at
    before update on user_card_progress
    for each row execute function set_updated_at();
create trigger set_user_deck_progress_updated_at
    before update on user_deck_progress
    for each row execute function set_updated_at();
create trigger set_user_stats_updated_at
    before update on user_stats
    for each row execute function set_updated_at();

-- 0012

create or replace function refresh_deck_progress(
    p_user_id uuid, p_deck_id uuid, p_mastery_threshold integer default 10
) returns void as $$
begin
    insert into user_deck_progress (
        user_id, deck_id, total_cards, mastered_cards, total_practices, last_practiced_at,
        progress_percentage, updated_at
    )
    select
        p_user_id,
        p_deck_id,
        count(df.flashcard_id),
        count(*) filter (where ucp.times_correct - ucp.times_wrong >= p_mastery_threshold),
        coalesce(sum(ucp.times_correct + ucp.times_wrong), 0),
        max(ucp.last_review_at),
        case when count(df.flashcard_id) = 0 then 0 else least(
            100,
            coalesce(sum(greatest(0, ucp.times_correct - ucp.times_wrong)), 0)::numeric
                / (count(df.flashcard_id) * p_mastery_threshold) * 100
        ) end,
        now()
    from deck_flashcards df
    left join user_card_progress ucp
        on ucp.flashcard_id = df.flashcard_id and ucp.user_id = p_user_id
    where df.deck_id = p_deck_id
    on conflict (user_id, deck_id) do update set
        total_cards = excluded.total_cards,
        mastered_cards = excluded.mastered_cards,
        total_practices = excluded.total_practices,
        last_practiced_at = excluded.last_practiced_at,
        progress_percentage = excluded.progress_percentage,
        updated_at = now();
end;
$$ language plpgsql;

alter table user_deck_progress drop column cards_due_today;

insert into _sqlx_migrations (version, description, success, checksum, execution_time) values
    (7, 'user language preferences', true, '\x07', 3100000),
    (8, 'deck progress percentage', true, '\x08', 4200000),
    (9, 'streak calculation', true, '\x09', 2300000),
    (10, 'configurable mastery threshold', true, '\x0a', 2700000),
    (11, 'updated at triggers', true, '\x0b', 2900000),
    (12, 'drop cards due today', true, '\x0c', 2500000);
