"""Policies as tests register and run them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import scalar
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from psycopg import Connection


each_end_of_time = pytest.mark.parametrize(
    ("kind", "unit", "stay", "go"),
    [
        ("timestamptz", None, ["infinity"], ["-infinity"]),
        ("timestamp", None, ["infinity"], ["-infinity"]),
        ("date", None, ["infinity"], ["-infinity"]),
        ("double precision", "s", ["infinity", "nan"], ["-infinity"]),
        ("real", "s", ["infinity", "nan"], ["-infinity"]),
        ("numeric", "ms", ["infinity", "nan"], ["-infinity"]),
        ("bigint", "s", ["9223372036854775807"], ["-9223372036854775808"]),
        ("integer", "s", ["2147483647"], ["-2147483648"]),
        ("smallint", "s", [], ["-32768", "32767"]),
    ],
)
"""Types of time columns: their units, values that are never eligible, and that always are."""


def register(
    db: Connection, name: str, table: str, *, chain: str | None = None, **settings: Any
) -> list[tuple[str, str, str | None]]:
    """Register a policy, and return its risks: which, the message, the statement that helps."""
    return rows(
        db,
        "select risk, message, statement"
        " from maintenance.register_policy(%s, %s::regclass, %s, %s)",
        name,
        table,
        json.dumps(settings),
        chain,
    )


def alter(db: Connection, name: str, **changes: Any) -> list[tuple[str, str, str | None]]:
    """Alter a policy, and return its risks."""
    return rows(
        db,
        "select risk, message, statement from maintenance.alter_policy(%s, %s)",
        name,
        json.dumps(changes),
    )


def setting(db: Connection, name: str, what: str) -> Any:
    """Return a setting of a policy as it is in force."""
    return scalar(
        db, f"select to_jsonb(policy) -> '{what}' from maintenance.policy where name = %s", name
    )


def run(db: Connection, name: str, arguments: str = "") -> tuple[int, str]:
    """Run a policy as a user would; return how many rows went, and why it ended."""
    row = rows(db, f"call maintenance.run_policy(%s{arguments})", name)[0]
    return row[1], row[2]


def purge(db: Connection, name: str, moment: str) -> int:
    """Remove in one transaction what is eligible at a moment; return how many rows went."""
    removed, cursor, done = 0, None, False
    while not done:
        gone, done, cursor = rows(
            db,
            "select removed, is_done, next_cursor"
            " from maintenance.purge_batch(%s, moment => %s, cursor => %s)",
            name,
            moment,
            None if cursor is None else json.dumps(cursor),
        )[0]
        removed += gone
    return removed


def preview(db: Connection, name: str, *, exact: bool = False) -> dict[str, str]:
    """Return the lines of a preview by their item; of several the last one."""
    return dict(rows(db, "select item, value from maintenance.preview(%s, %s)", name, exact))


def executors(db: Connection) -> list[str]:
    """Return the names of the functions that act as owners."""
    return column(
        db,
        "select proname from pg_catalog.pg_proc"
        " where pronamespace = 'maintenance'::regnamespace and proname ^@ 'act_as_' order by 1",
    )


def hand_over(db: Connection, table: str, owner: str) -> None:
    """Give a table to a role, with what the role needs to register policies about it."""
    execute(
        db,
        f"alter table {table} owner to {owner};"
        f" grant usage on schema maintenance, {table.partition('.')[0]} to {owner};"
        " grant execute on function maintenance.register_policy(text, regclass, jsonb, text),"
        " maintenance.alter_policy(text, jsonb), maintenance.remove_policy(text, text),"
        f" maintenance.enable_policy(text, boolean) to {owner}",
    )
