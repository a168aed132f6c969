"""Tokens as tests need them, put into the tables without the sweep noticing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conftest import scalar
from tests.statements import column, execute

if TYPE_CHECKING:
    from psycopg import Connection

USED_ONCE = ("password_reset_tokens", "email_verification_tokens")
TABLES = (*USED_ONCE, "refresh_tokens")

EXPIRED = "now() - interval '1 day'"
LIVE = "now() + interval '1 day'"


def a_user(db: Connection) -> Any:
    """Return the id of the user that the tests' tokens belong to."""
    execute(
        db,
        "insert into public.users (username, email, password_hash)"
        " values ('ada', 'ada@example.org', 'x') on conflict (username) do nothing",
    )
    return scalar(db, "select id from public.users where username = 'ada'")


def statement(table: str, expires: str, used: str, count: int | None) -> str:
    """Return an INSERT of tokens; it takes the name and the user as parameters."""
    once = table in USED_ONCE
    numbered = "null" if count is None else f"generate_series(1, {count})"
    return (
        f"insert into public.{table} as token"
        f" (token_hash, user_id, expires_at{', used_at' if once else ''})"
        f" select concat(%s::text, number), %s, {expires}{f', {used}' if once else ''}"
        f" from (select {numbered} as number) as numbered"
    )


def put(
    db: Connection,
    table: str,
    name: str,
    *,
    expires: str = LIVE,
    used: str = "null",
    count: int | None = None,
) -> None:
    """Put a token, or as many as asked with a number after the name, behind the trigger's back."""
    user = a_user(db)
    execute(db, "set session_replication_role = replica")
    execute(db, statement(table, expires, used, count), name, user)
    execute(db, "set session_replication_role = origin")


def insert(
    db: Connection,
    table: str,
    name: str,
    *,
    expires: str = LIVE,
    used: str = "null",
    count: int | None = None,
) -> list[Any]:
    """Insert as an application would, and return the ids."""
    user = a_user(db)
    return column(db, statement(table, expires, used, count) + " returning token.id", name, user)


def names(db: Connection, table: str) -> list[str]:
    """Return the tokens that are there."""
    return column(db, f"select token_hash from public.{table} order by token_hash")


def count(db: Connection, table: str) -> int:
    """Return how many tokens are there."""
    return scalar(db, f"select count(*) from public.{table}")
