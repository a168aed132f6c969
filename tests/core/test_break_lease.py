"""maintenance.break_lease and lease_status: who holds what, and who may take it from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.runs import (
    a_gate,
    a_table,
    at_the_gate,
    calling,
    closed_gate,
    count,
    put,
    register,
    run,
    steps,
    until,
)
from tests.statements import column, execute, rows, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

STATUS = "select * from maintenance.lease_status"
SESSION = "select session from maintenance.lease_status"
BREAK = "select maintenance.break_lease('token')"


def a_step(db: Connection) -> tuple[int, int]:
    """Make a table with five dead rows and its policy, and begin to run that."""
    a_table(db)
    put(db, "dead", 5)
    register(db)
    return begin(db)


def begin(db: Connection) -> tuple[int, int]:
    """Begin as a driver does, and return the step and its token."""
    number = scalar(db, "select maintenance.open_run('a driver')")
    [step] = rows(db, "select step, token from maintenance.open_step(%s, 'token')", number)
    return step


# lease_status


def test_a_free_lease_is_not_listed(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    assert rows(tx, STATUS) == []


def test_a_lease_that_is_taken_says_by_whom_and_how_far_it_has_come(db: Connection) -> None:
    execute(db, "set application_name = 'night job'")
    step, token = a_step(db)
    execute(db, "select maintenance.run_batch(%s, %s, null, 2)", step, token)
    expected = rows(
        db,
        "select 'token', step.run, step.id, pg_backend_pid(), 'a driver', current_user,"
        " 'local, night job', step.started_at, step.heartbeat_at, 2::bigint, 'alive'"
        " from maintenance.run_step as step",
    )
    assert rows(db, STATUS) == expected
    execute(db, "select maintenance.close_step(%s, %s, 'stopped')", step, token)
    assert rows(db, STATUS) == []


def test_a_session_is_told_by_its_process_and_its_beginning(tx: Connection) -> None:
    a_step(tx)
    assert column(tx, SESSION) == ["alive"]
    execute(tx, "update maintenance.lease set owner_start = owner_start - interval '1 us'")
    assert column(tx, SESSION) == ["gone"], "another one has its number now"
    execute(tx, "update maintenance.lease set owner_start = null")
    assert column(tx, SESSION) == ["unknown"]
    execute(tx, "update maintenance.lease set owner_pid = 0")
    assert column(tx, SESSION) == ["gone"]


def test_what_a_monitor_may_not_see_is_unknown(role: Callable[[str], str], tx: Connection) -> None:
    monitor = role("monitor")
    a_step(tx)
    execute(tx, "select maintenance.grant_monitor(%s)", monitor)
    execute(tx, f"set local role {monitor}")
    assert column(tx, SESSION) == ["unknown"]
    execute(tx, "reset role")
    execute(tx, f"grant pg_read_all_stats to {monitor}")
    execute(tx, f"set local role {monitor}")
    assert column(tx, SESSION) == ["alive"]


# break_lease


def test_a_broken_lease_is_free_and_its_holder_removes_nothing_more(
    db: Connection, another: Callable[[], Connection]
) -> None:
    step, token = a_step(db)
    execute(db, "select maintenance.run_batch(%s, %s, null, 2)", step, token)
    breaker = another()
    execute(breaker, BREAK)
    assert rows(breaker, STATUS) == []
    for each in (token, token + 1):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="does not hold its lease"):
            execute(db, "select maintenance.run_batch(%s, %s)", step, each)
    execute(db, "select maintenance.close_step(%s, %s, 'exhausted')", step, token)
    [(reason, message, is_closed)] = rows(
        db, "select exit_reason, message, ended_at is not null from maintenance.run_step"
    )
    who = scalar(db, "select current_user")
    assert (reason, message, is_closed) == ("interrupted", f"{who} broke its lease", True)
    assert run(breaker)[:2] == (3, "exhausted")
    assert scalar(db, "select token from maintenance.lease where policy = 'token'") == token + 2


def test_it_waits_for_the_batch_in_hand(db: Connection, another: Callable[[], Connection]) -> None:
    a_table(db)
    a_gate(db)
    put(db, "gate")
    register(db)
    observer = another()
    step, token = begin(another())
    batch = f"select removed from maintenance.run_batch({step}, {token})"
    with closed_gate(db), calling(db, batch) as call:
        until(lambda: at_the_gate(observer))
        with calling(db, BREAK) as breaking:
            until_blocked(observer, breaking.session)
            assert count(observer) == 1
            execute(db, "select pg_advisory_unlock(1)")
            assert call.result() == (1,), "the batch was finished"
            breaking.result()
        execute(db, "select pg_advisory_lock(1)")
    assert rows(db, STATUS) == []
    assert steps(db, "(step.removed, step.exit_reason)::text") == ["(1,interrupted)"]


def test_a_lease_that_is_free_cannot_be_broken(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="lease of policy token is free"):
        execute(tx, BREAK)


def test_only_the_lease_of_that_policy_is_broken(tx: Connection) -> None:
    a_step(tx)
    a_table(tx, "other")
    register(tx, "other")
    number = scalar(tx, "select maintenance.open_run('a driver')")
    execute(tx, "select maintenance.open_step(%s, 'other')", number)
    execute(tx, BREAK)
    assert column(tx, "select policy from maintenance.lease_status") == ["other"]
    assert steps(tx, "step.exit_reason") == ["interrupted"]
    assert steps(tx, "step.exit_reason", "other") == [None]


def test_the_step_that_is_meant_is_the_only_one_that_loses_it(tx: Connection) -> None:
    step, _ = a_step(tx)
    for other in (step - 1, step + 1):
        with (
            pytest.raises(errors.ObjectNotInPrerequisiteState, match=f"step {other} does not hold"),
            tx.transaction(),
        ):
            execute(tx, "select maintenance.break_lease('token', %s)", other)
    execute(tx, "select maintenance.break_lease('token', %s)", step)
    assert rows(tx, STATUS) == []


def test_owners_of_the_table_and_of_the_schema_may_and_operators_may_not(
    role: Callable[[str], str], tx: Connection
) -> None:
    operator, owner, master = role("operator"), role("owner"), role("master")
    a_step(tx)
    execute(
        tx,
        f"alter table token owner to {owner}; select maintenance.alter_policy('token', '{{}}');"
        f" alter schema maintenance owner to {master};"
        f" grant usage on schema maintenance to {operator}, {owner};"
        f" grant execute on function maintenance.break_lease(text, bigint)"
        f" to {operator}, {owner}, {master}",
    )
    for who, may in ((operator, False), (owner, True), (master, True)):
        execute(tx, "savepoint before")
        execute(tx, f"set local role {who}")
        if may:
            execute(tx, BREAK)
            execute(tx, "reset role")
            assert steps(tx, "step.message") == [f"{who} broke its lease"]
        else:
            with pytest.raises(errors.InsufficientPrivilege, match="only the owner of"):
                execute(tx, BREAK)
        execute(tx, "rollback to savepoint before")


def test_the_lease_of_a_table_that_is_gone_can_be_broken(tx: Connection) -> None:
    a_step(tx)
    execute(tx, "drop table token")
    execute(tx, BREAK)
    assert rows(tx, STATUS) == []
