"""Builds the indexes that scripts have declared: plainly, or CONCURRENTLY where tables are large.

A build that was broken off leaves an invalid index. The next one drops that and begins anew, and
builds only what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import Error, errors

from runner.connection import literal
from runner.database import MissingIndex, read_missing_indexes
from runner.errors import Exit, RunnerError, sentence
from runner.locks import Stopped, Terms, with_retries
from runner.statements import carry_out, unhurried

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

PLAIN_LOCK = "50ms"
"""What a plain build waits for writers, who queue behind it: with the build itself 100 ms."""


def build_indexes(
    connection: Connection, url: str, chains: Sequence[str], terms: Terms
) -> list[str]:
    """Build the declared indexes of ``chains`` that are missing, and return their names.

    ``connection`` is in autocommit mode and holds the migration lock. Raises RunnerError where an
    index cannot be built (busy: somebody else is at it), and Stopped when the terms say so; what
    was built stays, and the rest is built by the next call.
    """
    built: list[str] = []
    tried: set[str] = set()
    while missing := read_missing_indexes(connection, chains):
        index = missing[0]
        if index.create_statement in tried:
            raise RunnerError(
                f"index {index.name} was built and is missing all the same",
                detail=f"It is not what {index.create_statement} says.",
                hint="Did somebody drop or alter it meanwhile? Run the command again.",
            )
        if index.built_by is not None:
            raise _busy(index)
        if not index.is_concurrent:
            _build_plainly(connection, url, index, terms)
        elif not _build_concurrently(connection, url, index, chains, terms):
            continue  # meanwhile things have changed
        tried.add(index.create_statement or "")
        built.append(index.name)
        terms.say(f"built index {index.name}")
    return built


def _build_plainly(connection: Connection, url: str, index: MissingIndex, terms: Terms) -> None:
    def work() -> None:
        connection.execute("select set_config('lock_timeout', %s, true)", (PLAIN_LOCK,))
        _note(connection, index)
        for statement in (index.drop_statement, index.create_statement, index.comment_statement):
            if statement is not None:
                connection.execute(literal(statement))

    try:
        with_retries(connection, url, f"index {index.name}", work, terms)
    except Error as error:
        raise _failed(index, error, "Nothing of it was left behind.") from error


def _build_concurrently(
    connection: Connection, url: str, index: MissingIndex, chains: Sequence[str], terms: Terms
) -> bool:
    """Build one index outside any transaction; False if it is another matter than it was.

    The lock that it needs first is tried for with a short timeout, since a waiting build keeps
    everybody else's DDL and VACUUM waiting. The waits that come later hold nobody off, and end when
    the transactions end that they are for: no timeout may break the build off.
    """

    def lock() -> None:
        connection.execute(literal(f"lock table {index.table} in share update exclusive mode"))

    try:
        with_retries(connection, url, f"index {index.name}", lock, terms)
    except RunnerError as error:
        if not isinstance(error, Stopped):
            error.code = Exit.BUSY  # DDL, VACUUM or another build
        raise
    except Error as error:
        raise _failed(index, error, "Nothing was changed.") from error
    if index not in read_missing_indexes(connection, chains):
        return False
    _note(connection, index)
    with unhurried(connection):
        if index.drop_statement is not None:
            terms.say(f"dropping index {index.name}: it is invalid, its build was broken off")
            _carry_out(connection, url, index, index.drop_statement, terms)
        _carry_out(connection, url, index, index.create_statement or "", terms)
    connection.execute(literal(index.comment_statement or ""))
    return True


def _note(connection: Connection, index: MissingIndex) -> None:
    connection.execute(
        "select maintenance.note_index_build(%s::regclass, %s)", (index.table, index.name)
    )


def _carry_out(
    connection: Connection, url: str, index: MissingIndex, statement: str, terms: Terms
) -> None:
    """Execute a statement of a build. A request to stop cancels it: a build may take hours."""
    outcome = carry_out(connection, url, f"index {index.name}", statement, terms)
    if outcome.error is not None:
        left = _left_over(connection, index)
        if outcome.is_given_up:
            raise Stopped(detail=left) from None
        raise _failed(index, outcome.error, left) from outcome.error


def _left_over(connection: Connection, index: MissingIndex) -> str:
    """Return a sentence on what a build that was broken off has left."""
    try:
        row = connection.execute(
            "select pg_index.indisvalid from pg_index join pg_class on oid = indexrelid"
            " where indrelid = %s::regclass and relname = %s",
            (index.table, index.name),
        ).fetchone()
    except Error:  # the session was lost, or the server
        return (
            f"Index {index.name} may be left behind and invalid; the next `runner migrate` "
            "replaces it."
        )
    if row is None:
        return "Nothing of it was left behind."
    return (
        f"Index {index.name} is left behind and invalid: nothing reads it, and the next "
        "`runner migrate` replaces it."
    )


def _busy(index: MissingIndex) -> RunnerError:
    return RunnerError(
        f"index {index.name} on {index.table} is being built by somebody else",
        detail=f"It is pid {index.built_by}, which is at CREATE INDEX CONCURRENTLY or REINDEX.",
        hint="Run the command again when that is done.",
        code=Exit.BUSY,
    )


def _failed(index: MissingIndex, error: Error, left: str) -> RunnerError:
    hint = error.diag.message_hint
    if isinstance(error, errors.UniqueViolation):
        hint = "Remove the duplicates, and run the command again."
    elif isinstance(error, errors.InsufficientPrivilege):
        hint = "Connect as the owner of the table, or as a member of that role."
    return RunnerError(
        f"index {index.name} on {index.table} was not built: {sentence(error)}",
        detail=" ".join(part for part in (error.diag.message_detail, left) if part),
        hint=hint or "Run the command again: it builds what is left.",
    )
