"""Archives: the tables that policies move rows into, how they stand, and how rows leave them.

What is common to moving rows out into files (exports) and back (imports) is here as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.rows import class_row

from runner.connection import connect, literal
from runner.database import installed
from runner.errors import Exit, RunnerError, reported
from runner.locks import Session, Terms
from runner.resources import query

if TYPE_CHECKING:
    from psycopg import Connection

SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "array_nulls": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "row_security": "off",
    "search_path": "pg_catalog, pg_temp",
    "xmloption": "content",
}
"""What decides how PostgreSQL writes values as text, and reads them: the same both ways."""

PATIENCE = 60.0
"""Seconds to find out whether a transaction was committed whose connection was cut."""

GRACE = 3.0
"""Seconds after which a session that still has such a transaction open is ended."""

USAGE = (
    errors.DatatypeMismatch,
    errors.InvalidParameterValue,
    errors.InvalidTextRepresentation,
    errors.InvalidDatetimeFormat,
    errors.DatetimeFieldOverflow,
    errors.IntervalFieldOverflow,
    errors.UndefinedColumn,
    errors.UndefinedObject,
    errors.WrongObjectType,
)
"""What our routines, and intervals, say of what makes no sense."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Archive:
    """How an archive stands: a row of maintenance.archive_status."""

    archive: str
    source: str
    policies: list[str]
    """That fill it."""
    estimated_rows: int | None
    bytes: int
    oldest: datetime | None
    retention: list[str]
    """Policies on the archive itself; none: its rows stay."""
    files: int
    rows_in_files: int
    is_ours: bool


@dataclass(frozen=True)
class ArchiveFile:
    """A file that the database knows: a row of maintenance.archive_file."""

    id: str
    archive: str
    file: str
    folder: str
    rows: int
    bytes: int
    oldest: str
    newest: str
    exported_at: datetime | None
    exported_by: str | None
    imported_at: datetime | None
    """None: its rows are in the file alone."""
    imported_into: str | None


@dataclass(frozen=True)
class Archives:
    """The archives of a database, and the files that rows of them are in."""

    archives: list[Archive]
    files: list[ArchiveFile]


def list_archives(url: str) -> Archives:
    """Return how the archives stand, and their files, the newest first. Writes nothing."""
    with installed(url, program="runner archive list", read_only=True) as connection:
        archives = (
            connection.cursor(row_factory=class_row(Archive))
            .execute("select * from maintenance.archive_status")
            .fetchall()
        )
        files = (
            connection.cursor(row_factory=class_row(ArchiveFile))
            .execute(
                "select id::text, archive, file, folder, rows, file_bytes as bytes, oldest::text,"
                " newest::text, exported_at, exported_by, imported_at, imported_into"
                " from maintenance.archive_file"
                " order by coalesce(exported_at, imported_at) desc, file desc"
            )
            .fetchall()
        )
        return Archives(archives, files)


def explained(error: psycopg.Error) -> RunnerError:
    """Put what our routines refuse into our form, with the exit status that it deserves."""
    if isinstance(error, USAGE):
        code = Exit.USAGE
    elif isinstance(error, errors.ObjectNotInPrerequisiteState):
        code = Exit.REFUSED
    else:
        code = Exit.FAILED
    return reported(error, code=code)


@contextmanager
def explaining() -> Generator[None]:
    """Raise RunnerError for what PostgreSQL refuses, but for missing rights and routines."""
    try:
        yield
    except (errors.InsufficientPrivilege, errors.UndefinedFunction, errors.UndefinedTable):
        raise
    except psycopg.Error as error:
        raise explained(error) from None


def begin(connection: Connection) -> None:
    """Begin a transaction in which values are written and read as SETTINGS say."""
    connection.execute("begin isolation level read committed read write")
    connection.execute(
        "select set_config(key, value, true) from json_each_text(%s)", (json.dumps(SETTINGS),)
    )


def roll_back(connection: Connection) -> None:
    """Roll back, if there is still somebody to tell."""
    with suppress(psycopg.Error):
        connection.execute("rollback")


def with_lock(
    connection: Connection, relation: int, name: str, ask: Callable[[], Answer], terms: Terms
) -> Answer:
    """Begin a transaction whose first call locks a table, again and again while others hold it.

    Raises RunnerError (busy) that names them when the terms' wait is over, and Stopped between two
    tries.
    """
    deadline = monotonic() + terms.lock_wait
    pause = 0.05
    while True:
        begin(connection)
        try:
            return ask()
        except errors.LockNotAvailable:
            roll_back(connection)
            terms.check()
            if monotonic() > deadline:
                holders = connection.cursor(row_factory=class_row(Session)).execute(
                    literal(query("table_holders")), {"relation": relation}
                )
                raise RunnerError(
                    f"{name} is in use: no lock on it in {terms.lock_wait:g} s",
                    detail="; ".join(f"It is {session}." for session in holders) or None,
                    hint="Run the command again when that is done.",
                    code=Exit.BUSY,
                ) from None
        sleep(pause)
        pause = min(2 * pause, 1.0)


def commit(
    connection: Connection, url: str, transaction: str, database: Mapping[str, Any]
) -> bool | None:
    """Commit, and say whether it is done; None where nobody can tell.

    A connection that is cut says nothing, and so does a signal. Then the server is asked on another
    connection, until it knows: a transaction may still be committing.
    """
    try:
        done = connection.execute("commit").statusmessage
    except BaseException as error:
        if isinstance(error, psycopg.Error) and error.sqlstate and not connection.closed:
            return False
        with suppress(psycopg.Error):
            connection.close()
        return _outcome(url, transaction, database)
    return done == "COMMIT"


def _outcome(url: str, transaction: str, database: Mapping[str, Any]) -> bool | None:
    began = monotonic()
    while monotonic() < began + PATIENCE:
        with suppress(RunnerError, psycopg.Error):
            with connect(url, program="runner (asking)") as connection:
                row = connection.execute(
                    "select pg_xact_status(%s::xid8) from pg_control_system() as control"
                    " join pg_database as here on datname = current_database()"
                    " where control.system_identifier::text = %s and here.oid = %s::oid",
                    (transaction, database["system_identifier"], database["oid"]),
                ).fetchone()
                if row == ("in progress",) and monotonic() > began + GRACE:
                    _end_session(connection, transaction)
            if row in (("committed",), ("aborted",)):
                return row == ("committed",)
        sleep(0.5)
    return None


def _end_session(connection: Connection, transaction: str) -> None:
    """End the session of a transaction whose client is gone, which it may not notice for hours."""
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and usename = current_user"
        " and application_name like 'runner archive %%'"
        " and backend_xid::text::bigint = %s::bigint & 4294967295",
        (transaction,),
    )
