"""Bad input gets one sentence and something to do, the right exit status, and nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner import api
from runner.embedded import Server
from runner.errors import Exit
from runner.resources import home
from tests.conftest import TestServer, run
from tests.migrations.dumps import structure


def refused(code: Exit, message: str, *arguments: str, url: str | None = None) -> str:
    """Assert how a command is refused, in text and in JSON; return the hint."""
    text = run(*arguments, url=url)
    assert (text.returncode, text.stdout) == (code, ""), text.stderr
    errors = [line for line in text.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in text.stderr

    document = json.loads(run(*arguments, "--json", url=url).stdout)
    assert document["exit_code"] == code
    assert message in document["error"]["message"]
    hint = document["error"]["hint"]
    assert hint, "a refusal says what to do"
    return str(hint)


def test_an_unknown_application(empty: str) -> None:
    hint = refused(
        Exit.USAGE, "there is no application 'machta'", "migrate", "--app", "machta", url=empty
    )
    assert "matcha" in hint


def test_an_unknown_migration(empty: str) -> None:
    for arguments in (("migrate", "--to", "0009"), ("rollback", "--to", "0009"), ("show", "0009")):
        if arguments[0] == "rollback":
            api.migrate(empty)
        refused(Exit.USAGE, "there is no migration '0009'", *arguments, url=empty)


@pytest.mark.parametrize("url", ["sqlite:///file.db", "mysql://root@localhost/shop"])
def test_another_kind_of_database(url: str) -> None:
    hint = refused(Exit.USAGE, "is not a PostgreSQL database", "migrate", "--database-url", url)
    assert "postgresql://" in hint


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    done = run("status", url="postgresql://me:s%zzcret@localhost/shop")
    assert done.returncode == Exit.USAGE
    assert "error: the database URL cannot be read" in done.stderr
    assert "s%zzcret" not in done.stderr


def test_a_server_that_is_not_there() -> None:
    url = "postgresql://me:tops3cret@127.0.0.1:1/shop?connect_timeout=2"
    hint = refused(Exit.FAILED, "cannot connect to shop at 127.0.0.1:1", "migrate", url=url)
    assert "config show" in hint
    assert "tops3cret" not in run("migrate", url=url).stderr


@pytest.fixture
def private() -> Iterator[Server]:
    """A running server that a test may reconfigure."""
    folder = Path(tempfile.mkdtemp(prefix="pgm-private-"))
    folder.chmod(0o755)
    server = Server(folder, throwaway=True)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_a_standby(private: Server) -> None:
    private.stop()
    (private.data / "standby.signal").touch()
    private.start()
    hint = refused(Exit.FAILED, "is a standby and takes no changes", "migrate", url=private.url())
    assert "primary" in hint
    assert run("status", url=private.url()).returncode == Exit.FINDINGS


@pytest.fixture
def guarded(private: Server) -> str:
    """The URL of a role on a server that asks for its password, which is "right"."""
    with psycopg.connect(private.url(), autocommit=True) as connection:
        connection.execute("create role guarded login password 'right'")
        hba = private.data / "pg_hba.conf"
        hba.write_text("local all guarded scram-sha-256\n" + hba.read_text())
        connection.execute("select pg_reload_conf()")
    return make_conninfo(private.url(), user="guarded")


def test_a_wrong_password(guarded: str) -> None:
    done = run("status", url=make_conninfo(guarded, password="wr0ng!"))  # noqa: S106
    assert done.returncode == Exit.FAILED
    assert "password authentication failed" in done.stderr
    assert "wr0ng!" not in done.stderr
    assert run("status", url=make_conninfo(guarded, password="right")).returncode == Exit.FINDINGS  # noqa: S106


def test_a_password_on_the_command_line_is_warned_of(guarded: str) -> None:
    done = run("status", "--database-url", make_conninfo(guarded, password="right"))  # noqa: S106
    assert done.returncode == Exit.FINDINGS
    assert "warning: other users can see the password in --database-url" in done.stderr
    assert "DATABASE_URL" in done.stderr


def test_a_role_without_rights(
    new_database: Callable[..., str], role: Callable[[str], str]
) -> None:
    url = new_database("foreign_owner")
    hint = refused(
        Exit.FAILED,
        "may not create a schema in database",
        "migrate",
        url=make_conninfo(url, user=role("nobody")),
    )
    assert "owner" in hint
    with psycopg.connect(url) as connection:
        assert connection.execute("select to_regnamespace('maintenance')").fetchone() == (None,)


def test_a_role_that_does_not_own_what_is_installed(
    new_database: Callable[..., str], role: Callable[[str], str], server: TestServer
) -> None:
    url = new_database("installed", template=server.template)
    stranger = make_conninfo(url, user=role("stranger"))
    refused(Exit.FAILED, "may not read the ledger", "status", url=stranger)
    refused(Exit.FAILED, "may not read the ledger", "migrate", url=stranger)


def test_a_schema_maintenance_of_somebody_else(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("create schema maintenance")
        connection.execute("create table maintenance.window (starts timestamptz)")
    before = structure(empty)
    for command in (["migrate", "--app", "none"], ["status"], ["rollback", "--all"]):
        refused(Exit.REFUSED, "is not ours", *command, url=empty)
    assert structure(empty) == before


def test_a_database_with_tables_of_its_own(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("create table orders (id bigint primary key)")
        connection.execute("create table customers (id bigint primary key)")
    before = structure(empty)
    hint = refused(
        Exit.REFUSED, "has tables of its own, so nothing was installed", "migrate", url=empty
    )
    assert "--app none" in hint
    assert structure(empty) == before

    assert run("migrate", "--app", "none", url=empty).returncode == Exit.DONE
    assert run("status", url=empty).returncode == Exit.DONE
    with psycopg.connect(empty) as connection:
        assert connection.execute("select to_regclass('public.users')").fetchone() == (None,)


def test_the_application_whose_names_are_taken_is_named(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("create table users (id uuid primary key)")
    assert "like those of application matcha" in run("migrate", url=empty).stderr


def test_a_database_that_psql_built(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(api.show_all(["none"]).encode())
    before = structure(empty)
    for command in ("migrate", "status"):
        refused(Exit.REFUSED, "was built with psql", command, url=empty)
    assert structure(empty) == before


def test_a_script_that_changed_after_it_was_applied(
    new_database: Callable[..., str], server: TestServer
) -> None:
    url = new_database("edited", template=server.template)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "update maintenance.applied_script set checksum = repeat('0', 64)"
            " where migration_id = 'matcha/0002_add_profile_picture'"
        )
    hint = refused(
        Exit.REFUSED,
        "matcha/0002_add_profile_picture is no longer what was applied",
        "migrate",
        url=url,
    )
    assert "db reset" in hint
    status = json.loads(run("status", "--json", url=url).stdout)
    changed = [one["id"] for one in status["scripts"] if one["status"] == "changed"]
    assert changed == ["matcha/0002_add_profile_picture"]
    assert run("status", url=url).returncode == Exit.FINDINGS


def test_a_database_that_is_newer_than_the_package(
    new_database: Callable[..., str], server: TestServer
) -> None:
    url = new_database("newer", template=server.template)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "insert into maintenance.applied_script"
            " (migration_id, checksum, package_version, duration)"
            " values ('core/0042_of_the_future', repeat('0', 64), '9.9.9', '1 s')"
        )
    for command in (["migrate"], ["rollback", "--steps", "1"]):
        refused(Exit.REFUSED, "is newer than this package", *command, url=url)
    assert "9.9.9" in run("migrate", url=url).stderr
    assert run("status", url=url).returncode == Exit.FINDINGS


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project that may be damaged; run it with PYTHONPATH."""
    for name in ("migrations", "rollback", "sql", "runner"):
        shutil.copytree(home() / name, tmp_path / name)
    return tmp_path


def test_a_psql_command_in_a_script(empty: str, copy: Path) -> None:
    path = copy / "migrations/matcha/0002_add_profile_picture.sql"
    path.write_text(path.read_text() + "\\set x 1\n")
    done = run("migrate", url=empty, environ={"PYTHONPATH": str(copy)})
    assert done.returncode == Exit.FAILED
    place = "migrations/matcha/0002_add_profile_picture.sql:10"
    assert f"error: {place}: \\set x 1 is not understood" in done.stderr
    with psycopg.connect(empty) as connection:
        assert connection.execute("select to_regnamespace('maintenance')").fetchone() == (None,)


def test_a_missing_rollback_script(empty: str, copy: Path) -> None:
    api.migrate(empty)
    (copy / "rollback/matcha/0005_refresh_tokens_down.sql").unlink()
    before = structure(empty)
    done = run("rollback", "--steps", "3", "--yes", url=empty, environ={"PYTHONPATH": str(copy)})
    assert done.returncode == Exit.FAILED
    assert "error: matcha/0005_refresh_tokens has no rollback script" in done.stderr
    assert structure(empty) == before


def test_a_script_that_fails_is_named_with_the_line_and_leaves_the_ones_before(
    empty: str, copy: Path
) -> None:
    path = copy / "migrations/matcha/0002_add_profile_picture.sql"
    path.write_text("-- Fails.\n\ncreate table public.half_done ();\nselect 1 / 0 from nowhere;\n")
    done = run("migrate", url=empty, environ={"PYTHONPATH": str(copy)})
    assert done.returncode == Exit.FAILED
    assert (
        'error: matcha/0002_add_profile_picture: relation "nowhere" does not exist' in done.stderr
    )
    assert "Line 4 of `runner show`: select 1 / 0 from nowhere;" in done.stderr
    with psycopg.connect(empty) as connection:
        assert connection.execute("select to_regclass('public.half_done')").fetchone() == (None,)
        assert connection.execute("select to_regclass('public.users')").fetchone() != (None,)
    assert run("migrate", url=empty).returncode == Exit.DONE


def test_a_script_that_commits_is_refused(empty: str, copy: Path) -> None:
    path = copy / "migrations/matcha/0002_add_profile_picture.sql"
    path.write_text("-- Commits.\n\ncommit;\n")
    done = run("migrate", url=empty, environ={"PYTHONPATH": str(copy)})
    assert done.returncode == Exit.FAILED
    assert "matcha/0002_add_profile_picture ends the transaction that it runs in" in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@ep-cool-1-pooler.eu.example.org/shop",
        "postgresql://me@db.example.org:6543/shop",
    ],
)
def test_a_url_of_a_pooler(url: str) -> None:
    hint = refused(Exit.USAGE, "this URL leads to a connection pooler", "migrate", url=url)
    assert "direct URL" in hint


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollback"],
        ["rollback", "--all", "--steps", "2"],
        ["rollback", "--steps", "0"],
        ["rollback", "--steps", "99"],
        ["show"],
        ["show", "matcha/0001_init", "--all"],
        ["migrate", "--no-such-option"],
        ["no-such-command"],
        ["rollback", "--steps", "many"],
    ],
    ids=" ".join,
)
def test_words_that_make_no_sense(
    arguments: list[str], new_database: Callable[..., str], server: TestServer
) -> None:
    url = new_database("usage", template=server.template)
    done = run(*arguments, url=url)
    assert (done.returncode, done.stdout) == (Exit.USAGE, ""), done.stderr
    assert done.stderr.startswith("error: ")
    for form in (["--json"], ["--output", "json"], ["--output=json"]):
        document = json.loads(run(*arguments, *form, url=url).stdout)
        assert document["exit_code"] == Exit.USAGE


def test_rolling_back_where_there_is_nothing(empty: str) -> None:
    done = run("rollback", "--all", "--yes", url=empty)
    assert done.returncode == Exit.USAGE
    assert "error: there is nothing to roll back" in done.stderr


@pytest.mark.parametrize("command", [["status"], ["rollback", "--all"]], ids=" ".join)
def test_a_command_that_lost_its_database_starts_none(command: list[str], tmp_path: Path) -> None:
    done = run(*command, environ={"RUNNER_PG_DIR": str(tmp_path / "server")})
    assert done.returncode == Exit.USAGE
    assert "error: no database was named" in done.stderr
    assert "--embedded" in done.stderr
    assert not (tmp_path / "server").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[backup\n", "cannot read the settings in"),
        ("[backup]\nfodler = '/x'\n", "has a setting backup.fodler, which does not exist"),
        ("[migrate]\nlock_wait = 'long'\n", "migrate.lock_wait in"),
        ("[migrate]\nlock_wait = -1\n", "must be a number, and not negative, not -1"),
        ("[run]\njobs = 0\n", "run.jobs in"),
        ("[run]\njobs = 1.5\n", "must be a whole number from 1 on, not 1.5"),
        ("[run]\njobs = true\n", "must be a whole number from 1 on, not True"),
        ("[run]\npace = 'fast'\n", "must be one of full, polite, lag, not 'fast'"),
        ("lock_wait = 3\n", "has a setting lock_wait, which does not exist"),
    ],
)
def test_a_wrong_settings_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "runner.toml").write_text(text)
    done = run("config", "show", folder=tmp_path)
    assert done.returncode == Exit.USAGE
    assert message in done.stderr


def test_a_settings_file_that_is_not_there() -> None:
    done = run("config", "show", environ={"RUNNER_CONFIG": os.devnull + "/nowhere.toml"})
    assert done.returncode == Exit.USAGE
    assert "cannot read the settings in" in done.stderr
