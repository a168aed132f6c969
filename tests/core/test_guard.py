"""The guard of a policy: what a run may not do unless somebody looked at it; and the forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.runs import (
    LIVE,
    a_table,
    alter,
    count,
    names,
    put,
    register,
    run,
    steps,
)
from tests.statements import execute, rows

if TYPE_CHECKING:
    from psycopg import Connection


def tokens(db: Connection, dead: int = 5, **settings: Any) -> None:
    """Make a table with some rows that go and one that stays, and its policy."""
    a_table(db)
    put(db, "dead", dead)
    put(db, "live", expires=LIVE)
    register(db, **settings)


def refusal(db: Connection, accept: str | None = None) -> str:
    """Run the policy, which has to be refused and to remove nothing, and return why."""
    before = count(db)
    given = {} if accept is None else {"accept": accept}
    with pytest.raises(errors.ObjectNotInPrerequisiteState) as refused:
        run(db, **given)
    assert count(db) == before
    assert steps(db, "(step.exit_reason, step.removed, step.accepted is null)::text")[-1] == (
        "(guard,0,t)"
    )
    assert steps(db, "step.message")[-1] in str(refused.value.diag.message_primary)
    assert "maintenance.preview(policy)" in str(refused.value.diag.message_hint)
    return steps(db, "step.message")[-1]


def judged(tx: Connection, accept: str) -> tuple[str, str | None]:
    """Return the verdict on a token, and the reason, without a run."""
    [verdict] = rows(
        tx,
        "select judged.verdict, judged.reason"
        " from maintenance.judge_run(maintenance.read_policy('token'), %s) as judged",
        accept,
    )
    return verdict


def plan(db: Connection) -> dict[str, Any]:
    """Return what a run would do now."""
    return scalar(db, "select maintenance.plan_policy('token')")


def preview(db: Connection, policy: str = "token") -> str | None:
    """Return the token that a preview prints, if it prints one."""
    return scalar(
        db,
        "select max(line.value) filter (where line.item = 'token')"
        " from maintenance.preview(%s) as line",
        policy,
    )


def a_token(db: Connection, **said: Any) -> str:
    """Return a token that says other things than the one that a preview prints now."""
    printed = plan(db)["token"].split("-")[:4]
    for place, name in enumerate(("version", "moment", "bound", "issued")):
        printed[place] = str(said.get(name, printed[place]))
    payload = "-".join(printed)
    return f"{payload}-{scalar(db, 'select maintenance.sign_token(%s, %s)', 'token', payload)}"


# What is refused


@pytest.mark.parametrize(("limit", "is_refused"), [(0, True), (4, True), (5, False), (None, False)])
def test_more_rows_than_the_guard_allows_are_refused(
    db: Connection, limit: int | None, is_refused: bool
) -> None:
    tokens(db)
    alter(db, guard_share=1)
    if limit is None:
        register(db, policy="unguarded", guard_rows=None)
        assert run(db, "unguarded")[:2] == (5, "exhausted")
        return
    alter(db, guard_rows=limit)
    if is_refused:
        assert refusal(db) == f"more than {limit} rows would go: guard_rows"
        assert preview(db)
    else:
        assert preview(db) is None
        assert run(db)[:2] == (5, "exhausted")


@pytest.mark.parametrize(
    ("dead", "live", "limit"),
    [
        (9_000, 100, None),  # a small run
        (10_001, 100, 10_000),
        (10_001, 10_100, None),
        (16_000, 14_000, 15_000),
    ],
)
def test_a_larger_share_than_the_guard_allows_is_refused_unless_it_is_small(
    db: Connection, dead: int, live: int, limit: int | None
) -> None:
    a_table(db)
    put(db, "dead", dead)
    put(db, "live", live, expires=LIVE)
    register(db, guard_share=0.5)
    execute(db, "analyze token")
    if limit is None:
        assert run(db)[:2] == (dead, "exhausted")
    else:
        reason = refusal(db)
        assert reason == (
            f"more than {limit} rows would go: guard_share is 0.5 of about {dead + live} rows"
        )


def test_the_share_of_a_table_that_was_never_analyzed_is_not_asked_for(db: Connection) -> None:
    tokens(db, dead=10_001, guard_share=0.5)
    assert run(db)[:2] == (10_001, "exhausted")


@pytest.mark.parametrize(
    ("retention", "is_refused"),
    [("30 days", False), ("15 days", False), ("14 days", True), ("0 s", True)],
)
def test_a_cutoff_that_jumped_is_refused(db: Connection, retention: str, is_refused: bool) -> None:
    a_table(db)
    register(db, retention="30 days")
    put(db, "old", expires="now() - interval '40 days'")
    assert run(db)[:2] == (1, "exhausted")
    put(db, "dead", expires="now() - interval '35 days'")
    alter(db, retention=retention)
    if is_refused:
        assert refusal(db).startswith("rows went after 30 days so far, and would go after ")
        assert run(db, accept=preview(db))[:2] == (1, "exhausted")
        put(db, "dead", expires="now() - interval '35 days'")
    assert run(db)[:2] == (1, "exhausted")


def test_a_cutoff_may_jump_where_no_row_is_concerned(db: Connection) -> None:
    a_table(db)
    register(db, retention="30 days")
    put(db, "live", expires=LIVE)
    run(db)
    alter(db, retention="1 day")
    assert run(db)[:2] == (0, "nothing_to_do")


def test_a_policy_may_ask_for_a_backup(db: Connection) -> None:
    tokens(db, backup_within="1 day", guard_rows=2)
    assert refusal(db).startswith("no backup of the last 1 day is attested")
    assert (plan(db)["verdict"], plan(db)["token"]) == ("needs_backup", None)
    execute(db, "select maintenance.attest_backup('dump', 'lost', now())")
    token = plan(db)["token"]
    execute(db, "delete from maintenance.backup_attestation")
    assert refusal(db, token).startswith("no backup"), "a token is no backup"
    alter(db, guard_rows=100)
    execute(db, "select maintenance.attest_backup('dump', 'old', now() - interval '25 h')")
    assert refusal(db).startswith("no backup")
    execute(db, "select maintenance.attest_backup('dump', 'new', now() - interval '23 h')")
    assert run(db)[:2] == (5, "exhausted")


@pytest.mark.parametrize(
    "arguments", ["'dump', 'x', now() + interval '1 h'", "'dump', '', now()", "'', 'x', now()"]
)
def test_what_is_no_backup_cannot_be_attested(tx: Connection, arguments: str) -> None:
    with pytest.raises(errors.InvalidParameterValue):
        execute(tx, f"select maintenance.attest_backup({arguments})")


# What lifts it


def test_the_token_of_a_preview_lifts_the_guard_once(db: Connection) -> None:
    tokens(db, guard_rows=2)
    token = preview(db)
    assert token is not None
    assert run(db, accept=token) == (5, "exhausted", None)
    assert steps(db, "step.accepted") == [token]
    put(db, "dead", 5)
    assert refusal(db, token) == "the token was used before; preview prints another"
    assert run(db, accept=preview(db))[:2] == (5, "exhausted")


def test_an_accepted_run_goes_by_the_moment_of_the_preview(db: Connection) -> None:
    tokens(db, guard_rows=2)
    put(db, "dying", expires="clock_timestamp() + interval '100 ms'")
    token = preview(db)
    execute(db, "select pg_sleep(0.2)")
    assert run(db, accept=token)[:2] == (5, "exhausted")
    assert names(db) == ["dying", "live"]
    assert run(db)[:2] == (1, "exhausted")


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_an_accepted_run_removes_no_more_than_was_counted_and_a_tenth(
    db: Connection, size: int
) -> None:
    tokens(db, dead=20, guard_rows=2)
    token = preview(db)
    put(db, "late", 20)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="no more than 22 rows were acc"):
        run(db, accept=token, batch_size=size)
    assert count(db) == 19
    assert steps(db, "(step.exit_reason, step.removed)::text") == ["(guard,22)"]


@pytest.mark.parametrize("size", [1, 5])
def test_an_accepted_run_that_came_to_its_bound_and_its_end_did_its_work(
    db: Connection, size: int
) -> None:
    tokens(db, guard_rows=2)
    assert run(db, accept=preview(db), batch_size=size) == (5, "exhausted", None)


def test_a_change_of_the_policy_voids_its_tokens(db: Connection) -> None:
    tokens(db, guard_rows=2)
    token = preview(db)
    alter(db, retention="1 h")
    assert refusal(db, token) == (
        "the policy has changed since the token was printed; preview prints another"
    )


FOREIGN = ("refused", "the token is not one of this policy's; preview prints one")


@pytest.mark.parametrize(("hours", "is_refused"), [(23.9, False), (24.1, True)])
def test_a_token_is_good_for_a_day(tx: Connection, hours: float, is_refused: bool) -> None:
    tokens(tx, guard_rows=2)
    issued = scalar(
        tx, "select floor(extract(epoch from clock_timestamp()) - %s * 3600)::bigint", hours
    )
    assert judged(tx, a_token(tx, issued=issued)) == (
        ("refused", "the token is older than 24 hours; preview prints another")
        if is_refused
        else ("accepted", None)
    )


@pytest.mark.parametrize("place", range(5))
def test_a_token_that_was_tampered_with_is_refused(tx: Connection, place: int) -> None:
    tokens(tx, guard_rows=2)
    parts = plan(tx)["token"].split("-")
    assert judged(tx, "-".join(parts)) == ("accepted", None)
    last = parts[place][-1]
    parts[place] = parts[place][:-1] + ("0" if last != "0" else "1")
    assert judged(tx, "-".join(parts)) == FOREIGN


@pytest.mark.parametrize("token", ["", "-", "----", "x", "1-2-3-4-5", "1-2-3-4-5-6", "'"])
def test_what_is_no_token_is_refused(tx: Connection, token: str) -> None:
    tokens(tx, guard_rows=2)
    assert judged(tx, token) == FOREIGN


def test_the_token_of_one_policy_does_not_lift_the_guard_of_another(db: Connection) -> None:
    tokens(db, guard_rows=2)
    register(db, policy="other", guard_rows=2)
    token = preview(db, "other")
    assert token is not None
    assert refusal(db, token) == FOREIGN[1]


def test_the_token_of_a_database_is_none_in_its_copy(tx: Connection) -> None:
    tokens(tx, guard_rows=2)
    token = preview(tx)
    assert token is not None
    execute(tx, "select maintenance.adopt_clone()")
    assert judged(tx, token) == FOREIGN


# The forecast


def log(db: Connection, *ended: tuple[int, str, int, int | None, int | None]) -> None:
    """Put steps into the log: how many hours ago, why ended, removed, eligible, left over."""
    a_table(db)
    register(db)
    execute(
        db,
        "insert into maintenance.run (program, arguments, started_by, started_from, owner_pid,"
        " started_at, ended_at) values ('test', '{}', 'test', 'test', 0, now(), now())",
    )
    for hours, reason, removed, eligible, left_over in ended:
        execute(
            db,
            "insert into maintenance.run_step (run, policy, operation, version, relation, action,"
            " moment, eligible, started_at, heartbeat_at, ended_at, removed, left_over,"
            " exit_reason) select max(id), 'token', 'cleanup', 1, 'token', 'delete', at, %s, at,"
            " at, at, %s, %s, %s"
            " from maintenance.run, (select now() - %s * interval '1 h') as past (at) group by at",
            eligible,
            removed,
            left_over,
            reason,
            hours,
        )


def forecast(db: Connection) -> tuple[Any, ...]:
    """Return what the status of the policy foretells."""
    [row] = rows(
        db,
        "select arriving_per_hour::float, leaving_per_hour::float, backlog, outlook"
        " from maintenance.policy_status where policy = 'token'",
    )
    return row


def test_without_a_log_there_is_no_forecast(tx: Connection) -> None:
    log(tx)
    assert forecast(tx) == (None, None, None, "it has not run yet")


def test_of_one_run_there_is_no_rate(tx: Connection) -> None:
    log(tx, (1, "budget", 100, 300, None))
    assert forecast(tx) == (None, None, 200, "one run is too few to tell")


def test_a_policy_that_came_to_its_end_is_clean(tx: Connection) -> None:
    log(tx, (10, "exhausted", 50, 50, 0), (0, "exhausted", 200, 200, 0))
    assert forecast(tx) == (20, 20, 0, "clean")


def test_a_policy_that_removes_less_than_arrives_never_catches_up(tx: Connection) -> None:
    # of 100 that were left and 300 that have come since, 150 are gone
    log(tx, (10, "budget", 100, 200, None), (0, "budget", 150, 400, None))
    assert forecast(tx) == (30, 15, 250, "will never catch up")


def test_a_policy_that_removes_as_much_as_arrives_never_catches_up(tx: Connection) -> None:
    # 10 were left, 50 have come, 50 are gone
    log(tx, (10, "budget", 5, 15, None), (0, "budget", 50, 60, None))
    assert forecast(tx) == (5, 5, 10, "will never catch up")


def test_a_policy_that_removes_more_than_arrives_is_clean_one_day(tx: Connection) -> None:
    # 1000 were left, 200 have come, 700 are gone: 50 less each hour, and 500 to go
    log(tx, (10, "budget", 100, 1100, None), (5, "budget", 300, 1100, None),
        (0, "budget", 400, 900, None))  # fmt: skip
    assert forecast(tx) == (20, 70, 500, "clean in 10 hours")


def test_what_others_held_is_what_an_incomplete_run_left(tx: Connection) -> None:
    log(tx, (10, "exhausted", 1, 1, 0), (0, "incomplete", 100, 500, 3))
    assert forecast(tx) == (10.3, 10, 3, "will never catch up")


@pytest.mark.parametrize("reason", ["lease_held", "disabled", "interrupted"])
def test_steps_that_did_not_do_their_work_tell_nothing(tx: Connection, reason: str) -> None:
    log(
        tx,
        (800, "budget", 1, 9999, None),  # more than 30 days ago
        (10, "exhausted", 50, 50, 0),
        (1, "exhausted", 90, 90, 0),
        (0, reason, 0, None, None),
    )
    assert forecast(tx) == (10, 10, 0, "clean")
