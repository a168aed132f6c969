"""Says where a database stands, and prints scripts for people who run them themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import errors
from psycopg.rows import class_row

from runner.connection import connect
from runner.database import changed, read_state
from runner.definitions import Drift, drift, recorded
from runner.resources import query
from runner.scripts import chains, script, scripts

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True)
class ScriptStatus:
    """One script, and how it stands: applied, pending, changed (since), or unknown (to us)."""

    id: str
    status: str
    applied_at: datetime | None


@dataclass(frozen=True)
class SweepStatus:
    """One sweep on insert, and how it stands: on, off, idle or broken, and why it is not on."""

    policy: str
    state: str
    detail: str | None
    remedy: str | None
    """The statement that makes a broken one anew."""


@dataclass(frozen=True)
class Status:
    """Where a database stands."""

    database: str
    server_version: int
    """As PostgreSQL's server_version_num: 180006 is 18.6."""
    chains: list[str]
    scripts: list[ScriptStatus]
    missing_indexes: list[str]
    """Declared indexes that are yet to be built, by the names that they get."""
    invalid_indexes: list[str]
    """Those of them that a build which was broken off has left, and that nothing reads."""
    drift: list[Drift]
    """What applied scripts made, and somebody has changed or dropped since."""
    sweeps: list[SweepStatus]
    """Tables that sweep on insert."""

    @property
    def is_migrated(self) -> bool:
        """Whether ``migrate`` would have nothing to do, and what it made is as it was made."""
        return not (self.missing_indexes or self.drift) and all(
            one.status == "applied" for one in self.scripts
        )

    @property
    def is_up_to_date(self) -> bool:
        return self.is_migrated and all(one.state != "broken" for one in self.sweeps)


def status(url: str) -> Status:
    """Compare the ledger of a database with the scripts of the package. Writes nothing.

    A database without anything of ours has every script of core pending.
    """
    with connect(url, program="runner status", read_only=True) as connection:
        state = read_state(connection)
        known = {one.id: one for one in scripts(chains())}
        drifts = drift(connection, recorded(connection)) if state.applied else []
        sweeps = read_sweeps(connection, drifts)
    edited = set(changed(state, known))
    applied = {row.migration_id: row for row in state.applied}
    lines = [
        ScriptStatus(
            row.migration_id,
            "unknown"
            if row.migration_id not in known
            else "changed"
            if row.migration_id in edited
            else "applied",
            row.applied_at,
        )
        for row in state.applied
    ]
    lines += [
        ScriptStatus(one.id, "pending", None)
        for one in scripts(state.chosen)
        if one.id not in applied
    ]
    return Status(
        state.facts.database,
        state.facts.server_version,
        state.chosen,
        lines,
        [index.name for index in state.missing_indexes],
        [index.name for index in state.missing_indexes if index.drop_statement is not None],
        drifts,
        sweeps,
    )


def read_sweeps(connection: Connection, drifts: list[Drift]) -> list[SweepStatus]:
    """Return how each sweep on insert stands.

    None where the view that tells it does not exist, or fails because of what was changed.
    """
    row = connection.execute(
        "select to_regclass('maintenance.insert_sweep_status') is null"
    ).fetchone()
    if row == (True,):
        return []
    try:
        with connection.transaction():
            return (
                connection.cursor(row_factory=class_row(SweepStatus))
                .execute(
                    "select policy, state, detail, remedy from maintenance.insert_sweep_status"
                )
                .fetchall()
            )
    except errors.Error:
        if drifts:
            return []
        raise


def show(migration_id: str, *, rollback: bool = False) -> str:
    """Return one script, or its rollback, as plain SQL with its includes expanded."""
    one = script(migration_id)
    return one.rollback_sql if rollback else one.sql


def show_all(applications: Sequence[str] = (), *, rollback: bool = False) -> str:
    """Return core and the applications as one text for an SQL editor: all of it, or nothing.

    It ends with the statements that build the declared indexes. ``rollback`` gives the way back.
    """
    chosen = scripts(applications)
    ordered = reversed(chosen) if rollback else chosen
    parts = [
        f"-- {one.id}{' (rollback)' if rollback else ''}\n\n"
        + (one.rollback_sql if rollback else one.sql)
        for one in ordered
    ]
    if not rollback:
        parts.append(query("build_missing_indexes"))
    return "begin;\n\n" + "\n\n".join(parts) + "\ncommit;\n"
