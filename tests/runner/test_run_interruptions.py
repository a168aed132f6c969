"""Stopped, killed, cut off, held up, or several at once: what is logged is gone, and no more."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from pathlib import Path
from random import Random
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner import api
from runner.embedded import Server
from runner.errors import Exit
from runner.migrate import migrate
from tests import conftest
from tests.conftest import scalar
from tests.core.runs import (
    DEAD,
    LIVE,
    a_gate,
    a_table,
    alter,
    at_the_gate,
    closed_gate,
    count,
    put,
    register,
    steps,
    until,
)
from tests.core.test_run_campaign import Writer
from tests.runner.test_interruptions import running
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

DEAD_ROWS = 1024
WHERE_DEAD = "expires_at < clock_timestamp()"
RUN = ("run", "token", "--jobs", "2", "--batch-size", "20")


@pytest.fixture
def gated(db: Connection) -> Connection:
    """A policy on a table of two parts; of the first, the batch in the middle waits at a gate."""
    return a_gated_policy(db)


def a_gated_policy(db: Connection, at: int = 400) -> Connection:
    """Make that table: dead and live rows in each page, and one that is called gate."""
    a_table(db)
    execute(
        db,
        "alter table token set (fillfactor = 10, autovacuum_enabled = off);"
        f" insert into token (expires_at, name) select case when n % 2 = 0 then {DEAD}"
        f" else {LIVE} end, case n when {at} then 'gate' else rpad('x', 300) end"
        f" from generate_series(1, {2 * DEAD_ROWS}) as n",
    )
    a_gate(db)
    register(db)
    return db


def gone(db: Connection) -> int:
    """Return how many of the rows are gone."""
    return 2 * DEAD_ROWS - count(db)


def logged(db: Connection) -> int:
    """Return how many rows the log says are gone."""
    return sum(steps(db, "step.removed"))


def assert_tidy(db: Connection) -> None:
    """Assert that the log tells the truth, that no lease is held, and that the live rows live."""
    assert gone(db) == logged(db)
    assert column(db, "select step from maintenance.lease where step is not null") == []
    assert count(db, where=f"not {WHERE_DEAD}") == DEAD_ROWS


def assert_the_next_run_finishes(db: Connection) -> None:
    """Assert that a run removes what is left."""
    left = DEAD_ROWS - gone(db)
    ran = api.run(db.info.dsn, ["token"], order=api.Order(jobs=2))
    reason = "exhausted" if left else "nothing_to_do"
    assert [(step.removed, step.exit_reason) for step in ran.steps] == [(left, reason)]
    assert_tidy(db)


def sessions(db: Connection) -> dict[str, int]:
    """Return the sessions of runs: their processes by their names."""
    return dict(
        rows(
            db,
            "select application_name, pid from pg_stat_activity where datname = current_database()"
            " and starts_with(application_name, 'runner run')",
        )
    )


class InThread:
    """A run in a thread of its own, while the test goes on."""

    def __init__(
        self,
        url: str,
        *names: str,
        watch: Callable[[api.Progress], None] = lambda _: None,
        **order: Any,
    ) -> None:
        self.ran: api.Ran | None = None
        self.error: BaseException | None = None
        given: dict[str, Any] = {"jobs": 2, "batch_size": 20} | order
        self._thread = Thread(
            target=self._run, args=(url, names or ("token",), api.Order(**given), watch)
        )
        self._thread.start()

    def _run(
        self,
        url: str,
        names: tuple[str, ...],
        order: api.Order,
        watch: Callable[[api.Progress], None],
    ) -> None:
        try:
            self.ran = api.run(url, names, order=order, watch=watch)
        except BaseException as error:
            self.error = error

    def wait(self, seconds: float = 20) -> None:
        """Wait for its end."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "it never ends"

    def result(self) -> api.Ran:
        """Wait for its end and return what it did, or raise its error."""
        self.wait()
        if self.error is not None:
            raise self.error
        assert self.ran is not None
        return self.ran


def waiting(db: Connection) -> set[str]:
    """Return the sessions of runs that wait for a lock, by their names."""
    return set(
        column(
            db,
            "select application_name from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and starts_with(application_name, 'runner run')",
        )
    )


def open_gate(db: Connection) -> None:
    """Let who waits at the gate go on; whoever closes it again finds it open for all."""
    execute(db, "select pg_advisory_unlock(1)")


def close_gate(db: Connection) -> None:
    """Shut the gate again, as ``closed_gate`` expects it."""
    execute(db, "select pg_advisory_lock(1)")


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_lets_the_batches_in_hand_finish(
    gated: Connection, another: Callable[[], Connection], number: signal.Signals
) -> None:
    observer = another()
    with closed_gate(gated), running(*RUN, url=gated.info.dsn) as process:
        until(lambda: at_the_gate(observer))
        process.send_signal(number)
        sleep(0.5)
        assert process.poll() is None, "it waits for its batch"
        before = gone(observer)
        open_gate(gated)
        out, err = process.communicate(timeout=20)
        close_gate(gated)
    assert process.returncode == Exit.DONE, err
    assert "stopped" in out
    assert "token: asked to stop by a signal" in out
    assert "stopping after this step" in err
    assert 0 < gone(gated) - before <= 20, "one batch, and no other"
    assert count(gated, where="name = 'gate'") == 0
    assert steps(gated, "step.exit_reason") == ["stopped"]
    assert_tidy(gated)
    assert_the_next_run_finishes(gated)


def test_two_signals_roll_the_batches_in_hand_back(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    observer = another()
    with closed_gate(gated), running(*RUN, url=gated.info.dsn) as process:
        until(lambda: at_the_gate(observer))
        process.send_signal(signal.SIGINT)
        sleep(0.3)
        began = monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert monotonic() - began < 3
    assert process.returncode == Exit.DONE, err
    assert "Traceback" not in err
    assert "token: asked to stop by a signal" in out or "interrupted" in out
    assert count(gated, where="name = 'gate'") == 1
    assert steps(gated, "step.exit_reason") == ["stopped"]
    assert_tidy(gated)
    assert sessions(observer) == {}
    assert_the_next_run_finishes(gated)


def test_two_signals_at_once_end_it_too(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    observer = another()
    with closed_gate(gated), running(*RUN, "--json", url=gated.info.dsn) as process:
        until(lambda: at_the_gate(observer))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    assert out.count("\n}\n") == 1, "one document"
    assert process.returncode in (Exit.DONE, Exit.FAILED)
    assert gone(gated) == logged(gated)
    assert_the_next_run_finishes(gated)


@pytest.mark.parametrize("where", ["anywhere", "in a wait"])
def test_an_interrupt_in_a_program_begins_no_other_policy(
    gated: Connection, another: Callable[[], Connection], where: str
) -> None:
    """Without anybody who turns signals into requests, KeyboardInterrupt arrives anywhere.

    Where Event.wait takes its lock again, it becomes an error of what releases that lock.
    """
    a_table(gated, "login")
    put(gated, "dead", 3, table="login")
    register(gated, "login")
    told = 0

    def interrupt(_: api.Progress) -> None:
        nonlocal told
        told += 1
        if told == 3 and where == "in a wait":
            try:
                raise KeyboardInterrupt
            finally:
                threading.Lock().release()
        if told == 3:
            raise KeyboardInterrupt

    observer = another()
    with closed_gate(gated):
        ran = api.run(
            gated.info.dsn, ["token", "login"], order=api.Order(jobs=2, batch_size=20),
            watch=interrupt,
        )  # fmt: skip
    assert [(step.policy, step.exit_reason, step.message) for step in ran.steps] == [
        ("token", "stopped", "interrupted: the batches in hand were rolled back"),
        ("login", "stopped", "somebody asked the run to stop"),
    ]
    assert count(observer, "login") == 3
    assert count(observer, where="name = 'gate'") == 1
    assert_tidy(gated)


def test_a_killed_run_is_taken_over_and_logged_as_interrupted(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    observer = another()
    with closed_gate(gated), running(*RUN, url=gated.info.dsn) as process:
        until(lambda: at_the_gate(observer))
        process.kill()
        process.wait()
        until(lambda: sessions(observer) == {})
    assert count(gated, where="name = 'gate'") == 1, "nobody waited for it any more"
    assert_the_next_run_finishes(gated)
    assert steps(gated, "step.exit_reason") == ["interrupted", "exhausted"]
    assert rows(gated, "select count(*) from maintenance.run where ended_at is null") == [(0,)]


# Sessions that are lost or cancelled


@pytest.mark.parametrize("whose", ["runner run", "runner run (worker 2)"])
def test_a_session_that_is_terminated_ends_the_run(
    gated: Connection, another: Callable[[], Connection], whose: str
) -> None:
    observer = another()
    # At a gate each: a session that had no part left to do would not be missed.
    execute(gated, "update token set name = 'gate' where id = 1800")
    with closed_gate(gated):
        run = InThread(gated.info.dsn)
        until(lambda: at_the_gate(observer, sessions=2))
        execute(observer, "select pg_terminate_backend(%s)", sessions(observer)[whose])
        sleep(0.3)
        open_gate(gated)
        run.wait()
        close_gate(gated)
    if whose == "runner run":
        assert isinstance(run.error, api.RunnerError)
        assert run.error.message.startswith("token: the connection was lost: ")
        assert "Run 1 removed" in str(run.error.detail)
        assert "Run the command again" in str(run.error.hint)
        assert run.error.code == Exit.FAILED
    else:
        [step] = run.result().steps
        assert step.exit_reason == "error"
        assert str(step.message).startswith("the connection was lost: ")
        assert run.result().code == Exit.FAILED
        assert column(gated, "select step from maintenance.lease where policy = 'token'") == [None]
    until(lambda: sessions(observer) == {})
    assert gone(gated) == logged(gated)
    assert_the_next_run_finishes(gated)


def test_a_session_that_was_lost_is_replaced_for_the_next_policy(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    execute(gated, "create table login (like token including all)")
    execute(
        gated,
        "alter table login set (fillfactor = 10);"
        f" insert into login (id, expires_at, name) select n, {DEAD}, rpad('x', 300)"
        f" from generate_series(1, {4 * 1024}) as n",
    )
    register(gated, "login")
    execute(gated, f"update token set name = 'gate' where id = {DEAD_ROWS + 400}")
    observer = another()
    with closed_gate(gated):
        run = InThread(gated.info.dsn, "token", "login")
        until(lambda: waiting(observer) == {"runner run", "runner run (worker 2)"})
        execute(
            observer, "select pg_terminate_backend(%s)", sessions(observer)["runner run (worker 2)"]
        )
        sleep(0.2)
        open_gate(gated)
        first, second = run.result().steps
        close_gate(gated)
    assert (first.exit_reason, second.exit_reason) == ("error", "exhausted")
    assert count(gated, "login") == 0


def test_a_statement_that_is_cancelled_from_outside_stops_the_run(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    a_table(gated, "login")
    put(gated, "dead", 3, table="login")
    register(gated, "login")
    observer = another()
    with closed_gate(gated):
        run = InThread(gated.info.dsn, "token", "login")
        until(lambda: at_the_gate(observer))
        execute(
            observer,
            "select pg_cancel_backend(pid) from pg_locks where locktype = 'advisory'"
            " and not granted and database = (select oid from pg_database"
            " where datname = current_database())",
        )
        token, login = run.result().steps
    assert (token.exit_reason, token.sqlstate) == ("stopped", "57014")
    assert token.message == "canceling statement due to user request"
    assert login.exit_reason == "stopped"
    assert run.result().code == Exit.DONE
    assert count(gated, "login") == 3
    assert count(gated, where="name = 'gate'") == 1
    assert_tidy(gated)
    assert_the_next_run_finishes(gated)


@pytest.mark.parametrize("how", ["terminated", "interrupted"])
def test_who_waits_for_rows_that_are_given_back_is_not_left_waiting(
    db: Connection, another: Callable[[], Connection], how: str
) -> None:
    """One session has taken all that is allowed, and waits; the other waits for it."""
    a_gated_policy(db, at=2)
    execute(db, "update token set name = 'gate' where id = 1026")
    observer = another()
    interrupted = Event()

    def watch(_: api.Progress) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt

    with closed_gate(db):
        run = InThread(db.info.dsn, watch=watch, max_rows=20)
        until(lambda: at_the_gate(observer))
        sleep(0.2)
        if how == "terminated":
            execute(
                observer,
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
                " and not granted and database = (select oid from pg_database"
                " where datname = current_database())",
            )
            sleep(0.2)
            open_gate(db)
            run.wait()
            close_gate(db)
        else:
            interrupted.set()
            [step] = run.result().steps
            assert (step.exit_reason, step.removed) == ("stopped", 0)
    until(lambda: sessions(observer) == {})
    assert gone(db) == logged(db) <= 20
    assert_the_next_run_finishes(db)


@pytest.fixture
def restartable() -> Iterator[Server]:
    """A server of the test's own."""
    path = Path(tempfile.mkdtemp(prefix="pgm-restart-"))
    path.chmod(0o755)
    server = Server(path / "server", throwaway=True)
    try:
        server.start()
        migrate(server.url())
        yield server
    finally:
        server.reset()
        shutil.rmtree(path, ignore_errors=True)


def test_a_restart_in_the_middle_is_one_sentence_and_the_next_run_finishes(
    restartable: Server,
) -> None:
    url = restartable.url()
    with psycopg.connect(url, autocommit=True) as db:
        execute(db, "select maintenance.adopt_clone()")
        a_gated_policy(db)
        execute(db, "select pg_advisory_lock(1)")
        with running(*RUN, url=url) as process, psycopg.connect(url, autocommit=True) as observer:
            until(lambda: at_the_gate(observer))
            restartable.stop()
            _, err = process.communicate(timeout=20)
    assert process.returncode == Exit.FAILED
    assert "Traceback" not in err
    lines = err.splitlines()
    assert lines[0].startswith("error: token: the connection was lost: ")
    assert lines[1].startswith("detail: Run 1 removed ")
    assert lines[2].startswith("hint: Run the command again")
    assert len(lines) == 3
    restartable.start()
    with psycopg.connect(url, autocommit=True) as db:
        assert 0 < gone(db) < DEAD_ROWS
        assert gone(db) == logged(db), "a fast shutdown loses nothing"
        assert_the_next_run_finishes(db)
        assert steps(db, "step.exit_reason") == ["interrupted", "exhausted"]


# Others who want something else


def test_a_run_is_stopped_by_its_number(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    observer = another()
    with closed_gate(gated):
        run = InThread(gated.info.dsn)
        until(lambda: at_the_gate(observer))
        api.stop(gated.info.dsn, 1)
        open_gate(gated)
        ran = run.result()
        close_gate(gated)
    assert [(step.exit_reason, step.message) for step in ran.steps] == [
        ("stopped", "somebody asked it to stop")
    ]
    assert ran.code == Exit.DONE
    assert 0 < gone(gated) < DEAD_ROWS
    assert_tidy(gated)
    with pytest.raises(api.RunnerError, match="run 1 does not run"):
        api.stop(gated.info.dsn, 1)
    assert_the_next_run_finishes(gated)


def test_a_pause_stops_all_sessions_of_a_run(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    observer = another()
    with closed_gate(gated):
        run = InThread(gated.info.dsn)
        until(lambda: at_the_gate(observer))
        said = api.pause(gated.info.dsn, reason="release")
        open_gate(gated)
        ran = run.result()
        close_gate(gated)
    assert [(step.exit_reason, step.message) for step in ran.steps] == [("stopped", said)]
    assert 0 < gone(gated) < DEAD_ROWS
    assert_tidy(gated)
    api.resume(gated.info.dsn)
    assert_the_next_run_finishes(gated)


def test_a_policy_that_changes_in_the_middle_ends_the_run(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    observer = another()
    with closed_gate(gated):
        run = InThread(gated.info.dsn)
        until(lambda: at_the_gate(observer))
        alter(observer, batch_size=500)
        open_gate(gated)
        ran = run.result()
        close_gate(gated)
    assert [(step.exit_reason, step.message) for step in ran.steps] == [
        ("stopped", "the policy was changed")
    ]
    assert_tidy(gated)


def test_the_second_of_two_runs_says_who_is_at_it(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    observer = another()
    with closed_gate(gated):
        run = InThread(gated.info.dsn)
        until(lambda: at_the_gate(observer))
        before = gone(observer)
        pid = sessions(observer)["runner run"]
        done = conftest.run("run", "token", url=gated.info.dsn)
        assert done.returncode == Exit.BUSY
        assert done.stderr == (f"error: token: lease_held: step 1 of process {pid} is at it\n")
        assert gone(observer) >= before
        open_gate(gated)
        assert run.result().steps[0].exit_reason == "exhausted"
        close_gate(gated)
    assert_tidy(gated)


def test_what_others_hold_is_left_and_named(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    holders = [another(), another()]
    for holder, identity in zip(holders, (10, 1800), strict=True):
        execute(holder, "set application_name = 'nightly report'")
        execute(holder, f"begin; select from token where id = {identity} for update")
    ran = api.run(gated.info.dsn, ["token"], order=api.Order(jobs=2))
    [step] = ran.steps
    assert (step.removed, step.exit_reason, step.left_over) == (DEAD_ROWS - 2, "incomplete", 2)
    for holder in holders:
        assert f"process {holder.info.backend_pid} (nightly report, " in str(step.message)
    assert ran.code == Exit.FAILED
    for holder in holders:
        execute(holder, "commit")
    assert_the_next_run_finishes(gated)


@pytest.mark.parametrize(
    ("mode", "reason", "jobs"),
    [
        ("share", "incomplete", 2),
        ("access exclusive", "error", 1),
        ("access exclusive", "error", 2),
    ],
)
def test_a_table_that_is_locked_is_left_alone(
    gated: Connection, another: Callable[[], Connection], mode: str, reason: str, jobs: int
) -> None:
    holder = another()
    execute(holder, f"begin; lock table token in {mode} mode")
    began = monotonic()
    ran = api.run(gated.info.dsn, ["token"], order=api.Order(jobs=jobs))
    assert monotonic() - began < 5
    [step] = ran.steps
    assert (step.removed, step.exit_reason) == (0, reason)
    assert ran.code == Exit.FAILED
    execute(holder, "commit")
    assert_tidy(gated)
    assert_the_next_run_finishes(gated)


def test_a_table_that_is_locked_once_the_step_is_open_ends_it_properly(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    """Between opening the step and dividing it; the log must not be left open."""
    holder = another()
    execute(holder, "begin")
    original = scalar(
        gated,
        "select pg_get_functiondef('maintenance.split_step(bigint, integer)'::regprocedure)",
    )
    execute(
        gated,
        original.replace("\nbegin\n", "\nbegin\n    perform pg_advisory_xact_lock_shared(7);\n", 1),
    )
    execute(holder, "select pg_advisory_lock(7)")
    run = InThread(gated.info.dsn)
    until(lambda: at_the_gate(gated))
    execute(holder, "lock table token")
    execute(holder, "select pg_advisory_unlock(7)")
    began = monotonic()
    [step] = run.result().steps
    assert monotonic() - began < 2
    assert (step.exit_reason, step.sqlstate) == ("error", "55P03")
    execute(holder, "commit")
    assert_tidy(gated)
    assert_the_next_run_finishes(gated)


def test_one_batch_that_fails_ends_the_run_and_lets_the_others_finish(
    gated: Connection, another: Callable[[], Connection]
) -> None:
    execute(
        gated,
        "create function refuse() returns trigger language plpgsql as $$ begin"
        " raise exception 'the auditor says no'; end $$;"
        " create trigger refuse after delete on token for each row when (old.id = 1700)"
        " execute function refuse()",
    )
    threads = threading.active_count()
    observer = another()
    with closed_gate(gated):
        run = InThread(gated.info.dsn)
        until(lambda: at_the_gate(observer))
        # The other session meets the trap while this one is in the middle of its batch.
        until(lambda: threading.active_count() == threads + 2)
        open_gate(gated)
        ran = run.result()
        close_gate(gated)
    [step] = ran.steps
    assert (step.exit_reason, step.message) == ("error", "the auditor says no")
    assert (step.sqlstate, ran.code) == ("P0001", Exit.FAILED)
    assert count(gated, where="id between 1690 and 1710 and id % 2 = 0") >= 1
    assert count(gated, where="id = 1700") == 1
    assert count(gated, where="name = 'gate'") == 0, "that batch was finished"
    assert threading.active_count() == threads
    assert sessions(observer) == {}
    assert_tidy(gated)
    execute(gated, "drop trigger refuse on token")
    assert_the_next_run_finishes(gated)


def test_a_load_that_cannot_be_read_is_an_error_of_one_sentence(gated: Connection) -> None:
    execute(
        gated,
        "create or replace function maintenance.load_signals(pids integer[] default '{}',"
        " max_lag interval default '10 s', max_snapshot interval default '1 h')"
        " returns table (signal text, is_high boolean, value text, needs text) language plpgsql as"
        " $$ begin raise exception 'the replica hides' using detail = 'It is shy.'; end $$",
    )
    ran = api.run(gated.info.dsn, ["token"], order=api.Order(jobs=2, pace=api.Pace.LAG))
    [step] = ran.steps
    assert (step.exit_reason, step.removed) == ("error", 0)
    assert step.message == "the load cannot be read: the replica hides"
    assert_tidy(gated)


def test_more_sessions_than_the_server_has_room_for_are_an_error_that_is_logged(
    gated: Connection, role: Callable[[str], str]
) -> None:
    user = role("operator")
    execute(gated, f"select maintenance.grant_operator('{user}')")
    execute(gated, f"alter role {user} connection limit 2")
    url = make_conninfo(gated.info.dsn, user=user)
    put(gated, "live", expires=LIVE)
    execute(gated, "delete from token where name = 'live'")
    execute(gated, f"insert into token (expires_at, name) select {LIVE}, rpad('x', 300)"
                   " from generate_series(1, 1024)")  # fmt: skip
    ran = api.run(url, ["token"], order=api.Order(jobs=3))
    [step] = ran.steps
    assert (step.removed, step.exit_reason) == (0, "error")
    assert "too many connections for role" in str(step.message)
    assert column(gated, "select step from maintenance.lease where policy = 'token'") == [None]
    assert api.run(url, ["token"], order=api.Order(jobs=2)).code == Exit.DONE
    execute(gated, f"drop owned by {user}")


def test_settings_of_the_users_environment_change_nothing(gated: Connection) -> None:
    open_rows = count(gated, where=WHERE_DEAD)
    done = conftest.run(
        *RUN,
        url=gated.info.dsn,
        environ={
            "PGOPTIONS": "-c TimeZone=Pacific/Kiritimati -c DateStyle=SQL,DMY"
            " -c IntervalStyle=sql_standard -c lock_timeout=1 -c statement_timeout=50"
            " -c search_path=nowhere -c default_transaction_read_only=off",
            "PGTZ": "Asia/Kolkata",
            "TZ": "America/Adak",
        },
    )
    assert done.returncode == Exit.DONE, done.stderr
    assert logged(gated) == open_rows == DEAD_ROWS
    assert_tidy(gated)


# A hold-up


def test_a_run_that_is_held_up_sees_that_it_shall_end(
    gated: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal is real, and so is the wait; only the limit for it is not an hour here."""
    signals = "maintenance.load_signals(integer[], interval, interval)"
    original = scalar(gated, f"select pg_get_functiondef('{signals}'::regprocedure)")
    assert "'01:00:00'" in original
    execute(gated, original.replace("'01:00:00'", "'00:00:00.001'"))
    with psycopg.connect(gated.info.dsn, autocommit=True) as reader:
        execute(reader, "begin isolation level repeatable read; select 1")
        sleep(0.01)
        for end in ("stop", "pause", "limit", "patience"):
            if end == "patience":
                monkeypatch.setattr("runner.brake.PATIENCE", 0.6)
            run = InThread(
                gated.info.dsn, pace=api.Pace.LAG, max_duration=0.8 if end == "limit" else None
            )
            until(lambda: None in steps(gated, "step.exit_reason"))
            if end == "stop":
                api.stop(gated.info.dsn, 1)
            elif end == "pause":
                api.pause(gated.info.dsn, reason="release")
            [step] = run.result().steps
            api.resume(gated.info.dsn)
            assert step.removed == 0, "it looked before the first batch"
            assert step.exit_reason == ("budget" if end == "limit" else "stopped")
            if end == "patience":
                assert str(step.message).startswith("it was held up too long; oldest snapshot: ")
        execute(reader, "commit")
    assert_the_next_run_finishes(gated)


# At full speed, beside applications


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [2, 4])
def test_nothing_of_use_is_lost_while_sessions_remove_and_others_write(
    db: Connection, jobs: int
) -> None:
    random = Random(jobs)
    a_table(db, more=", used_at timestamptz")
    execute(
        db,
        "alter table token set (fillfactor = 20, autovacuum_enabled = off);"
        f" insert into token (expires_at, name) select {DEAD}, rpad('chaff', 300)"
        " from generate_series(1, 20000) as n",
    )
    register(
        db,
        branches=[{"column": "expires_at", "condition": "target.used_at is null"}],
        guard_share=1,
        guard_rows=1_000_000,
    )
    end = Event()
    writers = [Writer(db.info.dsn, f"writer {n}", Random(random.random())) for n in range(4)]
    threads = [Thread(target=writer.work, args=(end,)) for writer in writers]
    for thread in threads:
        thread.start()
    deadline = monotonic() + 12
    chaff = 20_000
    reasons: set[str] = set()
    try:
        while monotonic() < deadline:
            ran = api.run(
                db.info.dsn,
                ["token"],
                order=api.Order(
                    jobs=jobs,
                    batch_size=random.choice([10, 100, 1000]),
                    max_rows=random.choice([None, 500, 5000]),
                ),
            )
            reasons |= {str(step.exit_reason) for step in ran.steps}
            execute(
                db,
                f"insert into token (expires_at, name) select {DEAD}, rpad('chaff', 300)"
                " from generate_series(1, 3000) as n",
            )
            chaff += 3000
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert [loss for writer in writers for loss in writer.losses] == []
    assert reasons <= {"exhausted", "budget", "incomplete"}
    assert "exhausted" in reasons or "budget" in reasons
    inserted = chaff + sum(writer.inserted for writer in writers)
    deleted = sum(writer.deleted for writer in writers)
    assert count(db) == inserted - deleted - logged(db)
    assert column(db, "select step from maintenance.lease where step is not null") == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(16))
def test_two_signals_at_any_moment_leave_a_log_that_tells_the_truth(
    gated: Connection, moment: int
) -> None:
    random = Random(moment)
    with running(*RUN, "--batch-size", "2", url=gated.info.dsn) as process:
        sleep(0.3 + random.random() * 0.8)
        for _ in range(random.choice([1, 2, 3])):
            process.send_signal(random.choice([signal.SIGINT, signal.SIGTERM]))
            sleep(random.choice([0, 0.001, 0.05]))
        process.communicate(timeout=20)
    assert process.returncode is not None
    until(lambda: sessions(gated) == {})
    assert gone(gated) == logged(gated)
    assert_the_next_run_finishes(gated)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(8))
def test_sessions_terminated_at_any_moment_leave_a_log_that_tells_the_truth(
    gated: Connection, moment: int
) -> None:
    random = Random(moment)
    run = InThread(gated.info.dsn, jobs=4, batch_size=2)
    for _ in range(random.randint(1, 3)):
        sleep(random.random() * 0.3)
        found = sorted(sessions(gated).values())
        if found:
            execute(gated, "select pg_terminate_backend(%s)", random.choice(found))
    run.wait()
    assert run.error is None or isinstance(run.error, api.RunnerError | psycopg.Error), run.error
    until(lambda: sessions(gated) == {})
    assert gone(gated) == logged(gated)
    assert_the_next_run_finishes(gated)
