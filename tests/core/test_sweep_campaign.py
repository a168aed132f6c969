"""Logins of 16 clients while everything else happens: a sweep costs none of them its insert.

The driver is the benchmark's. What a test of it could be blind to is seen in a trigger that does
wait and fail, and what it causes itself in one without any.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from psycopg import IsolationLevel

from benchmarks.logins import (
    CLIENTS,
    DDL,
    HOLDINGS,
    LARGEST_BATCH,
    LEVELS,
    POLICY_CHANGES,
    Counts,
    drive,
    overlaps,
)
from tests.conftest import scalar
from tests.core.policies import alter
from tests.core.runs import calling
from tests.statements import execute, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

BY_NATURE = {"DDL", "extension of relation"}
"""What an insert may wait for without any sweep."""


def assert_everything_happened(counts: Counts) -> None:
    """See to it that the campaign was one: else that nothing went wrong would mean nothing."""
    assert counts.transactions > 10 * CLIENTS
    assert counts.checked > counts.large >= 1
    assert counts.put > 0
    assert {*counts.held} == {*HOLDINGS}
    assert counts.changes >= len(POLICY_CHANGES)
    assert {*counts.ddl} == {*DDL}
    assert counts.waits["DDL"] > 0, "not even waits for DDL were heard of"
    assert counts.looks > 0


@pytest.mark.parametrize(
    ("level", "seconds", "at_most"),
    [
        (IsolationLevel.READ_COMMITTED, 2.5, 40),
        *(pytest.param(level, 60, 120, marks=pytest.mark.slow) for level in LEVELS),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_logins_neither_fail_nor_wait_for_a_sweep_and_sweep_once_at_most(
    db: Connection, level: IsolationLevel, seconds: float, at_most: float
) -> None:
    counts = drive(db.info.dsn, level, seconds, at_most=at_most)
    assert_everything_happened(counts)

    assert counts.failures == Counter()
    assert counts.failed_sweeps == Counter()
    assert {*counts.waits} <= BY_NATURE
    assert counts.waits_seen == 0
    assert counts.missing == 0
    assert counts.kept >= counts.inserts
    assert counts.overlaps == 0, "two transactions swept at a time"
    if level == IsolationLevel.READ_COMMITTED:
        assert counts.most_sweeps == 1
        assert 0 < counts.most_removed <= LARGEST_BATCH
        assert counts.removing >= 5
        assert counts.several > 0, "no transaction inserted again after it had swept"
    else:
        assert counts.sweeps == counts.swept == 0
    assert {*counts.refused} <= {"policy: 55P03"}  # the owner's patience, not an insert's
    assert not counts.state.startswith("broken"), counts.state


def test_logins_without_any_trigger_do_not_fail_even_where_all_is_serializable(
    db: Connection,
) -> None:
    counts = drive(db.info.dsn, IsolationLevel.SERIALIZABLE, 1, sweep="none")
    assert counts.transactions > CLIENTS
    assert counts.failures == Counter()
    assert {*counts.waits} <= BY_NATURE
    assert counts.waits_seen == 0
    assert counts.missing == 0
    assert counts.sweeps == counts.swept == 0


def test_a_trigger_that_fails_and_waits_is_seen_to(db: Connection) -> None:
    counts = drive(db.info.dsn, IsolationLevel.REPEATABLE_READ, 1, sweep="seed")
    assert counts.failures["40001"] > 0
    assert counts.waits["sweep"] > 0
    assert counts.waits_seen > 0
    assert counts.state == ""


def test_intervals_overlap_where_one_begins_before_an_earlier_one_has_ended() -> None:
    assert overlaps([(5, 6), (1, 2), (3, 4)]) == 0
    assert overlaps([(1, 2), (2, 3)]) == 0
    assert overlaps([(3, 4), (1, 9), (8, 10)]) == 2


def test_attaching_while_the_policy_changes_follows_the_change(
    db: Connection, another: Callable[[], Connection]
) -> None:
    owner = another()
    execute(owner, "begin")
    alter(owner, "refresh_tokens", grace="7 s")
    with calling(db, "select * from maintenance.attach_insert_sweep('refresh_tokens')") as attach:
        until_blocked(db, attach.session)
        execute(owner, "commit")
        attach.wait()
    assert attach.error is None
    state = "select concat_ws(': ', state, detail) from maintenance.insert_sweep_status"
    assert scalar(db, f"{state} where policy = 'refresh_tokens'") == "on"
