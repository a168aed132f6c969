"""``runner run`` and its neighbours: what they print, what they do, and how they end."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from runner import api, connection
from runner.cli import app
from runner.errors import Exit
from tests import conftest
from tests.conftest import scalar
from tests.core.runs import DEAD, LIVE, a_table, alter, count, names, put, register, steps
from tests.runner.terminals import Terminal
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What it printed for machines, which has to be one document and nothing else."""
        assert self.err == ""
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """The lines that say what went wrong."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    @property
    def table(self) -> list[list[str]]:
        """The rows of the table, cell by cell."""
        lines = self.out.partition("───")[2].partition("\n")[2].splitlines()
        cells: list[list[str]] = []
        for line in lines:
            if not line.strip():
                break
            if line.startswith(" "):
                cells.append(line.split())
        return cells


def ask(*arguments: str, url: str) -> Answer:
    """Run the command in this process, off a terminal."""
    done = CliRunner().invoke(app, [*arguments], env={"DATABASE_URL": url})
    assert "Traceback" not in done.output
    assert "defect" not in done.output
    return Answer(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def url(db: Connection) -> str:
    """The URL of the database of ``db``."""
    return db.info.dsn


@pytest.fixture
def token(db: Connection) -> Connection:
    """A database with a policy token: 10 rows that go, and one that stays."""
    a_policy(db, "token")
    return db


def a_policy(db: Connection, name: str, dead: int = 10, **settings: Any) -> None:
    """Make a table and its policy: some rows that go, and one that stays."""
    a_table(db, name)
    put(db, "dead", dead, table=name)
    put(db, "live", expires=LIVE, table=name)
    register(db, name, **settings)


def a_trap(db: Connection, table: str) -> None:
    """Let every batch fail."""
    execute(
        db,
        "create or replace function refuse() returns trigger language plpgsql as $$ begin"
        " raise exception 'the auditor says no'; end $$;"
        f" create trigger refuse after delete on {table} execute function refuse()",
    )


def occupy(session: Connection, policy: str) -> None:
    """Hold the lease of a policy from now on."""
    number = scalar(session, "select maintenance.open_run('another')")
    execute(session, "select maintenance.open_step(%s, %s)", number, policy)


# What there is, and what it would do


def test_without_a_name_it_lists_what_there_is(token: Connection, url: str) -> None:
    a_policy(token, "login", severity="HIGH", operation="sessions")
    execute(token, "select maintenance.enable_policy('login', false)")
    answer = ask("run", url=url)
    assert answer.code == Exit.DONE
    assert ["cleanup", "token", "public.token", "LOW"] in answer.table
    assert ["sessions", "login", "(disabled)", "public.login", "HIGH"] in answer.table
    assert "runner run --all" in answer.out
    assert count(token) == 11
    document = ask("run", "--json", url=url).document
    assert document["cleanup"] == ["token"]
    assert document["sessions"] == ["login"]


def test_a_dry_run_says_what_would_go_and_writes_nothing(token: Connection, url: str) -> None:
    answer = ask("run", "token", "--dry-run", url=url)
    assert answer.code == Exit.DONE
    [row] = answer.table
    assert row[:3] == ["token", "public.token", "10"]
    assert row[-2:] == ["heap", "pass"]
    document = ask("run", "cleanup", "--dry-run", "--json", url=url).document
    assert document.keys() == {"cleanup", "metadata"}
    plan = document["cleanup"]
    assert (plan["status"], plan["operation"], plan["exit_reason"]) == (
        "simulated", "cleanup", None,
    )  # fmt: skip
    assert (plan["rows_processed"], plan["rows_deleted"], plan["errors"]) == (10, 0, [])
    assert plan["message"] == "10 rows would be removed"
    assert plan["details"]["token"]["eligible"] == 10
    assert document["metadata"]["dry_run"] is True
    assert count(token) == 11
    assert count(token, "maintenance.run") == 0


def test_a_dry_run_counts_all_rows_where_that_is_asked_for(db: Connection, url: str) -> None:
    a_policy(db, "token", dead=10_005)
    assert ask("run", "token", "--dry-run", url=url).table[0][2:5] == ["more", "than", "10,000"]
    assert ask("run", "token", "--dry-run", "--exact", url=url).table[0][2] == "10,005"


def test_a_dry_run_of_what_cannot_be_planned_is_an_error_in_its_place(
    token: Connection, url: str
) -> None:
    a_policy(token, "login")
    execute(token, "alter table login rename column expires_at to expired_at")
    answer = ask("run", "login", "token", "--dry-run", url=url)
    assert answer.code == Exit.FAILED
    assert "column target.expires_at does not exist" in answer.out
    assert [row[-1] for row in answer.table] == ["error", "pass"]
    document = ask("run", "login", "token", "--dry-run", "--json", url=url).document
    assert [document[name]["status"] for name in ("login", "token")] == ["error", "simulated"]
    assert "expires_at does not exist" in document["login"]["errors"][0]


# What it prints, and how it ends


def test_a_run_says_what_it_did(token: Connection, url: str) -> None:
    answer = ask("run", "token", url=url)
    assert (answer.code, answer.err) == (Exit.DONE, "")
    [row] = answer.table
    assert row[:4] == ["token", "public.token", "10", "1"]
    assert row[-1] == "exhausted"
    assert names(token) == ["live"]
    assert ask("run", "token", url=url).table[0][-1] == "nothing_to_do"


def test_a_run_as_a_document(token: Connection, url: str) -> None:
    before = datetime.now().astimezone()
    document = ask("run", "token", "--json", url=url).document
    assert document.keys() == {"token", "metadata"}
    metadata = document["metadata"]
    assert {"timestamp", "duration_seconds", "dry_run", "database"} <= metadata.keys()
    assert metadata["dry_run"] is False
    assert metadata["database"] == token.info.dbname
    assert metadata["run"] == 1
    assert before <= datetime.fromisoformat(metadata["timestamp"]) <= datetime.now().astimezone()
    assert 0 < metadata["duration_seconds"] < 10
    one = document["token"]
    assert one.keys() == {
        "status", "operation", "message", "exit_reason", "rows_processed", "rows_deleted",
        "details", "errors",
    }  # fmt: skip
    assert (one["status"], one["operation"], one["exit_reason"]) == (
        "completed", "cleanup", "exhausted",
    )  # fmt: skip
    assert (one["message"], one["rows_processed"], one["rows_deleted"], one["errors"]) == (
        "10 rows removed", 10, 10, [],
    )  # fmt: skip
    assert one["details"]["token"]["removed"] == 10
    assert one["details"]["token"]["batches"] == 1


def test_rows_that_were_only_changed_are_not_called_deleted(db: Connection, url: str) -> None:
    a_table(db)
    put(db, "dead", 3)
    register(db, action="set", assignments="expires_at = null")
    one = ask("run", "token", "--json", url=url).document["token"]
    assert (one["rows_processed"], one["rows_deleted"]) == (3, 0)
    assert count(db) == 3


def test_there_is_a_key_for_each_name_and_no_policy_runs_twice(token: Connection, url: str) -> None:
    a_policy(token, "login", dead=4)
    for asked in (("cleanup", "token"), ("token", "cleanup")):
        put(token, "dead", 10 - count(token) + 1)
        document = ask("run", *asked, "token", "--json", url=url).document
        assert document.keys() == {*asked, "metadata"}
        assert document["token"]["details"].keys() == {"token"}
        assert document["cleanup"]["details"].keys() == {"login", "token"}
        assert document["token"]["rows_processed"] == 10
    assert steps(token, "step.run") == [1, 2]
    planned = api.plan(url, ["cleanup", "token"])
    assert [plan.policy.name for plan in planned.all] == ["login", "token"]
    assert ask("run", "token", "cleanup", "--dry-run", url=url).out.count("public.token") == 1


def test_policies_by_their_operation(token: Connection, url: str) -> None:
    a_policy(token, "login", operation="sessions")
    assert [row[0] for row in ask("run", "--operation", "sessions", url=url).table] == ["login"]
    done = ask("run", "token", "--operation", "sessions", url=url)
    assert [row[0] for row in done.table] == ["token", "login"]


def test_everything_is_all_that_is_enabled(token: Connection, url: str) -> None:
    a_policy(token, "login", operation="sessions")
    execute(token, "select maintenance.enable_policy('login', false)")
    answer = ask("run", "--all", url=url)
    assert answer.code == Exit.DONE
    ran = {row[0] for row in answer.table}
    assert {"token", "refresh_tokens"} <= ran
    assert not {"login", "unverified_users"} & ran
    assert (count(token), count(token, "login")) == (1, 11)
    document = ask("run", "--all", "--json", url=url).document
    assert document.keys() == {
        "metadata", *column(token, "select name from maintenance.operation")
    }  # fmt: skip
    assert [document[name]["status"] for name in ("tokens", "backup", "sessions")] == [
        "skipped", "skipped", "skipped",
    ]  # fmt: skip
    assert document["sessions"]["message"] == "its policies are switched off"


def test_one_that_is_switched_off_is_skipped_and_says_so(token: Connection, url: str) -> None:
    execute(token, "select maintenance.enable_policy('token', false)")
    answer = ask("run", "token", url=url)
    assert answer.code == Exit.DONE
    assert "token: the policy is switched off" in answer.out
    assert ask("run", "token", "--json", url=url).document["token"]["status"] == "skipped"
    assert count(token) == 11


@pytest.mark.parametrize(
    ("asked", "hint"), [("tokn", "Did you mean token?"), ("cleanpu", "Did you mean cleanup?")]
)
def test_a_name_that_there_is_not(token: Connection, url: str, asked: str, hint: str) -> None:
    for more in ([], ["--dry-run"], ["--accept", "x"], ["--force", "--reason", "x"]):
        answer = ask("run", "token", asked, *more, url=url)
        assert answer.code == Exit.USAGE
        assert answer.errors == [f"error: there is no operation or policy {asked}"]
        assert hint in answer.err
    assert "Did you mean" not in ask("run", "qqqqqq", url=url).err
    assert count(token) == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["token", "--all"], "--all means everything"),
        (["token", "--force"], "--force needs a reason"),
        (["token", "--force", "--reason", " "], "--force needs a reason"),
        (["token", "--force", "--reason", "x", "--accept", "y"], "do not go together"),
        (["tokens", "--accept", "y"], "--accept is for one policy"),
        (["token", "--batch-size", "0"], "--batch-size must be between 1 and 100,000, not 0"),
        (["token", "--batch-size", "100001"], "--batch-size must be between 1 and 100,000"),
        (["token", "--jobs", "0"], "--jobs must be between 1 and 32, not 0"),
        (["token", "--jobs", "33"], "--jobs must be between 1 and 32, not 33"),
        (["token", "--max-rows", "0"], "--max-rows must be positive, not 0"),
        (["token", "--max-rows", "-1"], "--max-rows must be positive, not -1"),
        (["token", "--max-duration", "soon"], "a duration is a number of seconds"),
        (["token", "--max-duration", "0"], "a duration is a number of seconds"),
        (["--stop", "99"], "run 99 does not run"),
    ],
)
def test_what_makes_no_sense_is_refused(
    token: Connection, url: str, arguments: list[str], message: str
) -> None:
    answer = ask("run", *arguments, url=url)
    assert answer.code == Exit.USAGE
    assert len(answer.errors) == 1
    assert message in answer.errors[0]
    document = ask("run", *arguments, "--json", url=url).document
    assert message in document["error"]["message"]
    assert document["exit_code"] == Exit.USAGE
    assert count(token) == 11
    assert count(token, "maintenance.run") == 0


@pytest.mark.parametrize("size", ["1", "100000"])
def test_the_bounds_of_a_batch_are_sizes_too(token: Connection, url: str, size: str) -> None:
    answer = ask("run", "token", "--batch-size", size, "--jobs", "32", url=url)
    assert answer.code == Exit.DONE
    assert steps(token, "step.batches") == [10 if size == "1" else 1]


def test_what_went_wrong_is_said_with_its_text_and_fails(token: Connection, url: str) -> None:
    a_trap(token, "token")
    answer = ask("run", "token", url=url)
    assert answer.code == Exit.FAILED
    assert answer.errors == ["error: token: error: the auditor says no"]
    assert count(token) == 11
    one = ask("run", "token", "--json", url=url).document["token"]
    assert (one["status"], one["exit_reason"]) == ("error", "error")
    assert one["errors"] == ["token: error: the auditor says no"]
    assert steps(token, "step.sqlstate") == ["P0001", "P0001"]


def test_the_same_work_elsewhere_is_named(
    token: Connection, url: str, another: Callable[[], Connection]
) -> None:
    other = another()
    occupy(other, "token")
    answer = ask("run", "token", url=url)
    assert answer.code == Exit.BUSY
    assert answer.errors == [
        f"error: token: lease_held: step 1 of process {other.info.backend_pid} is at it"
    ]
    one = ask("run", "token", "--json", url=url)
    assert one.code == Exit.BUSY
    assert one.document["token"]["status"] == "skipped"
    assert count(token) == 11


def test_rows_that_others_hold_are_a_failure_that_names_them(
    token: Connection, url: str, another: Callable[[], Connection]
) -> None:
    holder = another()
    execute(holder, "begin; select from token where id = 3 for update")
    answer = ask("run", "token", url=url)
    assert answer.code == Exit.FAILED
    assert (
        f"token: incomplete: others hold 1 rows: process {holder.info.backend_pid} "
        in (answer.errors[0])
    )
    assert count(token) == 2


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (["good", "disabled"], Exit.DONE),
        (["good", "held", "disabled"], Exit.BUSY),
        (["held", "guarded", "good"], Exit.REFUSED),
        (["good", "held", "guarded", "broken"], Exit.FAILED),
        (["broken", "held"], Exit.FAILED),
    ],
)
def test_of_several_ends_the_worst_is_the_commands(
    db: Connection,
    url: str,
    another: Callable[[], Connection],
    asked: list[str],
    code: Exit,
) -> None:
    for name in ("good", "held", "guarded", "broken", "disabled"):
        a_policy(db, name)
    occupy(another(), "held")
    alter(db, "guarded", guard_rows=5)
    a_trap(db, "broken")
    execute(db, "select maintenance.enable_policy('disabled', false)")
    answer = ask("run", *asked, "--json", url=url)
    assert answer.code == code
    reasons = {
        "good": "exhausted", "held": "lease_held", "guarded": "guard", "broken": "error",
        "disabled": "disabled",
    }  # fmt: skip
    assert {name: answer.document[name]["exit_reason"] for name in asked} == {
        name: reasons[name] for name in asked
    }
    status = {"good": "completed", "held": "skipped", "disabled": "skipped"}
    assert {name: answer.document[name]["status"] for name in asked} == {
        name: status.get(name, "error") for name in asked
    }
    for name in asked:
        assert count(db, name) == (1 if name == "good" else 11)
    assert column(db, "select count(*) from maintenance.run where ended_at is null") == [
        1  # the one that holds the lease
    ]


def test_quiet_prints_errors_only(token: Connection, url: str) -> None:
    assert ask("run", "token", "-q", url=url) == Answer(Exit.DONE, "", "")
    a_trap(token, "token")
    put(token, "dead")
    answer = ask("run", "token", "-q", url=url)
    assert (answer.code, answer.out) == (Exit.FAILED, "")
    assert answer.errors == ["error: token: error: the auditor says no"]
    assert ask("run", "-q", url=url) == Answer(Exit.DONE, "", "")


# Limits


def tall(db: Connection, pages: int = 1024) -> int:
    """Make a table of two parts and its policy; return how many rows go."""
    a_table(db)
    execute(
        db,
        "alter table token set (fillfactor = 10, autovacuum_enabled = off);"
        f" insert into token (expires_at, name) select case when n % 2 = 0 then {DEAD}"
        f" else {LIVE} end, rpad('x', 300) from generate_series(1, {2 * pages}) as n",
    )
    register(db)
    return pages


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_never_a_row_more_than_was_allowed(db: Connection, url: str, jobs: int) -> None:
    dead = tall(db, 2048 if jobs == 4 else 1024)
    gone = 0
    for limit, size in [(1, 1), (7, 3), (100, 7), (33, 1), (64, 1000), (200, 50)]:
        ran = api.run(url, ["token"], order=api.Order(jobs=jobs, batch_size=size, max_rows=limit))
        [step] = ran.steps
        assert (step.removed, step.exit_reason) == (limit, "budget")
        assert step.message == f"{limit} rows were allowed"
        assert ran.code == Exit.DONE
        gone += limit
        assert count(db) == 2 * dead - gone
    [step] = api.run(url, ["token"], order=api.Order(jobs=jobs, max_rows=dead)).steps
    assert (step.removed, step.exit_reason) == (dead - gone, "exhausted")
    assert steps(db, "step.left_over") == 6 * [None] + [0]


def test_the_rows_of_a_run_are_those_of_all_its_policies(token: Connection, url: str) -> None:
    a_policy(token, "login")
    a_policy(token, "mail")
    ran = api.run(url, ["login", "mail", "token"], order=api.Order(max_rows=13, jobs=2))
    assert [(step.policy, step.removed) for step in ran.steps] == [
        ("login", 10), ("mail", 3), ("token", 0),
    ]  # fmt: skip
    assert [step.exit_reason for step in ran.steps] == ["exhausted", "budget", "budget"]
    assert (count(token, "login"), count(token, "mail"), count(token)) == (1, 8, 11)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_ends_when_its_time_is_up(db: Connection, url: str, jobs: int) -> None:
    tall(db)
    a_policy(db, "login")
    execute(
        db,
        "create function dawdle() returns trigger language plpgsql as $$ begin"
        " perform pg_sleep(0.02); return null; end $$;"
        " create trigger dawdle after delete on token for each row execute function dawdle()",
    )
    began = monotonic()
    order = api.Order(jobs=jobs, batch_size=2, max_duration=0.6)
    ran = api.run(url, ["token", "login"], order=order)
    assert 0.5 < monotonic() - began < 5, "all of it takes ten seconds"
    assert [(step.exit_reason, step.message) for step in ran.steps] == [
        ("budget", "the time is up"), ("budget", "the time was up before it began"),
    ]  # fmt: skip
    assert 0 < ran.steps[0].removed < 1024
    assert ran.code == Exit.DONE
    assert {step.status for step in ran.steps} == {"completed"}
    assert count(db, "login") == 11


def test_every_row_goes_once_whatever_the_jobs(db: Connection, url: str) -> None:
    tall(db)
    live = set(column(db, f"select id from token where expires_at > {LIVE} - interval '1 h'"))
    dead = set(column(db, "select id from token")) - live
    execute(
        db,
        "create table gone (id bigint);"
        " create function note() returns trigger language plpgsql as $$ begin"
        " insert into public.gone values (old.id); return null; end $$;"
        " create trigger note after delete on token for each row execute function note()",
    )
    ran = api.run(url, ["token"], order=api.Order(jobs=4, batch_size=20))
    [step] = ran.steps
    assert (step.removed, step.exit_reason) == (len(dead), "exhausted")
    noted = column(db, "select id from gone")
    assert (set(noted), len(noted)) == (dead, len(dead))
    assert set(column(db, "select id from token")) == live


def test_progress_is_told_and_never_falls(db: Connection, url: str) -> None:
    dead = tall(db)
    told: list[api.Progress] = []
    api.run(url, ["token"], order=api.Order(jobs=2, batch_size=5), watch=told.append)
    removed = [one.removed for one in told]
    assert removed == sorted(removed)
    assert removed[-1] == dead
    assert {one.policy for one in told} == {"token"}


def test_a_listener_that_fails_ends_the_run_and_leaves_nothing_open(
    db: Connection, url: str
) -> None:
    tall(db)

    def fail(_: api.Progress) -> None:
        raise ValueError("the listener is broken")

    with pytest.raises(ValueError, match="the listener is broken"):
        api.run(url, ["token"], order=api.Order(jobs=2, batch_size=1), watch=fail)
    assert steps(db, "(step.exit_reason, step.message)::text") == [
        '(error,"ValueError: the listener is broken")'
    ]
    assert column(db, "select step from maintenance.lease where policy = 'token'") == [None]
    assert steps(db, "step.removed") == [2048 - count(db)]
    assert column(db, "select ended_at is not null from maintenance.run") == [True]


# The guard


@pytest.fixture
def guarded(token: Connection) -> Connection:
    """A policy whose guard refuses to remove its 10 rows."""
    alter(token, guard_rows=5)
    return token


def a_token(url: str) -> str:
    """Return the token that a dry run prints."""
    answer = ask("run", "token", "--dry-run", url=url)
    assert answer.code == Exit.REFUSED
    assert "token: more than 5 rows would go: guard_rows" in answer.out
    command, _, printed = answer.out.partition("--accept ")
    assert command.rstrip().endswith("runner run token")
    return printed.split()[0]


def test_a_guard_refuses_and_says_how_to_go_on(guarded: Connection, url: str) -> None:
    answer = ask("run", "token", url=url)
    assert answer.code == Exit.REFUSED
    assert answer.errors == ["error: token: guard: more than 5 rows would go: guard_rows"]
    assert "hint: runner run token --dry-run shows what would go" in answer.err
    assert count(guarded) == 11
    document = ask("run", "token", "--dry-run", "--json", url=url).document["token"]
    assert (document["status"], document["exit_reason"]) == ("simulated", "guard")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_token_lifts_the_guard_once(guarded: Connection, url: str, jobs: str) -> None:
    token = a_token(url)
    answer = ask("run", "token", "--accept", token, "--jobs", jobs, "--yes", url=url)
    assert answer.code == Exit.DONE
    assert answer.table[0][2] == "10"
    assert "token: vacuum (analyze) public.token: 0." in answer.out
    assert names(guarded) == ["live"]
    put(guarded, "dead", 10)
    again = ask("run", "token", "--accept", token, url=url)
    assert again.code == Exit.REFUSED
    assert "the token was used before" in again.errors[0]
    assert count(guarded) == 11


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_no_more_goes_than_was_accepted(guarded: Connection, url: str, jobs: str) -> None:
    token = a_token(url)
    put(guarded, "dead", 5)
    answer = ask("run", "token", "--accept", token, "--jobs", jobs, "--no-vacuum", url=url)
    assert answer.code == Exit.REFUSED
    assert answer.errors == ["error: token: guard: no more than 11 rows were accepted"]
    assert count(guarded) == 5
    assert "vacuum" not in answer.out


def test_a_token_is_for_its_policy(guarded: Connection, url: str) -> None:
    a_policy(guarded, "login")
    answer = ask("run", "login", "--accept", a_token(url), url=url)
    assert answer.code == Exit.REFUSED
    assert "the token is not one of this policy's" in answer.errors[0]
    assert count(guarded, "login") == 11
    with pytest.raises(api.RunnerError, match="a token is for token, which is not run") as refusal:
        api.run(url, ["login"], order=api.Order(accept={"token": "x"}))
    assert refusal.value.code == Exit.USAGE


def test_force_lifts_the_guard_and_the_log_has_the_reason(guarded: Connection, url: str) -> None:
    answer = ask("run", "token", "--force", "--reason", "first run", url=url)
    assert answer.code == Exit.DONE
    assert names(guarded) == ["live"]
    assert rows(
        guarded, "select arguments ->> 'reason', exit_reason, removed from maintenance.run_history"
    ) == [("first run", "exhausted", 10)]


def test_force_does_not_take_the_place_of_a_backup(token: Connection, url: str) -> None:
    alter(token, backup_within="1 h")
    answer = ask("run", "token", "--force", "--reason", "hurry", url=url)
    assert answer.code == Exit.REFUSED
    assert "no backup of the last" in answer.errors[0]
    assert count(token) == 11


def test_without_a_token_there_is_no_vacuum_unless_asked_for(token: Connection, url: str) -> None:
    assert "vacuum" not in ask("run", "token", url=url).out
    put(token, "dead", 5)
    assert "vacuum (analyze) public.token" in ask("run", "token", "--vacuum", url=url).out
    assert "vacuum" not in ask("run", "token", "--vacuum", url=url).out, "nothing was removed"


# Severity


@pytest.mark.parametrize("severity", ["MEDIUM", "HIGH", "CRITICAL"])
def test_off_a_terminal_nobody_can_confirm(token: Connection, url: str, severity: str) -> None:
    alter(token, severity=severity)
    answer = ask("run", "token", url=url)
    assert answer.code == Exit.REFUSED
    assert answer.errors == [f"error: running token, of severity {severity}, was not confirmed"]
    assert "hint: Say --yes." in answer.err
    assert ask("run", "token", "--json", url=url).document["exit_code"] == Exit.REFUSED
    assert count(token) == 11
    assert count(token, "maintenance.run") == 0
    assert ask("run", "token", "--yes", url=url).code == Exit.DONE
    assert count(token) == 1


@pytest.mark.parametrize(
    ("severity", "question", "answer", "code"),
    [
        ("MEDIUM", "Run token on public.token? [y/N]", "n", Exit.REFUSED),
        ("MEDIUM", "Run token on public.token? [y/N]", "y", Exit.DONE),
        ("HIGH", "Run token on public.token? [y/N]", "", Exit.REFUSED),
        ("CRITICAL", "Type token to run it", "tokne", Exit.REFUSED),
        ("CRITICAL", "Type token to run it", "", Exit.REFUSED),
        ("CRITICAL", "Type token to run it", "token", Exit.DONE),
    ],
)
def test_on_a_terminal_it_asks(
    token: Connection, url: str, severity: str, question: str, answer: str, code: Exit
) -> None:
    alter(token, severity=severity)
    with Terminal("run", "token", url=url) as terminal:
        terminal.until(question)
        assert count(token) == 11
        terminal.answer(answer)
        assert terminal.end() == code
        assert ("would remove 10 rows of public.token" in terminal.seen) == (severity != "MEDIUM")
        assert "Traceback" not in terminal.seen
        if code == Exit.REFUSED:
            assert "error: not confirmed" in terminal.seen
            assert "Nothing was changed." in terminal.seen
        else:
            assert "exhausted" in terminal.seen
    assert count(token) == (11 if code else 1)


# Roles, databases and addresses


@pytest.fixture
def operator(db: Connection, role: Callable[[str], str]) -> Iterator[str]:
    """A role that may run policies, and has no right on any table."""
    name = role("operator")
    execute(db, f"select maintenance.grant_operator('{name}')")
    yield name
    execute(db, f"drop owned by {name}")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_operator_needs_no_right_on_the_table(
    db: Connection, url: str, operator: str, jobs: str
) -> None:
    tall(db)
    theirs = make_conninfo(url, user=operator)
    with psycopg.connect(theirs) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(session, "select from token")
    answer = ask("run", "token", "--jobs", jobs, "--vacuum", "--pace", "lag", url=theirs)
    assert answer.code == Exit.DONE
    assert count(db) == 1024
    assert re.search("permission denied to vacuum|only table or database owner can", answer.out)
    assert ask("run", "token", "--dry-run", url=theirs).code == Exit.DONE
    assert ask("history", url=theirs).table[0][1] == "token"
    assert steps(db, "(select started_by from maintenance.run where id = step.run)") == [operator]
    assert ask("pause", "--reason", "lunch", url=theirs).out == (
        f"housekeeping is paused by {operator}: lunch; `runner resume` ends that\n"
    )
    assert ask("run", "token", url=theirs).table[0][-1] == "paused"
    assert ask("resume", url=theirs).out == "housekeeping goes on\n"


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "token"], ["run", "token", "--dry-run"], ["run", "--stop", "1"],
     ["history"], ["pause"], ["resume"]],
)  # fmt: skip
def test_a_role_without_rights_gets_one_sentence(
    token: Connection, url: str, role: Callable[[str], str], arguments: list[str]
) -> None:
    theirs = make_conninfo(url, user=role("stranger"))
    answer = ask(*arguments, url=theirs)
    assert answer.code == Exit.FAILED
    assert len(answer.errors) == 1
    assert "may not do this: permission denied for schema maintenance" in answer.errors[0]
    assert "`runner grants`" in answer.err
    assert count(token) == 11


@pytest.mark.parametrize(
    "arguments",
    [["run", "token"], ["run", "token", "--dry-run"], ["run"], ["run", "--stop", "1"],
     ["history"], ["pause"], ["resume"]],
)  # fmt: skip
def test_a_database_without_the_core(empty: str, arguments: list[str]) -> None:
    answer = ask(*arguments, url=empty)
    assert answer.code == Exit.FAILED
    assert "has nothing of pg-maintenance" in answer.errors[0]
    assert "Run `runner migrate` first." in answer.err
    with psycopg.connect(empty) as session:
        execute(session, "create schema maintenance; comment on schema maintenance is 'mine'")
    assert "has nothing of pg-maintenance" in ask(*arguments, url=empty).errors[0]


def test_a_database_with_an_older_core(empty: str) -> None:
    api.migrate(empty, to="core/0005_sweep_on_insert")
    for arguments in (["run", "refresh_tokens"], ["history"], ["run", "--stop", "1"]):
        answer = ask(*arguments, url=empty)
        if "refresh_tokens" in arguments:
            assert answer.code in (Exit.FAILED, Exit.USAGE)
            continue
        assert answer.code == Exit.FAILED
        assert "has an older pg-maintenance than this runner" in answer.errors[0]
        assert "Run `runner migrate`" in answer.err


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me@ep-cool-pooler.eu-central-1.aws.neon.tech/shop",
        "postgresql://me@127.0.0.1:6543/shop",
    ],
)
def test_poolers_are_refused_by_their_address(address: str) -> None:
    answer = ask("run", "token", url=address)
    assert answer.code == Exit.USAGE
    assert answer.errors == ["error: this URL leads to a connection pooler"]
    with pytest.raises(api.RunnerError, match="pooler") as refusal:
        api.run(address, ["token"])
    assert refusal.value.code == Exit.USAGE


def test_everything_runs_by_priority_and_names_in_their_order(token: Connection, url: str) -> None:
    for name, operation, priority in (("b", "one", 1), ("a", "one", 3), ("c", "two", 2)):
        a_policy(token, name)
        alter(token, name, operation=operation, priority=priority)
    for given, order in (([], "bca"), (["one", "two"], "bac"), (["two", "one"], "cba")):
        ran = api.run(url, given, everything=not given)
        assert "".join(step.policy for step in ran.steps if step.policy in "abc") == order


def test_in_a_copy_that_was_not_adopted_nothing_is_removed(
    token: Connection, url: str, new_database: Callable[..., str]
) -> None:
    template = token.info.dbname
    token.close()
    copy = new_database("copy", template=template)
    for policy in ("token", "--all"):
        answer = ask("run", policy, url=copy)
        assert answer.code == Exit.REFUSED
        assert "runner adopt-clone" in answer.err
        assert len(answer.errors) == 1
    with psycopg.connect(copy) as session:
        assert count(session) == 11
        assert count(session, "maintenance.run") == 0


def test_the_session_of_the_user_may_be_set_as_it_likes(token: Connection, url: str) -> None:
    execute(token, f"alter database {token.info.dbname} set timezone = 'Pacific/Kiritimati'")
    execute(token, f"alter database {token.info.dbname} set datestyle = 'SQL, DMY'")
    put(token, "soon", 3, expires="now() + interval '1 h'")
    ran = api.run(
        make_conninfo(
            url, options="-c TimeZone=America/Adak -c DateStyle=German -c IntervalStyle=iso_8601"
                         " -c default_transaction_isolation=serializable -c statement_timeout=5s",
        ),
        ["token"], order=api.Order(jobs=2),
    )  # fmt: skip
    assert [step.removed for step in ran.steps] == [10]
    assert names(token) == ["live", "soon"]


# History and stopping


def test_the_history_is_filtered(token: Connection, url: str) -> None:
    a_policy(token, "login")
    for name in ("token", "login", "token"):
        api.run(url, [name])
    answer = ask("history", url=url)
    assert [row[:2] for row in answer.table] == [["3", "token"], ["2", "login"], ["1", "token"]]
    assert [row[0] for row in ask("history", "token", url=url).table] == ["3", "1"]
    assert [row[0] for row in ask("history", "--run", "2", url=url).table] == ["2"]
    assert [row[0] for row in ask("history", "-n", "1", url=url).table] == ["3"]
    assert [one.run for one in api.history(url, policy="token", run=1)] == [1]
    assert [one.run for one in api.history(url, limit=2)] == [3, 2]
    assert "nothing has run yet" in ask("history", "nothing", url=url).out
    [entry] = json.loads(ask("history", "--run", "2", "--json", url=url).out)
    assert (entry["policy"], entry["removed"], entry["exit_reason"]) == (
        "login", 10, "exhausted",
    )  # fmt: skip
    assert entry["duration"] > 0
    assert entry["program"] == "runner run"
    assert entry["arguments"] == {"policies": ["login"], "jobs": 1}


def test_a_run_that_is_asked_to_stop(
    token: Connection, url: str, another: Callable[[], Connection]
) -> None:
    other = another()
    occupy(other, "token")
    assert ask("run", "--stop", "1", url=url).out == (
        "run 1 was asked to end after its current batch\n"
    )
    assert scalar(token, "select is_stop_requested from maintenance.run where id = 1")


def test_a_pause_as_the_command_says_it(token: Connection, url: str) -> None:
    answer = ask("pause", "--for", "2h", "--reason", "release", "--json", url=url).document
    assert answer["paused"] is True
    assert answer["reason"].endswith(" UTC: release")
    left = scalar(token, "select until - clock_timestamp() from maintenance.pause")
    assert 7100 < left.total_seconds() <= 7200
    done = ask("run", "token", "--json", url=url)
    assert done.code == Exit.DONE
    assert (done.document["token"]["status"], done.document["token"]["exit_reason"]) == (
        "skipped", "paused",
    )  # fmt: skip
    assert ask("resume", "--json", url=url).document == {"paused": False, "was_paused": True}
    assert ask("resume", url=url).out == "housekeeping was not paused\n"
    assert ask("pause", "--for", "soon", url=url).code == Exit.USAGE


def test_the_real_command_ends_as_the_one_in_this_process_does(
    guarded: Connection, url: str
) -> None:
    done = conftest.run("run", "token", url=url)
    assert done.returncode == Exit.REFUSED
    assert done.stderr.startswith("error: token: guard: ")
    wrong = conftest.run("run", "--pace", "fast", url=url)
    assert wrong.returncode == Exit.USAGE
    assert wrong.stderr.startswith("error: invalid value for '--pace'")


def test_several_policies_go_on_after_one_that_cannot_even_be_opened(
    token: Connection,
    url: str,
    another: Callable[[], Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "runner.connection.DEFAULTS",
        connection.DEFAULTS.replace("('lock_timeout', '5s')", "('lock_timeout', '50ms')"),
    )
    a_policy(token, "login")
    holder = another()
    execute(holder, "begin; select from maintenance.lease where policy = 'login' for update")
    ran = api.run(url, ["login", "token"])
    assert [(step.policy, step.exit_reason) for step in ran.steps] == [
        ("login", "error"), ("token", "exhausted"),
    ]  # fmt: skip
    assert ran.steps[0].sqlstate == "55P03"
    assert ran.code == Exit.FAILED
    execute(holder, "rollback")
