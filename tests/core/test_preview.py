"""The preview of a policy: what it counts and says, and that it writes nothing."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.conftest import scalar
from tests.core.policies import alter, preview, purge, register, run
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMA = """
create schema app;
create table app.logs (id bigint primary key, at timestamptz, seen date, flag boolean);
create table app.archive (like app.logs);
"""
OLD = "'2020-01-01 00:00+00'::timestamptz + n * interval '1 h'"


def fill(db: Connection, old: int, live: int = 0) -> None:
    execute(
        db,
        SCHEMA + f"insert into app.logs select n, {OLD} from generate_series(1, {old}) as n;"
        f" insert into app.logs select n, 'infinity' from generate_series({old + 1},"
        f" {old + live}) as n; analyze app.logs",
    )


def lines(db: Connection, name: str, item: str) -> list[str]:
    """Return the values of the lines that a preview has for an item."""
    return column(db, "select value from maintenance.preview(%s) where item = %s", name, item)


def test_a_preview_says_what_a_run_would_do(tx: Connection) -> None:
    fill(tx, old=7, live=20)
    execute(tx, "create index by_time on app.logs (at)")
    register(
        tx,
        "p",
        "app.logs",
        branches=[{"column": "at"}, {"condition": "seen < '2021-01-01'", "key": "seen"}],
    )
    assert preview(tx, "p") | {"estimated rows": "", "statement": "", "branch 1": ""} == {
        "table": "app.logs",
        "action": "delete",
        "eligible rows": "7",
        "estimated rows": "",
        "branch 1": "",
        "branch 2": "no index",
        "strategy": "heap on app.logs: the table has 1 pages",
        "risk": "branch 2 has no index: every run reads the whole table;"
        " create index concurrently on app.logs (seen) where seen < '2021-01-01'",
        "guard": "pass",
        "statement": "",
    }
    before, oldest, index = preview(tx, "p")["branch 1"].split("; ")
    assert scalar(tx, f"select now() - '{before[len('before ') :]}' < interval '1 h'")
    assert scalar(tx, f"select '{oldest[len('oldest ') :]}'::timestamptz = '2020-01-01 01:00+00'")
    assert index == "index by_time"
    assert preview(tx, "p")["statement"].startswith("delete from only app.logs as target where")


def test_the_foreign_keys_are_named(tx: Connection) -> None:
    fill(tx, old=1)
    execute(
        tx,
        "create table app.notes (id int primary key, log bigint references app.logs"
        " on delete cascade); create table app.marks (note int references app.notes"
        " on delete set null)",
    )
    register(tx, "p", "app.logs", column="at", allow_cascade=True)
    named = lines(tx, "p", "foreign key")
    assert [line.partition(":")[0] for line in named] == [
        "app.notes -> app.logs", "app.marks -> app.notes"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "beginning"),
    [
        ({}, "delete from only app.logs as target"),
        ({"action": "archive", "archive_table": "app.archive"}, "with removed as (delete from"),
        (
            {"action": "set", "assignments": "at = null"},
            "with changed (is_eligible) as (update only app.logs as target set at = null",
        ),
    ],
)
def test_what_is_counted_is_what_goes_whatever_the_action(
    tx: Connection, settings: dict[str, Any], beginning: str
) -> None:
    fill(tx, old=9, live=20)
    register(tx, "p", "app.logs", column="at", **settings)
    shown = preview(tx, "p")
    assert shown["statement"].startswith(beginning)
    assert shown["eligible rows"] == "9"
    assert purge(tx, "p", "2024-01-01 00:00+00") == 9
    assert preview(tx, "p")["eligible rows"] == "0"


def test_counting_ends_at_ten_thousand_unless_it_shall_be_exact(tx: Connection) -> None:
    fill(tx, old=10_000, live=20_000)
    register(tx, "p", "app.logs", column="at")
    assert preview(tx, "p")["eligible rows"] == "10000"
    execute(tx, f"insert into app.logs select 0, {OLD} from generate_series(1, 1) as n")
    assert preview(tx, "p")["eligible rows"] == "more than 10000"
    assert preview(tx, "p", exact=True)["eligible rows"] == "10001"


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("guarded", [False, True])
def test_a_preview_writes_nothing(db: Connection, *, guarded: bool, exact: bool) -> None:
    fill(db, old=50, live=50)
    register(db, "p", "app.logs", column="at", guard_rows=10 if guarded else 1000)
    with db.transaction():
        preview(db, "p", exact=exact)
        assert scalar(db, "select pg_current_xact_id_if_assigned()") is None
    with db.transaction():
        execute(db, "set transaction read only")
        assert preview(db, "p", exact=exact)["eligible rows"] == "50"
    assert scalar(db, "select count(*) from maintenance.run_step") == 0
    assert scalar(db, "select count(*) from app.logs") == 100


def test_a_token_is_printed_where_the_guard_refuses_and_lifts_it_once(db: Connection) -> None:
    fill(db, old=50, live=50)
    register(db, "p", "app.logs", column="at", guard_rows=50)
    assert "token" not in preview(db, "p")
    alter(db, "p", guard_rows=49)
    with pytest.raises(psycopg.Error, match="guard: more than 49 rows would go: guard_rows"):
        run(db, "p")
    assert scalar(db, "select count(*) from app.logs") == 100
    shown = preview(db, "p")
    assert shown["eligible rows"] == "50"
    assert shown["guard"] == "refused: more than 49 rows would go: guard_rows"
    token = shown["token"]
    assert run(db, "p", f", accept => '{token}'") == (50, "exhausted")
    assert scalar(db, "select count(*) from app.logs") == 50
    with pytest.raises(psycopg.Error, match="the token was used before"):
        run(db, "p", f", accept => '{token}'")


@pytest.mark.parametrize("spoil", ["version", "moment", "bound", "issue", "seal", "policy", "junk"])
def test_a_token_that_no_preview_of_the_policy_printed_lifts_nothing(
    db: Connection, spoil: str
) -> None:
    fill(db, old=50, live=50)
    register(db, "p", "app.logs", column="at", guard_rows=10)
    register(db, "q", "app.logs", column="at", guard_rows=10)
    parts = preview(db, "p")["token"].split("-")
    assert len(parts) == 5
    match spoil:
        case "policy":
            parts = preview(db, "q")["token"].split("-")
        case "junk":
            parts = ["junk"]
        case _:
            place = ["version", "moment", "bound", "issue", "seal"].index(spoil)
            last = parts[place][-1]
            parts[place] = parts[place][:-1] + ("0" if last != "0" else "1")
    with pytest.raises(psycopg.Error, match="the token is not one of this policy's"):
        run(db, "p", f", accept => '{'-'.join(parts)}'")
    assert scalar(db, "select count(*) from app.logs") == 100


def test_a_token_is_void_once_the_policy_or_the_database_changed(db: Connection) -> None:
    fill(db, old=50, live=50)
    register(db, "p", "app.logs", column="at", guard_rows=10)
    token = preview(db, "p")["token"]
    alter(db, "p", retention="1 day")
    with pytest.raises(psycopg.Error, match="the policy has changed since the token was printed"):
        run(db, "p", f", accept => '{token}'")
    token = preview(db, "p")["token"]
    execute(db, "select maintenance.adopt_clone()")
    with pytest.raises(psycopg.Error, match="the token is not one of this policy's"):
        run(db, "p", f", accept => '{token}'")
    assert scalar(db, "select count(*) from app.logs") == 100


def test_an_accepted_run_uses_the_moment_of_the_preview(db: Connection) -> None:
    fill(db, old=50)
    register(db, "p", "app.logs", column="at", guard_rows=10)
    execute(db, "insert into app.logs values (1000, clock_timestamp() + interval '0.2 s')")
    token = preview(db, "p")["token"]
    execute(db, "select pg_sleep(0.3)")
    assert preview(db, "p")["eligible rows"] == "51"
    assert run(db, "p", f", accept => '{token}'") == (50, "exhausted")
    assert column(db, "select id from app.logs") == [1000]


CONDITIONS = ("flag", "flag is null", "seen > '2022-01-01'", "id % 3 = 0 --", "not flag")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_policy_a_run_removes_what_the_preview_counted(
    db: Connection, seed: int
) -> None:
    chance = random.Random(seed)
    execute(db, SCHEMA + "create index on app.logs (at); create index on app.logs (seen)")
    execute(db, "select setseed(%s)", seed / 100)
    execute(
        db,
        "insert into app.logs select n,"
        " case when random() < 0.9 then now() + (random() - 0.5) * interval '100 days' end,"
        " case when random() < 0.9 then date '2020-01-01' + (random() * 3000)::integer end,"
        " (array[true, false, null])[1 + floor(random() * 3)::integer]"
        " from generate_series(1, 2000) as n",
    )

    def branch() -> dict[str, Any]:
        made: dict[str, Any] = {"column": chance.choice(["at", "seen"])}
        if chance.random() < 0.5:
            made["condition"] = chance.choice(CONDITIONS)
        if chance.random() < 0.5:
            made["retention"] = chance.choice(["10 days", "3 mons", "1 year 2 h"])
        if chance.random() < 0.3:
            made["comparison"] = "<="
        return made

    settings: dict[str, Any] = {
        "branches": [branch() for _ in range(chance.randint(1, 3))],
        "retention": chance.choice(["0 s", "5 days", "1 mon"]),
        "grace": chance.choice(["0 s", "1 h"]),
        "zone": chance.choice(["UTC", "Asia/Kolkata", "America/New_York"]),
        "batch_size": chance.choice([1, 37, 500, 10_000]),
        "guard_share": 1,
    }
    if chance.random() < 0.3:
        settings["condition"] = chance.choice(CONDITIONS)
    if chance.random() < 0.3:
        settings["hold_column"] = "flag"
    register(db, "p", "app.logs", **settings)
    counted = int(preview(db, "p", exact=True)["eligible rows"])
    assert run(db, "p")[0] == counted
    assert scalar(db, "select count(*) from app.logs") == 2000 - counted
    assert preview(db, "p", exact=True)["eligible rows"] == "0"


def test_what_a_run_would_take_is_told_from_the_last_one(db: Connection) -> None:
    fill(db, old=50)
    register(db, "p", "app.logs", column="at")
    assert "expected duration" not in preview(db, "p")
    run(db, "p")
    execute(db, f"insert into app.logs select n, {OLD} from generate_series(1, 50) as n")
    assert preview(db, "p")["expected duration"].endswith(" s")


def test_a_policy_that_is_switched_off_is_shown_as_well(tx: Connection) -> None:
    fill(tx, old=5)
    register(tx, "p", "app.logs", column="at", is_enabled=False)
    assert preview(tx, "p")["eligible rows"] == "5"
    assert rows(tx, "select maintenance.plan_policy('p') -> 'is_enabled'") == [(False,)]


def test_a_table_of_partitions_is_counted_whole(tx: Connection) -> None:
    execute(
        tx,
        "create schema app; create table app.p (id int, at timestamptz) partition by range (id);"
        " create table app.p1 partition of app.p for values from (0) to (10);"
        " create table app.p2 partition of app.p for values from (10) to (20)"
        " partition by range (id);"
        " create table app.p21 partition of app.p2 for values from (10) to (15);"
        " create table app.p22 partition of app.p2 default;"
        f" insert into app.p select n, {OLD} from generate_series(0, 19) as n",
    )
    register(tx, "p", "app.p", column="at")
    assert preview(tx, "p")["eligible rows"] == "20"
    assert len(lines(tx, "p", "strategy")) == 3
    assert purge(tx, "p", "2024-01-01 00:00+00") == 20
