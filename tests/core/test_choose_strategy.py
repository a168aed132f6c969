"""How a policy walks its table: along the blocks, or along its index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import scalar
from tests.core.runs import alter, register
from tests.statements import execute

if TYPE_CHECKING:
    from psycopg import Connection

PAGES = 1600
ROWS = 16_000


@pytest.fixture
def times(tx: Connection) -> Connection:
    """Two tables of ten rows a page, one a minute: in the order of their time, and in none."""
    for name, place in (("ordered", "n"), ("mixed", f"1 + n * 7919 % {ROWS}")):
        execute(
            tx,
            f"create table {name} (id integer primary key, expires_at timestamptz, pad char(700));"
            f" insert into {name} select n, now() - interval '1 minute' * ({ROWS} - ({place})), ''"
            f" from generate_series(1, {ROWS}) as n;"
            f" create index {name}_expires_at on {name} (expires_at); analyze {name}",
        )
        register(tx, name)
    assert scalar(tx, "select relpages from pg_class where relname = 'mixed'") == PAGES
    return tx


def chosen(db: Connection, table: str, expired: int) -> str:
    """Return how the policy walks when so many rows are to go."""
    alter(db, table, retention=f"{ROWS - expired} minutes")
    return scalar(db, "select maintenance.plan_policy(%s) #>> '{strategies,0,strategy}'", table)


@pytest.mark.parametrize(("expired", "strategy"), [(0.25 * ROWS, "window"), (0.35 * ROWS, "heap")])
def test_where_rows_lie_in_order_an_index_serves_up_to_a_third_of_them(
    times: Connection, expired: float, strategy: str
) -> None:
    assert chosen(times, "ordered", round(expired)) == strategy


@pytest.mark.parametrize(("expired", "strategy"), [(0.4 * PAGES, "window"), (0.6 * PAGES, "heap")])
def test_elsewhere_it_serves_up_to_a_row_in_two_pages(
    times: Connection, expired: float, strategy: str
) -> None:
    assert chosen(times, "mixed", round(expired)) == strategy
