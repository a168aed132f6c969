"""Runs and applications at random on one table: no token that was of use is ever lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.runs import a_table, calling, count, purge_all, put, register, run, steps, until
from tests.statements import execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from psycopg import Connection

WRITERS = 4


@dataclass
class Token:
    """A token as its writer knows it from what was committed."""

    expires: datetime
    is_used: bool = False


@dataclass
class Writer:
    """A session of the application; nobody else writes its tokens, except for the policy."""

    url: str
    name: str
    random: Random
    tokens: dict[int, Token] = field(default_factory=dict[int, Token])
    inserted: int = 0
    deleted: int = 0
    losses: list[str] = field(default_factory=list[str])

    def work(self, end: Event) -> None:
        """Write at random to the end, and note what was lost."""
        with psycopg.connect(self.url, autocommit=True) as session:
            while not end.is_set() and not self.losses:
                self._transact(session)
                sleep(self.random.choice([0, 0, 0.001, 0.005]))

    def _transact(self, session: Connection) -> None:
        """Do a few things, and believe in them once they are committed."""
        execute(session, "begin")
        done = [
            self._act(session, identity)
            for identity in self._some_of_mine(self.random.choice([1, 1, 1, 3]))
        ]
        if self.random.random() < 0.2:
            sleep(self.random.random() * 0.04)  # longer than a run waits for a row
        if self.random.random() < 0.15:
            execute(session, "rollback")
        else:
            execute(session, "commit")
            for believe in done:
                believe()

    def _some_of_mine(self, number: int) -> list[int | None]:
        """Choose tokens, each of them once; None is one that is yet to be."""
        mine = self.random.sample(sorted(self.tokens), min(number, len(self.tokens)))
        return [None if self.random.random() < 0.4 else token for token in mine] or [None]

    def _act(self, session: Connection, identity: int | None) -> Callable[[], None]:
        if identity is None:
            return self._insert(session)
        token = self.tokens[identity]
        action = self.random.choice(["extend", "extend", "extend", "use", "delete", "look"])
        if action == "extend":
            lifetime = self.random.choice([20, 100, 500, 3_600_000])
            change = (
                f"update token set expires_at = clock_timestamp() + interval '{lifetime} ms'"
                " where id = %s returning expires_at"
            )
        elif action == "use":
            change = (
                "update token set used_at = clock_timestamp() where id = %s returning expires_at"
            )
        elif action == "delete":
            change = "delete from token where id = %s returning expires_at"
        else:
            change = "select expires_at from token where id = %s for update"
        found = rows(session, change, identity)
        if not found:
            self._expect_gone(session, identity, token)
            return lambda: self._forget(identity)
        [(expires,)] = found

        def believe() -> None:
            token.expires = expires
            token.is_used |= action == "use"
            if action == "delete":
                del self.tokens[identity]
                self.deleted += 1

        return believe

    def _insert(self, session: Connection) -> Callable[[], None]:
        lifetime = self.random.choice([-5, 20, 100, 500, 3_600_000])
        [(identity, expires)] = rows(
            session,
            "insert into token (expires_at, name)"
            f" values (clock_timestamp() + interval '{lifetime} ms', %s) returning id, expires_at",
            self.name,
        )

        def believe() -> None:
            self.tokens[identity] = Token(expires)
            self.inserted += 1

        return believe

    def _forget(self, identity: int) -> None:
        del self.tokens[identity]

    def _expect_gone(self, session: Connection, identity: int, token: Token) -> None:
        if not token.is_used and token.expires > scalar(session, "select clock_timestamp()"):
            self.losses.append(f"{self.name} lost token {identity}, good until {token.expires}")


def a_round(db: Connection, random: Random) -> int:
    """Let the policy run in one of the ways there are; return what the log does not count."""
    put(db, "chaff", 200)
    size = random.choice([1, 3, 10, 50, 1000])
    call = f"call maintenance.run_policy('token', batch_size => {size})"
    choice = random.random()
    if choice < 0.3:
        with calling(db, call) as terminated:
            sleep(random.random() * 0.1)
            execute(db, "select pg_terminate_backend(%s)", terminated.pid)
            terminated.wait()
        pid = terminated.pid
        until(lambda: not rows(db, "select from pg_stat_activity where pid = %s", pid))
        return 0
    if choice < 0.4:
        return sum(purge_all(db, size=max(size, 10)))
    if choice < 0.5:
        with calling(db, call) as disturbed:
            execute(db, "vacuum full token")
            disturbed.wait()
        error = disturbed.error
    else:
        error = None
        try:
            run(db, batch_size=size)
        except errors.RaiseException as failure:
            error = failure
    if error is not None:
        text = str(error.diag.message_primary)
        assert "incomplete" in text or "lock timeout" in text, text
    return 0


def campaign(db: Connection, seed: int, rounds: int, seconds: float) -> None:
    """Let writers and runs go at each other, and compare what is left with what has to be.

    It ends after so many rounds, or with the first one after so many seconds.
    """
    a_table(db, more=", used_at timestamptz")
    execute(db, "alter table token set (fillfactor = 50)")
    register(db, branches=[{"column": "expires_at"}, {"column": "used_at"}])
    random = Random(seed)
    end = Event()
    writers = [Writer(db.info.dsn, f"writer {n}", Random(f"{seed}-{n}")) for n in range(WRITERS)]
    threads = [Thread(target=writer.work, args=(end,), daemon=True) for writer in writers]
    for thread in threads:
        thread.start()
    by_hand = 0
    played = 0
    deadline = monotonic() + seconds
    try:
        while played < rounds and monotonic() < deadline:
            played += 1
            by_hand += a_round(db, random)
            assert all(thread.is_alive() for thread in threads), "a writer gave up"
    finally:
        end.set()
        for thread in threads:
            thread.join(10)
    assert [loss for writer in writers for loss in writer.losses] == []

    execute(db, "select pg_sleep(0.6)")  # what was to live for a moment has expired
    assert run(db)[1] in ("exhausted", "nothing_to_do")
    now = scalar(db, "select clock_timestamp()")
    for writer in writers:
        of_use = {
            identity
            for identity, token in writer.tokens.items()
            if not token.is_used and token.expires > now
        }
        assert of_use, "the writers keep nothing alive"
        there = {row[0] for row in rows(db, "select id from token where name = %s", writer.name)}
        assert there == of_use
    assert count(db, where="name = 'chaff'") == 0
    made = played * 200 + sum(writer.inserted - writer.deleted for writer in writers)
    assert sum(steps(db, "step.removed")) == made - by_hand - count(db), "the log is wrong"
    assert None not in steps(db, "step.exit_reason")


@pytest.mark.parametrize(
    ("seed", "rounds", "seconds"), [(1, 20, 6), pytest.param(2, 500, 900, marks=pytest.mark.slow)]
)
def test_no_token_that_is_of_use_is_lost(
    db: Connection, seed: int, rounds: int, seconds: float
) -> None:
    try:
        campaign(db, seed, rounds, seconds)
    except (AssertionError, psycopg.Error) as failure:
        message = f"campaign of {rounds} rounds with seed {seed}: {failure}"
        raise AssertionError(message) from failure
