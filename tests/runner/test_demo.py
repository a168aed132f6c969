"""runner demo, db and psql on the embedded server, in a folder of the test's."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from runner.embedded import Server
from runner.errors import Exit
from tests.conftest import run


@pytest.fixture(scope="module")
def private() -> Iterator[dict[str, str]]:
    """The environment in which the embedded server has a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="pgm-demo-"))
    folder.chmod(0o755)
    yield {"RUNNER_PG_DIR": str(folder)}
    Server(folder).stop()
    shutil.rmtree(folder)


def test_the_demo_cleans_up_what_it_says_it_would(private: dict[str, str]) -> None:
    answer = json.loads(run("demo", "--tokens", "3000", "--json", environ=private).stdout)
    assert answer["cleaned"] == answer["would_clean"]
    assert answer["cleaned"]["total_cleaned"] > 500
    for before, after in zip(answer["before"], answer["after"], strict=True):
        assert before["expired"] > 0
        assert before["active"] == after["active"] > 0
        assert after["expired"] == 0
        assert not after["used"]
    assert answer["refreshed_decks"] == answer["stale_decks"] > 0
    assert answer["dead_on_arrival_left"] == 0
    with psycopg.connect(answer["url"]) as connection:
        assert connection.execute("select count(*) from users").fetchone() == (30,)


def test_the_demo_shows_it_to_people_and_can_be_repeated(private: dict[str, str]) -> None:
    done = run("demo", "--tokens", "3000", environ=private)
    assert done.returncode == Exit.DONE, done.stderr
    for line in (
        "The token tables: select * from maintenance.token_growth",
        "What would be removed",
        "select * from cleanup_all_expired_tokens()",
        "Go on with psql:",
    ):
        assert line in done.stdout
    url = done.stdout.split("psql '")[1].split("'")[0]
    with psycopg.connect(url) as connection:
        growth = connection.execute("select sum(expired) from maintenance.token_growth").fetchone()
    assert growth == (0,)


def test_the_demo_touches_no_database_that_the_environment_names(
    private: dict[str, str], empty: str
) -> None:
    done = run("demo", "--tokens", "100", "-q", url=empty, environ=private)
    assert done.returncode == Exit.DONE, done.stderr
    with psycopg.connect(empty) as connection:
        assert connection.execute("select to_regnamespace('maintenance')").fetchone() == (None,)


@pytest.mark.parametrize("tokens", ["99", "10000001"])
def test_the_demo_refuses_a_size_that_makes_no_sense(private: dict[str, str], tokens: str) -> None:
    done = run("demo", "--tokens", tokens, environ=private)
    assert done.returncode == Exit.USAGE
    assert "error: the demonstration takes 100 to 10,000,000 tokens" in done.stderr


def test_migrate_without_a_database_uses_the_embedded_server(private: dict[str, str]) -> None:
    assert run("db", "reset", "--yes", environ=private).returncode == Exit.DONE
    done = run("migrate", environ=private)
    assert done.returncode == Exit.DONE, done.stderr
    assert f"using the embedded server in {private['RUNNER_PG_DIR']}" in done.stderr
    assert run("status", environ=private).returncode == Exit.USAGE
    assert run("status", "--embedded", environ=private).returncode == Exit.DONE
    answer = run("psql", "--", "-XAtc", "select count(*) from users", environ=private)
    assert answer.stdout == "0\n"
    described = run("psql", "--", "-Xc", "\\d users", "-c", "\\l", environ=private)
    assert described.returncode == Exit.DONE, described.stderr


def test_db_starts_stops_and_resets_the_server(private: dict[str, str]) -> None:
    started = json.loads(run("db", "start", "--json", environ=private).stdout)
    with psycopg.connect(started["url"], autocommit=True) as connection:
        connection.execute("create table if not exists kept (id integer)")
    assert run("db", "stop", environ=private).stdout == "stopped\n"
    assert run("db", "stop", environ=private).stdout == "was not running\n"
    stopped = run("status", "--embedded", environ=private)
    assert stopped.returncode == Exit.FAILED
    assert "error: the embedded server is not running" in stopped.stderr

    url = run("db", "url", "-d", "postgres", environ=private).stdout.strip()
    with psycopg.connect(url) as connection:
        assert connection.execute("select to_regclass('kept')").fetchone() != (None,)

    refused = run("db", "reset", environ=private)
    assert refused.returncode == Exit.REFUSED
    assert "was not confirmed" in refused.stderr
    assert run("db", "reset", "--yes", environ=private).stdout == "deleted\n"
    run("db", "start", environ=private)
    with psycopg.connect(url) as connection:
        assert connection.execute("select to_regclass('kept')").fetchone() == (None,)
