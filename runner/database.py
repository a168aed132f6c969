"""What the runner finds in a database before it touches it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import errors
from psycopg.rows import class_row

from runner.connection import connect, literal
from runner.errors import Exit, RunnerError
from runner.resources import query

if TYPE_CHECKING:
    from psycopg import Connection

    from runner.scripts import Script

MARKER = "pg-maintenance:"
"""How the comment on schema maintenance begins when the schema is ours."""


@dataclass(frozen=True)
class Facts:
    """The catalog's answer to everything that decides what may be installed."""

    database: str
    role: str
    server_version: int
    is_standby: bool
    has_schema: bool
    schema_comment: str | None
    has_ledger: bool
    has_public: bool
    may_create_schema: bool
    may_create_in_public: bool
    owns_schema: bool
    owns_public: bool
    relations: list[str]
    """Tables and views outside schema maintenance that belong to no extension, qualified."""
    has_own_objects: bool
    """Whether there are relations, routines or types outside schema maintenance."""


@dataclass(frozen=True)
class Applied:
    """A script as the ledger has it."""

    migration_id: str
    checksum: str
    package_version: str
    applied_at: datetime


@dataclass(frozen=True)
class MissingIndex:
    """A declared index that is yet to be built: see the columns of the view missing_indexes."""

    table: str
    """Qualified, as SQL takes it; a partition, where the table is a large partitioned one."""
    name: str
    is_concurrent: bool
    built_by: int | None
    """Process of somebody's session that is building it; there are no statements then."""
    drop_statement: str | None
    """Drops what is left of a build that was broken off; None where there is nothing."""
    create_statement: str | None
    comment_statement: str | None


@dataclass(frozen=True)
class State:
    """The facts, and what the ledger says: nothing where there is no ledger."""

    facts: Facts
    applied: list[Applied]
    """In the order in which they were applied."""
    chosen: list[str]
    """Chains that ``migrate`` brings up to date here."""
    missing_indexes: list[MissingIndex]

    @property
    def is_installed(self) -> bool:
        return bool(self.applied)


def read_facts(connection: Connection) -> Facts:
    """Read what the catalog says of a database; writes nothing.

    Raises RunnerError (refused) when schema maintenance is somebody else's.
    """
    facts = (
        connection.cursor(row_factory=class_row(Facts))
        .execute(literal(query("database_state")))
        .fetchone()
    )
    assert facts is not None
    if facts.has_schema and not (facts.schema_comment or "").startswith(MARKER):
        raise RunnerError(
            f"schema maintenance in database {facts.database} is not ours",
            detail="Its comment does not say that pg-maintenance made it.",
            hint="pg-maintenance needs a schema of that name: rename the other one, "
            "or install into another database.",
            code=Exit.REFUSED,
        )
    return facts


def read_state(connection: Connection) -> State:
    """Read the state of a database; writes nothing.

    Raises RunnerError (refused) when schema maintenance is somebody else's, or was built by psql
    and never booked, and RunnerError (failed) when the role may not read the ledger.
    """
    facts = read_facts(connection)
    if not facts.has_schema:
        return State(facts, [], [], [])
    if not facts.has_ledger:
        raise RunnerError(
            f"schema maintenance in database {facts.database} has no ledger",
            detail="Its comment says that pg-maintenance made it, but its first script did not run "
            "to its end.",
            hint="`runner migrate --mark` says what is there and what is missing.",
            code=Exit.REFUSED,
        )
    try:
        applied = (
            connection.cursor(row_factory=class_row(Applied))
            .execute(literal(query("applied_scripts")))
            .fetchall()
        )
        chosen = [name for (name,) in connection.execute(literal(query("chosen_chains")))]
        if not applied:
            refuse_bare(connection)
        missing = read_missing_indexes(connection, chosen)
    except errors.InsufficientPrivilege as error:
        raise RunnerError(
            f"role {facts.role} may not read the ledger of database {facts.database}",
            detail=error.diag.message_primary,
            hint="Connect as the role that migrated the database, or as a member of it.",
        ) from None
    if not applied:
        raise RunnerError(
            f"schema maintenance in database {facts.database} was built with psql",
            detail="Its ledger is empty, so the runner does not know which scripts were applied.",
            hint="`runner migrate --mark` finds out, and books what psql has run.",
            code=Exit.REFUSED,
        )
    return State(facts, applied, chosen, missing)


def read_missing_indexes(connection: Connection, chains: Sequence[str]) -> list[MissingIndex]:
    """Return the indexes that the chains have declared and that are yet to be built."""
    has_declarations = connection.execute(
        "select to_regclass('maintenance.missing_indexes') is not null"
    ).fetchone()
    if has_declarations != (True,):
        return []
    return (
        connection.cursor(row_factory=class_row(MissingIndex))
        .execute(literal(query("missing_indexes")), {"chains": list(chains)})
        .fetchall()
    )


def refuse_bare(connection: Connection) -> None:
    """Raise RunnerError where even the row is missing that a script puts into its own table."""
    row = connection.execute(
        "select to_regclass('maintenance.installation') is not null"
    ).fetchone()
    if row != (True,):
        return
    row = connection.execute("select exists (select from maintenance.installation)").fetchone()
    if row == (False,):
        raise RunnerError(
            f"schema maintenance in database {connection.info.dbname} was restored without its "
            "rows",
            detail="Policies, settings and the ledger are rows, and are missing.",
            hint="Restore them as well; or `drop schema maintenance cascade`, and migrate anew.",
            code=Exit.REFUSED,
        )


def refuse_newer(state: State, known: dict[str, Script]) -> None:
    """Raise RunnerError when the database has scripts that this package does not know."""
    unknown = [row for row in state.applied if row.migration_id not in known]
    if unknown:
        raise RunnerError(
            f"database {state.facts.database} is newer than this package",
            detail=f"It has {unknown[0].migration_id}, from pg-maintenance "
            f"{unknown[0].package_version}.",
            hint="Install that version of pg-maintenance or a newer one.",
            code=Exit.REFUSED,
        )


def changed(state: State, known: dict[str, Script]) -> list[str]:
    """Return the ids of applied scripts whose text is no longer what was applied."""
    return [
        row.migration_id
        for row in state.applied
        if row.migration_id in known and known[row.migration_id].checksum != row.checksum
    ]


@contextmanager
def installed(url: str, *, program: str, read_only: bool = False) -> Generator[Connection]:
    """Open a connection to a database that has the core, for commands that use it.

    Raises RunnerError where the schema is missing, or older than what the command calls, and where
    the role may not call it.
    """
    with connect(url, program=program, read_only=read_only) as connection:
        database = connection.info.dbname
        row = connection.execute(
            "select pg_catalog.obj_description(to_regnamespace('maintenance'), 'pg_namespace')"
        ).fetchone()
        if row is None or not (row[0] or "").startswith(MARKER):
            raise RunnerError(
                f"{database} has nothing of pg-maintenance", hint="Run `runner migrate` first."
            )
        try:
            yield connection
        except (errors.UndefinedFunction, errors.UndefinedTable, errors.UndefinedColumn) as error:
            message = error.diag.message_primary or ""
            if "maintenance." not in message:
                raise
            raise RunnerError(
                f"{database} has an older pg-maintenance than this runner",
                detail=message,
                hint="Run `runner migrate`; `runner status` says what is pending.",
            ) from None
        except errors.InsufficientPrivilege as error:
            role = connection.info.user
            raise RunnerError(
                f"role {role} may not do this: {error.diag.message_primary}",
                detail=error.diag.message_detail,
                hint=error.diag.message_hint
                or "The owner of schema maintenance may grant it: `runner grants`.",
            ) from None
