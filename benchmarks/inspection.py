"""Asks the inspection views of a database with 2,000 tables, each with three indexes.

There is no rival: what is measured is whether the views can be asked at all where there is much.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.measuring import (
    Options,
    heading,
    milliseconds,
    options,
    private_server,
    scalar,
    session,
    table,
    target,
    turns,
)
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from psycopg import Connection

TABLES = 2_000
ROWS = 3_000
GOAL = 2_000
"""Milliseconds."""
VIEWS = (
    "table_bloat", "index_bloat", "vacuum_needs", "analyze_needs", "reindex_needs",
    "unused_indexes", "duplicate_indexes", "refresh_order", "settings_advice", "table_growth",
)  # fmt: skip
MODEL = """
    create table public.model as
    select
        n::bigint as id,
        n % 97 as owner,
        md5(n::text) as token,
        'user' || n || '@example.com' as email,
        now() - n * interval '1 min' as created_at,
        case when n % 3 = 0 then now() end as used_at,
        (array['new', 'active', 'done'])[1 + n % 3] as status,
        n * 1.17 as amount,
        repeat('word ', n % 40) as note,
        n % 2 = 0 as flag
    from generate_series(1, {rows}) as n
"""
FILL = """
    do $$
    begin
        for v_number in {first} .. {last} loop
            execute format(
                'create table public.t%1$s (like public.model);'
                ' insert into public.t%1$s select * from public.model;'
                ' alter table public.t%1$s add primary key (id);'
                ' create index on public.t%1$s (owner, created_at);'
                ' create index on public.t%1$s (token)',
                v_number
            );
        end loop;
    end $$
"""


def measure(chosen: Options) -> None:
    """Fill the database, ask each view in turn, and print the table."""
    runs = chosen.runs or 5
    with private_server() as server:
        migrate(server.url("template1"))
        with session(server) as admin:
            admin.execute("create database inspected template template1")
        with session(server, "inspected") as connection:
            connection.execute("select maintenance.adopt_clone()")
            tables = chosen.rows(TABLES)
            _fill(connection, tables)
            heading(f"Inspection of {tables:,} tables with three indexes each", runs, connection)
            times = turns(runs, **{view: partial(_ask, connection, view) for view in VIEWS})
            table(
                ("view", "rows", "time"),
                [
                    (view, scalar(connection, f"select count(*) from maintenance.{view}"),
                     spread.shown("ms"))
                    for view, spread in times.items()
                ],
            )  # fmt: skip
    slowest = max(spread.median for spread in times.values())
    target(f"every view under {GOAL:,} ms", slowest < GOAL)


def _fill(connection: Connection, tables: int) -> None:
    connection.execute(literal(MODEL.format(rows=ROWS)))
    for first in range(0, tables, 100):  # a transaction for each: locks are limited
        last = min(first + 100, tables) - 1
        connection.execute(literal(FILL.format(first=first, last=last)))
    connection.execute("vacuum (analyze)")


def _ask(connection: Connection, view: str) -> float:
    statement = literal(f"select * from maintenance.{view}")
    return milliseconds(lambda: connection.execute(statement).fetchall())


if __name__ == "__main__":
    measure(options(__doc__))
