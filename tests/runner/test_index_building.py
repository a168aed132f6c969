"""Declared indexes on tables with rows: nobody waits, and what was broken off is begun anew."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import Connection, errors
from psycopg.conninfo import make_conninfo

from runner import api
from runner.clients import command, find
from runner.errors import Exit
from tests.conftest import TestServer, run, scalar
from tests.matcha.originals import build, fill
from tests.migrations.dumps import structure
from tests.runner.terminals import Terminal
from tests.runner.test_interruptions import running
from tests.statements import column, execute, rows

INVALID = "select relname from pg_index join pg_class on oid = indexrelid where not indisvalid"
BUILDING = """
    select max(pid) from pg_stat_progress_create_index
    where datname = current_database() and lockers_total > 0
"""


@pytest.fixture
def url(db: Connection, server: TestServer) -> str:
    """A migrated database with a table of 2 MB, on which an index is declared."""
    execute(
        db,
        "create table public.large (id integer, filler text); insert into public.large"
        " select number, repeat('x', 500) from generate_series(1, 4000) as number",
    )
    declare(db)
    return server.url(db.info.dbname)


def declare(
    db: Connection, name: str = "made", keys: str = "id", *, is_unique: bool = False
) -> None:
    """Declare an index on the table."""
    execute(
        db,
        "select maintenance.require_index("
        "chain => 'core', relation => 'public.large', name => %s, keys => %s,"
        " reason => 'It is needed.', is_unique => %s)",
        name,
        keys,
        is_unique,
    )


def indexes(db: Connection) -> dict[str, tuple[bool, str]]:
    """Return the indexes of the table: whether each is valid, and its comment."""
    return {
        name: (is_valid, comment)
        for name, is_valid, comment in rows(
            db,
            "select relname, indisvalid, obj_description(oid, 'pg_class')"
            " from pg_index join pg_class on oid = indexrelid"
            " where indrelid = 'public.large'::regclass order by relname",
        )
    }


def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    """Return as soon as something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def old_transaction(url: str) -> Generator[Connection]:
    """A transaction that has written to the table, and lasts until it is ended."""
    with psycopg.connect(url, application_name="nightly report") as holder:
        holder.execute("update public.large set filler = 'y' where id = 1")
        yield holder


@contextmanager
def waiting(url: str, db: Connection, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """A migrate whose build waits for an old transaction."""
    with running("migrate", *arguments, url=url) as process:
        until(lambda: bool(scalar(db, BUILDING)) or process.poll() is not None)
        yield process


def test_a_large_table_gets_its_index_while_writers_go_on(url: str, db: Connection) -> None:
    """Whom the build waits for is named, and no lock_timeout ends the wait."""
    with old_transaction(url) as holder, waiting(url, db) as process:
        pid = holder.info.backend_pid
        slowest = 0.0
        until_then = time.monotonic() + 2.5
        while time.monotonic() < until_then:
            began = time.monotonic()
            execute(db, "insert into public.large values (0, 'z')")
            slowest = max(slowest, time.monotonic() - began)
        assert process.poll() is None
        assert slowest < 0.2
        holder.rollback()
        out, err = process.communicate(timeout=30)
    assert process.returncode == Exit.DONE, err
    assert f"index made waits for the transaction of pid {pid} (nightly report, role " in out
    assert "idle in transaction: update public.large" in out
    assert f"select pg_terminate_backend({pid})" in out
    assert out.count("waits for") == 1
    assert "built index made" in out
    assert indexes(db) == {"made": (True, "It is needed.")}


def test_a_small_table_is_not_worth_waiting_for_old_transactions(url: str, db: Connection) -> None:
    execute(db, "truncate public.large; insert into public.large values (1, 'x')")
    with psycopg.connect(url) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("delete from public.users")
        assert run("migrate", url=url).returncode == Exit.DONE
    assert indexes(db) == {"made": (True, "It is needed.")}


def test_a_plain_build_that_finds_writers_lets_others_pass(url: str, db: Connection) -> None:
    execute(db, "truncate public.large; insert into public.large values (1, 'x')")
    with old_transaction(url) as holder, running("migrate", url=url) as process:
        until(lambda: scalar(db, "select count(*) from pg_locks where not granted") > 0)
        slowest = 0.0
        for _ in range(100):
            began = time.monotonic()
            execute(db, "insert into public.large values (0, 'z')")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.005)
        assert process.poll() is None
        holder.rollback()
        assert process.wait(timeout=30) == Exit.DONE
    assert slowest < 0.2, "it waits for 50 ms, and machines are slow at times"


def test_killed_in_the_middle_the_next_migrate_replaces_what_is_left(
    url: str, db: Connection
) -> None:
    declare(db, "early", "filler, id")
    assert run("migrate", url=url).returncode == Exit.DONE
    before = scalar(db, "select 'public.early'::regclass::oid::bigint")
    execute(db, "drop index public.made")
    with old_transaction(url), waiting(url, db) as process:
        process.kill()
        process.wait()
        until(lambda: not scalar(db, BUILDING))
    assert column(db, INVALID) == ["made"]
    status = run("status", url=url)
    assert status.returncode == Exit.FINDINGS
    assert "index made is invalid: its build was broken off" in status.stdout
    assert json.loads(run("status", "--json", url=url).stdout)["invalid_indexes"] == ["made"]

    done = run("migrate", "--json", url=url)
    assert done.returncode == Exit.DONE, done.stderr
    assert json.loads(done.stdout)["indexes"] == ["made"]
    assert indexes(db)["made"] == (True, "It is needed.")
    assert scalar(db, "select 'public.early'::regclass::oid::bigint") == before
    assert run("status", url=url).returncode == Exit.DONE


def test_an_index_whose_build_was_killed_before_its_comment_is_ours(
    url: str, db: Connection
) -> None:
    """Its build is noted before it begins."""
    with old_transaction(url), waiting(url, db) as process:
        noted = "select name from maintenance.index_build where relation = 'public.large'::regclass"
        assert column(db, noted) == ["made"]
        process.kill()
        process.wait()
        until(lambda: not scalar(db, BUILDING))
    execute(db, "reindex index public.made")
    assert indexes(db) == {"made": (True, None)}
    assert run("migrate", url=url).returncode == Exit.DONE
    execute(db, "select maintenance.release_index('public.large', 'made')")
    assert indexes(db) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_build_up_and_says_what_is_left(
    url: str, db: Connection, number: signal.Signals
) -> None:
    with old_transaction(url), waiting(url, db) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
    assert process.returncode == Exit.FAILED
    assert "index made is given up" in out, err
    assert "error: stopped when asked to, in the middle of a step" in err
    assert "Index made is left behind and invalid" in err
    assert column(db, INVALID) == ["made"]
    done = run("migrate", url=url)
    assert "dropping index made: it is invalid, its build was broken off" in done.stdout
    assert "built index made" in done.stdout
    assert indexes(db) == {"made": (True, "It is needed.")}


def test_a_second_signal_ends_it_at_once(url: str, db: Connection) -> None:
    with old_transaction(url), waiting(url, db) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=15)
        assert process.returncode != Exit.DONE
    assert run("migrate", url=url).returncode == Exit.DONE


@pytest.mark.parametrize(
    ("function", "left"),
    [("pg_cancel_backend", "is left behind"), ("pg_terminate_backend", "may be left behind")],
)
def test_a_build_that_somebody_cancels_is_an_error_that_names_what_is_left(
    url: str, db: Connection, function: str, left: str
) -> None:
    with old_transaction(url), waiting(url, db) as process:
        execute(db, f"select {function}(({BUILDING}))")
        _, err = process.communicate(timeout=15)
    assert process.returncode == Exit.FAILED
    assert "error: index made on public.large was not built: " in err
    assert f"Index made {left} and invalid" in err
    assert run("migrate", url=url).returncode == Exit.DONE
    assert indexes(db) == {"made": (True, "It is needed.")}


def test_rows_that_are_not_unique_are_named(url: str, db: Connection) -> None:
    execute(db, "select maintenance.release_index('public.large', 'made')")
    declare(db, is_unique=True)
    execute(db, "insert into public.large values (7)")
    done = run("migrate", url=url)
    assert done.returncode == Exit.FAILED
    assert "index made on public.large was not built: could not create unique index" in done.stderr
    assert "Key (id)=(7) is duplicated. Index made is left behind and invalid" in done.stderr
    assert "hint: Remove the duplicates" in done.stderr
    execute(db, "delete from public.large where id = 7")
    assert run("migrate", url=url).returncode == Exit.DONE
    assert indexes(db) == {"made": (True, "It is needed.")}


def test_a_build_that_runs_out_of_room_is_named(url: str, db: Connection) -> None:
    """A limit on temporary files stands for a full disk."""
    execute(db, f"alter database {db.info.dbname} set temp_file_limit = '64kB'")
    execute(db, f"alter database {db.info.dbname} set maintenance_work_mem = '1MB'")
    declare(db, "wide", "filler, id")
    execute(db, "update public.large set filler = repeat(md5(id::text), 10)")
    done = run("migrate", url=url)
    assert done.returncode == Exit.FAILED
    assert "index wide on public.large was not built: temporary file size exceeds" in done.stderr
    execute(db, f"alter database {db.info.dbname} reset all")
    done = run("migrate", url=url)
    assert (done.returncode, column(db, INVALID)) == (Exit.DONE, [])


def leave_invalid(db: Connection, name: str = "made") -> None:
    """Leave what somebody's CREATE INDEX CONCURRENTLY leaves that was cancelled."""
    with old_transaction(db.info.dsn), psycopg.connect(db.info.dsn, autocommit=True) as other:
        execute(other, "set statement_timeout = '200ms'")
        with pytest.raises(errors.QueryCanceled):
            execute(other, f"create index concurrently {name} on public.large (id)")


def test_what_somebody_else_has_left_under_our_name_is_replaced(url: str, db: Connection) -> None:
    leave_invalid(db)
    assert indexes(db) == {"made": (False, None)}
    assert run("migrate", url=url).returncode == Exit.DONE
    assert indexes(db) == {"made": (True, "It is needed.")}


def test_what_somebody_else_has_left_under_another_name_is_left_alone(
    url: str, db: Connection
) -> None:
    leave_invalid(db, "theirs")
    assert run("migrate", url=url).returncode == Exit.DONE
    assert indexes(db) == {"made": (True, "It is needed."), "theirs": (False, None)}
    execute(db, "select maintenance.release_index('public.large', 'made')")
    assert indexes(db) == {"theirs": (False, None)}


@contextmanager
def somebody_building(db: Connection, name: str = "made") -> Generator[Connection]:
    """The old transaction for which somebody waits who builds an index; it is built in the end."""
    with psycopg.connect(db.info.dsn, autocommit=True) as other:
        statement = f"create index concurrently {name} on public.large (id)"
        builder = threading.Thread(target=execute, args=(other, statement))
        with old_transaction(db.info.dsn) as holder:
            builder.start()
            until(lambda: bool(scalar(db, BUILDING)))
            yield holder
        builder.join()


def test_an_index_that_somebody_is_building_is_not_dropped(url: str, db: Connection) -> None:
    with somebody_building(db):
        pid = scalar(db, BUILDING)
        assert rows(
            db, "select built_by, drop_statement, create_statement, comment_statement"
            " from maintenance.missing_indexes",
        ) == [(pid, None, None, None)]  # fmt: skip
        done = run("migrate", url=url)
        assert done.returncode == Exit.BUSY
        assert "error: index made on public.large is being built by somebody else" in done.stderr
        assert f"It is pid {pid}" in done.stderr
        assert indexes(db) == {"made": (False, None)}
    assert indexes(db) == {"made": (True, None)}
    assert run("migrate", url=url).returncode == Exit.DONE
    assert indexes(db) == {"made": (True, None)}, "it was accepted"


def test_nor_is_one_whose_builder_we_may_not_see(
    url: str, db: Connection, role: Callable[[str], str]
) -> None:
    owner = role("builder")
    execute(db, f"grant all on schema public to {owner}")
    for schema in ("public", "maintenance"):
        for kind, name in rows(
            db,
            "select case when relkind = 'v' then 'view' else 'table' end, oid::regclass::text"
            " from pg_class where relnamespace = %s::regnamespace and relkind in ('r', 'v')",
            schema,
        ):
            execute(db, f"set search_path = public; alter {kind} {name} owner to {owner}")
    execute(db, f"alter schema maintenance owner to {owner}")
    execute(db, f"grant execute on all routines in schema maintenance to {owner}")
    with somebody_building(db):
        done = run("migrate", "--lock-wait", "1", url=make_conninfo(url, user=owner))
        assert done.returncode == Exit.BUSY, done.stderr
        assert "index made did not get a lock in 1 s" in done.stderr
        assert indexes(db) == {"made": (False, None)}
    assert indexes(db) == {"made": (True, None)}


def test_an_equivalent_index_that_somebody_is_building_is_waited_for(
    url: str, db: Connection
) -> None:
    with somebody_building(db, "theirs") as holder, running("migrate", url=url) as process:
        until(
            lambda: bool(
                scalar(
                    db,
                    "select count(*) from pg_locks"
                    " where mode = 'ShareUpdateExclusiveLock' and not granted",
                )
            )
        )
        holder.rollback()
        assert process.wait(timeout=30) == Exit.DONE
    assert indexes(db) == {"theirs": (True, None)}


def test_a_table_that_others_work_on_is_named_and_left(url: str, db: Connection) -> None:
    with psycopg.connect(url, application_name="nightly report") as holder:
        holder.execute("lock table public.large in share update exclusive mode")
        done = run("migrate", "--lock-wait", "1", url=url)
    assert done.returncode == Exit.BUSY
    assert "error: index made did not get a lock in 1 s" in done.stderr
    assert "(nightly report" in done.stderr
    assert indexes(db) == {}


def test_a_terminal_shows_how_far_it_is(url: str, db: Connection) -> None:
    with old_transaction(url) as holder, Terminal("migrate", url=url) as terminal:
        terminal.until("waiting for writers before build")
        terminal.until(f"waits for pid {holder.info.backend_pid}")
        holder.rollback()
        assert terminal.end() == Exit.DONE
    assert indexes(db) == {"made": (True, "It is needed.")}


def test_off_a_terminal_a_line_now_and_then_says_how_far_it_is(
    url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.screen import BuildBar

    monkeypatch.setattr("runner.screen.NOW_AND_THEN", 0.3)
    said: list[str] = []
    with old_transaction(url) as holder, BuildBar(said.append, shown=True) as bar:

        def watch(progress: api.BuildProgress) -> None:
            bar.show(progress)
            if said and progress.waits_for:
                holder.rollback()

        done = api.migrate(url, terms=api.Terms(watch_build=watch))
    assert done.indexes == ["made"]
    assert said
    assert all(re.fullmatch(r"index made: [a-z: ]+(, \d+ %)?", line) for line in said)


def test_psql_does_what_the_view_prints(url: str, db: Connection) -> None:
    """Also CONCURRENTLY, and after a build that was broken off."""
    leave_invalid(db)
    columns = "drop_statement, create_statement, comment_statement"
    assert "concurrently" in scalar(db, "select create_statement from maintenance.missing_indexes")
    words, environ = command(find("psql"), url, "-Xq", "-v", "ON_ERROR_STOP=1")
    subprocess.run(
        words,
        env=environ,
        input=f"select {columns} from maintenance.missing_indexes \\gexec\n",
        text=True,
        check=True,
        capture_output=True,
    )
    assert indexes(db) == {"made": (True, "It is needed.")}


def test_a_dry_run_names_what_is_missing(url: str, db: Connection) -> None:
    assert "would build index made" in run("migrate", "--dry-run", url=url).stdout
    assert indexes(db) == {}


def test_a_rollback_leaves_the_indexes_of_the_application(empty: str) -> None:
    """One that did the same was accepted, and one had taken the name of ours."""
    with psycopg.connect(empty, autocommit=True) as connection:
        build(connection, 6)
        fill(connection)
        execute(
            connection,
            "drop index idx_refresh_tokens_user, idx_refresh_tokens_expires_at;"
            " create index theirs on refresh_tokens (user_id) with (fillfactor = 80);"
            " create index idx_refresh_tokens_expires_at on refresh_tokens (expires_at desc);"
            " insert into refresh_tokens (user_id, token_hash, expires_at)"
            " select id, repeat(md5(number::text), 10), now() + interval '1 day'"
            " from (select id from users limit 1) as user_, generate_series(1, 3000) as number",
        )
    before = structure(empty)
    done = api.migrate(empty, applications=["matcha"])
    assert "idx_refresh_tokens_expires_at1" in done.indexes
    assert "idx_refresh_tokens_user" not in done.indexes
    assert api.status(empty).is_up_to_date
    api.rollback(empty, api.plan_rollback(empty, everything=True), backup_folder=None)
    assert structure(empty) == before
