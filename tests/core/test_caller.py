"""maintenance.caller: who asks, also inside functions that run as their owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from tests.conftest import scalar
from tests.statements import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

CALLER = "select maintenance.caller()"


def test_whoever_never_set_a_role_is_the_user_of_the_session(tx: Connection) -> None:
    assert scalar(tx, CALLER) == scalar(tx, "select session_user")
    assert scalar(tx, "select pg_typeof(maintenance.caller())::text") == "name"


def test_whoever_set_a_role_is_that_role_until_it_is_reset(
    role: Callable[..., str], tx: Connection
) -> None:
    operator = role('Operator of "all"')
    tx.execute(
        sql.SQL(
            "grant usage on schema maintenance to {0};"
            " grant execute on function maintenance.caller() to {0};"
            " set local role {0}"
        ).format(sql.Identifier(operator))
    )
    assert scalar(tx, CALLER) == operator
    execute(tx, "set local role none")
    assert scalar(tx, CALLER) == scalar(tx, "select session_user")


def test_a_function_that_runs_as_its_owner_still_sees_who_asked(
    role: Callable[..., str], tx: Connection
) -> None:
    owner, operator = role("owner"), role("operator")
    execute(
        tx,
        f"""
        grant usage on schema maintenance to {owner}, {operator};
        grant execute on function maintenance.caller() to {owner};
        create schema theirs authorization {owner};
        set local role {owner};
        create function theirs.asks() returns text language sql security definer
            as $$ select current_user || ' for ' || maintenance.caller() $$;
        grant usage on schema theirs to {operator};
        set local role {operator};
        """,
    )
    assert scalar(tx, "select theirs.asks()") == f"{owner} for {operator}"


def test_a_session_of_the_role_itself_is_that_role(
    role: Callable[..., str], db: Connection
) -> None:
    operator = role("operator")
    execute(
        db,
        f"grant usage on schema maintenance to {operator};"
        f" grant execute on function maintenance.caller() to {operator}",
    )
    with psycopg.connect(db.info.dsn, user=operator) as session:
        assert scalar(session, CALLER) == operator
