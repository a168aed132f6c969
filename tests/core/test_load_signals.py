"""What a run gives way to: each signal is known or unknown, and the unknown one says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api
from runner.embedded import Server
from runner.migrate import migrate
from runner.programs import account_for
from tests.conftest import scalar
from tests.core.runs import a_table, calling, put, register, until
from tests.statements import execute, rows, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from psycopg import Connection

Signal = tuple[bool | None, str | None, str | None]
"""is_high, value and needs."""
SIGNALS = {"replica lag", "WAL archiver", "lock waiters", "oldest snapshot"}
UNKNOWN = "pg_read_all_stats"


def signals(db: Connection, *pids: int, **limits: str) -> dict[str, Signal]:
    """Read the signals."""
    given = "".join(f", {name} => interval '{value}'" for name, value in limits.items())
    read = rows(db, f"select * from maintenance.load_signals(%s{given})", list(pids))
    return {signal: (is_high, value, needs) for signal, is_high, value, needs in read}


@contextmanager
def monitor(
    db: Connection, role: Callable[[str], str], name: str = "monitor", *, sees_all: bool = False
) -> Generator[Connection]:
    """Log in as a role that may look."""
    user = role(name)
    execute(db, f"select maintenance.grant_monitor('{user}')")
    if sees_all:
        execute(db, f"grant pg_read_all_stats to {user}")
    try:
        with psycopg.connect(db.info.dsn, user=user, autocommit=True) as session:
            yield session
    finally:
        execute(db, f"drop owned by {user}")


@contextmanager
def a_snapshot(session: Connection) -> Generator[None]:
    """Hold a snapshot."""
    execute(session, "begin isolation level repeatable read; select 1")
    try:
        yield
    finally:
        execute(session, "rollback")


def test_of_a_quiet_server_everything_is_known_and_nothing_high(db: Connection) -> None:
    assert signals(db) == {
        "replica lag": (False, "no standby is connected", None),
        "WAL archiver": (False, "off", None),
        "lock waiters": (False, "0 sessions wait for the run", None),
        "oldest snapshot": (False, "none but ours", None),
    }


def test_who_waits_for_the_sessions_of_a_run_is_counted(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    put(db, "dead")
    holder, observer = another(), another()
    execute(holder, "begin; select from token for update")
    pid = holder.info.backend_pid
    update = "update token set name = 'x' returning 1"
    with calling(db, update) as one, calling(db, update) as two:
        until_blocked(observer, one.session)
        until_blocked(observer, two.session)
        is_high, value, needs = signals(observer, pid)["lock waiters"]
        assert (is_high, needs) == (True, None)
        assert value in ("1 sessions wait for the run", "2 sessions wait for the run")
        assert signals(observer, one.pid + 100000, pid)["lock waiters"][0] is True
        assert signals(observer)["lock waiters"] == (False, "0 sessions wait for the run", None)
        assert signals(observer, observer.info.backend_pid)["lock waiters"][0] is False
        execute(holder, "commit")
        one.wait()
        two.wait()
    assert signals(observer, pid)["lock waiters"][0] is False


def test_a_snapshot_is_old_from_the_limit_on(
    db: Connection, another: Callable[[], Connection]
) -> None:
    reader = another()
    with a_snapshot(reader):
        sleep(1.1)
        assert signals(db)["oldest snapshot"][0] is False, "an hour is what counts as old"
        is_high, value, needs = signals(db, max_snapshot="1 s")["oldest snapshot"]
        assert (is_high, needs) == (True, None)
        assert value is not None
        assert value.startswith("00:00:0")
        assert value.endswith(" old")
        assert signals(db, max_snapshot="60 s")["oldest snapshot"][0] is False
        pid = reader.info.backend_pid
        assert signals(db, pid, max_snapshot="0 s")["oldest snapshot"] == (
            False, "none but ours", None,
        ), "the run's own snapshots do not hold it up"  # fmt: skip
    assert signals(db, max_snapshot="0 s")["oldest snapshot"][0] is False


def test_a_transaction_that_only_has_a_number_counts_as_well(
    db: Connection, another: Callable[[], Connection]
) -> None:
    writer = another()
    execute(writer, "begin; select pg_current_xact_id()")
    assert signals(db, max_snapshot="0 s")["oldest snapshot"][0] is True
    execute(writer, "rollback")


def test_a_transaction_that_holds_nothing_does_not(
    db: Connection, another: Callable[[], Connection]
) -> None:
    idle = another()
    execute(idle, "begin; select 1")
    assert signals(db, max_snapshot="0 s")["oldest snapshot"][0] is False
    execute(idle, "rollback")


def test_snapshots_of_other_databases_do_not_count(
    db: Connection, new_database: Callable[..., str]
) -> None:
    with psycopg.connect(new_database("other"), autocommit=True) as other, a_snapshot(other):
        assert signals(db, max_snapshot="0 s")["oldest snapshot"][0] is False


def test_what_a_role_cannot_see_is_unknown_and_says_so(
    db: Connection, another: Callable[[], Connection], role: Callable[[str], str]
) -> None:
    with monitor(db, role) as session, a_snapshot(another()):
        seen = signals(session, max_snapshot="0 s")
        assert seen.keys() == SIGNALS
        assert seen["oldest snapshot"] == (None, None, UNKNOWN)
        assert seen["replica lag"] == (False, "no standby is connected", None)
        assert seen["WAL archiver"] == (False, "off", None)
        assert seen["lock waiters"] == (False, "0 sessions wait for the run", None)


def test_a_high_one_that_it_does_see_is_high_though_others_are_hidden(
    db: Connection, role: Callable[[str], str], another: Callable[[], Connection]
) -> None:
    another()
    with (
        monitor(db, role) as session,
        psycopg.connect(db.info.dsn, user=session.info.user, autocommit=True) as mine,
        a_snapshot(mine),
    ):
        is_high, value, needs = signals(session, max_snapshot="0 s")["oldest snapshot"]
        assert is_high is True
        assert str(value).endswith(" old")
        assert needs == UNKNOWN
        assert signals(session)["oldest snapshot"][0] is None, "an older one may be hidden"


def test_with_the_right_to_read_statistics_it_is_known(
    db: Connection, role: Callable[[str], str], another: Callable[[], Connection]
) -> None:
    with monitor(db, role, sees_all=True) as session:
        assert signals(session)["oldest snapshot"] == (False, "none but ours", None)
        with a_snapshot(another()):
            assert signals(session, max_snapshot="0 s")["oldest snapshot"][0] is True


def test_a_run_that_gives_way_names_what_it_does_not_know(
    db: Connection, role: Callable[[str], str]
) -> None:
    a_table(db)
    put(db, "dead", 5)
    register(db)
    user = role("operator")
    execute(db, f"select maintenance.grant_operator('{user}')")
    url = make_conninfo(db.info.dsn, user=user)
    ran = api.run(url, ["token"], order=api.Order(pace=api.Pace.LAG))
    assert [(step.removed, step.exit_reason) for step in ran.steps] == [(5, "exhausted")]
    assert [str(one) for one in ran.unknown] == [
        "oldest snapshot: unknown, needs pg_read_all_stats"
    ]
    assert api.run(url, ["token"]).unknown == []
    execute(db, f"drop owned by {user}")


def test_a_prepared_transaction_counts_however_old_its_session_is(configured: Connection) -> None:
    execute(configured, "begin; select pg_current_xact_id(); prepare transaction 'left behind'")
    sleep(0.01)
    assert signals(configured, max_snapshot="0 s")["oldest snapshot"][0] is True
    assert signals(configured)["oldest snapshot"][0] is False
    execute(configured, "rollback prepared 'left behind'")
    assert signals(configured, max_snapshot="0 s")["oldest snapshot"][0] is False


def start(server: Server, settings: str) -> None:
    """Start a server with more settings than its own."""
    server.start()
    server.stop()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(settings)
    server.start()


@pytest.fixture(scope="module")
def a_server() -> Iterator[Server]:
    """A server of these tests' own, for what has to be set before it starts."""
    path = Path(tempfile.mkdtemp(prefix="pgm-signals-"))
    path.chmod(0o755)
    server = Server(path / "server", throwaway=True)
    try:
        start(
            server,
            "archive_mode = on\narchive_command = 'false'\nmax_prepared_transactions = 2\n"
            "wal_level = replica\nmax_wal_senders = 4\n",
        )
        migrate(server.url())
        with psycopg.connect(server.url(), autocommit=True) as connection:
            execute(connection, "select maintenance.adopt_clone()")
        yield server
    finally:
        server.reset()
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def configured(a_server: Server) -> Iterator[Connection]:
    """A session on that server."""
    with psycopg.connect(a_server.url(), autocommit=True) as connection:
        yield connection


def archive(db: Connection, command: str) -> None:
    """Archive with another command, and switch to another segment of the log."""
    execute(db, f"alter system set archive_command = '{command}'")
    execute(db, "select pg_reload_conf()")
    execute(db, "select pg_switch_wal() from pg_create_restore_point('x')")


def test_an_archiver_that_fails_is_high_until_it_works_again(configured: Connection) -> None:
    archive(configured, "false")
    until(lambda: signals(configured)["WAL archiver"][0], seconds=30)
    is_high, value, needs = signals(configured)["WAL archiver"]
    assert (is_high, needs) == (True, None)
    assert " failed at " in str(value)
    archive(configured, "true")
    until(lambda: not signals(configured)["WAL archiver"][0], seconds=90)
    assert signals(configured)["WAL archiver"] == (False, "works", None)


def test_a_run_at_pace_lag_waits_and_sees_what_ends_it(configured: Connection) -> None:
    """While it waits, no batch asks whether it may go on."""
    db = configured
    execute(db, "drop table if exists token")
    a_table(db)
    put(db, "dead", 300)
    register(db)
    archive(db, "false")
    until(lambda: signals(db)["WAL archiver"][0], seconds=30)
    order = api.Order(jobs=2, pace=api.Pace.LAG, batch_size=1, max_duration=2)
    ran = api.run(db.info.dsn, ["token"], order=order)
    [step] = ran.steps
    assert step.exit_reason == "budget"
    assert step.removed < 300
    assert ran.seconds < 5, "a run that is held up ends when its time is up, all the same"
    assert scalar(db, "select count(*) from token") == 300 - step.removed
    archive(db, "true")
    execute(db, "select maintenance.remove_policy('token'); drop table token")


@pytest.fixture
def standby(a_server: Server) -> Iterator[Path]:
    """A copy of the server that follows it."""
    folder = a_server.folder / "standby"
    account = account_for(a_server.data)
    arguments = conninfo_to_dict(a_server.url())
    folder.mkdir(mode=0o700)
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)

    def run(program: str, *words: str) -> None:
        subprocess.run(
            [a_server.bin / program, *words],
            check=True,
            capture_output=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            timeout=60,
        )

    run(
        "pg_basebackup", "-D", str(folder), "-R", "-X", "stream", "-c", "fast",
        "-d", f"host={arguments['host']} port={arguments['port']} user=postgres",
    )  # fmt: skip
    (folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)  # the first one's, copied along
    run(
        "pg_ctl", "-D", str(folder), "-w", "-l", str(folder / "server.log"), "start", "-o",
        f"-k {folder} -p 5432 -c listen_addresses=",
    )  # fmt: skip
    try:
        yield folder
    finally:
        run("pg_ctl", "-D", str(folder), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_standby_that_lags_is_high_and_one_that_follows_is_not(
    configured: Connection, standby: Path
) -> None:
    until(lambda: signals(configured)["replica lag"][1] != "no standby is connected", seconds=20)
    assert signals(configured)["replica lag"][0] is False
    assert "behind" in str(signals(configured)["replica lag"][1])
    assert scalar(
        configured, "select maintenance.vacuum_command(name) like '%%truncate off%%'"
        " from maintenance.policy limit 1",
    )  # fmt: skip
    execute(configured, "create role blind login; select maintenance.grant_monitor('blind')")
    with psycopg.connect(configured.info.dsn, user="blind", autocommit=True) as blind:
        assert signals(blind)["replica lag"] == (None, None, UNKNOWN)
    with psycopg.connect(
        f"host={standby} port=5432 user=postgres dbname=postgres", autocommit=True
    ) as follower:
        execute(follower, "select pg_wal_replay_pause()")
        execute(configured, "create table filler as select generate_series(1, 1000)")
        until(lambda: signals(configured, max_lag="500 ms")["replica lag"][0] is True, seconds=30)
        execute(follower, "select pg_wal_replay_resume()")
        until(lambda: signals(configured, max_lag="500 ms")["replica lag"][0] is False, seconds=30)
