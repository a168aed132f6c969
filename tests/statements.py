"""Statements that tests put together themselves, about tables whose names they choose."""

from __future__ import annotations

from time import sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection, Cursor


def execute(connection: Connection, text: str, *parameters: Any) -> Cursor[tuple[Any, ...]]:
    """Execute a statement, or several where there are no parameters."""
    return connection.execute(text.encode(), parameters or None)


def rows(connection: Connection, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows that a statement returns."""
    return execute(connection, text, *parameters).fetchall()


def column(connection: Connection, text: str, *parameters: Any) -> list[Any]:
    """Return the first column of the rows that a statement returns."""
    return [row[0] for row in rows(connection, text, *parameters)]


def until_blocked(observer: Connection, waiting: Connection, *, seconds: float = 10) -> None:
    """Return as soon as a session waits for a lock that another session holds."""
    for _ in range(int(seconds / 0.01)):
        blockers = column(observer, "select pg_blocking_pids(%s)", waiting.info.backend_pid)
        if blockers != [[]]:
            return
        sleep(0.01)
    message = "the session waits for nobody"
    raise AssertionError(message)
