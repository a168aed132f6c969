"""What describe_policy says of a policy: settings, changes, how it stands, who tends it, risks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.runs import a_table, alter, put, register, run, until
from tests.statements import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection


def described(db: Connection, policy: str = "token") -> dict[str, Any]:
    """Return what is said of a policy."""
    return scalar(db, "select maintenance.describe_policy(%s)", policy)


def test_settings_are_those_in_force_with_what_was_registered_and_what_was_changed_beside_them(
    tx: Connection,
) -> None:
    a_table(tx)
    register(tx, retention="1 mon 2 days", guard_rows=5)
    alter(tx, guard_rows="none", priority=7)
    answer = described(tx)
    assert (answer["policy"], answer["relation"], answer["version"]) == ("token", "public.token", 2)
    assert (answer["chain"], answer["changed_by"]) == (None, scalar(tx, "select current_user"))
    kept = ("retention", "guard_rows", "priority", "batch_size")
    assert [answer["settings"][what] for what in kept] == ["1 mon 2 days", None, 7, 10000]
    assert answer["shipped"] == {
        "column": "expires_at", "retention": "1 mon 2 days", "guard_rows": 5
    }  # fmt: skip
    assert answer["overrides"] == {"guard_rows": "none", "priority": 7}
    assert not {"name", "relation", "shipped", "version", "chain"} & {*answer["settings"]}


def test_the_last_ten_changes_are_told_with_what_each_setting_was_and_became(
    tx: Connection,
) -> None:
    a_table(tx)
    register(tx)
    assert [one["event"] for one in described(tx)["history"]] == ["registered"]
    for number in range(1, 11):
        alter(tx, priority=number)
    alter(tx, retention="1 day", max_rows=5)
    history = described(tx)["history"]
    assert [one["version"] for one in history] == [*range(12, 2, -1)]
    assert history[0]["changes"] == {"retention": ["00:00:00", "1 day"], "max_rows": [None, 5]}
    assert history[-1]["changes"] == {"priority": [1, 2]}
    assert {one["changed_by"] for one in history} == {scalar(tx, "select current_user")}


def test_a_policy_that_came_back_has_the_history_of_the_one_before(tx: Connection) -> None:
    a_table(tx)
    register(tx, priority=1)
    execute(tx, "select maintenance.remove_policy('token')")
    register(tx, priority=2)
    assert [(one["event"], one["changes"]) for one in described(tx)["history"]] == [
        ("registered", {}), ("removed", {}), ("registered", {})
    ]  # fmt: skip


def test_the_lease_is_told_while_a_run_holds_it_and_when_its_session_is_gone(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    put(db, "dead", 3)
    register(db)
    assert described(db)["lease"] is None
    session = another()
    number = scalar(session, "select maintenance.open_run('test')")
    step = scalar(session, f"select step from maintenance.open_step({number}, 'token')")
    lease = described(db)["lease"]
    assert (lease["step"], lease["pid"]) == (step, session.info.backend_pid)
    assert lease["is_alive"] is True
    session.close()
    until(lambda: described(db)["lease"]["is_alive"] is False)
    assert run(db)[:2] == (3, "exhausted")
    assert described(db)["lease"] is None


def test_how_it_stands_and_what_is_risky_is_told(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    answer = described(tx)
    assert (answer["status"]["outlook"], answer["status"]["insert_sweep"]) == (
        "it has not run yet", "none"
    )  # fmt: skip
    [risk] = [one for one in answer["risks"] if one["risk"] == "missing_index"]
    execute(tx, risk["statement"].replace("concurrently ", ""))
    assert "missing_index" not in {one["risk"] for one in described(tx)["risks"]}


def test_no_row_of_the_table_is_looked_at(tx: Connection) -> None:
    a_table(tx)
    put(tx, "dead")
    register(tx, condition="1 / (id - id) = 1")
    assert described(tx)["policy"] == "token"
    with pytest.raises(errors.DivisionByZero):
        execute(tx, "select maintenance.plan_policy('token')")


def test_the_policy_of_a_table_that_is_gone_is_described_too(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    execute(tx, "drop table token")
    answer = described(tx)
    assert answer["relation"].isdigit()
    assert answer["risks"] == []


@pytest.mark.parametrize(
    ("branches", "retention"),
    [
        ([{"column": "expires_at"}], "3 days"),
        ([{"column": "expires_at", "retention": "1 day"}, {"column": "expires_at"}],
         "1 day, 3 days"),
        ([{"column": "expires_at"}, {"condition": "name = 'x'"}], "3 days"),
        ([{"condition": "name = 'x'"}], None),
    ],
)  # fmt: skip
def test_the_status_says_how_long_rows_stay(
    tx: Connection, branches: list[dict[str, str]], retention: str | None
) -> None:
    a_table(tx)
    register(tx, branches=branches, retention="3 days")
    assert described(tx)["status"]["retention"] == retention


def test_a_monitor_may_read_it_and_a_stranger_may_not(
    db: Connection, role: Callable[[str], str]
) -> None:
    a_table(db)
    register(db)
    monitor = role("monitor")
    execute(db, f"select maintenance.grant_monitor('{monitor}'); set role {monitor}")
    assert described(db)["policy"] == "token"
    assert "missing_index" in {one["risk"] for one in described(db)["risks"]}
    execute(db, "reset role")
    assert not scalar(
        db,
        "select has_function_privilege(%s, 'maintenance.describe_policy(text)', 'execute')",
        role("stranger"),
    )
