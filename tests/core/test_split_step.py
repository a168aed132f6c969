"""The parts of a step: together they are its work, none of it twice, whoever walks them."""

from __future__ import annotations

import json
from threading import Timer
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.conftest import scalar
from tests.core.runs import (
    DEAD,
    LIVE,
    a_sparse_table,
    a_table,
    count,
    put,
    register,
    strategy,
)
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

Part = dict[str, Any]
Step = tuple[int, int]
"""A step and its token."""

PAGES = 512
"""The least pages of a part: 4 MB."""
EXPIRED = "expires_at < clock_timestamp()"


def open_step(db: Connection, policy: str = "token") -> Step:
    """Begin as a driver does."""
    number = scalar(db, "select maintenance.open_run('a driver')")
    [(step, token, reason)] = rows(
        db, "select step, token, exit_reason from maintenance.open_step(%s, %s)", number, policy
    )
    assert reason is None
    return step, token


def split(db: Connection, step: Step, parts: int = 4) -> list[Part]:
    """Divide the step."""
    return scalar(db, "select maintenance.split_step(%s, %s)", step[0], parts)


def batch(
    db: Connection, step: Step, cursor: Part | None, size: int = 1000
) -> tuple[int, bool, str | None, str | None, Part]:
    """Remove the next batch: how many rows, whether that was all, why, its message, and where."""
    [done] = rows(
        db,
        "select removed, is_done, exit_reason, message, next_cursor"
        " from maintenance.run_batch(%s, %s, %s, %s)",
        *step, None if cursor is None else Jsonb(cursor), size,
    )  # fmt: skip
    return done


def walk(db: Connection, step: Step, part: Part, size: int = 1000) -> tuple[int, Part]:
    """Walk through a part as a session does: how many rows went, and the cursor at its end."""
    removed, cursor, is_done, batches = 0, part, False, 0
    while not is_done:
        gone, is_done, reason, _, cursor = batch(db, step, cursor, size)
        assert reason is None, "the other parts are yet to be done"
        assert gone <= size
        removed += gone
        batches += 1
        assert batches < 2000, "it never ends"
    return removed, cursor


def finish(
    db: Connection, step: Step, finished: list[Part], size: int = 1000
) -> tuple[int, str, str | None]:
    """Join the parts and go on to the end: how many rows went, and why it ended."""
    removed = 0
    cursor = scalar(db, "select maintenance.join_parts(%s)", Jsonb(finished))
    for _ in range(2000):
        gone, is_done, reason, message, following = batch(db, step, cursor, size)
        removed += gone
        if is_done:
            assert reason is not None
            execute(db, "select maintenance.close_step(%s, %s, %s, %s)", *step, reason, message)
            return removed, reason, message
        cursor = following
    raise AssertionError("it never ends")


def removed_by(db: Connection, step: Step, part: Part, table: str = "token") -> set[int]:
    """Return the rows that a part would remove, if it were the only one to be walked."""
    before = set(column(db, f"select id from {table}"))
    execute(db, "begin")
    walk(db, step, part)
    after = set(column(db, f"select id from {table}"))
    execute(db, "rollback")
    return before - after


def assert_divides(
    db: Connection, parts: list[Part], step: Step, table: str = "token", where: str = EXPIRED
) -> list[int]:
    """Assert that each row that is eligible is in one part; return how many each part has."""
    expected = set(column(db, f"select id from {table} where {where}"))
    each = [removed_by(db, step, part, table) for part in parts]
    assert set[int]().union(*each) == expected
    assert sum(map(len, each)) == len(expected), "a row is in two parts"
    return [len(some) for some in each]


def a_tall_table(db: Connection, pages: int, name: str = "token", more: str = "") -> None:
    """Make a table of that many pages, without an index: dead and live rows in each of them."""
    a_table(db, name, more)
    execute(
        db,
        f"alter table {name} set (fillfactor = 10, autovacuum_enabled = off);"
        f" insert into {name} (expires_at, name)"
        f" select case when n % 2 = 0 then {DEAD} else {LIVE} end, rpad('x', 300)"
        f" from generate_series(1, {pages * 2}) as n",
    )
    assert scalar(db, "select pg_relation_size(%s::regclass) / 8192", name) == pages


def spread(db: Connection, number: int = 600) -> None:
    """Put rows that expired one a minute, and some that share their time, into a sparse table."""
    put(db, "dead", number, expires="now() - n * interval '1 min'")
    execute(db, "analyze token")


@pytest.mark.parametrize(
    ("pages", "asked", "parts"),
    [
        (1, 4, 1),
        (2 * PAGES - 1, 4, 1),
        (2 * PAGES, 4, 2),
        (3 * PAGES - 1, 4, 2),
        (3 * PAGES + 5, 4, 3),
        (3 * PAGES + 5, 2, 2),
        (3 * PAGES + 5, 1, 1),
    ],
)
def test_blocks_are_cut_into_ranges_of_4_mb_at_least(
    db: Connection, pages: int, asked: int, parts: int
) -> None:
    a_tall_table(db, pages)
    register(db)
    assert strategy(db) == "heap"
    step = open_step(db)
    made = split(db, step, asked)
    assert len(made) == parts
    edges = [(int(part["at"]), part["end"]) for part in made]
    assert edges[0][0] == 0
    assert edges[-1][1] == pages
    assert [end for _, end in edges[:-1]] == [at for at, _ in edges[1:]]
    sizes = [end - at for at, end in edges]
    assert max(sizes) - min(sizes) <= 1
    counted = assert_divides(db, made, step)
    assert max(counted) - min(counted) <= 2


@pytest.mark.parametrize("asked", [0, -1, 1001])
def test_a_number_of_parts_that_cannot_be_meant_is_an_error(db: Connection, asked: int) -> None:
    a_table(db)
    register(db)
    step = open_step(db)
    with pytest.raises(errors.InvalidParameterValue, match=f"between 1 and 1000, not {asked}"):
        split(db, step, asked)


def test_a_thousand_parts_may_be_asked_for(db: Connection) -> None:
    a_sparse_table(db)
    spread(db)
    register(db)
    step = open_step(db)
    parts = split(db, step, 1000)
    assert len(parts) == 100, "the statistics know 101 values, of which nothing is below the first"
    assert_divides(db, parts, step)


def test_an_empty_table_is_one_part_with_nothing_in_it(db: Connection) -> None:
    a_table(db)
    register(db)
    step = open_step(db)
    [part] = split(db, step)
    gone, cursor = walk(db, step, part)
    assert gone == 0
    assert finish(db, step, [cursor]) == (0, "nothing_to_do", None)


def test_a_table_without_partitions_has_no_parts(db: Connection) -> None:
    execute(
        db,
        "create table token (id integer, expires_at timestamptz) partition by list (id)",
    )
    register(db)
    step = open_step(db)
    assert split(db, step) == []
    assert finish(db, step, []) == (0, "nothing_to_do", None)


@pytest.mark.parametrize("asked", [1, 2, 4, 7])
def test_a_walk_along_an_index_is_cut_where_equal_numbers_of_rows_are(
    db: Connection, asked: int
) -> None:
    a_sparse_table(db)
    spread(db)
    register(db)
    assert strategy(db) == "window"
    step = open_step(db)
    parts = split(db, step, asked)
    assert len(parts) == asked
    assert parts[0]["at"] == "-infinity"
    assert parts[-1]["until"] is None
    assert [part["until"] for part in parts[:-1]] == [part["at"] for part in parts[1:]]
    counted = assert_divides(db, parts, step)
    assert max(counted) < 1.3 * 600 / asked + 12


def test_values_that_are_not_eligible_yet_are_no_place_to_cut(db: Connection) -> None:
    a_sparse_table(db)
    execute(db, "update token set expires_at = now() + id * interval '1 min'")
    spread(db)
    register(db)
    assert strategy(db) == "window"
    step = open_step(db)
    parts = split(db, step, 4)
    counted = assert_divides(db, parts, step)
    assert len(counted) == 4
    assert max(counted) < 300, "one of them is not nearly everything"


def test_rows_that_have_no_time_do_not_count_when_it_is_cut(db: Connection) -> None:
    """Soft-deleted rows are few among those that are not deleted at all."""
    a_table(db)
    execute(
        db,
        "alter table token set (fillfactor = 10); create index on token (expires_at);"
        " insert into token (expires_at, name) select null, rpad('kept', 90)"
        " from generate_series(1, 7000) as n",
    )
    spread(db)
    register(db)
    step = open_step(db)
    parts = split(db, step, 4)
    counted = assert_divides(db, parts, step)
    assert len(counted) == 4
    assert max(counted) < 170


def test_several_branches_are_one_part(db: Connection) -> None:
    a_sparse_table(db, more=", used_at timestamptz")
    execute(db, "create index on token (used_at)")
    put(db, "dead", 60, expires="now() - n * interval '1 min'")
    put(db, "both", 60, expires="now() - n * interval '1 min'")
    put(db, "used", 60, expires=LIVE)
    execute(db, "update token set used_at = expires_at - interval '3 day' where name <> 'dead'")
    execute(db, "update token set used_at = null where name like 'live%%'")
    execute(db, "vacuum analyze token")
    register(db, branches=[{"column": "expires_at"}, {"column": "used_at"}])
    assert strategy(db) == "window"
    step = open_step(db)
    [part] = split(db, step)
    assert part["branch"] == 1
    walked = assert_divides(db, [part], step, where=f"{EXPIRED} or used_at < clock_timestamp()")
    assert walked == [180]


KEYS = [
    ("bigint", "n", "-9223372036854775808", "9223372036854775807"),
    ("integer", "n", "-2147483648", "2147483647"),
    ("date", "date '2020-01-01' + n", "-infinity", "infinity"),
    ("timestamptz", "timestamptz '2020-01-01 UTC' + n * interval '1 h'", "-infinity", "infinity"),
    ("timestamp", "timestamp '2020-01-01' + n * interval '1 h'", "-infinity", "infinity"),
    ("numeric", "n + 0.5", "-infinity", "nan"),
    ("double precision", "n / 3.0", "-infinity", "nan"),
]


@pytest.mark.parametrize(("kind", "value", "lowest", "highest"), KEYS)
def test_every_type_of_key_is_cut(
    db: Connection, kind: str, value: str, lowest: str, highest: str
) -> None:
    a_table(db, more=f", seen {kind}, is_dead boolean")
    execute(
        db,
        "alter table token set (fillfactor = 10); create index on token (seen) where is_dead;"
        f" insert into token (seen, name, is_dead) select {value}, rpad('x', 90), n % 20 = 0"
        " from generate_series(1, 7500) as n;"
        f" insert into token (seen, is_dead) values ('{lowest}', true), ('{highest}', true),"
        " (null, true); analyze token",
    )
    register(db, branches=[{"key": "seen", "condition": "is_dead"}])
    assert strategy(db) == "window"
    # In whatever form the session shows its times, cursors are of one.
    execute(db, "set datestyle = 'SQL, DMY'; set timezone = 'Asia/Kolkata'")
    step = open_step(db)
    parts = split(db, step, 5)
    assert len(parts) == 5
    json.dumps(parts)
    execute(db, "set datestyle = 'ISO, MDY'; set timezone = 'UTC'")
    counted = assert_divides(db, parts, step, where="is_dead and seen is not null")
    assert sum(counted) == 377
    assert max(counted) < 100


def test_a_key_of_a_type_without_a_lowest_value_is_refused(db: Connection) -> None:
    a_table(db)
    with pytest.raises(
        errors.InvalidParameterValue, match="key name is of type text, which has no"
    ):
        register(db, branches=[{"key": "name", "condition": "id < 5"}])


@pytest.mark.parametrize("what", ["missing", "stale"])
def test_statistics_that_are_wrong_make_parts_unequal_and_nothing_worse(
    db: Connection, what: str
) -> None:
    a_sparse_table(db)
    put(db, "old", 100, expires="now() - interval '1 year' - n * interval '1 min'")
    execute(db, "analyze token")
    if what == "missing":
        execute(db, "delete from pg_statistic where starelid = 'token'::regclass")
    put(db, "dead", 600, expires="now() - n * interval '1 min'")
    register(db)
    step = open_step(db)
    parts = split(db, step, 4)
    assert len(parts) == (2 if what == "missing" else 4)  # along the blocks, along the index
    assert_divides(db, parts, step)


def test_values_that_come_again_in_the_statistics_are_one_edge(db: Connection) -> None:
    """Many rows of some values: cuts must not leave a part between a value and itself."""
    a_sparse_table(db)
    execute(db, "alter table token alter column expires_at set statistics 3")
    for days in (3, 2, 1):
        put(db, "dead", 200, expires=f"date_trunc('day', now()) - interval '{days} day'")
    execute(db, "analyze token")
    register(db)
    step = open_step(db)
    parts = split(db, step, 50)
    edges = [part["at"] for part in parts]
    assert len(set(edges)) == len(edges)
    assert_divides(db, parts, step)


def test_rows_that_share_the_value_of_a_cut_go_with_the_part_behind_it(db: Connection) -> None:
    a_sparse_table(db)
    spread(db, 300)
    register(db)
    step = open_step(db)
    parts = split(db, step, 4)
    for part in parts[1:]:
        execute(
            db,
            "insert into token (expires_at, name)"
            f" select timestamptz '{part['at']}' + o * interval '1 us', 'dead'"
            " from generate_series(1, 40), unnest(array[-1, 0, 1]) as o",
        )
    counted = assert_divides(db, parts, step)
    assert sum(counted) == 300 + 3 * 120
    gone = sum(walk(db, step, part, size=7)[0] for part in parts)
    assert gone == 660
    assert count(db, where=EXPIRED) == 0
    assert count(db) == 7000


def test_an_empty_range_between_two_equal_edges_ends_at_once(db: Connection) -> None:
    a_sparse_table(db)
    spread(db, 60)
    register(db)
    step = open_step(db)
    [part, *_] = split(db, step, 2)
    part["at"] = part["until"]
    gone, is_done, reason, _, cursor = batch(db, step, part)
    assert (gone, is_done, reason) == (0, True, None), "it does not walk the whole table instead"
    assert "leaf" not in cursor


def test_partitions_are_cut_each_on_its_own(db: Connection) -> None:
    execute(
        db,
        "create table token (id bigint generated by default as identity, region integer,"
        " expires_at timestamptz, name text) partition by list (region);"
        " create table token_1 partition of token for values in (1);"
        " create table token_2 partition of token for values in (2) partition by list (region);"
        " create table token_2_2 partition of token_2 for values in (2) with (fillfactor = 10);"
        " create table token_3 partition of token for values in (3);"
        f" insert into token (region, expires_at, name) select 2, case when n % 2 = 0 then {DEAD}"
        f" else {LIVE} end, rpad('x', 300) from generate_series(1, {4 * PAGES}) as n;"
        f" insert into token (region, expires_at) select 1, {DEAD} from generate_series(1, 9)",
    )
    register(db)
    step = open_step(db)
    parts = split(db, step, 4)
    leaves = [scalar(db, f"select {part['leaf']}::regclass::text") for part in parts]
    assert leaves == ["token_1", "token_2_2", "token_2_2", "token_3"]
    counted = assert_divides(db, parts, step)
    assert counted == [9, PAGES, PAGES, 0]


def test_parts_go_in_any_order_and_the_walk_ends_exhausted(db: Connection) -> None:
    a_tall_table(db, 3 * PAGES)
    register(db)
    live = set(column(db, f"select id from token where not {EXPIRED}"))
    step = open_step(db)
    parts = split(db, step)
    finished: list[Part] = []
    gone = 0
    for part in (parts[2], parts[0], parts[1]):
        removed, cursor = walk(db, step, part, size=200)
        gone += removed
        finished.append(cursor)
    assert gone == 3 * PAGES
    assert finish(db, step, finished) == (0, "exhausted", None)
    assert set(column(db, "select id from token")) == live
    assert rows(db, "select removed, left_over, exit_reason from maintenance.run_history") == [
        (3 * PAGES, 0, "exhausted")
    ]


def hold(session: Connection, *identities: int) -> None:
    """Hold rows from now on."""
    execute(session, "begin")
    execute(session, "select from token where id = any (%s) for update", list(identities))


@pytest.mark.parametrize("how", ["heap", "window"])
def test_what_others_held_in_any_part_is_come_back_to(
    db: Connection, another: Callable[[], Connection], how: str
) -> None:
    if how == "heap":
        a_tall_table(db, 2 * PAGES)
    else:
        a_sparse_table(db)
        spread(db)
    register(db)
    assert strategy(db) == how
    step = open_step(db)
    parts = split(db, step, 2)
    assert len(parts) == 2
    holder = another()
    held = [min(removed_by(db, step, part)) for part in parts]
    hold(holder, *held)
    finished = [walk(db, step, part)[1] for part in parts]
    assert sorted(column(db, f"select id from token where {EXPIRED}")) == sorted(held)
    assert [len(part["noted"]) for part in finished] == [1, 1]
    assert scalar(
        db, "select left_over from maintenance.run_step where id = %s", step[0]
    ) is None, "nothing is left as long as it is come back to"  # fmt: skip
    execute(holder, "commit")
    assert finish(db, step, finished) == (2, "exhausted", None)


def test_what_others_hold_for_good_is_named_with_its_holders(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_tall_table(db, 2 * PAGES)
    register(db)
    step = open_step(db)
    parts = split(db, step, 2)
    holders = [another(), another()]
    for part, holder in zip(parts, holders, strict=True):
        hold(holder, *sorted(removed_by(db, step, part))[:2])
    finished = [walk(db, step, part)[1] for part in parts]
    removed, reason, message = finish(db, step, finished)
    assert (removed, reason) == (0, "incomplete")
    assert str(message).startswith("others hold 4 rows: ")
    for holder in holders:
        assert f"process {holder.info.backend_pid} " in str(message)
    assert rows(db, "select left_over, removed from maintenance.run_history") == [
        (4, 2 * PAGES - 4)
    ]
    assert count(db, where=EXPIRED) == 4


def test_joined_parts_visit_nothing_but_what_was_noted(db: Connection) -> None:
    noted = [{"low": "1"}, {"low": "2"}, {"low": "3"}]
    parts: list[Part] = [
        {"part": "leaf", "noted": noted[:2], "again": [], "pass": 0, "after": 5},
        {"part": "leaf", "noted": [], "again": [], "pass": 0},
        {"noted": noted[2:]},
    ]
    joined = scalar(db, "select maintenance.join_parts(%s)", Jsonb(parts))
    assert joined["noted"] == noted
    assert (joined["again"], joined["pass"]) == ([], 0)
    assert joined["after"] == 2**32 - 1
    assert not {"part", "leaf"} & joined.keys()


def test_a_table_that_is_rewritten_after_it_was_split_is_walked_all_the_same(
    db: Connection,
) -> None:
    a_tall_table(db, 2 * PAGES + 10)
    register(db)
    step = open_step(db)
    first, second = split(db, step, 2)
    execute(db, f"insert into token (expires_at, name) select {DEAD}, 'late'")
    one, cursor = walk(db, step, first)
    execute(db, "vacuum full token")
    two, other = walk(db, step, second)
    assert one > 0
    assert two > 0
    assert one + two == 2 * PAGES + 11
    assert finish(db, step, [cursor, other]) == (0, "exhausted", None)
    assert count(db) == 2 * PAGES + 10


def test_a_part_that_was_begun_before_the_rewrite_begins_anew(db: Connection) -> None:
    a_tall_table(db, 2 * PAGES)
    register(db)
    step = open_step(db)
    parts = split(db, step, 2)
    began = [batch(db, step, part, 50)[4] for part in parts]
    execute(db, "vacuum full token")
    finished = [walk(db, step, part)[1] for part in began]
    assert count(db, where=EXPIRED) == 0
    assert finish(db, step, finished)[1] == "exhausted"
    assert count(db) == 2 * PAGES


@pytest.mark.parametrize("how", ["detached", "dropped"])
def test_a_partition_that_is_gone_when_its_part_is_walked_keeps_its_rows(
    db: Connection, how: str
) -> None:
    execute(
        db,
        "create table token (id bigint generated by default as identity, region integer,"
        " expires_at timestamptz) partition by list (region)",
    )
    for region in (1, 2, 3):
        execute(db, f"create table token_{region} partition of token for values in ({region})")
        execute(
            db,
            f"insert into token (region, expires_at) select {region}, {DEAD}"
            " from generate_series(1, 10)",
        )
    register(db)
    step = open_step(db)
    parts = split(db, step)
    assert len(parts) == 3
    execute(db, "drop table token_2" if how == "dropped" else "alter table token detach partition"
            " token_2")  # fmt: skip
    finished = [walk(db, step, part)[1] for part in (parts[1], parts[0], parts[2])]
    assert finish(db, step, finished)[1] == "exhausted"
    assert count(db) == 0
    if how == "detached":
        assert count(db, "token_2") == 10
    assert scalar(db, "select removed from maintenance.run_history") == 20


def test_a_part_may_not_lead_to_another_table(db: Connection) -> None:
    a_table(db)
    a_table(db, "other")
    put(db, "dead", 5)
    put(db, "dead", 5, table="other")
    register(db)
    step = open_step(db)
    [part] = split(db, step)
    for name in ("leaf", "file"):
        part[name] = scalar(db, "select 'other'::regclass::oid::bigint")
    walk(db, step, part)
    assert count(db, "other") == 5


def test_sessions_that_together_go_over_a_limit_remove_nothing_of_the_batch_that_does(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_tall_table(db, 2 * PAGES)
    register(db)
    number = scalar(db, "select maintenance.open_run('a driver')")
    [(identity, token, allowed)] = rows(
        db,
        "select step, token, allowed from maintenance.open_step(%s, 'token', max_rows => 6)",
        number,
    )
    assert allowed == 6
    step = (identity, token)
    parts = split(db, step, 2)
    second = another()
    execute(db, "begin")
    assert batch(db, step, parts[0], 6)[0] == 4, "as many pages as surely have no more than 6"
    execute(second, "begin")
    execute(second, "set local lock_timeout = '10 s'")
    before = count(second)
    timer = Timer(0.2, lambda: execute(db, "commit"))
    timer.start()
    with pytest.raises(errors.ProgramLimitExceeded, match="more than the 6 rows that it may"):
        batch(second, step, parts[1], 6)
    timer.join()
    execute(second, "rollback")
    assert count(second) == before - 4
    removed, cursor = 0, parts[1]
    while removed < 2:
        gone, _, reason, _, cursor = batch(second, step, cursor, 6)
        assert reason is None
        removed += gone
    assert removed == 2
    assert batch(second, step, cursor, 6)[:4] == (0, True, "budget", "6 rows were allowed")
