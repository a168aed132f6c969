"""Runs look again at the end: rows that came behind the walk go, and are no endless work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from tests.conftest import scalar
from tests.core.runs import a_table, count, put, register
from tests.statements import rows

if TYPE_CHECKING:
    from typing import Any

    from psycopg import Connection


def walk(db: Connection, *, comes: int, times: int) -> tuple[str, str | None]:
    """Run the policy batch by batch, and put rows behind the walk whenever it has come to its end.

    Such rows lie beyond the last page that the walk knew of. Return why it ended.
    """
    run = scalar(db, "select maintenance.open_run('a driver')")
    [(step, token)] = rows(db, "select step, token from maintenance.open_step(%s, 'token')", run)
    cursor: dict[str, Any] | None = None
    for _ in range(100):
        known = None if cursor is None else cursor.get("leaf")
        if known is not None and times:
            put(db, "late", comes)
            times -= 1
        [(reason, message, cursor)] = rows(
            db,
            "select exit_reason, message, next_cursor from maintenance.run_batch(%s, %s, %s, 1000)",
            step,
            token,
            None if cursor is None else Jsonb(cursor),
        )
        if reason is not None:
            return reason, message
    message = "the run does not end"
    raise AssertionError(message)


def pages(db: Connection) -> int:
    return scalar(db, "select pg_relation_size('token') / 8192")


def test_a_row_that_came_behind_the_walk_goes_in_another_round(db: Connection) -> None:
    a_table(db)
    put(db, "dead", 5000)
    register(db)
    before = pages(db)
    assert walk(db, comes=1000, times=1) == ("exhausted", None)
    assert pages(db) > before, "the late rows did not lie behind the walk"
    assert count(db) == 0


def test_rows_that_come_as_fast_as_they_go_are_no_endless_work(db: Connection) -> None:
    a_table(db)
    put(db, "dead", 5000)
    register(db)
    assert walk(db, comes=1000, times=100) == (
        "incomplete",
        "rows are eligible still, after 3 rounds",
    )
    assert count(db) > 0
