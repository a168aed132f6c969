"""Waiting without standing in the way: the runner's own lock, and locks that others hold."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from psycopg import errors
from psycopg.rows import class_row

from runner.connection import connect, literal
from runner.errors import Exit, RunnerError
from runner.resources import query

if TYPE_CHECKING:
    from psycopg import Connection

Answer = TypeVar("Answer")
MIGRATION_LOCK = 0x706767_6D61696E74
"""Key of the advisory lock under which one runner at a time migrates a database: 'pgmaint'."""

POLL = 0.2
PATIENCE = 60.0
"""Seconds to wait for another runner, which is usually doing just what we were asked to do."""


class Stopped(RunnerError):
    """Somebody asked us to stop, and we did where nothing was half done."""

    def __init__(self, detail: str | None = None) -> None:
        """Take what the step in hand has left, if it could not wait for its end."""
        super().__init__(
            "stopped when asked to"
            + (", in the middle of a step" if detail else ", between two steps"),
            detail=" ".join(
                part
                for part in (detail, "What was done is done and recorded; the rest is pending.")
                if part
            ),
            hint="Run the command again to go on.",
        )


@dataclass(frozen=True)
class Session:
    """Somebody else's session, as far as we may see it."""

    pid: int
    program: str
    role: str
    state: str | None
    query: str | None

    def __str__(self) -> str:
        doing = f", {self.state}" if self.state else ""
        statement = f": {self.query}" if self.query else ""
        return f"pid {self.pid} ({self.program}, role {self.role}{doing}{statement})"


@dataclass(frozen=True)
class BuildProgress:
    """How far the build of an index is."""

    name: str
    """What people call the work, as ``index made``."""
    phase: str
    percent: float | None
    """Of the phase; None where PostgreSQL does not know."""
    waits_for: list[Session]
    """Whose transactions have held it up for a while."""


@dataclass(frozen=True)
class Terms:
    """How a command behaves while it works on a database that others use."""

    lock_wait: float = 30.0
    """Seconds for which it tries again while others hold a lock that it needs."""
    say: Callable[[str], None] = lambda _: None
    """Is told what happens, a line at a time."""
    stopped: Callable[[], bool] = lambda: False
    """Whether somebody has asked to stop; asked between steps, and while an index is built."""
    watch_build: Callable[[BuildProgress], None] = lambda _: None
    """Is told several times a second how far the build of an index is that may take long."""

    def check(self) -> None:
        """Raise Stopped when somebody has asked to stop."""
        if self.stopped():
            raise Stopped


@contextmanager
def migration_lock(connection: Connection, terms: Terms) -> Generator[None]:
    """Hold the database's migration lock on ``connection``.

    The lock is polled and never waited for: a waiting session would hold a snapshot, and CREATE
    INDEX CONCURRENTLY in the session that has the lock would wait for that. Raises RunnerError
    (busy) after a minute, and names the holder.
    """
    deadline = time.monotonic() + PATIENCE
    while not _taken(connection):
        terms.check()
        if time.monotonic() > deadline:
            holder = connection.cursor(row_factory=class_row(Session)).execute(
                literal(query("lock_holder")), {"key": MIGRATION_LOCK}
            )
            raise RunnerError(
                "another runner is migrating this database",
                detail="; ".join(f"It is {session}." for session in holder) or None,
                hint="Run the command again when it is done.",
                code=Exit.BUSY,
            )
        time.sleep(POLL)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", (MIGRATION_LOCK,))


def _taken(connection: Connection) -> bool:
    row = connection.execute("select pg_try_advisory_lock(%s)", (MIGRATION_LOCK,)).fetchone()
    return row == (True,)


def with_retries(
    connection: Connection, url: str, what: str, work: Callable[[], Answer], terms: Terms
) -> Answer:
    """Run ``work`` in a transaction, again and again while others hold a lock that it needs.

    Return what it returns.

    Each try gives up after the session's short lock_timeout, so that nobody queues behind it for
    longer. Raises RunnerError that names the sessions in the way when the terms' wait is over, and
    Stopped between two tries. ``what`` names the work in messages.
    """
    deadline = time.monotonic() + terms.lock_wait
    pause = 0.1
    seen: list[Session] = []
    while True:
        terms.check()
        watcher = _Watcher(url, connection.info.backend_pid) if pause > 0.1 else None
        try:
            with connection.transaction():
                answer = work()
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            if watcher is not None and (found := watcher.stop()):
                if found != seen:
                    terms.say(f"{what} waits for {_listed(found)}")
                seen = found
            if time.monotonic() > deadline:
                raise RunnerError(
                    f"{what} did not get a lock in {terms.lock_wait:g} s",
                    detail=f"In the way: {_listed(seen)}." if seen else str(error),
                    hint="Run the command again when that session is done, or end it with "
                    + (
                        f"select pg_terminate_backend({seen[0].pid})."
                        if seen
                        else "pg_terminate_backend."
                    ),
                ) from None
        else:
            return answer
        finally:
            if watcher is not None:
                watcher.stop()
        time.sleep(pause * random.uniform(1.0, 1.5))
        pause = min(pause * 2, 1.6)


def _listed(sessions: list[Session]) -> str:
    return "; ".join(str(session) for session in sessions)


class _Watcher:
    """Sees, from a second connection, whom a session waits for. Only a waiting one tells."""

    def __init__(self, url: str, pid: int) -> None:
        self._url = url
        self._pid = pid
        self._done = threading.Event()
        self._found: list[Session] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> list[Session]:
        self._done.set()
        self._thread.join()
        return self._found

    def _watch(self) -> None:
        try:
            with connect(self._url, program="runner (watching)") as connection:
                cursor = connection.cursor(row_factory=class_row(Session))
                while not self._done.wait(0.03):
                    blockers = cursor.execute(literal(query("blockers")), {"pid": self._pid})
                    self._found = blockers.fetchall() or self._found
        except (RunnerError, errors.Error):
            return  # the message is poorer then; the work itself is not affected
