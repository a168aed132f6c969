"""runner rollback: it says what would be lost, asks, dumps first, and then does it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from runner import api
from runner.clients import command, find
from runner.errors import Exit
from runner.locks import Terms
from runner.rollback import rollback
from runner.scripts import script
from tests.conftest import run
from tests.migrations.dumps import everything, structure

USER = "insert into users (username, email, password_hash, profile_picture_url, email_verified)"


@pytest.fixture
def shop(empty: str) -> str:
    """The URL of a migrated database with two users, one with a picture, and three tokens."""
    api.migrate(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(f"{USER} values ('ada', 'ada@example.org', 'x', '/ada.png', true)")
        connection.execute(f"{USER} values ('bob', 'bob@example.org', 'x', null, false)")
        connection.execute(
            "insert into refresh_tokens (user_id, token_hash, expires_at)"
            " select id, 'hash' || username, now() + interval '1 day' from users"
        )
        connection.execute(
            "insert into password_reset_tokens (user_id, token_hash, expires_at)"
            " select id, 'hash', now() + interval '1 day' from users limit 1"
        )
    return empty


def folder_setting(tmp_path: Path) -> dict[str, str]:
    """Settings whose backups go to a folder of the test's."""
    settings = tmp_path / "runner.toml"
    settings.write_text(f"[backup]\nfolder = '{tmp_path / 'backups'}'\n")
    return {"RUNNER_CONFIG": str(settings)}


def test_the_plan_counts_what_would_be_lost(shop: str) -> None:
    plan = api.plan_rollback(shop, everything=True)
    assert {loss.what: loss.rows for loss in plan.losses} == {
        "public.refresh_tokens": 2,
        "public.password_reset_tokens": 1,
        "public.users": 2,
    }
    plan = api.plan_rollback(shop, to="matcha/0001_init")
    assert {loss.what: loss.rows for loss in plan.losses} == {
        "public.refresh_tokens": 2,
        "public.password_reset_tokens": 1,
        "public.users.email_verified": 2,
        "public.users.profile_picture_url": 1,
    }
    assert api.plan_rollback(shop, steps=1).losses == []


def test_without_a_terminal_and_without_yes_nothing_happens(shop: str, tmp_path: Path) -> None:
    before = everything(shop)
    done = run("rollback", "--all", url=shop, environ=folder_setting(tmp_path))
    assert (done.returncode, done.stdout) == (Exit.REFUSED, "")
    assert "would lose 2 rows of public.users" in done.stderr
    assert "a dump is taken first" in done.stderr
    assert "error: rolling back 18 migrations" in done.stderr
    assert everything(shop) == before
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize(("answer", "code"), [("y", Exit.DONE), ("n", Exit.REFUSED), ("", 4)])
def test_on_a_terminal_it_asks(shop: str, tmp_path: Path, answer: str, code: int) -> None:
    before = everything(shop)
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "rollback", "--steps", "3"],
        env=os.environ | folder_setting(tmp_path) | {"DATABASE_URL": shop},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(controller, f"{answer}\n".encode())
    _, err = process.communicate(timeout=30)
    os.close(controller)
    os.close(terminal)
    assert "Roll back in database" in err
    assert process.returncode == code
    assert (everything(shop) == before) == (code != Exit.DONE)


def test_a_dump_is_taken_first_and_holds_what_was_lost(
    shop: str, tmp_path: Path, empty_copy: str
) -> None:
    done = run("rollback", "--all", "--yes", url=shop, environ=folder_setting(tmp_path))
    assert done.returncode == Exit.DONE, done.stderr
    [dump] = (tmp_path / "backups").iterdir()
    database = shop.split("dbname=")[1].split()[0]
    assert re.fullmatch(rf"backup_{database}_\d{{8}}_\d{{6}}\.dump", dump.name)
    assert f"backed up to {dump}" in done.stdout
    assert dump.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700

    with psycopg.connect(empty_copy) as connection:
        version = connection.info.server_version
    subprocess.run(
        [find("pg_restore", server_version=version), "--dbname", empty_copy, dump], check=True
    )
    with psycopg.connect(empty_copy) as connection:
        users = connection.execute("select username from users order by 1").fetchall()
    assert users == [("ada",), ("bob",)]


@pytest.fixture
def empty_copy(new_database: object) -> str:
    """Another empty database, to restore into."""
    assert callable(new_database)
    return str(new_database("restored"))


def test_no_dump_is_taken_when_nothing_is_lost(shop: str, tmp_path: Path) -> None:
    done = run("rollback", "--steps", "1", "--yes", url=shop, environ=folder_setting(tmp_path))
    assert done.returncode == Exit.DONE, done.stderr
    assert not (tmp_path / "backups").exists()


def test_no_dump_is_taken_when_it_was_declined(shop: str, tmp_path: Path) -> None:
    environ = folder_setting(tmp_path)
    done = run("rollback", "--all", "--yes", "--no-backup", url=shop, environ=environ)
    assert done.returncode == Exit.DONE, done.stderr
    assert not (tmp_path / "backups").exists()


def test_when_the_dump_fails_nothing_is_rolled_back(shop: str, tmp_path: Path) -> None:
    before = everything(shop)
    (tmp_path / "backups").write_text("a file stands where the folder should")
    done = run("rollback", "--all", "--yes", url=shop, environ=folder_setting(tmp_path))
    assert done.returncode == Exit.FAILED
    assert "error: cannot write a backup into" in done.stderr
    assert "--no-backup" in done.stderr
    assert everything(shop) == before


def test_when_pg_dump_fails_no_file_stays(shop: str, tmp_path: Path) -> None:
    """A pg_dump that prints half a dump and dies, as on a full disk."""
    fake = tmp_path / "pg_dump"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo "pg_dump (PostgreSQL) 99.0"; exit; }\n'
        'echo half; echo "pg_dump: error: out of disk" >&2; exit 1\n'
    )
    fake.chmod(0o755)
    before = everything(shop)
    environ = folder_setting(tmp_path) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run("rollback", "--all", "--yes", url=shop, environ=environ)
    assert done.returncode == Exit.FAILED
    assert "error: pg_dump failed, so nothing was rolled back" in done.stderr
    assert "detail: pg_dump: error: out of disk" in done.stderr
    assert list((tmp_path / "backups").iterdir()) == []
    assert everything(shop) == before


def test_a_pg_dump_that_is_too_old_is_not_used() -> None:
    with pytest.raises(api.RunnerError, match="cannot serve a PostgreSQL 99 server") as refusal:
        find("pg_dump", server_version=990000)
    assert "client programs of PostgreSQL 99" in str(refusal.value.hint)


def test_a_plan_is_not_carried_out_on_a_database_that_has_changed(shop: str) -> None:
    plan = api.plan_rollback(shop, steps=1)
    api.rollback(shop, plan, backup_folder=None)
    before = structure(shop)
    with pytest.raises(api.RunnerError, match="has been migrated since") as refusal:
        api.rollback(shop, plan, backup_folder=None)
    assert refusal.value.code == Exit.REFUSED
    assert structure(shop) == before


def test_the_answer_as_json(shop: str, tmp_path: Path) -> None:
    environ = folder_setting(tmp_path)
    done = run("rollback", "--steps", "3", "--yes", "--json", url=shop, environ=environ)
    answer = json.loads(done.stdout)
    assert [one["id"] for one in answer["done"]["undone"]] == answer["plan"]["scripts"]
    assert answer["plan"]["losses"] == [{"what": "public.refresh_tokens", "rows": 2}]
    backup = answer["done"]["backup"]
    assert Path(backup["file"]).stat().st_size == backup["bytes"]


def test_an_object_that_depends_on_ours_stops_the_rollback_and_is_named(shop: str) -> None:
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("create view who as select token_hash from refresh_tokens")
    done = run("rollback", "--steps", "3", "--yes", "--no-backup", url=shop)
    assert done.returncode == Exit.FAILED
    assert "rollback of matcha/0005_refresh_tokens: cannot drop table" in done.stderr
    assert "view public.who depends on" in done.stderr
    assert "CASCADE" not in done.stderr
    applied = [one.id for one in api.status(shop).scripts if one.status == "applied"]
    assert applied[-1] == "matcha/0005_refresh_tokens", "what could be undone was, and is recorded"


# Archives


@pytest.fixture
def kept(empty: str) -> str:
    """The URL of a database with an archive of ours that holds three rows, and a user's own."""
    api.migrate(empty, applications=["none"])
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("create table log (id integer primary key, at timestamptz)")
        connection.execute("create table own (like log)")
        connection.execute("select maintenance.create_archive('log')")
        for policy, archive in (("ours", "log_archive"), ("theirs", "own")):
            connection.execute(
                "select maintenance.register_policy(%s, 'log', jsonb_build_object("
                "'column', 'at', 'action', 'archive', 'archive_table', 'public.' || %s::text))",
                (policy, archive),
            )
            connection.execute(
                "insert into log select n, now() - interval '1 d' from generate_series(1, 3) n"
            )
            connection.execute("call maintenance.run_policy(%s)", (policy,))
    return empty


def tables(url: str) -> list[str]:
    """Return the tables of the application, those with rows."""
    with psycopg.connect(url) as connection:
        return [
            name
            for (name,) in connection.execute(
                "select relname from pg_class where relnamespace = 'public'::regnamespace"
                " and relkind = 'r' order by relname"
            )
        ]


def test_archives_that_would_go_are_named_dumped_and_dropped_once_that_is_confirmed(
    kept: str, tmp_path: Path, empty_copy: str
) -> None:
    plan = api.plan_rollback(kept, everything=True)
    assert {loss.what: loss.rows for loss in plan.losses} == {"public.log_archive": 3}
    environ = folder_setting(tmp_path)
    refused = run("rollback", "--all", url=kept, environ=environ)
    assert refused.returncode == Exit.REFUSED
    assert "would lose 3 rows of public.log_archive" in refused.stderr
    assert tables(kept) == ["log", "log_archive", "own"]

    done = run("rollback", "--all", "--yes", url=kept, environ=environ)
    assert done.returncode == Exit.DONE, done.stderr
    assert tables(kept) == ["log", "own"]
    [dump] = (tmp_path / "backups").iterdir()
    with psycopg.connect(empty_copy) as connection:
        version = connection.info.server_version
    subprocess.run(
        [find("pg_restore", server_version=version), "--dbname", empty_copy, dump], check=True
    )
    with psycopg.connect(empty_copy) as connection:
        assert connection.execute("select count(*) from log_archive").fetchone() == (3,)


def test_archives_go_without_a_dump_when_that_was_declined(kept: str, tmp_path: Path) -> None:
    environ = folder_setting(tmp_path)
    done = run("rollback", "--all", "--yes", "--no-backup", url=kept, environ=environ)
    assert done.returncode == Exit.DONE, done.stderr
    assert tables(kept) == ["log", "own"]


def test_a_rollback_that_leaves_the_policies_leaves_the_archives(kept: str) -> None:
    plan = api.plan_rollback(kept, to="core/0004_register_policies")
    assert plan.losses == []
    api.rollback(kept, plan, backup_folder=None)
    assert tables(kept) == ["log", "log_archive", "own"]


def test_rows_that_are_archived_after_they_were_counted_stop_the_rollback(
    kept: str, tmp_path: Path
) -> None:
    """Where nothing would be lost, no dump is taken; so nothing may be lost in the end."""
    with psycopg.connect(kept, autocommit=True) as connection:
        connection.execute("delete from log_archive")
    plan = api.plan_rollback(kept, everything=True)
    assert plan.losses == []
    said: list[str] = []

    def say(what: str) -> None:
        said.append(what)
        if "core/0005" in what:
            with psycopg.connect(kept, autocommit=True) as connection:
                connection.execute("insert into log_archive (id) values (1)")

    with pytest.raises(api.RunnerError, match=r"public\.log_archive") as refusal:
        rollback(kept, plan, backup_folder=tmp_path, terms=Terms(say=say))
    assert refusal.value.code == Exit.REFUSED
    assert "log_archive" in tables(kept)


def test_psql_refuses_to_drop_what_is_archived_unless_it_is_told_to(kept: str) -> None:
    plan = api.plan_rollback(kept, to="core/0004_register_policies")
    api.rollback(kept, plan, backup_folder=None)
    words, environ = command(find("psql"), kept, *["-Xq", "-1", "-v", "ON_ERROR_STOP=1", "-f", "-"])
    before = everything(kept)
    text = script("core/0004_register_policies").rollback_sql
    refused = subprocess.run(
        words, env=environ, input=text, text=True, capture_output=True, check=False
    )
    assert refused.returncode != 0
    assert "archive public.log_archive holds 3 rows, and would be dropped" in refused.stderr
    assert "HINT:  Move them, or take a dump; then set maintenance.drop_archives to on" in (
        refused.stderr
    )
    assert everything(kept) == before
    subprocess.run(
        words, env=environ, input=f"set maintenance.drop_archives = 'on';\n{text}", text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert tables(kept) == ["log", "own"]
