"""maintenance.removable: what a run of each policy would remove now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import scalar
from tests.core.runs import DEAD, LIVE, a_table, alter, put, register
from tests.statements import execute, rows

if TYPE_CHECKING:
    from psycopg import Connection


def told(db: Connection, what: str, policy: str = "token", *, exact: bool = False) -> Any:
    """Return columns of the line about a policy."""
    [row] = rows(
        db, f"select {what} from maintenance.removable(%s) where policy = %s", exact, policy
    )
    return row


ROWS = "eligible, is_counted, verdict, error"


def test_it_tells_what_would_go(tx: Connection) -> None:
    a_table(tx)
    put(tx, "dead", 3, expires="timestamptz '2020-01-02' - n * interval '1 day'")
    put(tx, "live", 7, expires=LIVE)
    register(tx, operation="tokens")
    execute(tx, "analyze token")
    assert told(tx, "relation, operation, is_enabled") == ("public.token", "tokens", True)
    assert told(tx, ROWS) == (3, True, "pass", None)
    assert told(tx, "oldest::timestamptz = '2019-12-30', estimated_bytes") == (True, 2458)


def test_nothing_to_go_is_no_byte_and_no_oldest(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    assert told(tx, "eligible, is_counted, estimated_bytes, oldest") == (0, True, 0, None)


def test_of_a_table_that_was_never_analyzed_the_bytes_are_unknown(tx: Connection) -> None:
    a_table(tx)
    put(tx, "dead")
    register(tx)
    assert told(tx, "eligible, estimated_bytes") == (1, None)


@pytest.mark.parametrize(
    ("there", "eligible", "is_counted"), [(10000, 10000, True), (10001, 10000, False)]
)
def test_counting_ends_at_10000_rows_unless_it_has_to_be_exact(
    tx: Connection, there: int, eligible: int, *, is_counted: bool
) -> None:
    a_table(tx)
    put(tx, "dead", there)
    register(tx, guard_share=1)
    execute(tx, "analyze token")
    assert told(tx, ROWS) == (eligible, is_counted, "pass", None)
    assert told(tx, ROWS, exact=True) == (there, True, "pass", None)
    pages = scalar(tx, "select relpages from pg_class where relname = 'token'")
    assert told(tx, "estimated_bytes") == (pages * 8192,), "beyond 10,000 they are estimated"


def test_the_guard_has_its_say(tx: Connection) -> None:
    a_table(tx)
    put(tx, "dead", 3)
    register(tx, guard_rows=2)
    assert told(tx, "eligible, verdict, reason") == (
        3,
        "refused",
        "more than 2 rows would go: guard_rows",
    )


def test_each_branch_has_its_oldest(tx: Connection) -> None:
    a_table(tx, more=", number bigint")
    put(tx, "dead")
    execute(tx, "update token set number = 5, expires_at = '2020-01-02 00:00+00'")
    register(
        tx,
        branches=[{"column": "expires_at"}, {"column": "number", "unit": "s"}],
    )
    assert told(tx, "oldest") == ("2020-01-02T00:00:00+00:00; 5",)


def test_in_a_large_table_without_an_index_the_oldest_is_unknown(tx: Connection) -> None:
    """Large is above 100 MB: an unlogged file of holes is as large and costs nothing."""
    a_table(tx)
    execute(
        tx,
        "alter table token set (fillfactor = 10);"
        " alter table token alter name set storage plain;"
        f" insert into token (expires_at, name) select {DEAD}, repeat('x', 7000)"
        " from generate_series(1, 12208)",
    )
    assert scalar(tx, "select pg_relation_size('token')") > 100_000_000
    register(tx, guard_share=1)
    assert told(tx, "oldest") == ("unknown, needs an index",)
    assert told(tx, "oldest is not null and oldest !~ 'unknown'", exact=True) == (True,)
    execute(tx, "create index on token (expires_at)")
    assert told(tx, "oldest !~ 'unknown'") == (True,)


def test_a_policy_that_cannot_tell_says_why_and_the_others_go_on(tx: Connection) -> None:
    for table in ("gone", "bent", "token"):
        a_table(tx, table)
        put(tx, "dead", table=table)
        register(tx, table, condition="name = 'dead'", priority=len(table))
    execute(tx, "drop table gone; alter table bent rename name to other")
    nothing = (None, None, None)
    assert told(tx, ROWS, "gone") == (*nothing, "its table is gone")
    assert told(tx, ROWS, "bent")[:3] == nothing
    assert 'column "name" does not exist' in told(tx, "error", "bent")[0]
    assert told(tx, ROWS) == (1, True, "pass", None)


def test_one_that_is_switched_off_is_told_as_well(tx: Connection) -> None:
    a_table(tx)
    put(tx, "dead")
    register(tx)
    alter(tx, is_enabled=False)
    assert told(tx, "is_enabled, eligible") == (False, 1)


def test_nothing_is_written(db: Connection) -> None:
    a_table(db)
    put(db, "dead", 2)
    register(db)
    execute(db, "set default_transaction_read_only = on")
    assert told(db, "eligible") == (2,)
    assert scalar(db, "select count(*) from token") == 2
