"""Databases of refresh tokens, and fresh copies of them in which policies run.

A CHECKPOINT follows each copy: whoever changes a page of it first logs the whole page.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.filling import fill_users
from benchmarks.measuring import fresh_copy, session
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from psycopg import Connection

    from runner.embedded import Server

TOKENS = 4_000_000
USERS = 1_000
LAYOUTS = {"random": "hashint8extended(i, 7) %% %(tokens)s", "correlated": "i"}

# The tokens expire within 100 days, 90 of which are over; around each midnight by this count there
# is an hour without any, so that a run that begins a little later removes the same ones.
FILL = """
    insert into public.refresh_tokens (id, user_id, token_hash, expires_at)
    select
        lpad(to_hex(i), 32, '0')::uuid,
        lpad(to_hex(1 + i %% %(users)s), 32, '0')::uuid,
        lpad(to_hex(i), 64, '0'),
        now() - interval '90 days' + interval '1 hour'
            + place * 100 / %(tokens)s * interval '1 day'
            + place * 100 %% %(tokens)s * interval '22 hours' / %(tokens)s
    from generate_series(0::bigint, %(tokens)s - 1) as i
    cross join lateral (select abs({place})) as token (place)
"""
NO_GUARD: dict[str, object] = {"guard_rows": 9_000_000_000_000, "guard_share": 1}


@contextmanager
def filled(server: Server, layout: str, tokens: int) -> Generator[Connection]:
    """Fill a database of that name; lend a session in it to whoever has something to add."""
    with session(server) as admin:
        admin.execute(literal(f"create database {layout}"))
    migrate(server.url(layout))
    with session(server, layout) as connection:
        fill_users(connection, USERS)
        connection.execute("alter table public.refresh_tokens set (autovacuum_enabled = off)")
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")
            connection.execute(
                literal(FILL.format(place=LAYOUTS[layout])), {"tokens": tokens, "users": USERS}
            )
        yield connection
        connection.execute("vacuum (analyze)")


@contextmanager
def tended_copy(
    server: Server, template: str, policy: str, settings: Mapping[str, object]
) -> Generator[Connection]:
    """Lend a session in a fresh copy of a database, where a policy has settings but no guard."""
    with fresh_copy(server, template) as connection:
        connection.execute(
            "select maintenance.alter_policy(%s, %s::text::jsonb)",
            [policy, json.dumps({**NO_GUARD, **settings})],
        )
        connection.execute("checkpoint")
        yield connection
