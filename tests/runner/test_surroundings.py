"""Odd surroundings: variables, services, roles' defaults, encodings, users without a home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api, backup, files
from runner.clients import command, find
from runner.connection import described, masked
from runner.embedded import Server
from runner.errors import Exit
from tests.conftest import TestServer, run
from tests.migrations.dumps import structure

USERS = """
    insert into public.users (username, email, password_hash)
    select 'user' || number, 'user' || number, 'x' from generate_series(1, 5) as number
"""


def with_users(url: str) -> str:
    """Put five users into a migrated database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(USERS)
    return url


def dumped_database(file: Path, url: str) -> str:
    """The database that a dump says it is of."""
    with psycopg.connect(url) as connection:
        program = find("pg_restore", server_version=connection.info.server_version)
    listed = subprocess.run([program, "--list", file], capture_output=True, text=True, check=True)
    return listed.stdout.split("dbname: ")[1].split("\n")[0]


@pytest.mark.parametrize("in_url", [False, True])
def test_a_service_does_not_divert_the_dump(
    new_database: Callable[..., str], tmp_path: Path, in_url: bool
) -> None:
    url, other = new_database("mine"), new_database("theirs")
    api.migrate(url)
    with_users(url)
    parameters = conninfo_to_dict(other)
    lines = "".join(f"{name}={value}\n" for name, value in parameters.items())
    (tmp_path / "services").write_text(f"[other]\n{lines}")
    (tmp_path / "runner.toml").write_text(f"[backup]\nfolder = '{tmp_path / 'dumps'}'\n")
    environ = {"PGSERVICEFILE": str(tmp_path / "services")}
    environ |= {"RUNNER_CONFIG": str(tmp_path / "runner.toml")}
    target = make_conninfo(url, service="other") if in_url else url
    environ |= {} if in_url else {"PGSERVICE": "other"}
    done = run("rollback", "--all", "--yes", url=target, environ=environ)
    assert done.returncode == Exit.DONE, done.stderr
    [file] = (tmp_path / "dumps").iterdir()
    assert dumped_database(file, url) == conninfo_to_dict(url)["dbname"]

    opened = run("psql", "--", "-XAtc", "select current_database()", url=target, environ=environ)
    assert opened.stdout.strip() == conninfo_to_dict(url)["dbname"], opened.stderr


def test_the_embedded_server_is_reached_whatever_libpqs_variables_say(tmp_path: Path) -> None:
    url = Server(tmp_path).url("demo")
    words, _ = command(Path("psql"), url)
    assert "hostaddr=''" in words[1]
    assert conninfo_to_dict(url)["hostaddr"] == ""


def test_rows_that_a_policy_hides_are_not_taken_for_none(
    new_database: Callable[..., str], role: Callable[[str], str], tmp_path: Path
) -> None:
    owner = role("owner")
    url = make_conninfo(new_database("hidden", owner=owner), user=owner)
    api.migrate(url)
    with_users(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter table users enable row level security")
        connection.execute("alter table users force row level security")
        connection.execute("create policy nobody on users using (false)")
    before = structure(url)
    done = run("rollback", "--all", "--yes", url=url, environ={"HOME": str(tmp_path)})
    assert done.returncode == Exit.FAILED
    assert "row-level security policy" in done.stderr
    assert structure(url) == before


def test_rows_that_come_after_the_plan_are_dumped_too(empty: str, tmp_path: Path) -> None:
    api.migrate(empty)
    plan = api.plan_rollback(empty, everything=True)
    assert plan.losses == []
    with_users(empty)
    done = api.rollback(empty, plan, backup_folder=tmp_path / "dumps")
    assert done.backup is not None
    assert dumped_database(done.backup.file, empty) == conninfo_to_dict(empty)["dbname"]


def test_rows_that_come_after_the_count_stop_the_rollback(empty: str, tmp_path: Path) -> None:
    """They come while the first scripts are being undone, when no dump was needed."""
    api.migrate(empty)
    plan = api.plan_rollback(empty, everything=True)
    arrived: list[str] = []

    def say(line: str) -> None:
        if not arrived:
            arrived.append(line)
            with_users(empty)

    with pytest.raises(api.RunnerError, match=r"rows have come into public\.users") as refusal:
        api.rollback(empty, plan, backup_folder=tmp_path / "dumps", terms=api.Terms(say=say))
    assert refusal.value.code == Exit.REFUSED
    with psycopg.connect(empty) as connection:
        assert connection.execute("select count(*) from public.users").fetchone() == (5,)


def test_a_second_dump_within_a_second_replaces_nothing(
    empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.migrate(empty)

    class Stopped(files.datetime):
        @classmethod
        def now(cls, _: object = None) -> Stopped:  # pyright: ignore[reportIncompatibleMethodOverride]
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(files, "datetime", Stopped)
    with psycopg.connect(empty, autocommit=True) as connection:
        dumps = {backup.dump(connection, empty, tmp_path).file.name for _ in range(3)}
    name = conninfo_to_dict(empty)["dbname"]
    stem = f"backup_{name}_20260102_030405"
    assert dumps == {f"{stem}.dump", f"{stem}_2.dump", f"{stem}_3.dump"}
    assert {path.name for path in tmp_path.iterdir()} == dumps


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("datestyle = 'SQL, DMY'", marks=pytest.mark.slow),
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "idle_in_transaction_session_timeout = '300ms'",
        pytest.param("idle_session_timeout = '300ms'", marks=pytest.mark.slow),
        pytest.param("lock_timeout = '1ms'", marks=pytest.mark.slow),
        pytest.param("search_path = ''", marks=pytest.mark.slow),
        pytest.param("client_encoding = 'SQL_ASCII'", marks=pytest.mark.slow),
        "timezone = 'Asia/Kathmandu'",
    ],
)
def test_defaults_of_a_role_do_not_matter(
    new_database: Callable[..., str],
    role: Callable[[str], str],
    admin: psycopg.Connection,
    setting: str,
) -> None:
    owner = role("odd")
    url = make_conninfo(new_database("odd", owner=owner), user=owner)
    admin.execute(sql.SQL("alter role {} set ").format(sql.Identifier(owner)) + sql.SQL(setting))  # pyright: ignore
    assert run("migrate", url=url).returncode == Exit.DONE
    assert run("status", url=url).returncode == Exit.DONE
    done = run("rollback", "--all", "--yes", url=url)
    assert done.returncode == Exit.DONE, done.stderr


def test_a_database_without_an_encoding(admin: psycopg.Connection, server: TestServer) -> None:
    name = f"pgm_{server.worker}_ascii"
    admin.execute(f"drop database if exists {name}".encode())
    how = "template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'"
    admin.execute(f"create database {name} {how}".encode())
    try:
        for command_ in (["migrate"], ["status"], ["rollback", "--all", "--yes"]):
            done = run(*command_, url=server.url(name))
            assert done.returncode == Exit.DONE, done.stderr
    finally:
        admin.execute(f"drop database {name} with (force)".encode())


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the user may have neither a name nor a home: only folders need one."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("runner.settings.default_folder", homeless)
    settings = api.load("postgresql:///shop")
    assert settings.database_url == "postgresql:///shop"
    assert settings.backup_folder is None
    with pytest.raises(api.RunnerError, match="this user has no home") as refusal:
        api.embedded_server(settings)
    assert "runner.toml" in str(refusal.value.hint)


def test_a_closed_pipe_does_not_stop_a_migration(empty: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{sys.executable}' -m runner migrate | head -1"],
        env=os.environ | {"DATABASE_URL": empty},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "defect" not in done.stderr
    assert api.status(empty).is_up_to_date


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@hunter2@127.0.0.1:1/db",
        "postgresql://u:p/hunter2@127.0.0.1:1/db",
        "postgresql://us/er:hunter2@h/db",
        "postgresql://u:hunter2",
        "postgresql://u@h/db?pass%77ord=hunter2",
        "host=h dbname=db password='a\\'hunter2'",
        "host=h password=a\\ hunter2",
        "postgresql://u:hunter2@h/db?sslmode=disable",
    ],
)
def test_no_form_of_a_password_is_shown(url: str) -> None:
    assert "hunter2" not in masked(url)
    assert "hunter2" not in described(url)
    for arguments in (("config", "show"), ("config", "show", "--json")):
        done = run(*arguments, url=url)
        assert "hunter2" not in done.stdout + done.stderr


def test_what_was_dropped_by_hand_is_reported_and_does_not_trap_the_user(empty: str) -> None:
    api.migrate(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("drop function cleanup_all_expired_tokens()")
    done = run("status", url=empty)
    assert done.returncode == Exit.FINDINGS
    gone = "function public.cleanup_all_expired_tokens() is gone: somebody dropped it"
    assert gone in done.stdout
    assert "run `runner migrate --repair`" in done.stdout
    undone = run("rollback", "--all", "--yes", url=empty)
    assert undone.returncode == Exit.DONE, undone.stderr


def test_a_part_of_the_core_that_was_dropped_by_hand_is_asked_for(empty: str) -> None:
    api.migrate(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("drop view maintenance.xmin_horizon cascade")
    undone = run("rollback", "--all", "--yes", url=empty)
    assert undone.returncode == Exit.FAILED
    assert "hint: Something that a migration made is gone: put it back" in undone.stderr


def test_status_says_what_became_of_a_sweep_and_how_to_mend_it(empty: str) -> None:
    api.migrate(empty)
    assert "the sweep of" not in run("status", url=empty).stdout
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("drop trigger trigger_cleanup_refresh_tokens on refresh_tokens")
        connection.execute(
            "select maintenance.set_insert_sweep('password_reset_tokens', enabled => false)"
        )
        done = run("status", url=empty)
        assert done.returncode == Exit.FINDINGS
        mend = "select * from maintenance.attach_insert_sweep('refresh_tokens')"
        assert (
            "the sweep of password_reset_tokens is off: switched off with set_insert_sweep\n"
            "the sweep of refresh_tokens is broken:"
            " trigger trigger_cleanup_refresh_tokens is gone\n"
            f"  {mend};\n"
            f"{connection.info.dbname} has all migrations, and inserts that do not sweep\n"
        ) in done.stdout
        shown = json.loads(run("status", "--json", url=empty).stdout)
        assert [(one["policy"], one["state"]) for one in shown["sweeps"]] == [
            ("email_verification_tokens", "on"),
            ("password_reset_tokens", "off"),
            ("refresh_tokens", "broken"),
        ]
        connection.execute(mend)
    assert run("status", url=empty).returncode == Exit.DONE


def test_a_dry_run_names_the_indexes_that_are_missing(empty: str) -> None:
    api.migrate(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("drop index idx_udp_deck")
    assert "would build index idx_udp_deck" in run("migrate", "--dry-run", url=empty).stdout


def test_none_goes_with_no_other_application(empty: str) -> None:
    done = run("migrate", "--app", "none", "--app", "matcha", url=empty)
    assert done.returncode == Exit.USAGE


def test_migrating_to_a_script_of_core_wants_no_application(empty: str) -> None:
    assert api.migrate(empty, to="core/0002_declare_indexes").chains == ["core"]
