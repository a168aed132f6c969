"""Runs: what the log says, why they end, and what the session of the caller cannot do to them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.runs import (
    LIVE,
    a_gate,
    a_table,
    alter,
    at_the_gate,
    calling,
    closed_gate,
    count,
    names,
    put,
    register,
    run,
    steps,
    until,
)
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

OPERATIONS = "call maintenance.run_operations(array['tests'])"


def tokens(db: Connection, dead: int = 10) -> None:
    """Make the table with some rows that go and one that stays, and its policy."""
    a_table(db)
    put(db, "dead", dead)
    put(db, "live", expires=LIVE)
    register(db)


# The log


def test_the_log_has_a_run_before_it_removes_anything(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    a_gate(db)
    put(db, "gate")
    observer = another()
    with closed_gate(db), calling(db) as call:
        until(lambda: at_the_gate(observer))
        [(reason, removed, program, ended)] = rows(
            observer,
            "select exit_reason, removed, program, ended_at from maintenance.run_history",
        )
        assert (reason, removed, program, ended) == ("running", 0, "run_policy", None)
        assert count(observer) == 12
        execute(db, "select pg_advisory_unlock(1)")
        call.result()
        execute(db, "select pg_advisory_lock(1)")
    assert steps(db, "step.exit_reason") == ["exhausted"]


def test_the_log_says_who_what_and_how_much(db: Connection) -> None:
    tokens(db, dead=20)
    execute(db, "analyze token; set application_name = 'test'")
    assert run(db, batch_size=7, max_rows=100) == (20, "exhausted", None)
    [row] = rows(
        db,
        "select run, policy, operation, relation, removed, dependents, cascaded, left_over,"
        " sqlstate, message, program, started_by, started_from, arguments,"
        " started_at <= moment + interval '1 s' and moment <= ended_at,"
        " batches >= 3 and longest_batch > '0 s' and longest_batch < duration and bytes > 0"
        " from maintenance.run_history",
    )
    given = {"policy": "token", "batch_size": 7, "max_rows": 100}
    assert row == (
        1, "token", "cleanup", "public.token", 20, 0, 0, 0,
        None, None, "run_policy", db.info.user, "local, test", given, True, True,
    )  # fmt: skip
    assert column(db, "select ended_at is not null from maintenance.run") == [True]


def test_runs_that_ended_90_days_ago_are_forgotten(db: Connection) -> None:
    tokens(db)
    run(db)
    run(db)
    execute(
        db,
        "update maintenance.run set ended_at = now() - case id when 1 then interval '91 days'"
        " else interval '89 days' end",
    )
    run(db)
    assert column(db, "select id from maintenance.run order by id") == [2, 3]
    assert steps(db, "step.run") == [2, 3]


# Why a run ends


def test_a_run_ends_when_nothing_is_left(db: Connection) -> None:
    tokens(db)
    assert run(db) == (10, "exhausted", None)
    assert run(db) == (0, "nothing_to_do", None)
    assert names(db) == ["live"]


@pytest.mark.parametrize(("limit", "size"), [(0, 7), (1, 1), (9, 1), (9, 7), (9, 1000)])
def test_a_run_never_removes_more_rows_than_it_may(db: Connection, limit: int, size: int) -> None:
    tokens(db)
    assert run(db, max_rows=limit, batch_size=size) == (
        limit,
        "budget",
        f"{limit} rows were allowed",
    )
    assert count(db) == 11 - limit


def test_the_lower_of_two_limits_counts(db: Connection) -> None:
    tokens(db)
    alter(db, max_rows=3)
    assert run(db, max_rows=5)[:2] == (3, "budget")
    assert run(db, max_rows=2)[:2] == (2, "budget")


def slow_down(db: Connection, milliseconds: int) -> None:
    """Let the deletion of a token take that long."""
    execute(
        db,
        "create function take_time() returns trigger language plpgsql as $$ begin"
        f" perform pg_sleep({milliseconds} / 1000.0); return null; end $$;"
        " create trigger take_time after delete on token for each row execute function take_time()",
    )


@pytest.mark.parametrize("how", ["the call", "the policy"])
def test_a_run_ends_when_its_time_is_up(db: Connection, how: str) -> None:
    tokens(db, dead=100)
    slow_down(db, 20)
    if how == "the call":
        removed, *rest = run(db, batch_size=2, max_duration="300 ms")
    else:
        alter(db, max_duration="300 ms")
        removed, *rest = run(db, batch_size=2)
    assert rest == ["budget", "the time is up"]
    assert 0 < removed < 50
    assert count(db) == 101 - removed
    assert scalar(db, "select duration < interval '1 s' from maintenance.run_history")


def test_a_run_ends_before_statement_timeout_would_kill_it(db: Connection) -> None:
    tokens(db, dead=200)
    slow_down(db, 10)
    execute(db, "set statement_timeout = '500ms'")
    removed, *rest = run(db, batch_size=1)
    assert rest == ["budget", "the time is up"]
    assert 0 < removed < 100


def test_a_run_does_not_rest_past_statement_timeout(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    holder = another()
    execute(holder, "begin; select from token where name = 'dead' limit 1 for update")
    execute(db, "set statement_timeout = '1200ms'")
    assert run(db)[:2] == (9, "budget")


def test_only_what_runs_can_be_stopped(db: Connection) -> None:
    tokens(db)
    run(db)
    for number in ("1", "99", "null"):
        with pytest.raises(errors.UndefinedObject, match=f"run {number} does not run"):
            execute(db, f"select maintenance.stop_run({number})")


@pytest.mark.parametrize(
    ("meanwhile", "message"),
    [
        (
            "select maintenance.stop_run(max(id)) from maintenance.run",
            "somebody asked it to stop",
        ),
        (
            "select maintenance.alter_policy('token', '{\"retention\": \"3 days\"}')",
            "the policy was changed",
        ),
        ("select maintenance.enable_policy('token', false)", "the policy was changed"),
    ],
)
def test_a_run_ends_with_its_batch_when_it_is_stopped_or_its_policy_changes(
    db: Connection, another: Callable[[], Connection], meanwhile: str, message: str
) -> None:
    tokens(db)
    a_gate(db)
    put(db, "gate")
    put(db, "dead", 10)
    observer = another()
    with (
        closed_gate(db),
        calling(db, "call maintenance.run_policy('token', batch_size => 2)") as it,
    ):
        until(lambda: at_the_gate(observer))
        execute(observer, meanwhile)
        execute(db, "select pg_advisory_unlock(1)")
        _, removed, *rest = it.result()
        execute(db, "select pg_advisory_lock(1)")
    assert rest == ["stopped", message]
    assert count(db) == 22 - removed > 1


def test_a_policy_that_is_switched_off_does_not_run(db: Connection) -> None:
    tokens(db)
    execute(db, "select maintenance.enable_policy('token', false)")
    assert run(db) == (0, "disabled", "the policy is switched off")
    assert steps(db, "step.exit_reason") == ["disabled"]
    execute(db, "select maintenance.enable_policy('token')")
    assert run(db)[:2] == (10, "exhausted")


def test_what_goes_wrong_is_in_the_log_with_its_code_and_an_error(db: Connection) -> None:
    tokens(db)
    execute(
        db,
        "create function fail() returns trigger language plpgsql as"
        " $$ begin raise 'not today' using errcode = 'P0042'; end $$;"
        " create trigger fail after delete on token execute function fail()",
    )
    with pytest.raises(errors.RaiseException) as failure:
        run(db)
    assert failure.value.diag.message_primary == "policy token: error: not today"
    assert failure.value.diag.message_detail == "Run 1 removed 0 rows."
    assert steps(db, "(step.exit_reason, step.sqlstate, step.message)::text") == [
        '(error,P0042,"not today")'
    ]
    assert count(db) == 11
    execute(db, "drop trigger fail on token")
    assert run(db)[:2] == (10, "exhausted")


def test_what_goes_wrong_later_leaves_what_was_committed(db: Connection) -> None:
    tokens(db)
    put(db, "poison")
    execute(
        db,
        "create function fail() returns trigger language plpgsql as"
        " $$ begin raise 'poisoned'; end $$;"
        " create trigger fail after delete on token for each row when (old.name = 'poison')"
        " execute function fail()",
    )
    with pytest.raises(errors.RaiseException, match="poisoned") as failure:
        run(db, batch_size=1)
    removed = 12 - count(db)
    assert failure.value.diag.message_detail == f"Run 1 removed {removed} rows."
    assert steps(db, "step.removed") == [removed]
    assert removed > 0


def test_a_run_that_is_cancelled_gives_its_lease_back(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    a_gate(db)
    put(db, "gate")
    observer = another()
    with closed_gate(db), calling(db) as call:
        until(lambda: at_the_gate(observer))
        execute(observer, "select pg_cancel_backend(%s)", call.pid)
        call.wait()
        assert scalar(observer, "select step from maintenance.lease where policy = 'token'") is None
        assert steps(observer, "(step.exit_reason, step.sqlstate)::text") == ["(stopped,57014)"]
    assert run(db)[:2] == (11, "exhausted")


@pytest.mark.parametrize("size", [0, 100_001])
def test_a_size_that_cannot_be_meant_is_an_error(db: Connection, size: int) -> None:
    tokens(db)
    with pytest.raises(errors.RaiseException, match="between 1 and 100000"):
        run(db, batch_size=size)
    assert count(db) == 11


def test_a_policy_that_is_not_there_is_an_error(db: Connection) -> None:
    with pytest.raises(psycopg.Error, match=r"there is no .*policy .?nonsense"):
        run(db, "nonsense")


# Several policies


def test_operations_go_on_after_a_failure_and_name_it_in_the_end(db: Connection) -> None:
    for place, table in enumerate(("first", "broken", "last", "guarded")):
        a_table(db, table)
        put(db, "dead", 5, table=table)
        register(db, table, operation="tests", priority=place)
    a_table(db, "unrelated")
    put(db, "dead", table="unrelated")
    register(db, "unrelated", operation="others")
    alter(db, "guarded", guard_rows=2)
    execute(db, "create table use (broken bigint references broken)")
    execute(db, "insert into use select id from broken limit 1")
    with pytest.raises(psycopg.Error) as failure:
        execute(db, OPERATIONS)
    assert re.fullmatch(
        "broken: error: update or delete .*; guarded: guard: more than 2 rows would go: guard_rows",
        str(failure.value.diag.message_primary),
    )
    assert failure.value.diag.message_detail == "Run 1 removed 10 rows."
    assert [count(db, name) for name in ("first", "broken", "last", "guarded", "unrelated")] == [
        0, 5, 0, 5, 1,
    ]  # fmt: skip
    assert column(db, "select exit_reason from maintenance.run_step order by id") == [
        "exhausted", "error", "exhausted", "guard",
    ]  # fmt: skip
    assert column(db, "select ended_at is not null from maintenance.run") == [True]


def test_all_policies_run_where_no_operation_is_named(db: Connection) -> None:
    tokens(db)
    [(_, removed, failed)] = rows(db, "call maintenance.run_operations()")
    assert (removed, failed) == (10, None)
    assert set(column(db, "select policy from maintenance.run_step")) == {
        "token", "refresh_tokens", "password_reset_tokens", "email_verification_tokens",
    }  # fmt: skip


def test_operations_that_are_not_there_are_refused(db: Connection) -> None:
    with pytest.raises(errors.UndefinedObject, match="no operation or policy 'nonsense'"):
        execute(db, "call maintenance.run_operations(array['tokens', 'nonsense'])")


def test_a_cancelled_call_begins_no_further_policy(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db, "first")
    a_gate(db, "first")
    put(db, "gate", table="first")
    a_table(db, "second")
    put(db, "dead", table="second")
    register(db, "first", operation="tests", priority=1)
    register(db, "second", operation="tests", priority=2)
    observer = another()
    with closed_gate(db), calling(db, OPERATIONS) as call:
        until(lambda: at_the_gate(observer))
        execute(observer, "select pg_cancel_backend(%s)", call.pid)
        call.wait()
    assert count(db, "first") == count(db, "second") == 1
    logged = "select exit_reason, eligible is null from maintenance.run_step order by id"
    assert rows(db, logged) == [("stopped", False), ("stopped", True)], "it counts no more either"


def test_the_time_of_a_call_is_that_of_all_its_policies(db: Connection) -> None:
    tokens(db, dead=100)
    slow_down(db, 20)
    alter(db, operation="tests", batch_size=2)
    a_table(db, "second")
    put(db, "dead", table="second")
    register(db, "second", operation="tests", priority=200)
    execute(db, "call maintenance.run_operations(array['tests'], max_duration => '200 ms')")
    assert column(db, "select exit_reason from maintenance.run_step order by id") == [
        "budget", "budget",
    ]  # fmt: skip
    assert column(db, "select eligible is null from maintenance.run_step order by id") == [
        False, True,
    ], "what comes too late is not even counted"  # fmt: skip
    assert count(db, "second") == 1


def test_a_run_that_comes_to_no_policy_is_in_the_history(db: Connection) -> None:
    execute(db, "update maintenance.policy set is_enabled = false")
    execute(db, "call maintenance.run_operations()")
    assert rows(
        db,
        "select run, policy, exit_reason, ended_at is not null, program"
        " from maintenance.run_history",
    ) == [(1, None, None, True, "run_operations")]
    execute(db, "update maintenance.run set ended_at = null, owner_pid = 0")
    assert column(db, "select exit_reason from maintenance.run_history") == ["interrupted"]


def test_a_run_that_is_cancelled_while_it_is_judged_is_logged(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    execute(
        db,
        "create function wait() returns boolean language plpgsql set lock_timeout = 0 as"
        " $$ begin perform pg_advisory_xact_lock_shared(1); return true; end $$",
    )
    alter(db, condition="public.wait()", guard_rows=1)
    observer = another()
    with closed_gate(db), calling(db) as call:
        until(lambda: at_the_gate(observer))
        execute(observer, "select pg_cancel_backend(%s)", call.pid)
        call.wait()
    assert steps(db, "(step.exit_reason, step.sqlstate, step.eligible)::text") == [
        "(stopped,57014,)"
    ]
    assert scalar(db, "select step from maintenance.lease where policy = 'token'") is None
    assert count(db) == 11


# The session of the caller


@pytest.mark.parametrize("call", ["run_policy('token')", "run_operations(array['token'])"])
@pytest.mark.parametrize("how", ["two statements", "one message", "a parameter"])
def test_within_a_transaction_a_run_is_refused_with_a_hint(
    db: Connection, call: str, how: str
) -> None:
    tokens(db)
    statement, given = f"call maintenance.{call}", list[str]()
    if how == "one message":
        statement = f"begin; {statement}"
    else:
        execute(db, "begin")
    if how == "a parameter":
        statement, given = statement.replace("'token'", "%s"), ["token"]
    with pytest.raises(errors.ActiveSqlTransaction) as refusal:
        execute(db, statement, *given)
    execute(db, "rollback")
    assert "purge_batch" in str(refusal.value.diag.message_hint)
    assert count(db) == 11
    assert steps(db, "step.id") == []


@pytest.mark.parametrize("call", ["run_policy(%s)", "run_operations(array[%s])"])
def test_parameters_do_not_make_a_transaction(db: Connection, call: str) -> None:
    tokens(db)
    for _ in range(7):  # the driver prepares a statement that comes again
        execute(db, f"call maintenance.{call}", "token")
    assert count(db) == 1


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_run_does_not_mind_the_level_of_the_session(
    db: Connection, another: Callable[[], Connection], level: str
) -> None:
    tokens(db)
    put(db, "held")
    execute(db, f"set default_transaction_isolation = '{level}'")
    assert run(db, max_rows=4)[:2] == (4, "budget")
    holder = another()
    execute(holder, f"begin; update token set expires_at = {LIVE} where name = 'held'")
    with calling(db, before=f"set default_transaction_isolation = '{level}'") as call:
        until(lambda: call.is_done or count(db) < 8)
        execute(holder, "commit")
        assert call.result()[1:3] == (6, "exhausted")
    assert names(db) == ["held", "live"]


HOSTILE = """
create schema evil;
create function evil.yes(anyelement, anyelement) returns boolean language sql as 'select true';
create function evil.yes(text, text) returns boolean language sql as 'select true';
create function evil.yes(bigint, bigint) returns boolean language sql as 'select true';
create function evil.yes(timestamptz, timestamptz) returns boolean language sql as 'select true';
create function evil.yes(interval, interval) returns boolean language sql as 'select true';
create function evil.now() returns timestamptz language sql as 'select ''infinity''::timestamptz';
create function evil.clock_timestamp() returns timestamptz language sql
    as 'select ''infinity''::timestamptz';
create function evil.format(text, variadic text[]) returns text language sql as 'select ''evil''';
create function evil.pg_sleep(double precision) returns void language sql as 'select 1/0';
create function evil.set_config(text, text, boolean) returns text language sql as 'select 1/0';
create function evil.plus(bigint, bigint) returns bigint language sql as 'select 1/0';
create operator evil.+ (leftarg = bigint, rightarg = bigint, function = evil.plus);
"""


@pytest.fixture
def hostile(db: Connection) -> Connection:
    """A session that finds operators and functions of somebody else before PostgreSQL's own."""
    tokens(db)
    execute(db, HOSTILE)
    for operator in ("=", "<", ">", "<>", "<=", ">="):
        for kind in ("text", "bigint", "timestamptz", "interval", "anyelement"):
            execute(
                db,
                f"create operator evil.{operator}"
                f" (leftarg = {kind}, rightarg = {kind}, function = evil.yes)",
            )
    execute(db, "set search_path = evil, public, pg_catalog")
    return db


def test_the_path_of_the_caller_changes_nothing(
    hostile: Connection, another: Callable[[], Connection]
) -> None:
    assert column(hostile, "select 1::bigint = 2::bigint") == [True]
    holder = another()
    execute(holder, "begin; select from token where name = 'dead' limit 1 for update")
    with pytest.raises(errors.RaiseException, match="policy token: incomplete: others hold 1 rows"):
        execute(hostile, "call maintenance.run_policy('token', batch_size => 3)")
    execute(holder, "commit")
    [(_, removed, reason, _)] = rows(hostile, "call maintenance.run_policy('token')")
    assert (removed, reason) == (1, "exhausted")
    [(_, removed, failed)] = rows(hostile, "call maintenance.run_operations(array['cleanup'])")
    assert (removed, failed) == (0, None)
    execute(hostile, "select * from maintenance.purge_batch('token')")
    put(holder, "dead")
    execute(hostile, "select * from maintenance.purge_batch('token')")
    assert names(holder) == ["live"]


def test_the_path_of_the_caller_is_what_it_was_afterwards(hostile: Connection) -> None:
    execute(hostile, "call maintenance.run_policy('token')")
    assert column(hostile, "show search_path") == ["evil, public, pg_catalog"]


def test_settings_of_the_session_are_what_they_were_afterwards(db: Connection) -> None:
    tokens(db)
    execute(db, "set synchronous_commit = on; set lock_timeout = '3s'; set timezone = 'Asia/Tokyo'")
    run(db)
    shown = "current_setting('{}')"
    named = ", ".join(map(shown.format, ("synchronous_commit", "lock_timeout", "timezone")))
    assert rows(db, f"select {named}") == [("on", "3s", "Asia/Tokyo")]


def test_batches_do_not_wait_for_the_disk(db: Connection) -> None:
    tokens(db)
    execute(
        db,
        "create table seen (setting text);"
        " create function look() returns trigger language plpgsql as $$ begin"
        " insert into public.seen values (current_setting('synchronous_commit')); return null;"
        " end $$;"
        " create trigger look after delete on token execute function look();"
        " set synchronous_commit = on",
    )
    run(db)
    assert column(db, "select distinct setting from seen") == ["off"]
