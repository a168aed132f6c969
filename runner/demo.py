"""The main job shown on the embedded server: a database of its own, filled and cleaned up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import class_row

from runner.connection import connect, literal
from runner.embedded import Server
from runner.errors import Exit, RunnerError
from runner.locks import Terms
from runner.migrate import migrate
from runner.resources import query

DATABASE = "demo"
APPLICATION = "matcha"
MOST_TOKENS = 10_000_000


@dataclass(frozen=True)
class TokenCount:
    """A row of maintenance.token_growth."""

    token_type: str
    expired: int
    used: int | None
    active: int


@dataclass(frozen=True)
class Cleaned:
    """The row that cleanup_all_expired_tokens() returns."""

    password_reset_cleaned: int
    email_verification_cleaned: int
    refresh_tokens_cleaned: int
    total_cleaned: int


@dataclass(frozen=True)
class Demo:
    """What the demonstration did and saw."""

    url: str
    before: list[TokenCount]
    would_clean: Cleaned
    cleaned: Cleaned
    clean_seconds: float
    after: list[TokenCount]
    learner: str
    stale_decks: int
    refreshed_decks: int
    dead_on_arrival_left: int
    """Rows left of a token that was inserted when it had already expired."""


def demo(server: Server, *, tokens: int = 100_000, terms: Terms = Terms()) -> Demo:
    """Start the embedded server, make the database ``demo`` anew, fill it and clean it up.

    ``tokens`` is how many tokens of all kinds to load, from 100 to ten million. Only the database
    ``demo`` of the embedded server is touched.
    """
    if not 100 <= tokens <= MOST_TOKENS:
        raise RunnerError(
            f"the demonstration takes 100 to {MOST_TOKENS:,} tokens, not {tokens:,}",
            code=Exit.USAGE,
        )
    terms.say("starting the embedded server")
    server.start()
    with connect(server.url(), program="runner demo") as connection:
        if _one(connection, "show data_directory")[0] != str(server.data):
            raise RunnerError(
                "the connection leads to another server than the embedded one",
                detail="Nothing was changed.",
                hint="Unset libpq's variables, which name a server: PGSERVICE, PGHOSTADDR.",
                code=Exit.REFUSED,
            )
        name = sql.Identifier(DATABASE)
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(name))
        connection.execute(sql.SQL("create database {}").format(name))
    url = server.url(DATABASE)
    terms.say(f"migrating database {DATABASE}")
    migrate(url, applications=[APPLICATION])
    with connect(url, program="runner demo") as connection:
        terms.say(f"loading users, decks, cards and {tokens:,} tokens")
        connection.execute("select set_config('demo.tokens', %s, false)", (str(tokens),))
        connection.execute(literal(query("demo_load")))
        return _show(connection, url, terms)


def _show(connection: Connection, url: str, terms: Terms) -> Demo:
    before = _growth(connection)
    would_clean = Cleaned(*_one(connection, query("demo_removable")))
    terms.say("cleaning up")
    began = time.monotonic()
    cleaned = Cleaned(*_one(connection, "select * from public.cleanup_all_expired_tokens()"))
    seconds = time.monotonic() - began
    learner, stale = _one(connection, query("demo_busiest_learner"))
    refreshed = connection.execute(
        "select public.refresh_stale_deck_progress(%s)", (learner,)
    ).fetchone()
    connection.execute(literal(query("demo_dead_on_arrival")))
    left = _one(
        connection,
        "select count(*) from public.refresh_tokens where token_hash = 'dead on arrival'",
    )
    return Demo(
        url,
        before,
        would_clean,
        cleaned,
        seconds,
        _growth(connection),
        str(learner),
        stale,
        refreshed[0] if refreshed else 0,
        left[0],
    )


def _growth(connection: Connection) -> list[TokenCount]:
    cursor = connection.cursor(row_factory=class_row(TokenCount))
    return cursor.execute("select * from maintenance.token_growth").fetchall()


def _one(connection: Connection, text: str) -> tuple[Any, ...]:
    row = connection.execute(literal(text)).fetchone()
    assert row is not None
    return row
