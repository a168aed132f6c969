"""Archives as the tests of files make and compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.statements import execute, rows

if TYPE_CHECKING:
    from psycopg import Connection

LONG_AGO = "2020-01-01 00:00+00"


def make_archive(
    db: Connection, columns: str = "id bigint, note text", *, name: str = "public.kept"
) -> None:
    """Make an archive with some columns and those of ours, and a table that it is of."""
    execute(
        db,
        f"create table if not exists public.live (id bigint);"
        f" create table {name} ({columns}, _archived_at timestamptz, _archived_by_step bigint);"
        " insert into maintenance.archive (relation, source, columns, is_ours)"
        f" values ('{name}', 'public.live', '{{}}', true)",
    )


def fill(db: Connection, count: int, *, name: str = "public.kept", at: str = LONG_AGO) -> None:
    """Put rows into an archive that were archived at a time, a second apart."""
    execute(
        db,
        f"insert into {name} (id, note, _archived_at, _archived_by_step)"
        f" select n, 'note ' || n, '{at}'::timestamptz + n * interval '1 s', n / 100"
        f" from generate_series(1, {count}) as n",
    )


def contents(db: Connection, table: str = "public.kept") -> list[tuple[Any, ...]]:
    """Return all rows of a table as text, in an order of their own."""
    return rows(db, f"select kept::text from {table} as kept order by 1")
