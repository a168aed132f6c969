"""One private server per run, a migrated template on it, and a clone or a transaction per test.

``tx`` is the default: a migrated database whose changes are rolled back. ``db`` is a clone of its
own in autocommit mode, for procedures that commit and for tests with several sessions. ``empty`` is
the URL of a database without anything in it.

RUNNER_PG_BIN names other binaries than the embedded server's; RUNNER_TEST_URL names a running
server, with a superuser, that is used instead of a private one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pytest_postgresql.executors import NoopExecutor

from runner.embedded import Server
from runner.migrate import migrate
from tests.campaign.seeds import ROUNDS, SEED

FOLDER = "RUNNER_TEST_FOLDER"
TEMPLATE = "pgm_template"
ROOMY = 1 << 30


@dataclass(frozen=True)
class TestServer:
    """The server of this run, and the databases on it."""

    __test__ = False

    admin_url: str
    template: str
    worker: str

    def url(self, database: str) -> str:
        """Return the URL of a database on the server."""
        return make_conninfo(self.admin_url, dbname=database)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the folder of the private server once; the workers of xdist inherit it."""
    if hasattr(config, "workerinput") or FOLDER in os.environ:
        return
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOMY
    folder = Path(tempfile.mkdtemp(prefix="pgm-test-", dir=memory if roomy else None))
    folder.chmod(0o755)  # the server of root runs as another user, which has to get there
    os.environ[FOLDER] = str(folder)
    config.add_cleanup(lambda: _remove(folder))


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which rounds the campaign is going to play."""
    if config.option.markexpr != "slow":
        return None
    return f"campaign: seeds {SEED} to {SEED + ROUNDS - 1} (CAMPAIGN_SEED, CAMPAIGN_ROUNDS)"


def _remove(folder: Path) -> None:
    from tests.campaign.server import remove_leftovers  # which needs this module

    del os.environ[FOLDER]
    remove_leftovers(folder)
    if url := os.environ.get("RUNNER_TEST_URL"):
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute(f"drop database if exists {TEMPLATE}")
    else:
        Server(folder, throwaway=True).stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _no_database_of_the_user() -> None:
    """No test may reach a database that the environment names."""
    for name in [*os.environ]:
        if name == "DATABASE_URL" or (name.startswith("PG") and name != "PGTZ"):
            del os.environ[name]


@pytest.fixture(scope="session")
def server() -> TestServer:
    """The server, started by whichever worker comes first, with the migrated template."""
    folder = Path(os.environ[FOLDER])
    url = os.environ.get("RUNNER_TEST_URL")
    if url is None:
        private = Server(folder, throwaway=True)
        private.start()
        url = private.url()
    with (folder / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "template.done"  # a database of that name may be an earlier run's
        if not done.exists():
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute(f"drop database if exists {TEMPLATE}")
                admin.execute(f"create database {TEMPLATE} template template0")
            migrate(make_conninfo(url, dbname=TEMPLATE))
            done.touch()
    return TestServer(url, TEMPLATE, os.environ.get("PYTEST_XDIST_WORKER", "main"))


class Cloning(NoopExecutor):
    """The server as pytest-postgresql knows it, for its own fixtures: they clone our template."""

    @property
    def template_dbname(self) -> str:
        return TEMPLATE


@pytest.fixture(scope="session")
def postgresql_server(server: TestServer) -> NoopExecutor:
    """The server for fixtures that ``pytest_postgresql.factories.postgresql`` makes."""
    parameters = conninfo_to_dict(server.admin_url)
    return Cloning(
        host=str(parameters["host"]),
        port=str(parameters.get("port") or 5432),
        user=str(parameters["user"]),
        options="",
        dbname=f"pgm_{server.worker}",
    )


@pytest.fixture(scope="session")
def admin(server: TestServer) -> Iterator[Connection]:
    """A superuser's connection that creates and drops databases."""
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def role(admin: Connection, server: TestServer) -> Iterator[Callable[[str], str]]:
    """Make login roles with a name of this worker's; they and what they own go after the test."""
    made: list[str] = []

    def make(suffix: str) -> str:
        name = f"pgm_{server.worker}_{suffix}"
        made.append(name)
        admin.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        return name

    yield make
    for name in made:
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.fixture
def new_database(
    server: TestServer, admin: Connection, role: Callable[[str], str]
) -> Iterator[Callable[..., str]]:
    """Make databases by name, from a template or empty; they are dropped after the test.

    It asks for ``role`` so that databases go before the roles that own something in them.
    """
    made: list[sql.Identifier] = []

    def make(suffix: str = "db", *, template: str = "template0", owner: str | None = None) -> str:
        name = f"pgm_{server.worker}_{suffix}"
        made.append(sql.Identifier(name))
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(made[-1]))
        admin.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                made[-1], sql.Identifier(template)
            )
        )
        if owner is not None:
            admin.execute(
                sql.SQL("alter database {} owner to {}").format(made[-1], sql.Identifier(owner))
            )
        return server.url(name)

    yield make
    for name in made:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(name))


@pytest.fixture
def empty(new_database: Callable[..., str]) -> str:
    """The URL of an empty database."""
    return new_database("empty")


def settle(connection: Connection) -> None:
    """Make a clone a database of its own, in which no sweep is slow because the machine is busy."""
    connection.execute("select maintenance.adopt_clone()")
    connection.execute("update maintenance.insert_sweep set slow = '1 h'")
    connection.execute("alter table maintenance.insert_sweep alter column slow set default '1 h'")
    connection.execute(
        "delete from maintenance.applied_object where name = 'maintenance.insert_sweep'"
    )  # else the table counts as changed by somebody


@pytest.fixture
def db(server: TestServer, new_database: Callable[..., str]) -> Iterator[Connection]:
    """A clone of the migrated template, in autocommit mode."""
    url = new_database("clone", template=server.template)
    with psycopg.connect(url, autocommit=True) as connection:
        settle(connection)
        yield connection


@pytest.fixture
def another(db: Connection) -> Iterator[Callable[[], Connection]]:
    """Open further sessions on the database of ``db``; they are closed after the test."""
    opened: list[Connection] = []

    def connect() -> Connection:
        opened.append(psycopg.connect(db.info.dsn, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture(scope="session")
def _shared(server: TestServer, admin: Connection) -> Iterator[Connection]:
    name = sql.Identifier(f"pgm_{server.worker}_shared")
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(name))
    admin.execute(
        sql.SQL("create database {} template {} strategy file_copy").format(
            name, sql.Identifier(server.template)
        )
    )
    with psycopg.connect(server.url(f"pgm_{server.worker}_shared")) as connection:
        settle(connection)
        connection.commit()
        yield connection
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(name))


@pytest.fixture
def tx(_shared: Connection) -> Iterator[Connection]:
    """A transaction on a migrated database; it is rolled back after the test."""
    yield _shared
    _shared.rollback()


def run(
    *arguments: str | Path,
    url: str | None = None,
    environ: dict[str, str] | None = None,
    folder: Path | str = "/",
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command ``runner`` as a user would, off a terminal, and return what it printed."""
    variables = os.environ | (environ or {}) | ({"DATABASE_URL": url} if url is not None else {})
    return subprocess.run(
        [sys.executable, "-m", "runner", *map(str, arguments)],
        env=variables,
        cwd=folder,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def scalar(connection: Connection, text: str, *parameters: Any) -> Any:
    """Return the one value that a statement returns."""
    row = connection.execute(text.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]
