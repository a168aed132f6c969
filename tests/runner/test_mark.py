"""Scripts that psql ran are recognised by what they made, and booked as the runner does its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner import api
from runner import scripts as scripts_module
from runner.clients import command, find
from runner.connection import connect
from runner.definitions import recorded
from runner.errors import Exit
from runner.resources import home
from runner.scripts import Script, script, scripts
from tests.conftest import TestServer, run
from tests.matcha import originals
from tests.migrations.dumps import everything, structure

ALL = scripts(["matcha"])
CORE = [one for one in ALL if one.chain == "core"]


def psql(url: str, *arguments: str | Path, stdin: str | None = None) -> int:
    """Run psql on a database, and return how it ended."""
    words, environ = command(find("psql"), url, "-Xq", *map(str, arguments))
    return subprocess.run(
        words, env=environ, cwd="/", input=stdin, text=True, capture_output=True, check=False
    ).returncode


def build(url: str, applied: list[Script]) -> None:
    """Run scripts with psql, all of them in one session and each in a transaction."""
    text = "".join(f"begin;\n{one.sql}\ncommit;\n" for one in applied)
    assert psql(url, "-v", "ON_ERROR_STOP=1", stdin=text) == 0


def ids(these: list[Script]) -> list[str]:
    return [one.id for one in these]


def change(url: str, *statements: str) -> None:
    """Do to a database what its users might."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def ledger(url: str) -> tuple[list[tuple[str, str]], list[tuple[str]], list[object]]:
    """What is booked, in order; which chains are wanted; and the objects with fingerprints."""
    with connect(url, program="test") as connection:
        scripts = connection.execute(
            "select migration_id, checksum from maintenance.applied_script order by position"
        ).fetchall()
        yoyo = connection.execute("select count(*) from maintenance._yoyo_migration").fetchone()
        assert yoyo == (len(scripts),)
        wanted = connection.execute("select name from maintenance.chain order by name").fetchall()
        return scripts, wanted, list(recorded(connection))


def test_a_database_that_psql_built_is_as_one_that_the_runner_built(
    empty: str, server: TestServer, new_database: Callable[..., str]
) -> None:
    blank = structure(empty)
    for one in ALL:
        assert psql(empty, "-1", "-v", "ON_ERROR_STOP=1", "-f", one.up) == 0
    before = structure(empty)

    told = run("migrate", "--mark", "--dry-run", url=empty)
    assert told.stdout.splitlines() == [f"would book {one.id}" for one in ALL]
    assert structure(empty) == before
    assert api.mark(empty, dry_run=True).booked == ids(ALL)

    done = run("migrate", "--mark", url=empty)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    assert done.stdout.splitlines() == [f"booked {one.id}" for one in ALL]
    assert structure(empty) == before, "nothing was changed but the ledger"
    migrated = new_database("migrated", template=server.template)
    assert ledger(empty) == ledger(migrated)

    assert api.migrate(empty).applied == []
    assert api.status(empty).is_up_to_date
    assert everything(empty) == everything(migrated)
    assert "has nothing more to book" in run("migrate", "--mark", url=empty).stdout
    api.rollback(empty, api.plan_rollback(empty, everything=True), backup_folder=None)
    assert structure(empty) == blank


def test_migrate_goes_on_with_the_rest(
    empty: str, server: TestServer, new_database: Callable[..., str]
) -> None:
    build(empty, ALL[:-4])
    marked = api.mark(empty)
    assert (marked.booked, marked.incomplete) == (ids(ALL[:-4]), [])
    assert marked.pending == ids(ALL[-4:])
    assert ids([script(one.id) for one in api.migrate(empty).applied]) == ids(ALL[-4:])
    migrated = new_database("migrated", template=server.template)
    assert everything(empty) == everything(migrated)
    assert ledger(empty) == ledger(migrated)


def test_the_core_alone_is_marked_alone_and_applications_can_follow(empty: str) -> None:
    build(empty, CORE)
    marked = api.mark(empty)
    assert (marked.booked, marked.pending, marked.incomplete) == (ids(CORE), [], [])
    assert api.migrate(empty).applied == []
    assert api.migrate(empty, applications=["matcha"]).applied
    assert api.status(empty).is_up_to_date


def test_tables_of_an_application_are_no_sign_of_our_scripts(empty: str) -> None:
    build(empty, CORE)
    change(
        empty,
        "create table public.users (id uuid primary key, email text)",
        "create table public.refresh_tokens (id uuid primary key)",
        "create function public.cleanup_all_expired_tokens() returns integer"
        " language sql as 'select 0'",
    )
    marked = api.mark(empty)
    assert (marked.booked, marked.incomplete) == (ids(CORE), [])


@pytest.mark.parametrize("level", originals.LEVELS)
def test_a_database_that_psql_has_taken_over_is_given_back(
    empty: str, role: Callable[[str], str], level: originals.Level
) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        originals.build(connection, level)
        originals.decorate(connection, owner=role("owner"), caller=role("caller"))
    before = structure(empty)
    build(empty, ALL)
    marked = api.mark(empty)
    assert (marked.booked, marked.incomplete) == (ids(ALL), [])
    assert api.migrate(empty).applied == []
    assert api.status(empty).is_migrated
    api.rollback(empty, api.plan_rollback(empty, everything=True), backup_folder=None)
    assert structure(empty) == before


def test_what_psql_ran_after_the_runner_is_booked_too(empty: str) -> None:
    api.migrate(empty, applications=["matcha"], to=ALL[-3].id)
    build(empty, ALL[-2:])
    assert api.mark(empty).booked == ids(ALL[-2:])
    assert [one.id for one in api.migrate(empty).applied] == []
    assert api.status(empty).is_up_to_date


def test_what_a_later_script_replaces_or_drops_counts_in_its_later_form(
    empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("migrations", "rollback", "sql"):
        shutil.copytree(home() / name, tmp_path / name)
    last = f"{len(CORE) + 1:04}_later"
    (tmp_path / f"migrations/core/{last}.sql").write_text(
        "-- Replaces one function, and drops another.\n\n"
        "create or replace function maintenance.bracketed(condition text) returns text\n"
        "language sql as $$ select bracketed.condition $$;\n"
        "drop function maintenance.vacuum_command(text);\n"
    )
    (tmp_path / f"rollback/core/{last}_down.sql").write_text("-- Nothing.\n")
    monkeypatch.setattr(scripts_module, "home", lambda: tmp_path)
    known = scripts(["none"])
    build(empty, known[:-1])
    assert api.mark(empty, dry_run=True).pending == [known[-1].id]
    build(empty, known[-1:])
    marked = api.mark(empty)
    assert (marked.booked, marked.incomplete) == (ids(known), [])
    with connect(empty, program="test") as connection:
        [changed] = [one for one in recorded(connection) if "bracketed" in one.name]
    assert changed.migration_id == known[-1].id
    assert api.status(empty).drift == []


HALVES = [
    ("core/0001_create_schema", "create table maintenance.applied_script"),
    ("core/0004_register_policies", "create table maintenance.archive ("),
    ("core/0006_run_policies", "create or replace function maintenance.run_batch("),
    (
        "matcha/0001_init",
        "select maintenance.require_index(\n    chain => 'matcha',\n    relation => 'public.flash",
    ),
    ("matcha/0006_performance_and_cleanup_improvements", "create or replace function public.refr"),
]


@pytest.mark.parametrize(("migration_id", "until"), HALVES, ids=[one for one, _ in HALVES])
def test_a_script_that_ran_half_is_named_with_what_is_missing(
    empty: str, migration_id: str, until: str
) -> None:
    """The hint leads to the end: psql runs the rest, and all is booked."""
    before = ALL[: ids(ALL).index(migration_id)]
    build(empty, before)
    text = script(migration_id).sql
    place = text.index(until)
    assert psql(empty, "-v", "ON_ERROR_STOP=1", stdin=text[:place]) == 0
    number = text.count("\n", 0, place) + 1
    marked = api.mark(empty)
    assert marked.booked == ids(before)
    [incomplete] = marked.incomplete
    assert (incomplete.id, incomplete.line, incomplete.different) == (migration_id, number, [])
    assert incomplete.missing

    rest = "".join(text.splitlines(keepends=True)[number - 1 :])
    assert psql(empty, "-1", "-v", "ON_ERROR_STOP=1", stdin=rest) == 0
    assert api.mark(empty).booked == [migration_id]


def test_the_first_incomplete_script_is_an_error_that_says_how_to_complete_it(empty: str) -> None:
    build(empty, CORE[:2])
    text = CORE[2].sql
    place = text.index("create or replace view maintenance.table_sizes")
    assert psql(empty, "-v", "ON_ERROR_STOP=1", stdin=text[:place]) == 0
    done = run("migrate", "--mark", url=empty)
    assert done.returncode == Exit.FAILED
    assert done.stdout.splitlines() == [f"booked {one.id}" for one in CORE[:2]]
    assert done.stderr.splitlines() == [
        "error: core/0003_monitor_tables is not all there, so it was not booked, "
        "and nothing after it",
        "detail: Missing: view maintenance.table_sizes, view maintenance.index_usage.",
        "hint: Run what is missing with psql: `runner show core/0003_monitor_tables` has it, from "
        f"line {text.count(chr(10), 0, place) + 1} on. Then mark again.",
    ]
    again = run("migrate", "--mark", "--json", url=empty)
    assert again.returncode == Exit.REFUSED, "nothing more was booked"
    answer = json.loads(again.stdout)
    assert (answer["booked"], answer["incomplete"][0]["id"]) == ([], CORE[2].id)


def test_a_row_that_a_script_did_not_come_to_write_is_missing(empty: str) -> None:
    build(empty, ALL)
    change(empty, "select maintenance.detach_insert_sweep('refresh_tokens')")
    [incomplete] = api.mark(empty).incomplete
    assert incomplete.id == "matcha/0006_performance_and_cleanup_improvements"
    assert incomplete.missing == ["sweep of policy refresh_tokens"]


@pytest.mark.parametrize(
    ("statement", "migration_id", "what"),
    [
        (
            "alter function maintenance.bracketed(text) volatile",
            "core/0004_register_policies",
            "function maintenance.bracketed(text)",
        ),
        (
            "alter table maintenance.run add column extra text",
            "core/0006_run_policies",
            "table maintenance.run",
        ),
        (
            "alter view maintenance.policy_status reset (security_invoker)",
            "core/0006_run_policies",
            "view maintenance.policy_status",
        ),
        (
            "alter function public.refresh_stale_deck_progress(uuid) strict",
            "matcha/0006_performance_and_cleanup_improvements",
            "function public.refresh_stale_deck_progress(uuid)",
        ),
    ],
)
def test_what_is_not_as_a_script_makes_it_is_named_and_not_booked(
    empty: str, statement: str, migration_id: str, what: str
) -> None:
    build(empty, ALL)
    change(empty, statement)
    marked = api.mark(empty)
    assert marked.booked == ids(ALL[: ids(ALL).index(migration_id)])
    [incomplete] = marked.incomplete
    assert (incomplete.id, incomplete.missing, incomplete.different) == (migration_id, [], [what])


def test_what_is_different_is_an_error_that_says_what_to_do(empty: str) -> None:
    build(empty, CORE)
    change(empty, "alter function maintenance.release_index(regclass, name) volatile strict")
    assert "detail: Not as it makes them: function maintenance.release_index(regclass,name).\n" in (
        run("migrate", "--mark", url=empty).stderr
    )


@pytest.mark.parametrize("arguments", [["migrate"], ["status"], ["rollback", "--all"]])
def test_a_command_that_needs_the_ledger_points_to_mark(empty: str, arguments: list[str]) -> None:
    build(empty, CORE)
    done = run(*arguments, url=empty)
    assert done.returncode == Exit.REFUSED
    assert "was built with psql" in done.stderr
    assert "hint: `runner migrate --mark` finds out" in done.stderr
    change(empty, "drop schema maintenance cascade; create schema maintenance")
    change(empty, "comment on schema maintenance is 'pg-maintenance: '")
    done = run(*arguments, url=empty)
    assert done.returncode == Exit.REFUSED
    assert "error: schema maintenance in database" in done.stderr
    assert "has no ledger" in done.stderr
    assert "hint: `runner migrate --mark` says" in done.stderr


def refusal(url: str, *, user: str = "postgres") -> str:
    """How marking is refused to a role, with nothing changed."""
    before = structure(url)
    done = run("migrate", "--mark", url=make_conninfo(url, user=user))
    assert done.returncode in (Exit.REFUSED, Exit.FAILED)
    assert done.stdout == ""
    assert structure(url) == before
    return done.stderr


def test_an_empty_schema_a_foreign_one_and_none_are_told_apart(empty: str) -> None:
    assert "has nothing of pg-maintenance to mark\nhint: Install it" in refusal(empty)
    change(empty, "create schema maintenance; create table maintenance.theirs ()")
    assert "schema maintenance in database" in refusal(empty)
    assert "is not ours" in refusal(empty)
    change(empty, "comment on schema maintenance is 'pg-maintenance: '")
    assert "has our comment, and nothing of ours in it\nhint: Drop it" in refusal(empty)


def test_a_database_that_was_restored_without_its_rows_is_not_booked(
    server: TestServer, empty: str, new_database: Callable[..., str]
) -> None:
    original = new_database("original", template=server.template)
    assert psql(empty, "-v", "ON_ERROR_STOP=1", stdin=structure(original)) == 0
    message = refusal(empty)
    assert "was restored without its rows" in message
    assert "hint: Restore them as well" in message


def test_an_ordinary_owner_of_the_database_can_mark(
    new_database: Callable[..., str], role: Callable[[str], str]
) -> None:
    owner = role("owner")
    url = make_conninfo(new_database("owned", owner=owner), user=owner)
    build(url, ALL)
    assert api.mark(url).booked == ids(ALL)
    assert api.migrate(url).applied == []
    assert api.status(url).is_up_to_date


def test_a_role_that_lacks_a_right_is_told_which(
    new_database: Callable[..., str], role: Callable[[str], str]
) -> None:
    owner, other = role("owner"), role("other")
    url = new_database("owned", owner=owner)
    build(make_conninfo(url, user=owner), CORE)
    change(url, f"alter schema public owner to {other}")
    as_owner = make_conninfo(url, user=owner)
    assert f"role {other} may not change schema maintenance" in refusal(url, user=other)
    message = refusal(url, user=owner)
    assert f"role {owner} may not set schema public aside, which belongs to another role" in message
    assert "say --app none" in message
    assert api.mark(as_owner, applications=["none"]).booked == ids(CORE)


def test_marking_neither_waits_for_the_application_nor_makes_it_wait(empty: str) -> None:
    """One session writes all the time, and another holds the strongest lock there is."""
    build(empty, ALL)
    insert = (
        "insert into public.decks (title, language_from, language_to) values ('one', 'de', 'en')"
    )
    longest, ended = 0.0, threading.Event()

    def write() -> None:
        nonlocal longest
        with psycopg.connect(empty, autocommit=True) as connection:
            while not ended.is_set():
                began = time.monotonic()
                connection.execute(insert)
                longest = max(longest, time.monotonic() - began)

    with psycopg.connect(empty) as holder, psycopg.connect(empty, autocommit=True) as watcher:
        holder.execute("lock table public.users, public.refresh_tokens in access exclusive mode")
        writer = threading.Thread(target=write)
        writer.start()
        waits: list[str] = []

        def watch() -> None:
            while not ended.is_set():
                waits.extend(
                    query
                    for (query,) in watcher.execute(
                        "select query from pg_stat_activity where wait_event_type = 'Lock'"
                        " and datname = current_database()"
                    )
                )

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            marked = api.mark(empty, terms=api.Terms(lock_wait=0))
        finally:
            ended.set()
            writer.join()
            watching.join()
    assert marked.booked == ids(ALL)
    assert waits == []
    assert longest < 0.5


@pytest.mark.parametrize("position", range(1, len(ALL)), ids=ids(ALL[1:]))
@pytest.mark.slow
def test_a_script_that_did_not_run_is_not_booked(empty: str, position: int) -> None:
    build(empty, ALL[:position])
    marked = api.mark(empty)
    assert marked.booked == ids(ALL[:position])
    assert marked.incomplete == []
