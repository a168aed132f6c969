"""Who tends which policy at the moment, and taking that from somebody who does not listen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import errors
from psycopg.rows import class_row

from runner.database import installed
from runner.errors import Exit, RunnerError


@dataclass(frozen=True)
class Lease:
    """A lease that is taken."""

    policy: str
    run: int | None
    step: int
    owner_pid: int | None
    program: str | None
    role: str | None
    address: str | None
    since: datetime | None
    heartbeat_at: datetime | None
    removed: int | None
    session: str
    """alive, gone, or unknown where the server hides it from us."""


def leases(url: str) -> list[Lease]:
    """List the leases that are taken. Writes nothing."""
    with installed(url, program="runner lease", read_only=True) as connection:
        return (
            connection.cursor(row_factory=class_row(Lease))
            .execute("select * from maintenance.lease_status")
            .fetchall()
        )


def break_lease(url: str, policy: str, *, step: int | None = None) -> None:
    """Take the lease of a policy from whoever holds it, once the batch in hand is done.

    ``step`` names the one that is meant; another that has taken the lease meanwhile keeps it.

    Raises RunnerError (busy) where the batch does not end, and psycopg's error where the lease is
    free, or the role may not do this.
    """
    with installed(url, program="runner lease") as connection:
        try:
            connection.execute("select maintenance.break_lease(%s, %s)", (policy, step))
        except errors.LockNotAvailable:
            raise RunnerError(
                f"the batch that {policy} is in has not ended within five seconds",
                detail="Its transaction holds the lease: nothing was changed.",
                hint="Try again, or end its session: `runner lease list` names the process.",
                code=Exit.BUSY,
            ) from None
