"""runner policy: what it lists, registers, changes and plans, and what it says to mistakes."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from psycopg.conninfo import make_conninfo

from runner import api, cli, policies
from runner.errors import Exit, RunnerError
from runner.screen import Output, Screen, cells, new_table
from tests.conftest import run, scalar
from tests.core import runs
from tests.core.policies import hand_over, setting
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from pathlib import Path

    from psycopg import Connection


@pytest.fixture
def url(db: Connection) -> str:
    """A database with public.token, of which two rows have expired, one has not."""
    runs.a_table(db)
    execute(db, "create index on token (expires_at)")
    runs.put(db, "dead", 2)
    runs.put(db, "live", expires=runs.LIVE)
    return db.info.dsn


Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command of ``runner policy`` as `run` does, in this process: that is faster."""

    def ended(
        *arguments: str, url: str, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["runner", "policy", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        monkeypatch.setenv("DATABASE_URL", url)
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, int(exit_.value.code or 0), out, err)

    return ended


def refused(call: Callable[[], object], code: Exit = Exit.USAGE) -> RunnerError:
    """Expect that a call is refused, and return how."""
    with pytest.raises(RunnerError) as refusal:
        call()
    assert refusal.value.code == code
    return refusal.value


def add(url: str, name: str = "token", table: str = "token", **settings: Any) -> api.SavedPolicy:
    return api.add_policy(url, name, table, {"column": "expires_at"} | settings)


def state(db: Connection) -> list[tuple[Any, ...]]:
    """Return all that policies are made of, to see that nothing changed."""
    return rows(
        db,
        "select (select jsonb_agg(to_jsonb(p)) from maintenance.policy as p),"
        " (select count(*) from maintenance.policy_change),"
        " (select jsonb_agg(to_jsonb(p)) from maintenance.policy_override as p)",
    )


# list


def test_the_list_tells_how_each_policy_stands_in_the_order_in_which_they_run(
    db: Connection, url: str
) -> None:
    add(url, "late", priority=200, retention="1 mon 12:00")
    add(url, "first", priority=1, severity="HIGH", operation="tokens")
    assert runs.run(db, "first")[:2] == (2, "exhausted")
    listed = api.list_policies(url)
    assert (listed[0].policy, listed[-1].policy) == ("first", "late")
    first, late = listed[0], listed[-1]
    assert (first.relation, first.operation, first.severity, first.is_enabled) == (
        "public.token", "tokens", "HIGH", True
    )  # fmt: skip
    assert (first.last_exit_reason, first.last_removed, first.outlook) == ("exhausted", 2, "clean")
    assert first.last_run_at == scalar(db, "select started_at from maintenance.run_step")
    assert (late.retention, late.last_run_at, late.insert_sweep) == ("1 mon 12:00:00", None, "none")
    assert column(db, "select policy from maintenance.policy_status") == [
        one.policy for one in listed
    ]


def test_the_list_is_a_table_for_people_and_one_document_for_machines(
    db: Connection, url: str
) -> None:
    add(url, retention="1 day", max_silence="1 s")
    execute(db, "update maintenance.policy set changed_at = now() - interval '1 day'")
    done = run("policy", "list", url=url)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    heading, _, *lines = done.stdout.splitlines()
    assert heading.split("  ")[0].strip() == "policy"
    for title in ("table", "operation", "enabled", "severity", "retention", "last run",
                  "exit reason", "removed", "outlook", "sweep on insert"):  # fmt: skip
        assert title in heading
    [line] = [line for line in lines if line.startswith(" token ")]
    assert [cell.strip() for cell in line.split("  ") if cell.strip()] == [
        "token", "public.token", "cleanup", "yes", "LOW", "1 day", "it has not run yet, overdue",
        "none",
    ]  # fmt: skip
    document = json.loads(run("policy", "list", "--json", url=url).stdout)
    assert [one["policy"] for one in document] == [one.policy for one in api.list_policies(url)]
    assert {one["policy"]: one for one in document}["token"]["is_overdue"] is True


def test_where_a_line_does_not_fit_each_policy_is_a_block(url: str) -> None:
    add(url)
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "runner", "policy", "list"],
        env=os.environ | {"DATABASE_URL": url, "COLUMNS": "60", "NO_COLOR": "1", "TERM": "xterm"},
        stdout=follower,
    ) as listing:
        os.close(follower)
        written = b""
        while True:
            try:
                chunk = os.read(leader, 4096)
            except OSError:  # how Linux tells that the other side is closed
                break
            written += chunk
    os.close(leader)
    assert listing.returncode == Exit.DONE
    lines = [line.split() for line in written.decode().splitlines()]
    assert ["table", "public.token"] in lines
    assert ["retention", "00:00:00"] in lines


def test_without_policies_the_list_says_how_to_get_one(
    call: Call,
    new_database: Callable[..., str],
) -> None:
    empty = new_database("bare")
    api.migrate(empty, applications=["none"])
    assert call("list", url=empty).stdout == ("there are no policies: `runner policy add --help`\n")
    assert json.loads(call("list", "--json", url=empty).stdout) == []


# show


def test_show_tells_where_each_setting_comes_from_and_who_changed_it(
    db: Connection, call: Call, url: str
) -> None:
    add(url, retention="30 days", guard_rows=5, condition="name <> 'x'")
    api.alter_policy(
        url, "token", {"retention": "1 mon", "guard_rows": "none", "column": "expires_at"}
    )
    done = call("show", "token", url=url)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    lines = [
        tuple(cell.strip() for cell in line.split("   ") if cell.strip())
        for line in done.stdout.splitlines()
    ]
    for line in (
        ("retention", "1 mon", "changed; was 30 days"),
        ("guard_rows", "none", "changed; was 5"),
        ("branches", '[{"column": "expires_at"}]', 'changed; was {"column": "expires_at"}'),
        ("condition", "name <> 'x'", "registered"),
        ("batch_size", "10000", "default"),
        ("last run", "never"),
        ("lease", "free"),
    ):
        assert line in lines
    me = scalar(db, "select current_user")
    assert lines[0][0].startswith("policy token on public.token, registered by a user; version 2,")
    [change] = [line for line in lines if line[:2] == ("2", "altered")]
    assert change[3:] == (me, "retention: 30 days -> 1 mon, guard_rows: 5 -> none")
    document = json.loads(call("show", "token", "--json", url=url).stdout)
    assert moments(document) == moments(scalar(db, "select maintenance.describe_policy('token')"))


def moments(document: Any) -> Any:
    """Read the times in a document: PostgreSQL leaves the last zeros of a second's fraction out."""
    if isinstance(document, dict):
        return {name: moments(value) for name, value in cast("dict[str, Any]", document).items()}
    if isinstance(document, list):
        return [moments(value) for value in cast("list[Any]", document)]
    if isinstance(document, str) and re.match(r"\d{4}-\d\d-\d\dT", document):
        return datetime.fromisoformat(document)
    return document


def test_show_names_risks_the_chain_and_who_holds_the_lease(
    db: Connection, call: Call, url: str, another: Callable[[], Connection]
) -> None:
    execute(db, "drop index token_expires_at_idx")
    add(url)
    shown = api.show_policy(url, "token")
    assert [
        (risk.risk, risk.statement) for risk in shown.risks if risk.risk == "missing_index"
    ] == [("missing_index", "create index concurrently on public.token (expires_at)")]
    assert shown.lease is None
    assert api.show_policy(url, "refresh_tokens").chain == "matcha"
    session = another()
    number = scalar(session, "select maintenance.open_run('test')")
    execute(session, f"select maintenance.open_step({number}, 'token')")
    lease = api.show_policy(url, "token").lease
    assert lease is not None
    assert (lease.pid, lease.is_alive) == (session.info.backend_pid, True)
    session.close()
    runs.until(lambda: not getattr(api.show_policy(url, "token").lease, "is_alive", True))
    shown_now = call("show", "token", url=url).stdout
    assert f"process {lease.pid}; its session is gone, the next run takes over" in shown_now
    assert "create index concurrently on public.token (expires_at);" in shown_now


# add


def test_add_registers_names_the_risks_with_their_cure_and_says_what_is_next(
    db: Connection, call: Call, url: str
) -> None:
    execute(db, "drop index token_expires_at_idx")
    done = call("add", "token", "token", "--column", "expires_at", "--comparison", "<=",
        "--retention", "1 mon 2 days", "--condition", "name <> 'x'", "--operation", "tokens",
        "--zone", "Asia/Tokyo", "--severity", "HIGH", "--batch-size", "500", "--max-rows", "9000",
        "--max-duration", "5 min", "--guard-rows", "none", "--guard-share", "0.25",
        "--hold-column", "name", "--allow-cascade", "--disabled", url=url,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    first, *_, last = done.stdout.splitlines()
    assert first == "registered policy token on public.token"
    assert last == "next: `runner policy plan token`, then `runner run token --dry-run`"
    assert (
        "risk missing_index: branch 1 has no index: every run reads the whole table\n"
        "  create index concurrently on public.token (expires_at);\n"
    ) in done.stdout
    assert api.show_policy(url, "token").shipped == {
        "column": "expires_at", "comparison": "<=", "retention": "1 mon 2 days",
        "condition": "name <> 'x'", "operation": "tokens", "zone": "Asia/Tokyo",
        "severity": "HIGH", "batch_size": 500, "max_rows": 9000, "max_duration": "5 min",
        "guard_rows": "none", "guard_share": 0.25, "hold_column": "name", "allow_cascade": True,
        "is_enabled": False,
    }  # fmt: skip
    assert runs.count(db) == 3


def test_add_takes_a_definition_as_text_from_a_file_and_from_stdin(
    db: Connection, call: Call, monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path
) -> None:
    definition = {
        "branches": [{"column": "expires_at"}, {"condition": "name = 'x'", "key": "id"}],
        "batch_size": 7,
    }
    (tmp_path / "policy.json").write_text(json.dumps(definition))
    given = [(json.dumps(definition), None), ("@policy.json", None), ("-", json.dumps(definition))]
    monkeypatch.chdir(tmp_path)
    for number, (where, stdin) in enumerate(given):
        done = call("add", f"p{number}", "token", "--definition", where, "--batch-size", "7",
            "--severity", "HIGH", "--json", url=url, stdin=stdin,
        )  # fmt: skip
        document = json.loads(done.stdout)
        assert (document["policy"], document["relation"]) == (f"p{number}", "public.token")
        assert setting(db, f"p{number}", "shipped") == definition | {"severity": "HIGH"}


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["--definition", '{"batch_size": 5}', "--batch-size", "6"], None,
         "batch_size is given twice: in the definition, and as an option"),
        (["--definition", '{"branches": []}', "--column", "expires_at"], None,
         "policy p: column, unit and comparison belong into a branch"),
        (["--definition", '{"selector": "public.picked"}', "--column", "expires_at"], None,
         "there is no view public.picked"),
        (["--definition", "{"], None, "the definition is no JSON"),
        (["--definition", '{"guard_share": NaN}'], None, "the definition is no JSON"),
        (["--definition", "[]"], None, "the definition must be an object"),
        (["--definition", "-"], "7", "the definition must be an object"),
        (["--definition", "@nowhere.json"], None, "cannot read the definition: "),
        ([], None, "policy p: a policy needs either branches (or a column) or a selector"),
        (["--column", "nope"], None, "policy p: branch 1: public.token has no column nope"),
        (["--column", "expires_at", "--batch-size", "many"], None,
         'policy p: invalid input syntax for type integer: "many"'),
    ],
)  # fmt: skip
def test_add_refuses_what_makes_no_sense_and_changes_nothing(
    db: Connection, call: Call, url: str, arguments: list[str], stdin: str | None, message: str
) -> None:
    before = state(db)
    done = call("add", "p", "token", *arguments, url=url, stdin=stdin)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr.startswith(f"error: {message}")
    assert state(db) == before


def test_a_table_is_found_as_in_sql_along_the_path_of_the_role(db: Connection, url: str) -> None:
    execute(
        db,
        'create schema "Shop"; create schema hidden;'
        ' create table "Shop"."Carts" (id integer primary key, at timestamptz);'
        " create table hidden.token (id integer primary key, at timestamptz);"
        ' create table "Odd name.""[bold]" (id integer primary key, at timestamptz)',
    )
    for number, (written, relation) in enumerate(
        {
            "Token": "public.token",
            "public.token": "public.token",
            "hidden.TOKEN": "hidden.token",
            '"Shop"."Carts"': '"Shop"."Carts"',
            '"Odd name.""[bold]"': 'public."Odd name.""[bold]"',
        }.items()
    ):
        branches = [{"condition": "id > 0"}]
        done = api.add_policy(url, f"p{number}", written, {"branches": branches})
        assert done.relation == relation
    path = make_conninfo(url, options="-c search_path=hidden")
    assert add(path, "q", column="at").relation == "hidden.token"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("carts", 'Did you mean \'"Shop"."Carts"\'?'),
        ("Shop.Carts", 'Did you mean \'"Shop"."Carts"\'?'),
        ('"Token"', "Did you mean public.token?"),
        ("Logs", "Did you mean archive.logs or hidden.logs?"),
        ("nowhere", "Name a table that exists: schema.table."),
        ("a b", "Name a table that exists: schema.table."),
        ("a.b.c.d", "Name a table that exists: schema.table."),
        ("other.public.token", "Did you mean public.token?"),
        ("", "Name a table that exists: schema.table."),
        ('"', "Name a table that exists: schema.table."),
    ],
)
def test_who_names_no_table_is_told_how_those_that_are_alike_are_written(
    db: Connection, url: str, written: str, hint: str
) -> None:
    execute(
        db,
        'create schema "Shop"; create table "Shop"."Carts" (); create view "Shop".logs as select;'
        " create schema hidden; create table hidden.logs ();"
        " create schema archive; create table archive.logs ()",
    )
    refusal = refused(lambda: add(url, table=written))
    assert (refusal.message, refusal.hint) == (f"there is no table {written}", hint)


def test_other_tables_in_a_policy_are_found_along_the_same_path(db: Connection, url: str) -> None:
    execute(db, "create table kept (like token); create view picked as select id from token")
    add(url, "archived", action="archive", archive_table="kept")
    assert setting(db, "archived", "shipped")["archive_table"] == "public.kept"
    api.add_policy(url, "selected", "token", {"selector": "picked"})
    assert setting(db, "selected", "shipped") == {"selector": "public.picked"}
    hint = refused(lambda: api.alter_policy(url, "selected", {"selector": "Hidden.Picked"})).hint
    assert hint == "Did you mean public.picked?"


def test_a_name_that_is_taken_is_refused(url: str) -> None:
    add(url)
    assert refused(lambda: add(url), Exit.FAILED).message == "there is a policy 'token' already"


# set


def test_set_changes_lifts_and_takes_back(db: Connection, call: Call, url: str) -> None:
    add(url, retention="30 days", guard_rows=5)
    done = call("set", "token", "retention=60 days", "guard_rows=none", "guard_share=0.25",
        "is_enabled=false", "batch_size=7", 'condition="name" = \'x\'', "operation=tokens",
        url=url,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    assert "token: retention is 60 days\ntoken: guard_rows is none\n" in done.stdout
    changes = {
        "retention": "60 days", "guard_rows": "none", "guard_share": 0.25, "is_enabled": False,
        "batch_size": 7, "condition": "\"name\" = 'x'", "operation": "tokens",
    }  # fmt: skip
    assert api.show_policy(url, "token").overrides == changes
    assert setting(db, "token", "guard_rows") is None
    done = call("set", "token", "guard_rows=", "retention=default", "--json", url=url)
    document = json.loads(done.stdout)
    assert document["changes"] == {"guard_rows": None, "retention": None}
    assert [setting(db, "token", what) for what in ("guard_rows", "retention")] == [5, "30 days"]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("batch_size", "7", 7),
        ("batch_size", "7.5", "7.5"),
        ("guard_share", "1", 1),
        ("guard_share", "NaN", "NaN"),
        ("is_enabled", "true", True),
        ("is_enabled", "yes", "yes"),
        ("branches", '[{"column": "at"}]', [{"column": "at"}]),
        ("branches", "at", "at"),
        ("retention", "5", "5"),
        ("condition", '"At"', '"At"'),
        ("condition", "true", "true"),
        ("unknown", "7", "7"),
    ],
)
def test_a_value_is_json_where_that_is_the_type_of_the_setting_and_else_text(
    key: str, text: str, value: Any
) -> None:
    read = policies.setting_value(key, text)
    assert (read, type(read)) == (value, type(value))


def test_the_settings_that_are_no_text_are_those_of_the_table(tx: Connection) -> None:
    kinds = dict(
        rows(
            tx,
            "select attname, atttypid::regtype::text from pg_catalog.pg_attribute"
            " where attrelid = 'maintenance.policy'::regclass and attnum > 0 and attname not in"
            " ('name', 'relation', 'chain', 'shipped', 'version', 'changed_at', 'changed_by')",
        )
    )
    is_text = ("text", "name", "interval", "regclass")
    assert {key for key, kind in kinds.items() if kind not in is_text} == {*policies.JSON_SETTINGS}
    assert {key for key, kind in kinds.items() if kind == "regclass"} == {*policies.RELATIONS}


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["retention"], "retention is no KEY=VALUE"),
        (["=5"], "=5 is no KEY=VALUE"),
        (["zone=UTC", "zone=Asia/Tokyo"], "zone is given twice"),
        (["retain=5"], "policy token: there is no setting retain"),
        (["version=5"], "policy token: there is no setting version"),
        (["guard_rows=-1"], "policy token: guard_rows must not be negative"),
        (["retention=soon"], 'policy token: invalid input syntax for type interval: "soon"'),
        (["branches=at"], "policy token: branches must be an array"),
    ],
)
def test_set_refuses_what_makes_no_sense_and_changes_nothing(
    db: Connection, call: Call, url: str, assignments: list[str], message: str
) -> None:
    api.add_policy(url, "token", "token", {"branches": [{"column": "expires_at"}]})
    before = state(db)
    done = call("set", "token", *assignments, url=url)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr.startswith(f"error: {message}")
    assert state(db) == before
    if "no setting" in message:
        assert "hint: The settings are title, operation, is_enabled, " in done.stderr


# enable, disable, remove


def test_switching_says_whether_something_changed(db: Connection, call: Call, url: str) -> None:
    add(url)
    for command, said, version in (
        ("enable", "policy token was enabled already\n", 1),
        ("disable", "disabled policy token\n", 2),
        ("disable", "policy token was disabled already\n", 2),
    ):
        done = call(command, "token", url=url)
        assert (done.returncode, done.stdout) == (Exit.DONE, said)
        assert setting(db, "token", "is_enabled") == (command == "enable")
        assert setting(db, "token", "version") == version
    assert api.enable_policy(url, "token") == api.SwitchedPolicy("token", True, True)
    document = json.loads(call("enable", "token", "--json", url=url).stdout)
    assert document == {"policy": "token", "is_enabled": True, "changed": False}


def test_remove_wants_a_yes_and_says_that_the_log_stays(db: Connection, url: str) -> None:
    add(url)
    runs.run(db)
    before = state(db)
    for arguments in ((), ("--json",)):
        done = run("policy", "remove", "token", *arguments, url=url)
        assert done.returncode == Exit.REFUSED
        assert "removing policy token was not confirmed" in done.stdout + done.stderr
    assert state(db) == before
    done = run("policy", "remove", "token", "--yes", url=url)
    assert (done.returncode, done.stdout) == (
        Exit.DONE, "removed policy token; its runs stay in the log\n"
    )  # fmt: skip
    assert column(db, "select policy from maintenance.run_step") == ["token"]
    assert rows(db, "select from maintenance.policy where name = 'token'") == []


def test_a_policy_of_an_application_is_not_removed(db: Connection, call: Call, url: str) -> None:
    before = state(db)
    done = call("remove", "refresh_tokens", "--yes", url=url)
    assert done.returncode == Exit.FAILED
    assert "error: policy refresh_tokens was not registered by you\n" in done.stderr
    assert state(db) == before


# plan


def test_a_plan_says_what_a_run_would_do_and_writes_nothing(
    db: Connection, call: Call, url: str
) -> None:
    add(url)
    before = state(db)
    done = call("plan", "token", url=url)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "policy token, version 1"
    for line in ("table public.token", "action delete", "eligible rows 2", "guard: pass"):
        assert line in lines
    assert any(line.startswith("1 ") and "token_expires_at_idx" in line for line in lines)
    assert lines[-1].startswith("delete from only public.token as target where ((target.expires_at")
    assert lines[-1].endswith(";")
    assert "token:" not in done.stdout
    assert state(db) == before
    assert runs.count(db) == 3


def test_a_plan_that_the_guard_would_refuse_ends_with_4_and_a_token_that_lifts_it(
    db: Connection, call: Call, url: str
) -> None:
    execute(db, "drop index token_expires_at_idx")
    add(url, guard_rows=1)
    done = call("plan", "token", url=url)
    assert (done.returncode, done.stderr) == (Exit.REFUSED, "")
    assert "\nguard: refused: more than 1 rows would go: guard_rows\n" in done.stdout
    assert "  create index concurrently on public.token (expires_at);\n" in done.stdout
    [command] = [line for line in done.stdout.splitlines() if line.startswith("accept: ")]
    *words, token = command.split()
    assert words == ["accept:", "runner", "run", "token", "--accept"]
    assert f"token: {token} " in done.stdout
    assert runs.run(db, accept=token)[:2] == (2, "exhausted")

    done = call("plan", "token", "--json", url=url)
    assert done.returncode == Exit.DONE
    document = json.loads(done.stdout)
    expected = scalar(db, "select maintenance.plan_policy('token')")
    for moving in (document, expected):  # the bound is that of the moment
        moving["moment"] = moving["branches"] = moving["statement"] = ""
    assert document == expected


def test_a_plan_that_wants_a_backup_is_refused_without_a_token(call: Call, url: str) -> None:
    add(url, backup_within="1 day")
    done = call("plan", "token", "--json", url=url)
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"], document["token"]) == (4, "needs_backup", None)


def test_a_plan_counts_to_ten_thousand_or_to_the_end(db: Connection, call: Call, url: str) -> None:
    add(url)
    runs.put(db, "dead", 10_100)
    planned = api.plan_policy(url, "token")
    assert (planned.eligible, planned.is_counted, planned.may_run) == (10_000, False, True)
    planned = api.plan_policy(url, "token", exact=True)
    assert (planned.eligible, planned.is_counted) == (10_102, True)
    assert "more than 10,000 (see --exact)" in call("plan", "token", url=url).stdout


def test_a_plan_says_what_goes_along_and_that_the_policy_is_off(
    db: Connection, call: Call, url: str
) -> None:
    execute(
        db,
        "create table note (id integer primary key,"
        " token bigint constraint note_fkey references token on delete cascade)",
    )
    add(url, allow_cascade=True, is_enabled=False)
    done = call("plan", "token", url=url)
    assert done.returncode == Exit.DONE
    assert "it is disabled, and does not run: `runner policy enable token`" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["note_fkey", "public.note", "public.token", "cascade"] in lines


@pytest.mark.parametrize("question", ["list_policies", "show_policy", "plan_policy"])
def test_questions_are_asked_read_only(
    url: str, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    add(url)
    asked: list[bool] = []
    installed = policies.installed

    def watched(url: str, *, program: str, read_only: bool = False) -> Any:
        asked.append(read_only)
        return installed(url, program=program, read_only=read_only)

    monkeypatch.setattr(policies, "installed", watched)
    getattr(api, question)(url, *(["token"] if question != "list_policies" else []))
    assert asked == [True]


# What they have in common


COMMANDS = {
    "show": [],
    "set": ["retention=1 day"],
    "enable": [],
    "disable": [],
    "remove": ["--yes"],
    "plan": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_policy_is_refused_with_near_names(call: Call, url: str, command: str) -> None:
    add(url, "sessions")
    done = call(command, "Session", *COMMANDS[command], url=url)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr == (
        "error: there is no policy 'Session'\n"
        "hint: Did you mean sessions? `runner policy list` lists them.\n"
    )


def test_an_unknown_policy_is_unlike_any(call: Call, url: str) -> None:
    answer = json.loads(call("show", "zzz", "--json", url=url).stdout)
    assert answer == {
        "error": {
            "message": "there is no policy 'zzz'",
            "detail": None,
            "hint": "`runner policy list` lists them.",
        },
        "exit_code": Exit.USAGE,
    }


@pytest.mark.parametrize("has_usage", [False, True])
def test_a_stranger_gets_one_clear_sentence(
    db: Connection, call: Call, url: str, role: Callable[[str], str], has_usage: bool
) -> None:
    add(url)
    stranger = role("stranger")
    if has_usage:
        execute(db, f"grant usage on schema maintenance to {stranger}")
    their = make_conninfo(url, user=stranger)
    for attempt in (
        lambda: api.list_policies(their),
        lambda: api.show_policy(their, "token"),
        lambda: add(their, "other"),
        lambda: api.alter_policy(their, "token", {"retention": "1 day"}),
        lambda: api.enable_policy(their, "token", enabled=False),
        lambda: api.remove_policy(their, "token"),
        lambda: api.plan_policy(their, "token"),
    ):
        refusal = refused(attempt, Exit.FAILED)
        assert refusal.message.startswith(f"role {stranger} may not do this: permission denied for")
        assert refusal.hint
    done = call("list", url=their)
    assert len(done.stderr.splitlines()) == 2


def test_the_owner_of_a_table_needs_no_right_on_the_policies_of_others(
    db: Connection, url: str, role: Callable[[str], str]
) -> None:
    owner = role("owner")
    execute(
        db,
        f"create schema app authorization {owner};"
        " create table app.mine (id integer primary key, expires_at timestamptz)",
    )
    hand_over(db, "app.mine", owner)
    mine = make_conninfo(url, user=owner)
    add(url, "theirs")
    add(mine, "mine", "app.mine")
    api.alter_policy(mine, "mine", {"retention": "1 day"})
    assert api.enable_policy(mine, "mine", enabled=False).changed
    refusal = refused(lambda: api.enable_policy(mine, "theirs"), Exit.FAILED)
    assert (
        refusal.message
        == f"role {owner} may not do this: only the owner of public.token may do this"
    )
    unknown = refused(lambda: api.remove_policy(mine, "min"))
    assert unknown.hint == "`runner policy list` lists them."
    api.remove_policy(mine, "mine")


def test_a_monitor_looks_and_changes_nothing(
    db: Connection, url: str, role: Callable[[str], str]
) -> None:
    add(url, guard_rows=1)
    monitor = role("monitor")
    execute(db, f"select maintenance.grant_monitor('{monitor}')")
    their = make_conninfo(url, user=monitor)
    assert "token" in {one.policy for one in api.list_policies(their)}
    assert api.show_policy(their, "token").settings["guard_rows"] == 1
    assert api.plan_policy(their, "token").verdict == "refused"
    assert "Did you mean token?" in str(refused(lambda: api.plan_policy(their, "tokem")).hint)
    refused(lambda: api.alter_policy(their, "token", {}), Exit.FAILED)


def test_names_are_printed_as_they_are_and_obeyed_by_no_terminal(
    db: Connection, call: Call, url: str
) -> None:
    odd = 'public."[bold]a[/bold] :smile:\x1b[31m\r\u202e"'
    execute(db, f"create table {odd} (id integer primary key, at timestamptz, e text)")
    assert (
        odd
        == api.add_policy(
            url, "odd", odd, {"column": "at", "condition": "e <> '[red]\x1b[2J\nx'"}
        ).relation
    )
    shown = 'public."[bold]a[/bold] :smile:\\x1b[31m\\r\\u202e"'
    for command in (["list"], ["show", "odd"], ["plan", "odd"]):
        done = call(*command, url=url)
        assert shown in done.stdout
        assert not {"\x1b", "\r", "\u202e"} & {*done.stdout}
        assert "[red]\\x1b[2J" in done.stdout or command == ["list"]
    document = json.loads(call("plan", "odd", "--json", url=url).stdout)
    assert document["relation"] == odd


def test_a_table_of_any_command_shows_brackets_and_colons(
    capfd: pytest.CaptureFixture[str],
) -> None:
    table = new_table("a")
    table.add_row(*cells("[bold]x[/bold] :smile:\x07"))
    Screen(Output.TEXT).table(table)
    assert "[bold]x[/bold] :smile:\\x07" in capfd.readouterr().out


def test_quiet_prints_nothing(call: Call, url: str) -> None:
    add(url)
    for arguments in (
        ["list"], ["show", "token"], ["plan", "token"], ["set", "token", "retention=1 day"],
        ["add", "other", "token", "--column", "expires_at"], ["disable", "token"],
        ["remove", "token", "--yes"],
    ):  # fmt: skip
        done = call(*arguments, "-q", url=url)
        assert (done.returncode, done.stdout, done.stderr) == (Exit.DONE, "", "")


def test_a_name_that_is_no_text_is_the_callers_mistake(url: str) -> None:
    done = run("policy", "show", os.fsdecode(b"x\xff"), url=url)
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("error: what was given is not text in UTF-8\n")


def test_without_a_database_or_without_the_core_every_command_says_so(
    empty: str, tmp_path: Path
) -> None:
    done = run("policy", "list", folder=tmp_path)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr.startswith("error: no database was named\n")
    refusal = refused(lambda: api.list_policies(empty), Exit.FAILED)
    assert refusal.hint == "Run `runner migrate` first."


def test_what_postgresql_says_to_a_plan_is_said(url: str) -> None:
    add(url, condition="1 / (id - id) = 1")
    refusal = refused(lambda: api.plan_policy(url, "token"), Exit.FAILED)
    assert refusal.message == "division by zero"
