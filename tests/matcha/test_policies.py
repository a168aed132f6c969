"""The policies of the chain matcha: they name the rows that its functions delete."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.policies import preview, purge
from tests.matcha.tokens import TABLES, USED_ONCE, a_user, count, insert, names, put
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from psycopg import Connection

SESSIONS = ("UTC", "Asia/Tokyo", "America/New_York")
MOMENTS = (
    "now()",
    "now() - interval '1 microsecond'",
    "now() + interval '1 microsecond'",
    "now() - interval '1 day'",
    "now() + interval '1 day'",
    "'infinity'",
    "'-infinity'",
)


def scatter(db: Connection, seed: int) -> None:
    """Put tokens around every boundary: used or not, expired or not."""
    chance = random.Random(seed)
    for table in TABLES:
        for number in range(60):
            used = "null"
            if table in USED_ONCE and chance.random() < 0.4:
                used = chance.choice(MOMENTS)
            put(db, table, str(number), expires=chance.choice(MOMENTS), used=used)


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("seed", range(4))
def test_the_policies_remove_the_rows_that_the_functions_delete(
    tx: Connection, seed: int, session: str
) -> None:
    execute(tx, f"set local time zone '{session}'")
    scatter(tx, seed)
    execute(tx, "savepoint scattered")
    moment = scalar(tx, "select now()").isoformat()
    eligible = {
        table: scalar(
            tx,
            "select maintenance.count_eligible(p, maintenance.branch_bounds(p, now()), null)"
            " from maintenance.policy as p where name = %s",
            table,
        )
        for table in TABLES
    }
    removed = {table: purge(tx, table, moment) for table in TABLES}
    left = {table: names(tx, table) for table in TABLES}
    execute(tx, "rollback to savepoint scattered")
    reset, verification, refresh, total = rows(
        tx, "select * from public.cleanup_all_expired_tokens()"
    )[0]
    assert eligible == {
        "password_reset_tokens": reset,
        "email_verification_tokens": verification,
        "refresh_tokens": refresh,
    }
    assert removed == eligible
    assert 0 < total < 180
    assert left == {table: names(tx, table) for table in TABLES}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("table", TABLES)
def test_a_sweep_removes_the_rows_that_its_policy_names(
    db: Connection, table: str, seed: int
) -> None:
    with db.transaction():
        scatter(db, seed)
        execute(db, "savepoint scattered")
        assert purge(db, table, scalar(db, "select now()").isoformat()) > 0
        left = names(db, table)
        execute(db, "rollback to savepoint scattered")
        insert(db, table, "new")
        assert sorted(names(db, table)) == sorted([*left, "new"])


@pytest.mark.parametrize("table", TABLES)
def test_an_index_serves_every_branch(tx: Connection, table: str) -> None:
    a_user(tx)
    assert "missing_index" not in column(
        tx,
        "select risk from maintenance.policy as p, maintenance.find_policy_risks(p)"
        " where p.name = %s",
        table,
    )
    shown = preview(tx, table)
    assert all("; index " in value or value.startswith("index ") for item, value in shown.items()
               if item.startswith("branch"))  # fmt: skip


def test_unverified_users_go_only_where_somebody_switched_that_on(tx: Connection) -> None:
    execute(
        tx,
        "insert into public.users (username, email, password_hash, email_verified, created_at)"
        " select name, name || '@example.org', 'x', verified, now() - old from (values"
        " ('young', false, interval '7 days'), ('old', false, interval '7 days 1 microsecond'),"
        " ('proved', true, interval '8 days')) as made (name, verified, old)",
    )
    moment = scalar(tx, "select now()").isoformat()
    assert rows(
        tx, "select is_enabled, severity from maintenance.policy where name = 'unverified_users'"
    ) == [(False, "CRITICAL")]
    with pytest.raises(errors.ObjectNotInPrerequisiteState), tx.transaction():
        purge(tx, "unverified_users", moment)
    assert "unverified_users" not in scalar(tx, "select maintenance.policies_of(null)")
    execute(tx, "select maintenance.enable_policy('unverified_users')")
    assert purge(tx, "unverified_users", moment) == 1
    assert column(tx, "select username from public.users order by 1") == ["proved", "young"]


def test_with_an_unverified_user_go_its_tokens(tx: Connection) -> None:
    for table in TABLES:
        put(tx, table, "live", count=3)
    execute(
        tx, "update public.users set created_at = now() - interval '8 days', email_verified = false"
    )
    execute(tx, "select maintenance.enable_policy('unverified_users')")
    assert purge(tx, "unverified_users", scalar(tx, "select now()").isoformat()) == 1
    assert [count(tx, table) for table in TABLES] == [0, 0, 0]
