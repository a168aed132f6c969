"""The lease of a policy: one run at a time, and none of them lost with its session."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from runner.embedded import Server
from runner.migrate import migrate
from tests.conftest import scalar
from tests.core.runs import (
    LIVE,
    a_gate,
    a_table,
    at_the_gate,
    calling,
    closed_gate,
    count,
    names,
    purge,
    put,
    register,
    run,
    steps,
    until,
)
from tests.statements import execute, rows, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

BATCHES = "call maintenance.run_policy('token', batch_size => 2)"
LAST_WORDS = "its session ended without a word"


def tokens(db: Connection) -> None:
    """Make a table with a row in the middle that waits at the gate, and its policy."""
    a_table(db)
    a_gate(db)
    put(db, "dead", 10)
    put(db, "gate")
    put(db, "dead", 10)
    put(db, "live", expires=LIVE)
    register(db)


def open_step(db: Connection) -> tuple[int, int]:
    """Begin as a driver does, and return the step and its token."""
    number = scalar(db, "select maintenance.open_run('a driver')")
    [step] = rows(db, "select step, token from maintenance.open_step(%s, 'token')", number)
    return step


BATCH = "select removed, exit_reason from maintenance.run_batch({}, {}, null, 2)"


def test_the_second_of_two_runs_leaves_it_to_the_first(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    second = another()
    step = open_step(db)
    removed, reason, message = run(second)
    assert (removed, reason) == (0, "lease_held")
    assert message == f"step {step[0]} of process {db.info.backend_pid} is at it"
    assert count(second) == 22
    assert steps(second, "step.exit_reason") == [None, "lease_held"]
    execute(db, "select maintenance.close_step(%s, %s, 'stopped')", *step)
    assert run(second)[:2] == (21, "exhausted")


def test_two_runs_at_once_remove_each_row_once(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    observer = another()
    with closed_gate(db), calling(db, BATCHES) as first, calling(db, BATCHES) as second:
        until(lambda: at_the_gate(observer))
        execute(db, "select pg_advisory_unlock(1)")
        results = sorted((first.result()[1:3], second.result()[1:3]))
        execute(db, "select pg_advisory_lock(1)")
    assert results[1] == (21, "exhausted")
    assert results[0] in ((0, "lease_held"), (0, "nothing_to_do"))
    assert names(db) == ["live"]


def test_no_batch_goes_by_hand_while_a_run_goes_on(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    second = another()
    open_step(db)
    with pytest.raises(errors.LockNotAvailable, match="is being run by another session"):
        purge(second)
    assert count(second) == 22


def test_after_a_run_was_terminated_the_next_one_finishes_its_work(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    observer = another()
    with closed_gate(db), calling(db, BATCHES) as call:
        until(lambda: at_the_gate(observer))
        before = count(observer)
        execute(observer, "select pg_terminate_backend(%s)", call.pid)
        call.wait()
        assert isinstance(call.error, errors.AdminShutdown | psycopg.OperationalError)
    until(lambda: not rows(observer, "select from pg_stat_activity where pid = %s", call.pid))
    assert 2 <= before <= 20
    assert count(observer) == before
    history = "select exit_reason, removed from maintenance.run_history"
    assert rows(observer, history) == [("interrupted", 22 - before)]
    assert run(db)[:2] == (before - 1, "exhausted")
    assert names(db) == ["live"]
    assert steps(db, "(step.exit_reason, step.removed, step.message)::text") == [
        f'(interrupted,{22 - before},"{LAST_WORDS}")',
        f"(exhausted,{before - 1},)",
    ]
    assert scalar(db, "select count(*) from maintenance.run where ended_at is null") == 0


def test_a_ghost_removes_nothing_once_it_was_overtaken(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    driver = another()
    step, token = open_step(driver)
    execute(driver, BATCH.format(step, token))
    pid = driver.info.backend_pid
    driver.close()
    until(lambda: not rows(db, "select from pg_stat_activity where pid = %s", pid))
    assert run(db, max_rows=5)[:2] == (5, "budget")
    before = count(db)
    for ghost in (token, token + 1):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="does not hold its lease"):
            execute(db, BATCH.format(step, ghost))
    execute(db, "select maintenance.close_step(%s, %s, 'exhausted')", step, token)
    assert count(db) == before
    assert steps(db, "step.exit_reason") == ["interrupted", "budget"]


def test_a_takeover_waits_for_the_batch_of_the_ghost(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    driver, observer = another(), another()
    step, token = open_step(driver)
    with closed_gate(db), calling(db, f"select removed from maintenance.run_batch({step}, {token})"
    ) as ghost:  # fmt: skip
        until(lambda: at_the_gate(observer))
        pid = driver.info.backend_pid
        driver.close()
        until(lambda: not rows(observer, "select from pg_stat_activity where pid = %s", pid))
        with calling(db) as heir:
            until_blocked(observer, heir.session)
            sleep(0.1)  # longer than a run waits for a row
            assert len(steps(observer, "step.id")) == 1, "it has not even begun"
            assert count(observer) == 22
            execute(db, "select pg_advisory_unlock(1)")
            assert ghost.result() == (21,)
            assert heir.result()[1:3] == (0, "nothing_to_do")
        execute(db, "select pg_advisory_lock(1)")
    assert steps(db, "(step.exit_reason, step.removed)::text") == [
        "(interrupted,21)",
        "(nothing_to_do,0)",
    ]


def test_a_token_that_is_not_that_of_the_step_removes_nothing(db: Connection) -> None:
    tokens(db)
    step, token = open_step(db)
    for wrong in (token - 1, token + 1):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="does not hold its lease"):
            execute(db, BATCH.format(step, wrong))
        execute(db, "select maintenance.close_step(%s, %s, 'exhausted')", step, wrong)
    assert count(db) == 22
    assert rows(db, BATCH.format(step, token)) == [(2, None)]


def test_a_session_that_gave_up_a_run_may_begin_another(db: Connection) -> None:
    tokens(db)
    open_step(db)
    assert run(db)[:2] == (21, "exhausted")
    assert steps(db, "step.exit_reason") == ["interrupted", "exhausted"]


def test_a_lease_of_another_session_with_the_same_pid_is_no_lease(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    open_step(another())
    execute(db, "update maintenance.lease set owner_start = owner_start - interval '1 s'")
    execute(db, "update maintenance.run set owner_start = owner_start - interval '1 s'")
    assert run(db)[:2] == (21, "exhausted")


@pytest.mark.parametrize(("seconds", "lives"), [(59, True), (61, False)])
def test_a_session_that_hides_when_it_began_lives_for_a_minute_after_its_last_batch(
    tx: Connection, seconds: int, lives: bool
) -> None:
    heartbeat = f"clock_timestamp() - interval '{seconds} s'"
    assert scalar(
        tx, f"select maintenance.is_alive(pg_backend_pid(), null, {heartbeat})"
    ) is lives  # fmt: skip
    assert not scalar(tx, f"select maintenance.is_alive(0, null, {heartbeat})"), "it has gone"


def test_only_the_session_of_a_run_opens_its_steps(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    number = scalar(another(), "select maintenance.open_run('a driver')")
    with pytest.raises(errors.NoDataFound):
        execute(db, "select maintenance.open_step(%s, 'token')", number)


def test_policies_have_leases_of_their_own(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    a_table(db, "other")
    put(db, "dead", table="other")
    register(db, "other")
    open_step(another())
    assert run(db, "other")[:2] == (1, "exhausted")


# A crash


@pytest.fixture
def fragile() -> Iterator[Connection]:
    """A database on a server of its own, which a test may crash."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(
        prefix="pgm-test-", dir=memory if os.access(memory, os.W_OK) else None
    )
    path = Path(folder)
    path.chmod(0o755)
    server = Server(path / "server", throwaway=True)
    try:
        server.start()
        migrate(server.url())
        with psycopg.connect(server.url(), autocommit=True) as connection:
            execute(connection, "select maintenance.adopt_clone()")
            # a crash would take along what the test has put there
            execute(connection, "alter database postgres set synchronous_commit = on")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            yield connection
    finally:
        server.reset()
        shutil.rmtree(path, ignore_errors=True)


def reconnected(lost: Connection) -> Connection:
    """Return a new session, once the server has ended this one and recovered."""
    with suppress(psycopg.OperationalError):
        for _ in range(500):
            execute(lost, "select pg_sleep(0.02)")
        pytest.fail("the server does not mind the crash")
    for _ in range(500):
        with suppress(psycopg.OperationalError):
            return psycopg.connect(lost.info.dsn, autocommit=True)
        sleep(0.02)
    pytest.fail("the server does not come back")


def test_after_a_crash_rows_are_there_or_gone_and_the_next_run_finishes(
    fragile: Connection,
) -> None:
    tokens(fragile)
    observer = psycopg.connect(fragile.info.dsn, autocommit=True)
    gone = 0
    with (
        suppress(psycopg.OperationalError),
        closed_gate(fragile),
        calling(fragile, BATCHES) as call,
    ):
        until(lambda: at_the_gate(observer))
        gone = 22 - count(observer)
        os.kill(call.pid, signal.SIGKILL)
        call.wait()
        assert isinstance(call.error, psycopg.OperationalError)
    assert gone > 0
    with reconnected(observer) as db:
        before = count(db)
        assert 22 - gone <= before <= 22, "batches that nobody waited for may be back"
        assert names(db) == ["dead", "gate", "live"]
        assert rows(db, "select exit_reason from maintenance.run_history") == [("interrupted",)]
        assert run(db)[:2] == (before - 1, "exhausted")
        assert names(db) == ["live"]
        assert steps(db, "step.removed") == [22 - before, before - 1]
        assert steps(db, "step.exit_reason") == ["interrupted", "exhausted"]
