"""What users name, policies and tables, and what they may have meant where there is none."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from difflib import get_close_matches
from shlex import quote
from typing import TYPE_CHECKING

from psycopg import Error, errors

from runner.errors import Exit, RunnerError, reported

if TYPE_CHECKING:
    from psycopg import Connection

TABLES = ["r", "p"]
VIEWS = ["v", "m"]
"""Kinds of relations, as pg_class calls them."""

MISSING = (
    errors.InsufficientPrivilege,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedTable,
)
"""What ``database.installed`` explains: rights and routines that are not there."""

MEANINGLESS = (errors.InvalidParameterValue, errors.CheckViolation)
"""What our routines raise about values that cannot work."""


@contextmanager
def asking(connection: Connection, name: str) -> Generator[None]:
    """Call a routine about one policy on a connection from ``database.installed``.

    Raises RunnerError: usage with near names where there is no such policy, usage where a value
    cannot work, and failed with what PostgreSQL says otherwise.
    """
    try:
        with connection.transaction():
            yield
    except errors.UndefinedObject as error:
        message = error.diag.message_primary or ""
        if not message.startswith("there is no policy "):
            raise
        raise RunnerError(message, hint=_near(connection, name), code=Exit.USAGE) from None
    except MISSING:
        raise
    except Error as error:
        code = Exit.USAGE if isinstance(error, MEANINGLESS) else Exit.FAILED
        raise reported(error, code=code) from None


def _near(connection: Connection, name: str) -> str:
    """Return the hint to whoever named a policy that does not exist."""
    try:
        known = [known for (known,) in connection.execute("select name from maintenance.policy")]
    except errors.InsufficientPrivilege:
        known = []
    lists = "`runner policy list` lists them."
    near = get_close_matches(name.lower(), known)
    return f"Did you mean {' or '.join(near)}? {lists}" if near else lists


def resolve(connection: Connection, name: str, kinds: list[str]) -> tuple[int, str]:
    """Return the oid of a table or view, named as in SQL, and its qualified name.

    Raises RunnerError (usage) where there is none, with those that differ in case or schema.
    """
    try:
        with connection.transaction(force_rollback=True):
            # Ours finds nothing but the catalog, and is ours again afterwards.
            connection.execute("set local search_path to default")
            row = connection.execute(
                "select pg_catalog.to_regclass(%s)::pg_catalog.oid", (name,)
            ).fetchone()
    except (errors.InvalidName, errors.SyntaxError, errors.FeatureNotSupported):
        row = None
    if row is not None and row[0] is not None:
        oid: int = row[0]
        named = connection.execute("select %s::oid::regclass::text", (oid,)).fetchone()
        assert named is not None
        return oid, named[0]
    alike = connection.execute(
        "select oid::regclass::text from pg_catalog.pg_class"
        " where lower(relname) = lower(%s) and relkind::text = any(%s) order by 1 limit 3",
        (name.rpartition(".")[2].replace('"', ""), kinds),
    ).fetchall()
    found = " or ".join(quote(other) for (other,) in alike)
    what = "table" if kinds == TABLES else "view"
    raise RunnerError(
        f"there is no {what} {name}",
        detail="Names are read as in SQL: without double quotes, capitals become small letters."
        if found
        else None,
        hint=f"Did you mean {found}?" if found else f"Name a {what} that exists: schema.{what}.",
        code=Exit.USAGE,
    )
