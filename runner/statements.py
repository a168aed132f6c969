"""Executes a statement that may take hours, so that it can be watched, and given up."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from psycopg import Error
from psycopg.rows import class_row

from runner.connection import connect, literal
from runner.errors import RunnerError
from runner.locks import BuildProgress, Session
from runner.resources import query

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import Connection

    from runner.locks import Terms

LOOK = 0.2
"""Seconds between two looks at a statement."""
PATIENT = 1.0
"""Seconds that it may wait for others before that is worth a word."""


@dataclass(frozen=True)
class Outcome:
    """What came of a statement."""

    error: Error | None
    is_given_up: bool
    """Whether it was cancelled here: on request, or because it was late."""
    rows: list[tuple[Any, ...]]


@contextmanager
def unhurried(connection: Connection) -> Generator[None]:
    """Within the block, let the session wait for locks as long as it takes."""
    row = connection.execute("select current_setting('lock_timeout')").fetchone()
    connection.execute("set lock_timeout = 0")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select set_config('lock_timeout', %s, false)", row)


def carry_out(
    connection: Connection,
    url: str,
    name: str,
    statement: str,
    terms: Terms,
    *,
    deadline: float | None = None,
) -> Outcome:
    """Execute a statement in another thread; report from this one, and see to signals.

    ``name`` is what people call the work. A request to stop, or the ``deadline`` (by
    ``time.monotonic``), cancels it. What it ended with is returned and not raised.
    """
    failures: list[Error] = []
    rows: list[tuple[Any, ...]] = []
    ended = threading.Event()  # a thread whose join was interrupted may say that it has ended

    def work() -> None:
        try:
            cursor = connection.execute(literal(statement))
            rows.extend(cursor.fetchall() if cursor.description else [])
        except Error as error:
            failures.append(error)
        finally:
            ended.set()

    worker = threading.Thread(target=work, daemon=True)
    is_given_up = False
    try:
        worker.start()
        with _Watch(url, connection.info.backend_pid, name, terms) as watch:
            while not ended.wait(LOOK):
                is_late = deadline is not None and time.monotonic() > deadline
                if not is_given_up and (is_late or terms.stopped()):
                    is_given_up = True
                    terms.say(f"{name} is given up")
                if is_given_up:
                    _cancel(connection)
                else:
                    watch.look()
    finally:
        while worker.ident is not None and not ended.is_set():  # interrupted once more
            _cancel(connection)
            ended.wait(LOOK)
    return Outcome(failures[0] if failures else None, is_given_up, rows)


def _cancel(connection: Connection) -> None:
    with suppress(Error):  # it may be lost
        connection.cancel_safe(timeout=5)


class _Watch:
    """Sees from a second connection how far a statement is, and whom it waits for."""

    def __init__(self, url: str, pid: int, name: str, terms: Terms) -> None:
        self._url = url
        self._pid = pid
        self._name = name
        self._terms = terms
        self._stack = ExitStack()
        self._connection: Connection | None = None
        self._since: dict[int, float] = {}
        """When each session that is waited for now was first seen."""
        self._named: set[int] = set()

    def __enter__(self) -> Self:
        with suppress(RunnerError):  # the statement itself needs no second connection
            self._connection = self._stack.enter_context(
                connect(self._url, program="runner (watching)")
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self) -> None:
        """Tell the terms how far it is, and say for whom it has been waiting for a while."""
        if self._connection is None or self._connection.closed:
            return
        try:
            progress = self._connection.execute(
                literal(query("build_progress")), {"pid": self._pid}
            ).fetchone()
            waited_for = (
                self._connection.cursor(row_factory=class_row(Session))
                .execute(literal(query("blockers")), {"pid": self._pid})
                .fetchall()
            )
        except Error:
            return  # there is less to say then
        now = time.monotonic()
        self._since = {one.pid: self._since.get(one.pid, now) for one in waited_for}
        long = [one for one in waited_for if now - self._since[one.pid] >= PATIENT]
        if progress is not None:
            phase, percent = progress
            self._terms.watch_build(BuildProgress(self._name, phase, percent, long))
        for one in long:
            if one.pid not in self._named:
                self._named.add(one.pid)
                self._terms.say(
                    f"{self._name} waits for the transaction of {one}; writers go on meanwhile. "
                    f"End it there, or with select pg_terminate_backend({one.pid})"
                )
