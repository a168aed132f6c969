"""Figures of a database: how large, how old, and what a run would remove now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from psycopg import errors
from psycopg.rows import class_row

from runner.database import installed

if TYPE_CHECKING:
    from typing import LiteralString

    from psycopg import Connection

Row = TypeVar("Row")


@dataclass(frozen=True)
class DatabaseFacts:
    """The database in one line."""

    database: str
    size_bytes: int
    server_version: str
    started_at: datetime
    connections: int
    max_connections: int
    cache_hit_ratio: float | None
    counted_since: datetime | None
    transaction_age: int
    multixact_age: int
    wraparound_percent: float
    xmin_holder: str
    """Who keeps vacuum from removing dead rows; "nobody", or "unknown, needs ..."."""


@dataclass(frozen=True)
class TableFacts:
    """A table, its size, and what vacuum knows of it."""

    schema_name: str
    table_name: str
    total_bytes: int
    estimated_rows: int | None
    dead_rows: int | None
    last_vacuum_at: datetime | None
    last_analyze_at: datetime | None


@dataclass(frozen=True)
class TokenFacts:
    """Tokens of a kind, by state."""

    token_type: str
    expired: int
    used: int | None
    active: int


@dataclass(frozen=True)
class Removable:
    """What a run of a policy would remove now, or the error that keeps it from telling."""

    policy: str
    relation: str
    operation: str
    is_enabled: bool
    eligible: int | None
    is_counted: bool | None
    """Whether that is all; False: there are more than ``eligible``."""
    estimated_bytes: int | None
    oldest: str | None
    verdict: str | None
    """What the guard says: pass, refused or needs_backup."""
    reason: str | None
    error: str | None


@dataclass(frozen=True)
class Stats:
    """Figures of a database. What a right is missing for is None, and ``unknown`` says what."""

    facts: DatabaseFacts | None
    tables: list[TableFacts] | None
    tokens: list[TokenFacts] | None
    removable: list[Removable] | None
    unknown: dict[str, str]


def stats(url: str, *, exact: bool = False) -> Stats:
    """Gather the figures; writes nothing. ``exact`` counts all rows that would go, not 10,000."""
    with installed(url, program="runner stats", read_only=True) as connection:
        unknown: dict[str, str] = {}

        def read(part: str, kind: type[Row], text: LiteralString, *given: bool) -> list[Row] | None:
            """Read one part; what is refused or locked does not take the others along."""
            try:
                return _read(connection, kind, text, *given)
            except (errors.InsufficientPrivilege, errors.LockNotAvailable) as error:
                unknown[part] = f"unknown: {error.diag.message_primary}"
                return None

        facts = read("facts", DatabaseFacts, "select * from maintenance.database_facts")
        return Stats(
            facts[0] if facts else None,
            read("tables", TableFacts, "select * from maintenance.table_facts"),
            read("tokens", TokenFacts, "select * from maintenance.token_growth"),
            read("removable", Removable, "select * from maintenance.removable(%s)", exact),
            unknown,
        )


def _read(connection: Connection, kind: type[Row], text: LiteralString, *given: bool) -> list[Row]:
    with connection.transaction():
        return connection.cursor(row_factory=class_row(kind)).execute(text, given).fetchall()
