"""Fills a database of the matcha application with tokens, or with decks and what users know.

Triggers and foreign keys sleep meanwhile: the tables hold what an application would have left.
Keys come in order, which is quick to load; the progress on cards lies in a random one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.connection import literal

if TYPE_CHECKING:
    from psycopg import Connection

DEAD = 1_001
DECKS = 200
CARDS_PER_DECK = 100
USER = "00000000-0000-0000-0000-000000000001"

USERS = """
    insert into public.users (id, username, email, password_hash)
    select
        lpad(to_hex(i), 32, '0')::uuid,
        'learner' || i,
        'learner' || i || '@example.com',
        'a hash'
    from generate_series(1, %(users)s) as i
"""

# One token in total/dead is dead, all over the table: two of five have expired, two of five were
# used, and one is both. The others live for a day or more.
TOKENS = """
    insert into public.password_reset_tokens (id, user_id, token_hash, expires_at, used_at)
    select
        lpad(to_hex(i), 32, '0')::uuid,
        lpad(to_hex(1 + i %% %(users)s), 32, '0')::uuid,
        lpad(to_hex(i), 64, '0'),
        case
            when is_dead and kind in (0, 1, 4) then now() - interval '1 hour'
            else now() + interval '1 day' + i * interval '1 millisecond'
        end,
        case when is_dead and kind in (2, 3, 4) then now() - interval '2 hours' end
    from generate_series(1::bigint, %(total)s) as i
    cross join lateral (
        select i * %(dead)s %% %(total)s < %(dead)s, i * %(dead)s / %(total)s %% 5
    ) as token (is_dead, kind)
"""

DECK_TABLES = """
    insert into public.decks (id, title, language_from, language_to)
    select lpad(to_hex(i), 32, '0')::uuid, 'deck ' || i, 'en', 'ja'
    from generate_series(1, %(decks)s) as i;

    insert into public.flashcards (id, term, translation, language_from, language_to)
    select lpad(to_hex(i), 32, '0')::uuid, 'term ' || i, 'translation ' || i, 'en', 'ja'
    from generate_series(1, %(cards)s) as i;

    insert into public.deck_flashcards (deck_id, flashcard_id)
    select
        lpad(to_hex(1 + i %% %(decks)s), 32, '0')::uuid,
        lpad(to_hex(i), 32, '0')::uuid
    from generate_series(1, %(cards)s) as i;

    insert into public.user_card_progress (
        user_id, flashcard_id, next_review_at, last_review_at, times_correct, mastered_at
    )
    select
        lpad(to_hex(learner), 32, '0')::uuid,
        lpad(to_hex(card), 32, '0')::uuid,
        now() + (hashint4(card * 31 + learner) %% 30) * interval '1 day',
        now() - interval '3 days',
        5,
        case when (card + learner) %% 3 = 0 then now() - interval '9 days' end
    from generate_series(1, %(learners)s) as learner
    cross join generate_series(1, %(cards)s) as card
    where (card + learner) %% 5 <> 0
    order by hashint4(card * 7919 + learner * 104729);

    insert into public.user_deck_progress (user_id, deck_id)
    select learner.id, deck.id
    from public.users as learner
    cross join public.decks as deck
    where learner.id <= lpad(to_hex(%(learners)s::integer), 32, '0')::uuid
"""


def fill_users(connection: Connection, users: int) -> None:
    """Add learners; their ids are 1, 2, 3 and so on."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(USERS, {"users": users})


def fill_tokens(connection: Connection, *, live: int, users: int) -> None:
    """Add password reset tokens: so many that live, and DEAD ones among them."""
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(TOKENS, {"dead": DEAD, "total": live + DEAD, "users": users})
    connection.execute("vacuum (analyze) public.password_reset_tokens")


def fill_decks(connection: Connection, *, known: int) -> int:
    """Add decks, and ``known`` rows of what learners know of them; return how many learners do.

    A learner has met four cards of five.
    """
    cards = DECKS * CARDS_PER_DECK
    learners = max(1, known * 5 // (cards * 4))
    amounts = {"decks": DECKS, "cards": cards, "learners": learners}
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        for statement in DECK_TABLES.split(";"):
            connection.execute(literal(statement), amounts)
    connection.execute("vacuum (analyze)")
    return learners
