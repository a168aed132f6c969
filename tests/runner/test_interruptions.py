"""Killed, stopped, blocked, or several at once: the next migrate completes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg
import pytest

from runner import api
from runner.errors import Exit
from runner.scripts import scripts
from tests.conftest import TestServer, run
from tests.migrations.dumps import shipped_data, structure

ALL = [one.id for one in scripts(["matcha"])]
SECONDS_OF_A_MIGRATE = 1.2


@contextmanager
def running(*arguments: str, url: str) -> Generator[subprocess.Popen[str]]:
    """A command that runs beside the test; it is killed at the end if it still does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", *arguments],
        env=os.environ | {"DATABASE_URL": url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def complete(new_database: Callable[..., str], server: TestServer) -> str:
    """A database that was migrated without any accident: structure and shipped data."""
    url = new_database("complete", template=server.template)
    return structure(url) + shipped_data(url)


@pytest.mark.parametrize(
    "moment",
    [pytest.param(moment, marks=pytest.mark.slow if moment % 4 else ()) for moment in range(20)],
)
def test_killed_at_any_moment_the_next_migrate_completes(
    empty: str, complete: str, moment: int
) -> None:
    """The moments spread over a whole run, most of which is Python's start."""
    rng = random.Random(moment)
    with running("migrate", url=empty) as process:
        time.sleep(SECONDS_OF_A_MIGRATE * (moment + rng.random()) / 20)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run("migrate", url=empty)
    assert done.returncode == Exit.DONE, done.stderr
    assert structure(empty) + shipped_data(empty) == complete
    assert run("status", url=empty).returncode == Exit.DONE


@pytest.mark.parametrize("position", [1, 4, len(ALL) - 1])
def test_killed_in_the_middle_of_a_script_the_next_migrate_completes(
    empty: str, complete: str, position: int
) -> None:
    """Held by a lock on the ledger, the run is between a script and its entry when it dies."""
    api.migrate(empty, applications=["matcha"], to=ALL[position - 1])
    with psycopg.connect(empty) as blocker:
        blocker.execute("lock table maintenance.applied_script in exclusive mode")
        with running("migrate", url=empty) as process:
            wait_until_blocked(blocker, by=process)
            process.send_signal(signal.SIGKILL)
            process.wait()
    done = run("migrate", url=empty)
    assert done.returncode == Exit.DONE, done.stderr
    assert structure(empty) + shipped_data(empty) == complete


def wait_until_blocked(blocker: psycopg.Connection, *, by: subprocess.Popen[str]) -> None:
    """Wait until somebody waits for the blocker's lock."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert by.poll() is None, "the command ended before it was blocked"
        waiting = blocker.execute(
            "select count(*) from pg_locks where not granted and relation is not null"
            " and database = (select oid from pg_database where datname = current_database())"
        ).fetchone()
        if waiting != (0,):
            return
        time.sleep(0.02)
    raise AssertionError("nobody was blocked")


def test_four_at_once_on_an_empty_database_all_succeed(empty: str, complete: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "runner", "migrate"],
            env=os.environ | {"DATABASE_URL": empty},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [Exit.DONE] * 4, answers
    assert sum("applied core/0001_create_schema" in out for out, _ in answers) == 1
    assert structure(empty) + shipped_data(empty) == complete


def test_a_lock_that_others_hold_is_named_and_waited_for(empty: str) -> None:
    api.migrate(empty, to="matcha/0001_init")
    said: list[str] = []
    with psycopg.connect(empty, application_name="nightly report") as holder:
        holder.execute("select * from public.users")

        def say(line: str) -> None:
            said.append(line)
            if "waits for" in line:
                holder.rollback()

        done = api.migrate(empty, terms=api.Terms(say=say))
    assert [one.id for one in done.applied] == ALL[ALL.index("matcha/0001_init") + 1 :]
    [waited] = [line for line in said if "waits for" in line]
    assert waited.startswith("the rehearsal waits for pid ")
    assert "nightly report" in waited
    assert "idle in transaction: select * from public.users" in waited


def test_a_lock_that_is_never_given_up_is_an_error_that_names_its_holder(empty: str) -> None:
    api.migrate(empty, to="matcha/0001_init")
    with psycopg.connect(empty, application_name="nightly report") as holder:
        holder.execute("select * from public.users")
        done = run("migrate", "--lock-wait", "1.5", url=empty)
        pid = holder.info.backend_pid
    assert done.returncode == Exit.FAILED
    assert "error: the rehearsal did not get a lock in 1.5 s" in done.stderr
    assert f"pid {pid} (nightly report" in done.stderr
    assert f"pg_terminate_backend({pid})" in done.stderr
    assert "profile_picture_url" not in structure(empty)
    assert run("migrate", url=empty).returncode == Exit.DONE


def test_nobody_queues_behind_a_migration_that_is_blocked(empty: str) -> None:
    """While the migration waits for a lock, the application waits at most for its lock_timeout."""
    api.migrate(empty, to="matcha/0001_init")
    with (
        psycopg.connect(empty) as holder,
        psycopg.connect(empty, autocommit=True) as application,
    ):
        holder.execute("select * from public.users")
        with running("migrate", url=empty) as process:
            wait_until_blocked(holder, by=process)
            slowest = 0.0
            for _ in range(200):
                began = time.monotonic()
                application.execute("select count(*) from public.users")
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.005)
            assert process.poll() is None
    assert 0 < slowest < 0.5, "lock_timeout is 0.2 s, and machines are slow at times"


def test_another_runner_is_waited_for(empty: str) -> None:
    """The lock of a runner that goes away is free at once."""
    with psycopg.connect(empty, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (api.MIGRATION_LOCK,))
        with running("migrate", url=empty) as process:
            time.sleep(1.5)
            assert process.poll() is None
            other.close()
            out, err = process.communicate(timeout=30)
    assert process.returncode == Exit.DONE, err
    assert f"applied {ALL[-1]}" in out


def test_a_runner_that_never_ends_is_named(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.locks.PATIENCE", 0.5)
    with psycopg.connect(empty, autocommit=True, application_name="runner migrate") as other:
        other.execute("select pg_advisory_lock(%s)", (api.MIGRATION_LOCK,))
        with pytest.raises(api.RunnerError, match="another runner is migrating") as refusal:
            api.migrate(empty)
        pid = other.info.backend_pid
    assert refusal.value.code == Exit.BUSY
    assert f"pid {pid} (runner migrate" in str(refusal.value.detail)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_two_scripts(empty: str, number: signal.Signals) -> None:
    api.migrate(empty, to="matcha/0001_init")
    with psycopg.connect(empty) as blocker:
        blocker.execute("lock table maintenance.applied_script in exclusive mode")
        with running("migrate", url=empty) as process:
            wait_until_blocked(blocker, by=process)
            process.send_signal(number)
            time.sleep(0.1)
            blocker.rollback()
            _, err = process.communicate(timeout=30)
    assert process.returncode == Exit.FAILED
    assert "stopping after this step" in err
    assert "error: stopped when asked to, between two steps" in err
    applied = [one.id for one in api.status(empty).scripts if one.status == "applied"]
    assert applied == ALL[: len(applied)]
    assert len(applied) < len(ALL)
    assert run("migrate", url=empty).returncode == Exit.DONE
