"""What somebody does beside runs: look at them, stop them, and pause all of them for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.errors import UndefinedObject
from psycopg.rows import class_row

from runner.database import installed
from runner.errors import Exit, RunnerError


@dataclass(frozen=True)
class Entry:
    """A line of maintenance.run_history."""

    run: int
    policy: str | None
    operation: str | None
    relation: str | None
    action: str | None
    statement: str | None
    """What was executed, where no policy was carried out."""
    started_at: datetime
    ended_at: datetime | None
    duration: timedelta | None
    removed: int | None
    dependents: int | None
    cascaded: int | None
    restored: int | None
    undoes: int | None
    """The run whose rows it put back."""
    bytes: int | None
    batches: int | None
    longest_batch: timedelta | None
    left_over: int | None
    exit_reason: str | None
    sqlstate: str | None
    message: str | None
    conflicts: list[dict[str, Any]] | None
    program: str
    arguments: dict[str, Any]
    started_by: str
    started_from: str


COLUMNS = ", ".join(Entry.__dataclass_fields__)


def history(
    url: str, *, policy: str | None = None, run: int | None = None, limit: int = 20
) -> list[Entry]:
    """Return what ran, newest first: all of it, or that of one policy or of one run."""
    with installed(url, program="runner history", read_only=True) as connection:
        return (
            connection.cursor(row_factory=class_row(Entry))
            .execute(
                f"select {COLUMNS} from maintenance.run_history as history "  # noqa: S608
                "where (%(policy)s::text is null or history.policy = %(policy)s) "
                "and (%(run)s::bigint is null or history.run = %(run)s) "
                "order by run desc, started_at desc limit %(limit)s".encode(),
                {"policy": policy, "run": run, "limit": limit},
            )
            .fetchall()
        )


def stop(url: str, run: int) -> None:
    """Ask a run to end with the batches in hand. Raises RunnerError where it does not run."""
    with installed(url, program="runner run --stop") as connection:
        try:
            connection.execute("select maintenance.stop_run(%s)", (run,))
        except UndefinedObject as error:
            raise RunnerError(
                error.diag.message_primary or f"run {run} does not run",
                hint="`runner history` says which do.",
                code=Exit.USAGE,
            ) from None


def pause(url: str, *, reason: str | None = None, seconds: float | None = None) -> str:
    """Pause housekeeping in a database, for some seconds or until ``resume``; return who and why.

    What runs ends with its batch, nothing begins, and no insert sweeps.
    """
    with installed(url, program="runner pause") as connection:
        connection.execute(
            "select maintenance.pause_runs(%s, clock_timestamp() + %s * interval '1 s')",
            (reason, seconds),
        )
        row = connection.execute("select maintenance.pause_reason()").fetchone()
        assert row is not None
        return row[0]


def resume(url: str) -> bool:
    """Let housekeeping go on; return whether it was paused."""
    with installed(url, program="runner resume") as connection:
        row = connection.execute("select maintenance.resume_runs()").fetchone()
        return row == (True,)
