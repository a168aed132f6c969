-- Fills Matcha Time's tables with people who have learnt for a while, and with the tokens they left
-- behind. demo.tokens says how many; everything else follows from it, and is the same each time.
select setseed(0.42);

insert into public.users (username, email, password_hash, created_at, email_verified)
select
    'learner_' || person,
    'learner_' || person || '@example.org',
    md5('secret' || person),
    now() - random() * interval '700 days',
    random() < 0.9
from generate_series(1, greatest(20, current_setting('demo.tokens')::integer / 100)) as person;

insert into public.decks (title, language_from, language_to)
select 'Lesson ' || lesson, 'de', 'ja'
from generate_series(1, 20) as lesson;

insert into public.flashcards (term, translation, language_from, language_to)
select 'Wort ' || card, 'kotoba ' || card, 'de', 'ja'
from generate_series(1, 600) as card;

insert into public.deck_flashcards (deck_id, flashcard_id)
select deck.id, card.id
from (select decks.id, row_number() over (order by decks.title) as place from public.decks) as deck
join (
    select flashcards.id, row_number() over (order by flashcards.term) as place
    from public.flashcards
) as card on card.place % 20 = deck.place % 20;

insert into public.user_deck_progress (user_id, deck_id, updated_at)
select learner.id, deck.id, now() - interval '1 minute' - random() * interval '9 hours'
from public.users as learner
join public.decks as deck on hashtext(learner.username || deck.title) % 5 = 0;

insert into public.user_card_progress (
    user_id, flashcard_id, next_review_at, last_review_at, times_correct, times_wrong, mastered_at
)
select
    learning.user_id,
    card.flashcard_id,
    now() + (random() * 10 - 4) * interval '1 day',
    now() - random() * interval '20 days',
    floor(random() * 9),
    floor(random() * 4),
    case when random() < 0.3 then now() - random() * interval '90 days' end
from public.user_deck_progress as learning
join public.deck_flashcards as card on card.deck_id = learning.deck_id
where random() < 0.8;

create temporary table learner as
select users.id, row_number() over () as place from public.users;

-- Nobody has cleaned up until now: the triggers would have.
alter table public.password_reset_tokens disable trigger user;
alter table public.email_verification_tokens disable trigger user;
alter table public.refresh_tokens disable trigger user;

insert into public.refresh_tokens (user_id, token_hash, device_info, expires_at, created_at)
select
    learner.id,
    md5('refresh' || made.token),
    (array['iPhone', 'Pixel', 'Firefox on Linux', 'Safari on macOS'])[1 + made.token % 4],
    made.issued_at + interval '30 days',
    made.issued_at
from (
    select token, now() - random() * interval '60 days' as issued_at
    from generate_series(1, current_setting('demo.tokens')::integer * 70 / 100) as token
) as made
join learner on learner.place = 1 + made.token % (select count(*) from learner);

insert into public.password_reset_tokens (user_id, token_hash, expires_at, used_at, created_at)
select
    learner.id,
    md5('reset' || made.token),
    made.issued_at + interval '1 hour',
    case when random() < 0.6 then least(made.issued_at + random() * interval '1 hour', now()) end,
    made.issued_at
from (
    select token, now() - power(random(), 8) * interval '200 days' as issued_at
    from generate_series(1, current_setting('demo.tokens')::integer * 12 / 100) as token
) as made
join learner on learner.place = 1 + made.token % (select count(*) from learner);

insert into public.email_verification_tokens (user_id, token_hash, expires_at, used_at, created_at)
select
    learner.id,
    md5('verify' || made.token),
    made.issued_at + interval '1 day',
    case when random() < 0.8 then least(made.issued_at + random() * interval '1 day', now()) end,
    made.issued_at
from (
    select token, now() - power(random(), 6) * interval '300 days' as issued_at
    from generate_series(1, current_setting('demo.tokens')::integer * 18 / 100) as token
) as made
join learner on learner.place = 1 + made.token % (select count(*) from learner);

alter table public.password_reset_tokens enable trigger user;
alter table public.email_verification_tokens enable trigger user;
alter table public.refresh_tokens enable trigger user;

drop table learner;

analyze;
