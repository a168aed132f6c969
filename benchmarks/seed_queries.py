"""Times the seed's table of four queries before and after migration 0006.

The seed claims that login and the look-up of a token had no index before. They had one: both
columns have been unique since their tables were made, so nothing about them can change.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.filling import (
    DEAD,
    DECKS,
    fill_decks,
    fill_tokens,
    fill_users,
)
from benchmarks.measuring import (
    Options,
    Spread,
    equal,
    heading,
    milliseconds,
    options,
    plan,
    private_server,
    session,
    table,
    turns,
    undone,
)
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from psycopg import Connection

LAST_BEFORE = "matcha/0005_refresh_tokens"
USERS = 100_000
LIVE = 500_000
KNOWN = 400_000
KEYS = 200
"""Queries with different keys that make up one run of a reading query."""

LOGIN = "select id, password_hash from public.users where email = %(email)s"
LOOKUP = """
    select id, user_id, expires_at, used_at
    from public.password_reset_tokens
    where token_hash = %(hash)s
"""
DUE_CARDS = """
    select flashcard_id
    from public.user_card_progress
    where user_id = %(user)s and next_review_at <= now()
    order by next_review_at
    limit 20
"""
DUE_CARDS_OF_DECK = """
    select flashcard.id, flashcard.term, flashcard.translation
    from public.deck_flashcards as card
    join public.flashcards as flashcard on flashcard.id = card.flashcard_id
    left join public.user_card_progress as known
        on known.flashcard_id = card.flashcard_id and known.user_id = %(user)s
    where card.deck_id = %(deck)s
      and (known.next_review_at is null or known.next_review_at <= now())
    order by known.next_review_at nulls first
"""
CLEAN_UP_BEFORE = """
    delete from public.password_reset_tokens where expires_at < now() or used_at is not null
"""
CLEAN_UP = "select public.cleanup_expired_password_reset_tokens()"


@dataclass(frozen=True)
class Query:
    """A query of the seed's table."""

    name: str
    before: str
    after: str
    claim: str
    """What the seed says about before and after."""
    key: Callable[[int], Mapping[str, object]] | None
    """The parameters of the n-th call; None: it deletes, and is called once a run."""


def _id(number: int) -> str:
    return f"{number:032x}"


def _queries(users: int, live: int, learners: int) -> list[Query]:
    def due(turn: int) -> Mapping[str, object]:
        return {"user": _id(1 + turn % learners), "deck": _id(1 + turn * 7 % DECKS)}

    due_cards = "2-5 ms -> 2 ms, no change"
    return [
        Query(
            "login by email",
            LOGIN,
            LOGIN,
            "full table scan -> 1-2 ms",
            lambda turn: {"email": f"learner{1 + turn * 7919 % users}@example.com"},
        ),
        Query(
            "token look-up by hash",
            LOOKUP,
            LOOKUP,
            "10-50 ms -> 1-2 ms",
            lambda turn: {"hash": f"{1 + turn * 7919 % live:064x}"},
        ),
        Query(
            f"clean-up of {DEAD:,} tokens",
            CLEAN_UP_BEFORE,
            CLEAN_UP,
            "full table scan -> 5-10 ms",
            None,
        ),
        Query("practice: a user's due cards", DUE_CARDS, DUE_CARDS, due_cards, due),
        Query("practice: those of a deck", DUE_CARDS_OF_DECK, DUE_CARDS_OF_DECK, due_cards, due),
    ]


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs, users, live = chosen.runs or 5, chosen.rows(USERS), chosen.rows(LIVE)
    with private_server() as server, session(server) as admin:
        for name in ("before", "after"):
            admin.execute(literal(f"create database {name}"))
        migrate(server.url("before"), to=LAST_BEFORE)
        migrate(server.url("after"))
        with session(server, "before") as before, session(server, "after") as after:
            learners = 0
            for connection in (before, after):
                fill_users(connection, users)
                fill_tokens(connection, live=live, users=users)
                learners = fill_decks(connection, known=chosen.rows(KNOWN))
            heading(
                f"The seed's queries: {users:,} users, {live:,} live tokens, "
                f"{chosen.rows(KNOWN):,} known cards",
                runs,
                admin,
            )
            print(f"for a query that reads: mean execution time of {KEYS} with different keys")
            queries = _queries(users, live, learners)
            rows: list[tuple[str, ...]] = []
            plans: list[tuple[str, ...]] = []
            for query in queries:
                times = _times(before, after, query, runs)
                ratio = times["before"].over(times["after"])
                shown = (times[side].shown("ms") for side in ("before", "after"))
                rows.append((query.name, *shown, ratio.shown("x"), query.claim))
                key = query.key(1) if query.key else None
                reads = plan(before, query.before, key), plan(after, query.after, key)
                plans.append((query.name, "before", reads[0]))
                plans.append(("", "after", reads[1] if reads[1] != reads[0] else "the same"))
            table(("", "before 0006", "after 0006", "before / after", "the seed claims"), rows)
            print()
            table(("", "", "reads"), plans)


def _times(before: Connection, after: Connection, query: Query, runs: int) -> dict[str, Spread]:
    # Each run of a side takes the next keys; both sides take the same ones.
    rounds = {"before": itertools.count(), "after": itertools.count()}

    def side(name: str, connection: Connection, text: str) -> float:
        first = next(rounds[name]) * KEYS
        if query.key is None:
            return _deletion(connection, text)
        keys = [query.key(first + turn) for turn in range(KEYS)]

        return fmean(_execution(connection, text, key) for key in keys)

    return turns(
        runs,
        before=lambda: side("before", before, query.before),
        after=lambda: side("after", after, query.after),
    )


def _execution(connection: Connection, text: str, key: Mapping[str, object]) -> float:
    """Let the server say how long it took: on its way, the answer takes longer than the query."""
    explain = "explain (analyze, timing off, format json) " + text
    row = connection.execute(literal(explain), key).fetchone()
    return float(row[0][0]["Execution Time"]) if row else 0.0


def _deletion(connection: Connection, text: str) -> float:
    removed = 0

    def delete() -> None:
        nonlocal removed
        cursor = connection.execute(literal(text))
        row = cursor.fetchone() if cursor.description else None
        removed = row[0] if row else cursor.rowcount

    with undone(connection):
        took = milliseconds(delete)
    equal("rows removed", removed, DEAD)
    return took


if __name__ == "__main__":
    measure(options(__doc__))
