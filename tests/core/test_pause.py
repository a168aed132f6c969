"""A pause: what runs ends with its batch, nothing begins, and no insert sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from runner import api
from runner.errors import Exit
from tests.conftest import scalar
from tests.core.runs import (
    DEAD,
    LIVE,
    a_gate,
    a_table,
    at_the_gate,
    calling,
    closed_gate,
    count,
    names,
    purge,
    put,
    register,
    run,
    steps,
    until,
)
from tests.core.sweeps import a_swept_table, end_rests, state
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection


def tokens(db: Connection) -> None:
    """Make a table with a policy, and 10 rows that go."""
    a_table(db)
    put(db, "dead", 10)
    put(db, "live", expires=LIVE)
    register(db)


def reason(db: Connection) -> str | None:
    """Return why nothing may run."""
    return scalar(db, "select maintenance.pause_reason()")


def pause(db: Connection, arguments: str = "") -> None:
    """Pause."""
    execute(db, f"select maintenance.pause_runs({arguments})")


def resume(db: Connection) -> bool:
    """Go on; return whether it was paused."""
    return scalar(db, "select maintenance.resume_runs()")


def end_pause(db: Connection, seconds: float) -> None:
    """Let the pause end that many seconds ago, or in as many if they are negative."""
    execute(
        db,
        f"update maintenance.pause set until = clock_timestamp() - {seconds} * interval '1 s'",
    )


def test_a_pause_says_who_until_when_and_why(db: Connection) -> None:
    assert reason(db) is None
    who = db.info.user
    pause(db)
    assert reason(db) == f"paused by {who}"
    pause(db, "''")
    assert reason(db) == f"paused by {who}"
    pause(db, "'release'")
    assert reason(db) == f"paused by {who}: release"
    execute(db, "set timezone = 'Asia/Tokyo'")
    pause(db, "until => timestamptz '2999-12-31 10:20:30 UTC'")
    assert reason(db) == f"paused by {who} until 2999-12-31 10:20:30 UTC"
    pause(db, "'release', timestamptz '2999-12-31 10:20:30 UTC'")
    assert reason(db) == f"paused by {who} until 2999-12-31 10:20:30 UTC: release"
    assert count(db, "maintenance.pause") == 1
    assert resume(db) is True
    assert reason(db) is None
    assert resume(db) is False


@pytest.mark.parametrize("when", ["clock_timestamp()", "now() - interval '1 s'", "'-infinity'"])
def test_a_pause_that_ends_in_the_past_is_refused(db: Connection, when: str) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="must end in the future, not at"):
        pause(db, f"until => {when}")
    assert reason(db) is None


def test_a_pause_ends_by_itself(db: Connection) -> None:
    tokens(db)
    pause(db, "'lunch', now() + interval '1 h'")
    assert run(db)[:2] == (0, "paused")
    end_pause(db, -60)
    assert run(db)[:2] == (0, "paused")
    end_pause(db, 0.001)
    assert reason(db) is None
    assert resume(db) is False, "it was over"
    assert run(db)[:2] == (10, "exhausted")


def test_while_it_is_paused_nothing_begins_and_that_is_no_failure(db: Connection) -> None:
    tokens(db)
    pause(db, "'release'")
    removed, why, message = run(db)
    assert (removed, why, message) == (0, "paused", reason(db))
    execute(db, "call maintenance.run_operations()")
    ran = api.run(db.info.dsn, ["token"], order=api.Order(jobs=2))
    assert ran.code == Exit.DONE
    assert [(one.exit_reason, one.status, one.message) for one in ran.steps] == [
        ("paused", "skipped", reason(db))
    ]
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="housekeeping is paused by"):
        purge(db)
    assert count(db) == 11
    assert steps(db, "step.exit_reason") == 3 * ["paused"]
    assert column(db, "select ended_at is not null from maintenance.run") == 3 * [True]
    resume(db)
    assert purge(db)[0] == 10


def test_what_runs_ends_with_its_batch_and_says_why(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    a_gate(db)
    put(db, "dead", 5)
    put(db, "gate")
    put(db, "dead", 5)
    register(db)
    observer = another()
    with (
        closed_gate(db),
        calling(db, "call maintenance.run_policy('token', batch_size => 2)") as call,
    ):
        until(lambda: at_the_gate(observer))
        pause(observer, "'release'")
        execute(db, "select pg_advisory_unlock(1)")
        _, removed, why, message = call.result()
        execute(db, "select pg_advisory_lock(1)")
    assert why == "stopped"
    assert message == reason(db)
    assert 0 < removed < 11
    assert count(db) == 11 - removed
    assert steps(db, "step.exit_reason") == ["stopped"]
    resume(db)
    assert run(db)[:2] == (11 - removed, "exhausted")


def test_a_pause_that_is_not_committed_is_none(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    other = another()
    execute(other, "begin")
    pause(other)
    assert run(db)[:2] == (10, "exhausted")
    execute(other, "rollback")


def test_inserts_do_not_sweep_and_the_status_says_so(db: Connection) -> None:
    a_swept_table(db)
    put(db, "live", expires=LIVE)
    end_rests(db)
    execute(db, f"alter table token disable trigger user; insert into token (expires_at, name)"
                f" values ({DEAD}, 'dead'); alter table token enable trigger user")  # fmt: skip
    pause(db, "'release'")
    end_rests(db)
    put(db, "live", expires=LIVE)
    assert names(db) == ["dead", "live"]
    status = "select state, detail from maintenance.insert_sweep_status where policy = 'token'"
    assert rows(db, status) == [("off", reason(db))]
    assert "release" in str(state(db))
    resume(db)
    end_rests(db)
    put(db, "live", expires=LIVE)
    assert names(db) == ["live"]
    assert rows(db, status) == [("on", None)]


@pytest.mark.parametrize("who", ["operator", "monitor", "stranger"])
def test_operators_may_pause_and_others_may_not(
    db: Connection, role: Callable[[str], str], who: str
) -> None:
    user = role(who)
    if who != "stranger":
        execute(db, f"select maintenance.grant_{who}('{user}')")
    with psycopg.connect(db.info.dsn, user=user, autocommit=True) as session:
        for statement in ("pause_runs('mine')", "resume_runs()", "pause_runs('mine')"):
            if who == "operator":
                execute(session, f"select maintenance.{statement}")
            else:
                with pytest.raises(errors.InsufficientPrivilege):
                    execute(session, f"select maintenance.{statement}")
        for write in ("delete from maintenance.pause", "update maintenance.pause set reason = 'x'"):
            with pytest.raises(errors.InsufficientPrivilege):
                execute(session, write)
        if who == "monitor":
            assert scalar(session, "select maintenance.pause_reason()") is None
    assert reason(db) == (f"paused by {user}: mine" if who == "operator" else None)
    execute(db, "select maintenance.resume_runs()")
    for granted in column(db, "select 1 where %s <> 'stranger'", who):
        assert granted == 1
        execute(db, f"drop owned by {user}")


def test_a_forecast_is_not_fooled_by_steps_that_never_began(db: Connection) -> None:
    """They left everything, for all that is known; it is not as if all of that had arrived."""
    a_table(db)
    put(db, "dead", 10)
    register(db)
    run(db)
    execute(db, "update maintenance.run_step set ended_at = ended_at - interval '2 h'")
    put(db, "dead", 8)
    run(db)
    forecast = "select * from maintenance.forecast('token')"
    before = rows(db, forecast)
    assert before == [(4, 4, 0, "clean")]
    pause(db)
    run(db)
    resume(db)
    execute(db, "call maintenance.run_policy('token', max_duration => interval '1 us')")
    number = scalar(db, "select maintenance.open_run('a driver')")
    execute(db, "select maintenance.stop_run(%s)", number)
    execute(db, "select maintenance.open_step(%s, 'token')", number)
    assert steps(db, "step.exit_reason")[2:] == ["paused", "budget", "stopped"]
    assert rows(db, forecast) == before


def test_a_forecast_says_what_a_step_that_was_stopped_left(db: Connection) -> None:
    a_table(db)
    put(db, "dead", 10)
    execute(db, "analyze token")
    register(db)
    run(db, max_rows=4)
    [(_, _, backlog, outlook)] = rows(db, "select * from maintenance.forecast('token')")
    assert (backlog, outlook) == (6, "one run is too few to tell")
