"""What a run came not to, for want of time, is where the next one begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg.types.json import Jsonb

from runner import api
from tests.conftest import scalar
from tests.core.runs import (
    DEAD,
    LIVE,
    a_sparse_table,
    a_table,
    alter,
    count,
    put,
    register,
    run,
    steps,
    strategy,
    until,
)
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

DEAD_ROWS = 60


def tokens(db: Connection) -> None:
    """Make a table with a row that is dead and one that lives in each of its pages."""
    a_table(db)
    execute(
        db,
        "alter table token set (fillfactor = 10, autovacuum_enabled = off);"
        f" insert into token (expires_at, name) select case when n % 2 = 0 then {DEAD}"
        f" else {LIVE} end, rpad('x', 300) from generate_series(1, {2 * DEAD_ROWS}) as n",
    )
    register(db)


def dead(db: Connection) -> list[int]:
    """Return which rows are eligible, in the order in which a walk comes to them."""
    return column(db, "select id from token where expires_at < clock_timestamp() order by ctid")


def revive(db: Connection, number: int) -> list[int]:
    """Let the first rows of the table, which live, expire: they are behind any cursor now."""
    return column(
        db,
        f"update token set expires_at = {DEAD} where id in (select id from token where"
        " expires_at > now() order by ctid limit %s) returning id",
        number,
    )


def remaining(db: Connection) -> list[Any]:
    """Return what the steps in the log came not to."""
    return steps(db, "step.remaining")


def resumed(db: Connection) -> Any:
    """Return where a step would begin now; the step is given up again."""
    number = scalar(db, "select maintenance.open_run('a look')")
    [(step, token, resume)] = rows(
        db, "select step, token, resume from maintenance.open_step(%s, 'token')", number
    )
    execute(db, "delete from maintenance.run_step where id = %s", step)
    execute(
        db, "update maintenance.lease set step = null, owner_pid = null where token = %s", token
    )
    execute(db, "select maintenance.close_run(%s)", number)
    return resume


def drive(db: Connection, jobs: int, **order: Any) -> api.StepResult:
    """Run the policy as the command does, in batches of 4 rows."""
    [step] = api.run(
        db.info.dsn, ["token"], order=api.Order(jobs=jobs, batch_size=4, **order)
    ).steps
    return step


def test_a_budget_leaves_what_was_not_come_to_and_the_next_run_begins_there(
    db: Connection,
) -> None:
    tokens(db)
    before = dead(db)
    assert run(db, max_rows=24, batch_size=4)[:2] == (24, "budget")
    assert dead(db) == before[24:]
    [[part]] = remaining(db)
    assert part["part"] == "rest"
    assert resumed(db) == [part]

    # What expires behind the cursor is come to as well, but later.
    late = revive(db, 8)
    assert run(db, max_rows=12, batch_size=4)[:2] == (12, "budget")
    assert dead(db) == sorted([*late, *before[36:]], key=dead(db).index)
    assert set(late) <= set(dead(db))
    assert run(db, batch_size=4)[:2] == (DEAD_ROWS - 36 + 8, "exhausted")
    assert dead(db) == []
    assert [bool(left) for left in remaining(db)] == [True, True, False]
    assert resumed(db) is None
    assert count(db) == DEAD_ROWS - 8


def test_rows_that_became_eligible_behind_the_cursor_go_in_the_same_run(db: Connection) -> None:
    tokens(db)
    run(db, max_rows=DEAD_ROWS - 4, batch_size=4)
    late = revive(db, 10)
    # So large that no second round would look for them.
    execute(db, "alter table token alter column name set storage external")
    assert run(db)[:2] == (14, "exhausted")
    assert not column(db, "select id from token where id = any (%s)", late)


def test_the_next_run_finishes_the_rest_before_it_walks_everything(db: Connection) -> None:
    tokens(db)
    before = dead(db)
    run(db, max_rows=40, batch_size=4)
    late = revive(db, 20)
    assert run(db, max_rows=20, batch_size=4)[:2] == (20, "budget")
    assert set(dead(db)) & set(before) == set(), "the rest went first"
    assert set(dead(db)) == set(late)


def test_runs_that_are_always_too_short_reach_the_end(db: Connection) -> None:
    """Their table grows at its beginning as fast as they remove from it."""
    tokens(db)
    last = dead(db)[-1]
    for _ in range(7):
        assert run(db, max_rows=10, batch_size=5)[:2] == (10, "budget")
        if not column(db, "select id from token where id = %s", last):
            break
        assert len(revive(db, 8)) == 8, "there is always enough to do at the beginning"
    assert column(db, "select id from token where id = %s", last) == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_driver_leaves_a_rest_and_the_procedure_goes_on_with_it(
    db: Connection, jobs: int
) -> None:
    tokens(db)
    before = dead(db)
    step = drive(db, jobs, max_rows=20)
    assert (step.removed, step.exit_reason) == (20, "budget")
    assert len(dead(db)) == DEAD_ROWS - 20
    [[part]] = remaining(db)
    assert part["part"] == ("rest" if jobs == 1 else "leaf")
    late = revive(db, 16)
    assert run(db, max_rows=DEAD_ROWS - 20, batch_size=4)[:2] == (DEAD_ROWS - 20, "budget")
    assert set(dead(db)) == set(late)
    assert not set(dead(db)) & set(before)
    assert run(db)[:2] == (16, "exhausted")


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_driver_goes_on_with_what_the_procedure_left(db: Connection, jobs: int) -> None:
    tokens(db)
    run(db, max_rows=24, batch_size=4)
    late = revive(db, 8)
    step = drive(db, jobs, max_rows=DEAD_ROWS - 24)
    assert (step.removed, step.exit_reason) == (DEAD_ROWS - 24, "budget")
    assert set(dead(db)) == set(late)
    assert drive(db, jobs).removed == 8
    assert dead(db) == []
    assert resumed(db) is None


def test_parts_that_several_sessions_left_are_finished_by_any(db: Connection) -> None:
    a_sparse_table(db)
    put(db, "dead", 600, expires="now() - n * interval '1 min'")
    execute(db, "analyze token")
    register(db)
    assert strategy(db) == "window"
    step = drive(db, 2, max_rows=100)
    assert (step.removed, step.exit_reason) == (100, "budget")
    [parts] = remaining(db)
    assert len(parts) > 2
    assert {part["part"] for part in parts} == {"leaf"}
    covered = [
        scalar(
            db,
            "select count(*) from token where expires_at < now() and expires_at >= %s::timestamptz"
            " and (%s::timestamptz is null or expires_at < %s::timestamptz)",
            part["at"], part.get("until"), part.get("until"),
        )
        for part in parts
    ]  # fmt: skip
    assert sum(covered) == 500, "no more and no less than what is left"
    assert run(db, max_rows=500, batch_size=50)[:2] == (500, "budget")
    assert count(db) == 7000


def leave(db: Connection) -> None:
    """Run until the budget is used up."""
    tokens(db)
    assert run(db, max_rows=20, batch_size=4)[:2] == (20, "budget")
    assert resumed(db) is not None


def test_a_stop_leaves_a_rest_too(db: Connection) -> None:
    tokens(db)
    number = scalar(db, "select maintenance.open_run('a driver')")
    [(step, token)] = rows(db, "select step, token from maintenance.open_step(%s, 'token')", number)
    [(cursor,)] = rows(
        db, "select next_cursor from maintenance.run_batch(%s, %s, null, 4)", step, token
    )
    execute(
        db, "select maintenance.close_step(%s, %s, 'stopped', 'enough', null, %s)", step, token,
        Jsonb([cursor, None, "no cursor", 5]),
    )  # fmt: skip
    assert remaining(db) == [[cursor | {"part": "rest"}]]
    assert resumed(db) == [cursor | {"part": "rest"}]


@pytest.mark.parametrize(
    "reason", ["exhausted", "nothing_to_do", "incomplete", "error", "guard", "interrupted"]
)
def test_a_step_that_ends_for_another_reason_leaves_none(db: Connection, reason: str) -> None:
    tokens(db)
    number = scalar(db, "select maintenance.open_run('a driver')")
    [(step, token)] = rows(db, "select step, token from maintenance.open_step(%s, 'token')", number)
    execute(
        db, "select maintenance.close_step(%s, %s, %s, null, null, %s)", step, token, reason,
        Jsonb([{"after": 1}]),
    )  # fmt: skip
    assert remaining(db) == [None]


def test_not_after_the_policy_has_changed(db: Connection) -> None:
    leave(db)
    alter(db, batch_size=7)
    assert resumed(db) is None


def test_not_after_an_error(db: Connection) -> None:
    """Were it the rest that makes the error, no run would ever get beyond it."""
    leave(db)
    execute(db, 'update maintenance.run_step set remaining = \'[{"part": "rest", "leaf": "x"}]\'')
    step = drive(db, 1)
    assert (step.exit_reason, step.removed) == ("error", 0)
    assert resumed(db) is None
    assert run(db)[:2] == (DEAD_ROWS - 20, "exhausted")


def test_not_after_a_session_ended_without_a_word(
    db: Connection, another: Callable[[], Connection]
) -> None:
    leave(db)
    driver = another()
    number = scalar(driver, "select maintenance.open_run('a driver')")
    execute(driver, "select maintenance.open_step(%s, 'token')", number)
    pid = driver.info.backend_pid
    driver.close()
    until(lambda: not rows(db, "select from pg_stat_activity where pid = %s", pid))
    assert resumed(db) is None
    assert steps(db, "step.exit_reason") == ["budget", "interrupted"]


@pytest.mark.parametrize(
    ("reason", "is_kept"),
    [
        *[(reason, True) for reason in ("guard", "lease_held", "disabled", "paused")],
        *[
            (reason, False)
            for reason in ("error", "interrupted", "exhausted", "nothing_to_do", "incomplete")
        ],
    ],
)
def test_only_a_step_that_began_takes_the_place_of_the_one_that_left_a_rest(
    db: Connection, reason: str, is_kept: bool
) -> None:
    leave(db)
    execute(
        db,
        "insert into maintenance.run_step (run, policy, operation, version, relation, action,"
        " moment, started_at, heartbeat_at, ended_at, exit_reason) select run, policy, operation,"
        " version, relation, action, moment, now(), now(), now(), %s from maintenance.run_step",
        reason,
    )
    assert (resumed(db) is not None) is is_kept


def unbegun(db: Connection, how: str) -> None:
    """Let a run come to the policy and end before it began with it."""
    if how == "the time was up":
        execute(db, "call maintenance.run_policy('token', max_duration => interval '1 us')")
    elif how == "stopped":
        number = scalar(db, "select maintenance.open_run('a driver')")
        execute(db, "select maintenance.stop_run(%s)", number)
        execute(db, "select maintenance.open_step(%s, 'token')", number)
        execute(db, "select maintenance.close_run(%s)", number)
    elif how == "paused":
        execute(db, "select maintenance.pause_runs()")
        run(db)
        execute(db, "select maintenance.resume_runs()")
    assert count(db) == 2 * DEAD_ROWS - 20


@pytest.mark.parametrize("how", ["the time was up", "stopped", "paused"])
def test_a_step_that_never_began_hands_the_rest_on(db: Connection, how: str) -> None:
    """A policy that comes last in a run that is too short now and then, gets no time at all."""
    leave(db)
    rest = resumed(db)
    for _ in range(2):
        unbegun(db, how)
    assert resumed(db) == rest
    assert run(db)[:2] == (DEAD_ROWS - 20, "exhausted")
    assert resumed(db) is None


@pytest.mark.parametrize("how", ["the time was up", "stopped"])
def test_a_step_that_never_began_does_not_move_the_age_that_the_guard_compares(
    db: Connection, how: str
) -> None:
    tokens(db)
    alter(db, retention="10 d")
    run(db)
    alter(db, retention="1 h")
    assert "rows went after 10 days so far" in refusal(db)
    number = len(steps(db, "step.id"))
    if how == "the time was up":
        execute(db, "call maintenance.run_policy('token', max_duration => interval '1 us')")
    else:
        opened = scalar(db, "select maintenance.open_run('a driver')")
        execute(db, "select maintenance.stop_run(%s)", opened)
        execute(db, "select maintenance.open_step(%s, 'token')", opened)
    assert len(steps(db, "step.id")) == number + 1
    assert "rows went after 10 days so far" in refusal(db)


def refusal(db: Connection) -> str:
    """Return why the guard would refuse a run."""
    return str(scalar(db, "select maintenance.plan_policy('token') ->> 'reason'"))


def test_partitions_that_were_not_come_to_are_where_it_goes_on(db: Connection) -> None:
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
    assert run(db, max_rows=12)[:2] == (12, "budget")
    assert [count(db, f"token_{region}") for region in (1, 2, 3)] == [0, 8, 10]
    execute(db, f"insert into token (region, expires_at) values (1, {DEAD})")
    assert run(db, max_rows=18)[:2] == (18, "budget")
    assert [count(db, f"token_{region}") for region in (1, 2, 3)] == [1, 0, 0]
    assert run(db)[:2] == (1, "exhausted")


def test_the_rest_of_a_table_that_was_rewritten_meanwhile_is_all_of_it(db: Connection) -> None:
    leave(db)
    execute(db, "vacuum full token")
    assert run(db)[:2] == (DEAD_ROWS - 20, "exhausted")
    assert count(db) == DEAD_ROWS
