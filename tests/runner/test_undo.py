"""runner undo: what it would put back, what it puts back, and what it says where it cannot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from runner import api
from runner.cli import app
from runner.errors import Exit, RunnerError
from tests.conftest import scalar
from tests.core.policies import setting
from tests.core.runs import DEAD, LIVE, a_table, count, put, until
from tests.runner.terminals import Terminal
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

ITEMS: dict[str, Any] = {"relation": "item", "columns": ["token"], "references": ["id"]}


@pytest.fixture
def url(db: Connection) -> str:
    """A database with 20 tokens that have expired, 5 that have not, and an archive for them."""
    a_table(db)
    put(db, "dead", 20)
    put(db, "live", 5, expires=LIVE)
    archive(db.info.dsn)
    return db.info.dsn


def archive(url: str, name: str = "token", **settings: Any) -> api.SavedPolicy:
    definition = {"column": "expires_at", "guard_share": "none"} | settings
    return api.add_policy(url, name, "token", definition, create_archive=True)


def told(url: str, *words: str) -> tuple[int, str, str]:
    """Say something to the runner; return its exit status, and what it printed where."""
    done = CliRunner().invoke(app, [*words, "--database-url", url])
    return done.exit_code, done.stdout, done.stderr


def run(url: str, *names: str) -> int:
    """Run policies, and return the number of the run."""
    return api.run(url, names or ("token",)).run


def texts(db: Connection, table: str = "token") -> list[str]:
    """Return the rows of a table as text."""
    return column(db, f"select {table}::text from {table} order by 1")


def refused(url: str, number: int, **options: Any) -> RunnerError:
    with pytest.raises(RunnerError) as refusal:
        api.undo(url, number, **options)
    return refusal.value


def test_the_rows_of_a_run_come_back_as_they_were(url: str, db: Connection) -> None:
    before = texts(db)
    number = run(url)
    assert (count(db), count(db, "token_archive")) == (5, 20)
    done = api.undo(url, number)
    assert (done.code, done.restored, done.run) == (Exit.DONE, 20, number)
    assert texts(db) == before
    assert count(db, "token_archive") == 0


def test_undo_says_what_came_back_and_what_takes_it_again(url: str) -> None:
    number = run(url)
    code, out, err = told(url, "undo", str(number), "--yes")
    assert (code, err) == (Exit.DONE, "")
    assert out.splitlines()[2].split()[:4] == ["token", "public.token", "20", "0"]
    assert "policy token takes them again with its next run: `runner policy disable token`" in out


def test_a_policy_can_be_switched_off_with_it(url: str, db: Connection) -> None:
    number = run(url)
    code, out, _ = told(url, "undo", str(number), "--yes", "--disable")
    assert code == Exit.DONE
    assert "takes them again" not in out
    assert setting(db, "token", "is_enabled") is False
    assert api.run(url, ["token"]).steps[0].exit_reason == "disabled"
    assert count(db) == 25


def test_a_dry_run_says_what_would_come_back_and_changes_nothing(url: str, db: Connection) -> None:
    number = run(url)
    before = texts(db, "token_archive"), count(db, "maintenance.run")
    code, out, _ = told(url, "undo", str(number), "--dry-run")
    assert code == Exit.DONE
    assert out.splitlines()[2].split() == ["token", "public.token", "archive", "20", "0", "20"]
    assert (texts(db, "token_archive"), count(db, "maintenance.run")) == before


def test_off_a_terminal_it_wants_a_yes(url: str, db: Connection) -> None:
    number = run(url)
    code, _, err = told(url, "undo", str(number))
    assert code == Exit.REFUSED
    assert f"error: undoing run {number} was not confirmed" in err
    assert count(db) == 5


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 25), ("n", 4, 5)])
def test_at_a_terminal_it_shows_the_plan_and_asks(
    url: str, db: Connection, answer: str, code: int, left: int
) -> None:
    with Terminal("undo", str(run(url)), url=url) as terminal:
        terminal.until("Put 20 rows back?")
        terminal.answer(answer)
        assert terminal.end() == code
    assert count(db) == left


def test_conflicts_are_listed_and_nothing_is_overwritten(url: str, db: Connection) -> None:
    number = run(url)
    execute(db, "insert into token (id, expires_at, name) values (3, now() + '1 d', 'new')")
    code, out, err = told(url, "undo", str(number), "--yes")
    assert code == Exit.FAILED
    assert 'public.token: id = 3: duplicate key value violates unique constraint "token_' in out
    assert "error: token: incomplete: 1 rows stay in the archive: duplicate key" in err
    assert rows(db, "select name from token where id = 3") == [("new",)]
    assert (count(db), column(db, "select id from token_archive")) == (25, [3])


def test_as_json_it_is_one_document_with_the_conflicts(url: str, db: Connection) -> None:
    number = run(url)
    execute(db, "insert into token (id, expires_at, name) values (3, now() + '1 d', 'new')")
    code, out, err = told(url, "undo", str(number), "--yes", "--json")
    document = json.loads(out)
    assert (code, err) == (Exit.FAILED, "")
    step = document["steps"][0]
    assert (step["restored"], step["left_over"], step["exit_reason"]) == (19, 1, "incomplete")
    assert step["conflicts"][0]["key"] == {"id": 3}
    assert step["conflicts"][0]["sqlstate"] == "23505"
    assert (document["run"], document["undo"]) == (number, number + 1)


def test_no_more_than_ten_conflicts_are_printed(url: str, db: Connection) -> None:
    number = run(url)
    execute(db, "insert into token (id, expires_at) select n, now() + '1 d' from"
                " generate_series(1, 12) n")  # fmt: skip
    _, out, _ = told(url, "undo", str(number), "--yes")
    assert out.count("duplicate key value") == 10
    assert "public.token: 12 rows were refused in all" in out


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "policy plain: it deleted 20 rows, and kept none of them"),
        (
            {"action": "set", "assignments": "expires_at = null"},
            "policy plain: it changed 20 rows in place, and kept nothing of what they were",
        ),
    ],
)
def test_a_run_that_archived_nothing_cannot_be_undone(
    url: str, db: Connection, settings: dict[str, Any], reason: str
) -> None:
    api.add_policy(
        url, "plain", "token", {"column": "expires_at", "guard_share": "none"} | settings
    )
    number = run(url, "plain")
    before = texts(db)
    code, out, err = told(url, "undo", str(number), "--yes")
    assert (code, out) == (Exit.FAILED, "")
    assert err.splitlines()[:2] == [f"error: run {number} cannot be undone", f"detail: {reason}"]
    assert texts(db) == before
    assert count(db, "maintenance.run") == 1


def test_of_a_mixed_run_the_rest_is_named(url: str, db: Connection) -> None:
    execute(db, f"create table log (at timestamptz); insert into log select {DEAD}")
    api.add_policy(url, "log", "log", {"column": "at", "guard_share": "none"})
    number = run(url, "token", "log")
    code, _, err = told(url, "undo", str(number), "--yes")
    assert code == Exit.FAILED
    assert err.splitlines() == ["error: log: it deleted 1 rows, and kept none of them"]
    assert (count(db), count(db, "log")) == (25, 0)
    assert api.undo(url, run(url), policy="token").code == Exit.DONE


def test_one_policy_of_a_run_can_be_undone(url: str, db: Connection) -> None:
    execute(db, f"create table log (at timestamptz); insert into log select {DEAD}")
    api.add_policy(url, "log", "log", {"column": "at", "guard_share": "none"}, create_archive=True)
    number = run(url, "token", "log")
    assert api.undo(url, number, policy="log").restored == 1
    assert (count(db), count(db, "log")) == (5, 1)
    refusal = refused(url, number, policy="other")
    assert refusal.detail == "It did not carry out policy other."


def test_a_run_that_is_undone_has_nothing_more_to_put_back(url: str) -> None:
    number = run(url)
    api.undo(url, number)
    refusal = refused(url, number)
    assert refusal.code == Exit.FAILED
    assert refusal.detail == "policy token: nothing of it is in its archive any more"


def test_a_run_that_does_not_exist_is_a_mistake(url: str) -> None:
    refusal = refused(url, 99)
    assert (refusal.message, refusal.code) == ("there is no run 99", Exit.USAGE)


@pytest.mark.parametrize("size", [0, 100001])
def test_a_batch_has_a_size_that_can_be(url: str, size: int) -> None:
    assert refused(url, run(url), batch_size=size).code == Exit.USAGE


def test_batches_are_as_large_as_they_may_be(url: str, db: Connection) -> None:
    number = run(url)
    execute(
        db,
        "create table seen (rows bigint); create function look() returns trigger language plpgsql"
        " as $$ begin insert into public.seen select count(*) from arrived; return null; end $$;"
        " create trigger look after insert on token referencing new table as arrived"
        " for each statement execute function look()",
    )
    assert api.undo(url, number, batch_size=6).restored == 20
    assert column(db, "select rows from seen order by rows desc") == [6, 6, 6, 2]


def test_while_a_run_is_at_it_nothing_is_undone(
    url: str, db: Connection, another: Callable[[], Connection]
) -> None:
    number = run(url)
    driver = another()
    opened = scalar(driver, "select maintenance.open_run('a driver')")
    execute(driver, "select maintenance.open_step(%s, 'token')", opened)
    code, out, err = told(url, "undo", str(number), "--yes")
    assert code == Exit.BUSY, err
    assert "takes them again" not in out
    assert "error: token: lease_held: step " in err
    assert count(db) == 5


def test_a_signal_ends_it_after_the_batch_in_hand(url: str, db: Connection) -> None:
    number = run(url)
    batches = 0

    def stopped() -> bool:
        nonlocal batches
        batches += 1
        return batches > 2

    done = api.undo(url, number, batch_size=6, terms=api.Terms(stopped=stopped))
    assert (done.code, done.steps[0].exit_reason) == (Exit.DONE, "stopped")
    assert 0 < done.restored < 20
    assert (count(db), count(db, "token_archive")) == (5 + done.restored, 20 - done.restored)
    assert api.undo(url, number).restored == 20 - done.restored


def test_a_session_that_is_ended_leaves_every_row_in_one_place(
    url: str, db: Connection, another: Callable[[], Connection]
) -> None:
    number = run(url)
    seen = 0
    ours = "(select pid from pg_stat_activity where datname = current_database()" \
        " and application_name = 'runner undo') as session"  # fmt: skip

    def watch(_: api.Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            execute(db, f"select pg_terminate_backend(pid) from {ours}")
            until(lambda: not count(db, ours))

    refusal = refused(url, number, batch_size=6, watch=watch)
    assert refusal.message == "the connection was lost"
    back = count(db) - 5
    assert 0 < back < 20
    assert count(db, "token_archive") == 20 - back
    assert api.undo(url, number).restored == 20 - back
    reasons = "select exit_reason from maintenance.run_history where action = 'undo' order by run"
    assert column(db, reasons) == ["interrupted", "exhausted"]


def test_dependents_come_back_with_their_rows(db: Connection) -> None:
    url = db.info.dsn
    a_table(db)
    put(db, "dead", 20)
    execute(
        db,
        "create table item (id bigint primary key, token bigint not null references token);"
        " insert into item select id * 10, id from token; create index on item (token)",
    )
    made = archive(url, dependents=[ITEMS]).archives
    assert made == ["public.token_archive", "public.item_archive"]
    before = texts(db), texts(db, "item")
    number = run(url)
    assert (count(db), count(db, "item"), count(db, "item_archive")) == (0, 0, 20)
    assert api.undo(url, number).restored == 40
    assert (texts(db), texts(db, "item")) == before


def test_dependents_of_a_row_that_is_refused_stay_with_it(db: Connection) -> None:
    url = db.info.dsn
    a_table(db)
    put(db, "dead", 20)
    execute(
        db,
        "create table item (id bigint primary key, token bigint not null references token);"
        " insert into item select id * 10, id from token; create index on item (token)",
    )
    archive(url, dependents=[ITEMS])
    number = run(url)
    execute(db, "insert into token (id, expires_at, name) values (3, now() + '1 d', 'new')")
    looks: list[api.Progress] = []
    done = api.undo(url, number, watch=looks.append)
    assert (done.code, done.restored, done.steps[0].left_over) == (Exit.FAILED, 38, 2)
    assert len(looks) < 10, "what is known to stay is not tried again and again"
    assert count(db, "item", "token = 3") == 0
    assert [
        conflict["message"].partition(" violates")[0] for conflict in done.steps[0].conflicts
    ] == ["duplicate key value", "1 rows went with rows that are in the archive still"]
    execute(db, "delete from token where id = 3")
    assert api.undo(url, number).restored == 2
    assert rows(db, "select id from item where token = 3") == [(30,)]


def test_a_deferred_constraint_refuses_rows_and_not_the_commit(url: str, db: Connection) -> None:
    number = run(url)
    execute(
        db,
        "create table owner (name text primary key); create table note (name text references owner"
        " deferrable initially deferred); create function jot() returns trigger language plpgsql"
        " as $$ begin insert into public.note values (new.name); return new; end $$;"
        " create trigger jot after insert on token for each row execute function jot()",
    )
    done = api.undo(url, number)
    assert (done.restored, done.steps[0].left_over) == (0, 20)
    assert done.steps[0].conflicts[0]["sqlstate"] == "23503"
    assert count(db, "token_archive") == 20


def test_an_archive_gets_the_name_that_it_is_given(db: Connection) -> None:
    a_table(db)
    execute(db, "create schema old")
    made = archive(db.info.dsn, archive_table="old.tokens")
    assert made.archives == ["old.tokens"]
    assert setting(db, "token", "archive_table") == "old.tokens"


def test_where_the_policy_is_refused_no_archive_is_made(db: Connection) -> None:
    a_table(db)
    with pytest.raises(RunnerError, match="has no column nope"):
        api.add_policy(db.info.dsn, "token", "token", {"column": "nope"}, create_archive=True)
    assert scalar(db, "select to_regclass('token_archive')") is None


def test_the_tables_of_dependents_are_found_by_their_names(db: Connection) -> None:
    a_table(db)
    execute(db, "create table item (id bigint primary key, token bigint references token)")
    definition = {"column": "expires_at", "dependents": [ITEMS]}
    api.add_policy(db.info.dsn, "token", "token", definition)
    assert setting(db, "token", "dependents")[0]["relation"] == "public.item"


def test_a_column_that_was_added_stops_the_next_run_until_the_archive_has_it(
    url: str, db: Connection
) -> None:
    execute(db, "alter table token add column reason text default 'why'")
    code, _, err = told(url, "run", "token")
    assert code == Exit.REFUSED
    assert (
        "public.token_archive has no column reason of type text:"
        ' "runner policy set token --evolve-archive"' in err
    )
    assert count(db) == 25
    code, out, _ = told(url, "policy", "set", "token", "--evolve-archive")
    assert (code, out) == (Exit.DONE, "public.token_archive: added column reason\n")
    assert told(url, "run", "token")[0] == Exit.DONE
    assert column(db, "select distinct reason from token_archive") == ["why"]


def test_a_column_that_was_dropped_stays_in_the_archive(url: str, db: Connection) -> None:
    number = run(url)
    execute(db, "alter table token drop column name")
    execute(db, f"insert into token (expires_at) select {DEAD}")
    code, _, err = told(url, "run", "token")
    assert code == Exit.REFUSED
    assert "public.token has no column name any more, and public.token_archive keeps it" in err
    _, out, _ = told(url, "policy", "set", "token", "--evolve-archive", "retention=1 h")
    assert out.splitlines()[:2] == [
        "public.token_archive: column name stays, and is empty from now on",
        "token: retention is 1 h",
    ]
    assert told(url, "run", "token")[0] == Exit.DONE
    # What has a value there cannot come back without it.
    done = api.undo(url, number)
    assert (done.restored, done.steps[0].left_over) == (0, 20)
    assert done.steps[0].conflicts[0]["message"] == (
        "it has a value in a column that the table has no more"
    )


def test_an_archive_that_is_in_line_is_left_as_it_is(url: str) -> None:
    code, out, _ = told(url, "policy", "set", "token", "--evolve-archive")
    assert (code, out) == (Exit.DONE, "the archives of token are in line with their tables\n")


def test_a_policy_that_archives_can_delete_instead(url: str, db: Connection) -> None:
    code, _, _ = told(url, "policy", "set", "token", "action=delete", "archive_table=none")
    assert code == Exit.DONE
    run(url)
    assert (count(db), count(db, "token_archive")) == (5, 0)
    assert told(url, "policy", "set", "token", "action=", "archive_table=")[0] == Exit.DONE
    assert setting(db, "token", "archive_table") == "token_archive"


def test_without_anything_to_change_set_says_so(url: str) -> None:
    code, _, err = told(url, "policy", "set", "token")
    assert code == Exit.USAGE
    assert err.splitlines()[0] == "error: there is nothing to change"


def test_history_says_what_was_put_back(url: str) -> None:
    number = run(url)
    api.undo(url, number)
    undone, ran = api.history(url)
    assert (undone.action, undone.restored, undone.undoes) == ("undo", 20, number)
    assert (ran.action, ran.removed, ran.undoes) == ("archive", 20, None)
    _, out, _ = told(url, "history")
    assert f"put 20 rows of run {number} back" in out


def test_a_pooler_is_refused(url: str) -> None:
    assert "pooler" in refused(f"{url} port=6543", run(url)).message
