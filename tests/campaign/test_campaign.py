"""Nothing is lost: whatever is drawn and goes wrong, a model says what is live, archived and gone.

CAMPAIGN_SEED and CAMPAIGN_ROUNDS choose other rounds than those of `make slow`, CAMPAIGN_TIMES
plays each of them more than once, and CAMPAIGN_DISK (mount, limit) decides how the disk is filled.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.campaign.drivers import Command
from tests.campaign.faults import OTHERS, SERVER, SESSIONS, Fault
from tests.campaign.mutations import MUTATIONS, make
from tests.campaign.rounds import Plan, Round, Violation, draw_plan, play
from tests.campaign.schema import PAYLOADS, TIMES
from tests.campaign.seeds import CHUNK, CHUNKS, SEED, TIMES_EACH
from tests.campaign.server import TEMPLATE, Limited, Scratch
from tests.campaign.workload import LEVELS
from tests.conftest import FOLDER
from tests.statements import execute

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import Connection

ENOUGH = 120
"""Rounds in which a mistake has to be found."""


@pytest.fixture
def scratch() -> Generator[Scratch]:
    """A server that may be killed."""
    server = Scratch(Path(os.environ[FOLDER]), os.environ.get("CAMPAIGN_DISK"))
    yield server
    server.remove()


def play_all(scratch: Scratch, seeds: range, times: int = 1) -> list[Round]:
    """Play rounds, all of them, and tell all that went wrong."""
    violations: list[str] = []
    played: list[Round] = []
    for seed in seeds:
        for _ in range(times):
            try:
                played.append(play(scratch, seed))
            except Violation as violation:
                violations.append(str(violation))
                print(violation)  # noqa: T201  a chunk may take minutes yet
    assert violations == [], f"{len(violations)} of {len(seeds)} rounds:\n" + "\n\n".join(
        violations[:3]
    )
    return played


@pytest.mark.slow
@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"seeds {seeds[0]} to {seeds[-1]}")
def test_nothing_is_lost(scratch: Scratch, seeds: range) -> None:
    played = play_all(scratch, seeds, TIMES_EACH)
    went: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for one in played:
        went.update(one.went)
        ended.update(one.ended)
    committed = sum(one.committed for one in played)
    print(f"seeds {seeds[0]} to {seeds[-1]}: {committed} transactions, {went}, {ended}")  # noqa: T201
    if len(played) >= CHUNK:  # else that nothing went wrong would mean nothing
        assert committed > 50 * len(played)
        assert sum(went.values()) > 50 * len(played), went
        assert min(ended[reason] for reason in ("exhausted", "interrupted", "lease_held")) > 0, (
            ended
        )


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_is_found(scratch: Scratch, mistake: str) -> None:
    break_template(scratch, mistake)
    assert first_violation(scratch, range(SEED, SEED + ENOUGH)) is not None


def break_template(scratch: Scratch, mistake: str) -> None:
    """Make a mistake in the package that databases are made from."""
    with scratch.connect("postgres") as admin:
        execute(admin, f"alter database {TEMPLATE} allow_connections true")
        with scratch.connect(TEMPLATE) as db:
            make(db, mistake)
        execute(admin, f"alter database {TEMPLATE} allow_connections false")


def first_violation(scratch: Scratch, seeds: range) -> Violation | None:
    """Play rounds up to the first one that goes wrong."""
    for seed in seeds:
        try:
            play(scratch, seed)
        except Violation as violation:
            print(f"found in round {seed - seeds[0] + 1}: {str(violation)[:300]}")  # noqa: T201
            return violation
    return None


# The machinery of the campaign, quickly


def short(seed: int, *kinds: str) -> Plan:
    """Draw a plan with two commands, and faults of these kinds one after the other."""
    commands = (
        Command(("run", "--all", "--batch-size", "5", "--jobs", "2"), 0),
        Command(("run", "--all", "--batch-size", "3", "--pace", "polite"), 0),
    )
    faults = tuple(Fault(kind, "runner", 0.02, seed) for kind in kinds)
    return replace(draw_plan(seed), backlog=200, commands=commands, faults=faults)


@pytest.mark.parametrize(
    ("disk", "kinds"),
    [
        (None, ("cut", "kill backend", "disk full")),
        pytest.param("limit", ("kill runner", "disk full"), marks=pytest.mark.slow),
    ],
)
def test_a_round_with_faults(disk: str | None, kinds: tuple[str, ...]) -> None:
    server = Scratch(Path(os.environ[FOLDER]), disk)
    try:
        played = Round(server, short(3, *kinds), longest=1.2)
        played.play()
        assert len(played.faults) == len(kinds)
        assert played.committed > 0
        assert disk is None or isinstance(server.disk, Limited)
    finally:
        server.remove()
    assert not server.folder.exists()


def test_a_violation_says_how_to_play_its_round_again(scratch: Scratch) -> None:
    break_template(scratch, "rows are archived and stay")
    plans = (draw_plan(seed) for seed in range(100))
    plan = next(plan for plan in plans if [one.action for one in plan.policies] == ["archive"])
    with pytest.raises(Violation) as violation:
        Round(scratch, replace(plan, commands=(), faults=(), backlog=60)).play()
    said = str(violation.value)
    assert "violations in the round of seed" in said
    assert f"CAMPAIGN_SEED={plan.seed} CAMPAIGN_ROUNDS=1" in said
    assert "'action': 'archive'" in said


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_can_be_made(tx: Connection, mistake: str) -> None:
    """What it replaces has to be in the package as it is now."""
    make(tx, mistake)


def test_plans_follow_from_their_seeds() -> None:
    for seed in range(20):
        assert str(draw_plan(seed)) == str(draw_plan(seed))
        assert str(draw_plan(seed)) != str(draw_plan(seed + 1))


def test_the_rounds_of_make_slow_have_everything_in_them() -> None:
    plans = [draw_plan(seed) for seed in range(1, 521)]
    faults = {fault.kind for plan in plans for fault in plan.faults}
    assert faults == {*SERVER, *SESSIONS, *OTHERS}
    assert {level for plan in plans for level, _ in plan.writers} == {*LEVELS}
    assert {time.kind for plan in plans for time in plan.table.times} == {*TIMES}
    types = {column.type for plan in plans for column in plan.table.payload}
    assert len(types) >= len(PAYLOADS)
    policies = [policy for plan in plans for policy in plan.policies]
    assert {policy.action for policy in policies} == {"delete", "archive", "set"}
    for setting in ("hold_column", "condition", "selector", "dependents", "allow_cascade"):
        assert any(setting in policy.settings for policy in policies), setting
    assert any(policy.has_sweep for policy in policies)
    tables = [plan.table for plan in plans]
    assert {len(table.key) for table in tables} >= {0, 1, 2, 3}
    assert any(table.part for table in tables)
    assert any(table.parent for table in tables)
    assert any(table.has_heir for table in tables)
    assert {len(plan.commands) for plan in plans} == {0, 1, 2}
    kinds = {session.kind for plan in plans for session in plan.sessions}
    assert kinds == {"run_policy", "run_operations", "purge_batch"}
