"""What a round may end with: a run is undone, by one who may be cut off in the middle."""

from __future__ import annotations

from random import Random
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING

import psycopg

from runner import api
from tests.campaign.schema import literal, name
from tests.campaign.verdict import look
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from tests.campaign.policies import Policy
    from tests.campaign.schema import Table
    from tests.campaign.verdict import Found


def undo(
    db: Connection,
    connect: Callable[[str], Connection],
    url: str,
    table: Table,
    policies: tuple[Policy, ...],
    seed: int,
) -> list[str]:
    """Undo a run that archived rows, if there is one, and return what is wrong afterwards."""
    random = Random(seed)
    undoable = [policy for policy in policies if policy.is_undoable]
    if not undoable:
        return []
    policy = random.choice(undoable)
    runs = column(
        db,
        "select step.run from maintenance.run_step as step where step.removed > 0 and"
        f" step.action = 'archive' and step.policy = {literal(policy.name)} order by step.run",
    )
    if not runs:
        return []
    run = random.choice(runs)
    before = look(db, table, policies, [], audited=False)
    theirs = set(
        column(
            db,
            f"select target.{name(table.tag)} from {policy.archive} as target where"
            " target._archived_by_step in (select id from maintenance.run_step where"
            f" run = {run} and policy = {literal(policy.name)})",
        )
    )
    call = f"call maintenance.undo_run({run}, {literal(policy.name)}"
    for _ in range(random.choice([0, 0, 1, 2])):
        _cut_off(connect, f"{call}, batch_size => {random.choice([1, 5, 50])})", random)
    if random.random() < 0.4:
        refused = _command(url, run, policy.name)
    else:
        refused = _carry_out(db, f"{call})")
    after = look(db, table, policies, [], audited=False)
    wrong = [f"undoing run {run}: {one}" for one in _compare(before, after, theirs, policies)]
    listed = column(
        db,
        "select coalesce(sum(step.left_over), 0)::bigint from maintenance.run_step as step where"
        " step.run = (select max(run) from maintenance.run_step where action = 'undo')",
    )
    stay = sum(tag in after.archived for tag in theirs)
    if bool(stay) != bool(refused):
        wrong.append(f"undoing run {run}: {stay} rows stay in the archive, and it said {refused}")
    if not table.children and stay and listed != [stay]:
        wrong.append(f"undoing run {run}: {stay} rows stay in the archive, and {listed} are told")
    return wrong


def _cut_off(connect: Callable[[str], Connection], statement: str, random: Random) -> None:
    """Begin to undo a run, and end that session in the middle of it."""
    with connect("undo") as session:
        pid = session.info.backend_pid
        thread = Thread(target=_ignore_loss, args=(session, statement), daemon=True)
        thread.start()
        sleep(random.random() * 0.06)
        with connect("campaign") as other:
            execute(other, f"select pg_terminate_backend({pid}, 10000)")
        thread.join(10)


def _ignore_loss(session: Connection, statement: str) -> None:
    try:
        execute(session, statement)
    except psycopg.Error:
        return


def _carry_out(db: Connection, statement: str) -> str | None:
    """Undo a run to the end; return what it says of rows that stay, or None."""
    try:
        rows(db, statement)
    except psycopg.errors.RaiseException as refusal:
        return str(refusal.diag.message_primary)
    except psycopg.errors.ObjectNotInPrerequisiteState as refusal:
        # whoever was cut off had come to the end
        if "nothing of it is in its archive any more" not in str(refusal.diag.message_detail):
            raise
    return None


def _command(url: str, run: int, policy: str) -> str | None:
    """Do so as the command does."""
    try:
        undone = api.undo(url, run, policy=policy)
    except api.RunnerError as refusal:
        if "nothing of it is in its archive any more" not in f"{refusal.message} {refusal.detail}":
            raise
        return None
    return next((step.message for step in undone.steps if step.left_over), None)


def _compare(
    before: Found, after: Found, theirs: set[str], policies: tuple[Policy, ...]
) -> list[str]:
    """See to it that each row of the run is live again as it was archived, or archived still."""
    wrong: list[str] = []
    sweeps = any(policy.has_sweep for policy in policies)
    for tag in before.live.keys() | before.archived.keys() | after.live.keys():
        old = (before.live.get(tag, []), before.archived.get(tag, []))
        new = (after.live.get(tag, []), after.archived.get(tag, []))
        is_back = new[0] == [text for _, text in old[1]] and not new[1]
        is_swept = sweeps and not (new[0] or new[1])
        if new != old and not (tag in theirs and (is_back or is_swept)):
            wrong.append(f"row {tag} was {old} and is {new}"[:1500])
    wrong += [f"row {tag} was archived" for tag in after.archived.keys() - before.archived.keys()]
    notes = _all_notes(before)
    if _all_notes(after) != notes:
        wrong.append(f"what refers to rows is not what it was: {len(notes)} rows")
    return wrong


def _all_notes(found: Found) -> list[tuple[str, str]]:
    """List what refers to rows, wherever it lies."""
    return sorted(
        (tag, note)
        for kept in (found.children, found.archived_children)
        for tag, notes in kept.items()
        for note in notes
    )
