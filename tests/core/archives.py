"""Archives, and what undoing a run does, driven within one transaction or by the procedure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.types.json import Jsonb

from tests.conftest import scalar
from tests.core.runs import a_table, put, register
from tests.statements import execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection


class Undone(NamedTuple):
    """How the undo of a step ended."""

    restored: int
    reason: str | None
    message: str | None
    batches: list[int]
    """How many rows each batch put back."""


def an_archive(db: Connection, table: str = "token", **settings: Any) -> None:
    """Make the archive of a table of tokens, and a policy that uses it."""
    execute(db, "select maintenance.create_archive(%s::regclass)", table)
    register(
        db, table, action="archive", archive_table=f"public.{table}_archive", **settings
    )  # fmt: skip


def archived_tokens(db: Connection, count: int = 20, more: str = "", **settings: Any) -> int:
    """Make a table of tokens, archive all of them, and return the number of the run."""
    a_table(db, more=more)
    put(db, "dead", count)
    an_archive(db, guard_share=1, **settings)
    return archive(db)


def archive(db: Connection, policy: str = "token") -> int:
    """Carry a policy out in one transaction, and return the number of the run."""
    number = scalar(db, "select maintenance.open_run('test')")
    step, token, reason, message = rows(
        db,
        "select step, token, exit_reason, message from maintenance.open_step(%s, %s)",
        number, policy,
    )[0]  # fmt: skip
    assert reason is None, message
    cursor = None
    while reason is None:
        reason, message, cursor = rows(
            db,
            "select exit_reason, message, next_cursor from maintenance.run_batch(%s, %s, %s)",
            step, token, None if cursor is None else Jsonb(cursor),
        )[0]  # fmt: skip
    execute(db, "select maintenance.close_step(%s, %s, %s, %s)", step, token, reason, message)
    execute(db, "select maintenance.close_run(%s)", number)
    assert reason in ("exhausted", "nothing_to_do"), message
    return number


def step_of(db: Connection, number: int) -> int:
    """Return the only step of a run."""
    return scalar(db, "select id from maintenance.run_step where run = %s", number)


def open_undo(db: Connection, number: int) -> tuple[int, int | None, str | None, str | None]:
    """Open the undo of a run's step; return step, token, and why it does not begin."""
    undo = scalar(db, "select maintenance.open_run('undo')")
    [opened] = rows(
        db,
        "select step, token, exit_reason, message from maintenance.open_undo(%s, %s)",
        undo, step_of(db, number),
    )  # fmt: skip
    return opened


def undo(
    db: Connection,
    number: int,
    size: int = 10000,
    *,
    between: Callable[[int], None] | None = None,
    time_goal: str = "50 ms",
) -> Undone:
    """Undo the only step of a run, batch by batch.

    Whatever happens in between is told the number of the batch before.
    """
    step, token, reason, message = open_undo(db, number)
    batches: list[int] = []
    cursor = None
    restored = 0
    while reason is None:
        assert len(batches) < 5000, "it never ends"
        gone, reason, message, cursor = rows(
            db,
            "select restored, exit_reason, message, next_cursor"
            " from maintenance.undo_batch(%s, %s, %s, %s, %s)",
            step, token, None if cursor is None else Jsonb(cursor), size, time_goal,
        )[0]  # fmt: skip
        restored += gone
        if gone:
            batches.append(gone)
        if between is not None and reason is None:
            between(len(batches))
    if token is not None:
        execute(db, "select maintenance.close_step(%s, %s, %s, %s)", step, token, reason, message)
    return Undone(restored, reason, message, batches)


def conflicts(db: Connection) -> list[dict[str, Any]]:
    """Return what the last undo could not put back."""
    return scalar(
        db,
        "select coalesce(conflicts, '[]') from maintenance.run_step where action = 'undo'"
        " order by id desc limit 1",
    )


def plan(db: Connection, number: int) -> list[tuple[str, int, str | None]]:
    """Return the verdict, the rows that wait and the reason of each step of a run."""
    return rows(db, "select verdict, waiting, reason from maintenance.plan_undo(%s)", number)


def content(db: Connection, table: str) -> list[tuple[str]]:
    """Return the rows of a table as PostgreSQL writes them."""
    return rows(db, f"select content::text from {table} as content order by 1")


def drift(db: Connection, table: str = "token") -> list[tuple[str, str]]:
    """Return which columns of the table's archive differ, and how."""
    return rows(
        db,
        "select column_name::text, change"
        f" from maintenance.archive_drift('{table}', '{table}_archive') order by 1",
    )
