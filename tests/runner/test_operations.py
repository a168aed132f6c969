"""Operations without policies: what they would execute, executing it, and what is logged of it."""

from __future__ import annotations

import re
from threading import Thread
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner import api
from runner.errors import Exit
from tests.conftest import scalar
from tests.core.runs import until
from tests.runner.test_run import ask
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection


@pytest.fixture
def url(db: Connection) -> str:
    """The URL of the database of ``db``, in which nothing but ``offer`` lists statements."""
    execute(db, "delete from maintenance.statement_source")
    execute(db, "create table public.thing (id bigint primary key)")
    return db.info.dsn


def offer(
    db: Connection,
    *statements: str,
    operation: str = "analyze",
    scope: str = "needed",
    is_patient: bool = True,
) -> None:
    """Let an operation execute these statements, all of them about public.thing."""
    listed = " union all ".join(
        f"select {number} as place, $${statement}$$ as statement"
        for number, statement in enumerate(statements)
    )
    execute(
        db,
        f"create view maintenance.{operation}_{scope} as"
        " select 'public.thing' as object, statement, 'a reason' as reason,"
        f" {is_patient} as is_patient from ({listed}) as listed order by place",
    )
    execute(
        db,
        "select maintenance.offer_statements(%s, %s, 'core', %s)",
        operation, f"maintenance.{operation}_{scope}", scope,
    )  # fmt: skip


def tasks(db: Connection, columns: str = "statement, exit_reason") -> list[tuple[object, ...]]:
    """Return what the log has of statements, the oldest first."""
    return rows(db, f"select {columns} from maintenance.run_task order by id")


def test_statements_are_executed_in_order_and_logged(db: Connection, url: str) -> None:
    offer(db, "insert into public.thing values (1)", "insert into public.thing values (2)")
    answer = ask("run", "analyze", url=url)
    assert answer.code == Exit.DONE
    assert "analyze: 2 of 2 statements done" in answer.out
    assert column(db, "select id from public.thing order by id") == [1, 2]
    assert tasks(db, "run, operation, object, statement, reason, exit_reason") == [
        (1, "analyze", "public.thing", f"insert into public.thing values ({n})", "a reason",
         "exhausted")
        for n in (1, 2)
    ]  # fmt: skip
    assert tasks(db, "ended_at >= started_at") == [(True,), (True,)]
    [one, two] = api.history(url)
    assert (one.operation, one.action, one.policy) == ("analyze", "execute", None)
    assert two.exit_reason == "exhausted"


def test_a_dry_run_lists_them_and_writes_nothing(db: Connection, url: str) -> None:
    offer(db, "insert into public.thing values (1)")
    document = ask("run", "analyze", "--dry-run", "--json", url=url).document["analyze"]
    assert (document["status"], document["exit_reason"]) == ("simulated", None)
    assert document["message"] == "1 statements would be executed"
    [planned] = document["details"]["statements"]
    assert planned["statement"] == "insert into public.thing values (1)"
    assert "insert into public.thing values (1)" in ask("run", "analyze", "--dry-run", url=url).out
    assert tasks(db) == []
    assert rows(db, "select from maintenance.run") == []
    assert column(db, "select id from public.thing") == []


def test_all_objects_are_another_list(db: Connection, url: str) -> None:
    offer(db, "insert into public.thing values (1)")
    offer(db, "insert into public.thing values (2)", scope="all")
    ask("run", "analyze", "--all-tables", url=url)
    assert column(db, "select id from public.thing") == [2]


def test_one_that_fails_does_not_keep_the_others_from_their_turn(db: Connection, url: str) -> None:
    offer(db, "insert into public.thing values (1 / 0)", "insert into public.thing values (2)")
    answer = ask("run", "analyze", url=url)
    assert answer.code == Exit.FAILED
    assert "error: analyze: public.thing: division by zero" in answer.err
    assert tasks(db, "exit_reason, sqlstate, message") == [
        ("error", "22012", "division by zero"), ("exhausted", None, None),
    ]  # fmt: skip
    assert column(db, "select id from public.thing") == [2]
    document = ask("run", "analyze", "--json", url=url)
    assert document.code == Exit.FAILED


def test_what_is_skipped_for_want_of_a_right_is_a_failure(
    db: Connection, url: str, role: Callable[[str], str]
) -> None:
    operator = role("operator")
    execute(db, "select maintenance.grant_operator(%s)", operator)
    execute(db, f"grant usage on schema public to {operator}")
    offer(db, "vacuum public.thing")
    execute(db, f"grant select on maintenance.analyze_needed to {operator}")
    answer = ask("run", "analyze", url=make_conninfo(url, user=operator))
    assert answer.code == Exit.FAILED
    # PostgreSQL 16 and later: permission denied to vacuum "thing", skipping it
    assert re.search(r"error: analyze: public.thing: .*\bvacuum\b", answer.err)
    assert tasks(db, "exit_reason") == [("error",)]


def test_nothing_to_do_and_nothing_installed_are_told_apart(db: Connection, url: str) -> None:
    offer(db, "vacuum public.thing")
    execute(
        db,
        "create or replace view maintenance.analyze_needed as"
        " select 'a' as object, 'b' as statement, 'c' as reason, true as is_patient where false",
    )
    document = ask("run", "analyze", "vacuum", "backup", "orphans", "--json", url=url).document
    del document["metadata"]
    said = {name: (one["status"], one["message"]) for name, one in document.items()}
    assert said == {
        "analyze": ("skipped", "there is no need"),
        "vacuum": ("skipped", "not installed"),
        "backup": ("skipped", "not installed"),
        "orphans": ("skipped", "not installed"),
    }


def test_an_operation_that_cannot_be_planned_is_an_error_and_the_next_one_has_its_turn(
    db: Connection, url: str
) -> None:
    offer(db, "insert into public.thing values (1)")
    offer(db, "insert into public.thing values (2)", operation="vacuum")
    execute(
        db,
        "create or replace view maintenance.vacuum_needed as"
        " select 'a' as object, 'b' as statement, (1 / 0)::text as reason, true as is_patient",
    )
    for dry_run in ("--dry-run", "--quiet"):
        answer = ask("run", "vacuum", "analyze", dry_run, url=url)
        assert answer.code == Exit.FAILED
        assert "error: vacuum: division by zero" in answer.err
    assert tasks(db) == [("insert into public.thing values (1)", "exhausted")]


def test_a_budget_ends_between_statements_and_within_one(db: Connection, url: str) -> None:
    offer(db, "select pg_sleep(5)", "insert into public.thing values (2)")
    ran = api.run(url, ["analyze"], order=api.Order(max_duration=0.5))
    [done] = ran.operations
    assert (done.exit_reason, ran.code) == ("budget", Exit.DONE)
    assert done.seconds < 4
    assert tasks(db) == [("select pg_sleep(5)", "budget")]
    assert column(db, "select id from public.thing") == []


def test_a_lock_behind_which_others_queue_is_tried_for_briefly(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    offer(db, "alter table public.thing set (fillfactor = 90)", is_patient=False)
    holder = another()
    with holder.transaction():
        execute(holder, "lock table public.thing in share mode")
        ran = api.run(url, ["analyze"], terms=api.Terms(lock_wait=0.1))
    assert [one.exit_reason for one in ran.operations] == ["incomplete"]
    assert ran.code == Exit.FAILED
    assert tasks(db, "message") == [("it did not get its lock in 0.1 s",)]
    assert [one.exit_reason for one in api.run(url, ["analyze"]).operations] == ["exhausted"]


def test_a_patient_one_waits_for_its_lock(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    offer(db, "vacuum public.thing")
    holder, observer = another(), another()
    execute(holder, "begin; lock table public.thing in share update exclusive mode")

    def let_go() -> None:
        until(
            lambda: bool(
                column(
                    observer,
                    "select pid from pg_locks where not granted"
                    " and relation = 'public.thing'::regclass",
                )
            )
        )
        execute(holder, "rollback")

    helper = Thread(target=let_go)
    helper.start()
    ran = api.run(url, ["analyze"])
    helper.join()
    assert [one.exit_reason for one in ran.operations] == ["exhausted"]


def test_a_run_that_was_killed_leaves_its_statement_interrupted(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    runner = another()
    execute(runner, "select maintenance.open_run('a test')")
    execute(runner, "select maintenance.open_task(1, 'analyze', 'public.thing', 'x', 'y')")
    runner.close()
    observer = another()
    until(
        lambda: column(
            observer, "select pid from pg_stat_activity where query like '%%open_task%%'"
            " and pid <> pg_backend_pid() and datname = current_database()"
        ) == []
    )  # fmt: skip
    offer(db, "insert into public.thing values (1)")
    api.run(url, ["analyze"])
    assert tasks(db, "run, exit_reason") == [(1, "interrupted"), (2, "exhausted")]
    ended = rows(db, "select ended_at is not null from maintenance.run order by id")
    assert ended == [(True,), (True,)]


def test_a_statement_belongs_to_a_run_of_this_session(
    db: Connection, another: Callable[[], Connection]
) -> None:
    execute(another(), "select maintenance.open_run('a test')")
    for number in (1, 7):
        refusal = f"run {number} does not run in this session"
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=refusal):
            execute(
                db, "select maintenance.open_task(%s, 'analyze', 'public.thing', 'x', 'y')", number
            )


def test_statistics_note_the_sizes_of_the_day_and_a_dry_run_does_not(
    db: Connection, url: str
) -> None:
    noted = "select table_name from maintenance.size_history where table_name = 'thing'"
    api.plan(url, ["stats"])
    assert column(db, noted) == []
    [done] = api.run(url, ["stats"]).operations
    assert (done.status, done.report.keys()) == ("completed", {"database", "tables", "indexes"})
    assert column(db, noted) == ["thing"]


def test_a_monitor_reads_the_statements_for_tables_of_a_schema_that_he_may_not_use(
    db: Connection, role: Callable[[str], str]
) -> None:
    monitor = role("monitor")
    execute(
        db,
        "create schema hidden; create table hidden.thing (id bigint);"
        " insert into hidden.thing select generate_series(1, 1000); delete from hidden.thing;"
        " select pg_stat_force_next_flush()",
    )
    execute(db, "select maintenance.grant_monitor(%s)", monitor)
    until(lambda: bool(column(db, "select object from maintenance.needed_vacuum")))
    execute(db, f"set role {monitor}")
    for view in ("needed_vacuum", "every_vacuum"):
        listed = f"select statement from maintenance.{view} where object = 'hidden.thing'"
        assert column(db, listed) == ["vacuum (analyze) hidden.thing"]


def test_a_view_that_readers_would_wait_for_is_not_waited_for(db: Connection) -> None:
    execute(
        db,
        "create materialized view public.plain as select 1 as id;"
        " create materialized view public.keyed as select 1 as id;"
        " create unique index on public.keyed (id)",
    )
    listed = "select object, statement, is_patient, reason ~ 'it locks readers out: ACCESS'"
    assert rows(db, f"{listed} from maintenance.needed_refresh order by object") == [
        ("public.keyed", "refresh materialized view concurrently public.keyed", True, False),
        ("public.plain", "refresh materialized view public.plain", False, True),
    ]


def test_more_than_a_tenth_is_bloat_and_less_is_not(db: Connection) -> None:
    for name, share in (("little", 6), ("much", 15)):
        execute(
            db,
            f"create table public.{name} (id integer, filler char(100)) with"
            " (autovacuum_enabled = off);"
            f" insert into public.{name} select n, '' from generate_series(1, 20000) as n;"
            f" create index {name}_id on public.{name} (id);"
            f" delete from public.{name} where id % 100 < {share}",
        )
        execute(db, f"vacuum (analyze) public.{name}")
    for view, shown in (("bloated_tables", '"table"'), ("bloated_indexes", "index")):
        [(name, percent)] = rows(
            db, f"select {shown}, waste_percent from maintenance.{view} where schema = 'public'"
        )
        assert name.startswith("much")
        assert 11 < percent < 19


def test_two_runs_do_not_execute_statements_of_one_operation_at_once(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    offer(db, "insert into public.thing values (1)")
    offer(db, "insert into public.thing values (2)", operation="vacuum")
    other = another()
    execute(other, "select maintenance.open_run('a test')")
    execute(other, "select maintenance.open_task(1, 'analyze', 'public.thing', 'x', 'y')")
    answer = ask("run", "analyze", "vacuum", url=url)
    assert answer.code == Exit.BUSY
    assert f"analyze: run 1 of process {other.info.backend_pid} is at it" in answer.out
    assert column(db, "select id from public.thing") == [2], "another operation is free"
    execute(other, "select maintenance.close_task(1, 'exhausted')")
    assert ask("run", "analyze", url=url).code == Exit.DONE


# Who is in the way


def test_who_is_in_the_way_is_named_once_before_it_begins(
    db: Connection, url: str, another: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(db, "insert into public.thing values (1)")
    offer(db, "insert into public.thing values (2)", operation="vacuum")
    idle = another()
    execute(idle, "begin; select 42")
    assert api.run(url, ["analyze"]).warnings == [], "it has not been at it for long"
    monkeypatch.setattr("runner.warnings.LONG", 0.05)
    execute(db, "select pg_sleep(0.1)")
    ran = api.run(url, ["analyze", "vacuum"])
    [warning] = ran.warnings
    assert warning.startswith(f"analyze: pid {idle.info.backend_pid} (")
    assert warning.endswith("select 42")
    assert " s: " in warning


def test_who_holds_the_table_of_a_policy_is_named(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    holder = another()
    execute(holder, "begin; lock table public.refresh_tokens in share mode")
    answer = ask("run", "refresh_tokens", "password_reset_tokens", url=url)
    pid = holder.info.backend_pid
    assert f"warning: refresh_tokens: pid {pid} (" in answer.err
    assert "holds public.refresh_tokens: begin; lock table" in answer.err
    assert answer.err.count("warning: ") == 1
    execute(holder, "rollback")
    assert "warning" not in ask("run", "refresh_tokens", url=url).err


# Bundles


@pytest.mark.parametrize(
    ("schedule", "operations"),
    [
        ("hourly", ["tokens", "sessions", "cache", "views"]),
        (
            "daily",
            ["tokens", "sessions", "logs", "orphans", "cache", "progress", "views", "analyze",
             "stats"],
        ),
    ],
)  # fmt: skip
def test_a_bundle_has_what_runs_more_often_too(
    tx: Connection, schedule: str, operations: list[str]
) -> None:
    assert scalar(tx, "select maintenance.bundled(%s)", schedule) == operations


def test_the_monthly_bundle_has_every_operation_in_its_place(tx: Connection) -> None:
    everything = column(tx, "select name from maintenance.operation order by position")
    assert scalar(tx, "select maintenance.bundled('monthly')") == everything


def test_bundles_can_be_changed(db: Connection, url: str) -> None:
    execute(db, "select maintenance.set_bundle('hourly', array['analyze'])")
    assert scalar(db, "select maintenance.bundled('hourly')") == ["analyze"]
    assert "tokens" not in scalar(db, "select maintenance.bundled('monthly')")
    offer(db, "insert into public.thing values (1)")
    document = ask("run", "--schedule", "hourly", "--json", url=url).document
    assert document.keys() == {"analyze", "metadata"}
    assert column(db, "select id from public.thing") == [1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("set_bundle('hourly', array['nope'])", "there is no operation 'nope'"),
        ("set_bundle('hourly', null)", "there is no operation null"),
        ("set_bundle('yearly', array['tokens'])", "there is no bundle 'yearly'"),
        ("bundled('yearly')", "there is no bundle 'yearly'"),
        ("bundled(null)", "there is no bundle null"),
    ],
)
def test_a_bundle_that_makes_no_sense(tx: Connection, call: str, message: str) -> None:
    with pytest.raises(psycopg.Error, match=message):
        execute(tx, f"select maintenance.{call}")


def test_only_the_owner_of_the_schema_changes_bundles(
    db: Connection, role: Callable[[str], str]
) -> None:
    operator = role("operator")
    execute(db, "select maintenance.grant_operator(%s)", operator)
    execute(db, f"grant execute on function maintenance.set_bundle(text, text[]) to {operator}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(
            db,
            f"set role {operator}; select maintenance.set_bundle('hourly', array['tokens'])",
        )


def test_a_schedule_does_not_go_with_names(url: str) -> None:
    for also in ("tokens", "--all"):
        answer = ask("run", "--schedule", "daily", also, url=url)
        assert answer.code == Exit.USAGE
        assert "--schedule says what to run" in answer.err


# Stale decks


def test_stale_decks_are_an_operation(db: Connection) -> None:
    execute(
        db,
        "insert into users (username, email, password_hash)"
        " values ('a', 'a', 'a'), ('b', 'b', 'b');"
        " insert into decks (title, language_from, language_to) values ('x', 'de', 'ja');"
        " insert into user_deck_progress (user_id, deck_id, updated_at)"
        " select users.id, decks.id, now() - interval '2 hours' from users cross join decks",
    )
    [planned] = api.plan(db.info.dsn, ["progress"]).operations
    assert [task.reason for task in planned.planned] == ["2 decks of 2 users are an hour old"]
    [done] = api.run(db.info.dsn, ["progress"]).operations
    assert [(task.rows, task.exit_reason) for task in done.tasks] == [(2, "exhausted")]
    assert tasks(db, "rows_processed") == [(2,)]
