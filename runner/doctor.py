"""What is wrong with housekeeping in a database, and what helps.

What the database knows of itself is found by maintenance.diagnose(); the rest is the client's.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors
from psycopg.rows import class_row

from runner.connection import connect, refuse_pooler, refuse_pooler_url
from runner.errors import RunnerError, sentence
from runner.identity import LOCAL, endpoint, identified
from runner.status import status

if TYPE_CHECKING:
    from psycopg import Connection

    from runner.status import ScriptStatus, Status

OK, NOTICE, PROBLEM, UNKNOWN = "ok", "notice", "problem", "unknown"


@dataclass(frozen=True)
class Finding:
    """Something that was looked at, and how it stands: ok, notice, problem or unknown."""

    subject: str
    name: str | None
    state: str
    message: str
    remedy: str | None


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was looked at in a database."""

    database: str
    findings: list[Finding]

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem; what is a notice, or unknown, does not count."""
        return all(one.state != PROBLEM for one in self.findings)


def diagnose(url: str) -> Diagnosis:
    """Look after everything that housekeeping needs; writes nothing.

    Raises RunnerError only where the database cannot be reached.
    """
    with connect(url, program="runner doctor", read_only=True) as connection:
        return Diagnosis(
            connection.info.dbname,
            [
                *_connection(connection, url),
                *_migrations(url),
                *_endpoint(connection),
                *_database(connection),
            ],
        )


def _connection(connection: Connection, url: str) -> Generator[Finding]:
    version = connection.info.server_version
    yield Finding(
        "connection", "server", OK, f"PostgreSQL {version // 10000}.{version % 10000}", None
    )
    if connection.pgconn.ssl_in_use:
        yield Finding("connection", "transport", OK, "it is encrypted", None)
    elif endpoint(connection).startswith(f"{LOCAL}:"):
        yield Finding("connection", "transport", OK, "it stays on this machine", None)
    else:
        yield Finding(
            "connection",
            "transport",
            NOTICE,
            "it crosses the network and is not encrypted",
            "add sslmode=verify-full, or at least sslmode=require, to the URL",
        )
    try:
        refuse_pooler_url(url)
        with connect(url, program="runner doctor (first of two)") as another:  # in no transaction
            refuse_pooler(another, url)
        yield Finding("connection", "session", OK, "it is direct", None)
    except RunnerError as error:
        yield Finding("connection", "session", PROBLEM, error.message, error.hint)
    row = connection.execute("select pg_is_in_recovery()").fetchone()
    if row == (True,):
        yield Finding(
            "connection",
            "server",
            PROBLEM,
            "it is a standby, on which nothing can run",
            "connect to the primary server",
        )


def _migrations(url: str) -> Generator[Finding]:
    try:
        stands = status(url)
    except RunnerError as error:
        yield Finding("migrations", None, UNKNOWN, error.message, error.hint)
        return
    remedies = {
        "pending": "runner migrate",
        "changed": "install pg-maintenance again: a released script never changes",
        "unknown": "install a newer pg-maintenance: the database has what this one does not know",
    }
    if not stands.chains:
        yield Finding("migrations", None, PROBLEM, "there are none here", "runner migrate")
        return
    if not (_unapplied(stands) or stands.drift):
        yield Finding("migrations", None, OK, f"{len(stands.scripts)} are applied", None)
    for one in _unapplied(stands):
        yield Finding("migrations", one.id, PROBLEM, f"it is {one.status}", remedies[one.status])
    for one in stands.drift:
        yield Finding(
            "migrations",
            str(one),
            PROBLEM,
            "it is gone: somebody dropped it"
            if one.state == "gone"
            else "it is not what the migrations made: somebody changed it",
            "runner migrate --repair",
        )


def _unapplied(stands: Status) -> list[ScriptStatus]:
    return [one for one in stands.scripts if one.status != "applied"]


def _endpoint(connection: Connection) -> Generator[Finding]:
    try:
        with connection.transaction():
            identity = identified(connection)
    except (errors.UndefinedFunction, errors.InvalidSchemaName, errors.InsufficientPrivilege):
        return  # what is said of the database and its migrations covers it
    if identity.is_adopted and not identity.is_known:
        yield Finding(
            "identity",
            identity.endpoint,
            PROBLEM,
            f"it is known at {', '.join(identity.endpoints)}: this may be a copy of it",
            "runner adopt-clone, or runner adopt-clone --alias where it is another name",
        )
    elif not identity.endpoints:
        yield Finding(
            "identity",
            identity.endpoint,
            NOTICE,
            "where the database is reached was never remembered: a physical copy goes unnoticed",
            "runner adopt-clone",
        )


def _database(connection: Connection) -> list[Finding]:
    try:
        with connection.transaction():
            return (
                connection.cursor(row_factory=class_row(Finding))
                .execute("select * from maintenance.diagnose()")
                .fetchall()
            )
    except (errors.UndefinedFunction, errors.InvalidSchemaName):
        return [
            Finding("database", None, UNKNOWN, "it has no maintenance.diagnose()", "runner migrate")
        ]
    except errors.InsufficientPrivilege as error:
        return [
            Finding(
                "database",
                None,
                UNKNOWN,
                sentence(error),
                f"select maintenance.grant_monitor('{connection.info.user}')",
            )
        ]
