"""Sweeps on insert, attached to tables of the tests' own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.pq import TransactionStatus

from tests.core.runs import a_table, put, register
from tests.statements import execute, rows

if TYPE_CHECKING:
    from psycopg import Connection


def attach(db: Connection, policy: str = "token", **arguments: Any) -> list[tuple[str, str]]:
    """Attach the sweep of a policy, and return its risks: which, and the message."""
    given = "".join(f", {name} => %s" for name in arguments)
    return rows(
        db,
        f"select risk, message from maintenance.attach_insert_sweep(%s{given})",
        policy,
        *arguments.values(),
    )


def a_swept_table(
    db: Connection, name: str = "token", *, more: str = "", at_once: bool = True, **settings: Any
) -> None:
    """Make a table of tokens with a policy of its name, whose sweep is attached."""
    a_table(db, name, more)
    execute(db, f"create index {name}_expires_at on {name} (expires_at)")
    register(db, name, **settings)
    attach(db, name, at_once=at_once)


def put_quietly(db: Connection, *arguments: Any, **settings: Any) -> None:
    """Put tokens behind the back of the sweep."""
    execute(db, "set session_replication_role = replica")
    put(db, *arguments, **settings)
    execute(db, "set session_replication_role = origin")


def end_rests(db: Connection, policy: str = "token") -> None:
    """Let the session, and any other, sweep again at once."""
    local = db.info.transaction_status == TransactionStatus.INTRANS
    for name in ("", "_failed", "_from"):
        execute(db, "select set_config(%s, '', %s)", f"maintenance.sweep_{policy}{name}", local)
    execute(db, f"select setval('maintenance.sweep_{policy}_pace', 1)")
