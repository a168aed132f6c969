"""Policies at random on a table, and for each, written anew, when a row becomes eligible."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.campaign.schema import has_index, literal, name

if TYPE_CHECKING:
    from random import Random

    from tests.campaign.schema import Table, Time

NEVER = "'Infinity'::double precision"
ALWAYS = "'-Infinity'::double precision"


@dataclass(frozen=True)
class Policy:
    """A policy: what is registered, and the instant from which on it takes a row."""

    name: str
    settings: dict[str, Any]
    due: str
    ddl: tuple[str, ...] = ()
    changes: dict[str, str] = field(default_factory=dict[str, str])
    """What action set makes of columns."""
    archive: str | None = None
    children_archive: str | None = None
    """Where the rows of a dependent go to; None: nowhere."""
    is_undoable: bool = False
    """Whether the archives know which step their rows come from."""
    has_sweep: bool = False
    at_once: bool = True

    @property
    def action(self) -> str:
        """delete, archive or set."""
        return self.settings.get("action", "delete")


def draw_policies(random: Random, table: Table) -> tuple[Policy, ...]:
    """Draw the policies of a table: one, or two that take different rows."""
    even = f"target.{name(table.weight)} % 2 = 0"
    odd = f"target.{name(table.weight)} % 2 <> 0"
    shape = random.choice(["delete", "delete", "archive", "archive", "set", "both", "two"])
    if table.parent and shape == "set":
        shape = "archive"
    if shape == "both":
        return (
            _draw(random, table, "policy_a", "archive", condition=even),
            _draw(random, table, "policy_b", "delete", condition=odd),
        )
    if shape == "two" and len(table.times) > 1:
        return (
            _draw(random, table, "policy_a", "delete", times=table.times[:1]),
            _draw(random, table, "policy_b", "archive", times=table.times[1:]),
        )
    action = "delete" if shape == "two" else shape
    return (_draw(random, table, "policy_a", action),)


def _draw(
    random: Random,
    table: Table,
    title: str,
    action: str,
    *,
    condition: str | None = None,
    times: tuple[Time, ...] | None = None,
) -> Policy:
    times = times or table.times
    settings: dict[str, Any] = {"action": action, "zone": table.zone}
    ddl: list[str] = []
    changes: dict[str, str] = {}
    conditions = [condition] if condition else []
    if action == "set":
        state = name(table.state)
        conditions.append(f"target.{state} <> 'void'")
        emptied = random.choice(table.payload)
        changes = {table.state: "'void'::text", emptied.name: f"null::{emptied.type}"}
        settings["assignments"] = f"{state} = 'void', {name(emptied.name)} = null"
    if table.hold and random.random() < 0.8:
        settings["hold_column"] = table.hold
    if random.random() < 0.3:
        settings["batch_size"] = random.choice([1, 7, 50])

    if table.key and action != "set" and random.random() < 0.12:
        due = _select(table, title, settings, times, conditions, ddl)
    else:
        due = _branch(random, table, settings, times, conditions)
    archive = children_archive = None
    is_undoable = action == "archive" and random.random() < 0.6
    if action == "archive":
        archive = _archive(random, table, title, ddl, is_made=is_undoable)
        settings["archive_table"] = archive
    if table.children and action != "set":
        if table.children.cascades and random.random() < 0.7:
            settings["allow_cascade"] = True
        else:
            dependent: dict[str, Any] = {
                "relation": table.children.relation,
                "columns": [*table.children.columns],
                "references": [*table.key],
            }
            if is_undoable and random.random() < 0.6:
                children_archive = table.sibling(f"{title} children's archive")
                ddl.append(_made(table.children.relation, children_archive))
                dependent["archive_table"] = children_archive
            settings["dependents"] = [dependent]
    if table.parent:
        settings["allow_cascade"] = True
    can_sweep = (
        action == "delete"
        and not (table.children or table.parent or "selector" in settings)
        and bool(table.key or not table.part)
        and all(has_index(table, one) for one in _walked(settings))
    )
    return Policy(
        title, settings, due, tuple(ddl), changes, archive, children_archive, is_undoable,
        has_sweep=can_sweep and random.random() < 0.75,
        at_once=bool(table.key) and random.random() < 0.7,
    )  # fmt: skip


def _walked(settings: dict[str, Any]) -> list[str]:
    """List the columns that a sweep would walk by."""
    return [branch.get("column") or branch.get("key", "") for branch in settings["branches"]]


def _branch(
    random: Random,
    table: Table,
    settings: dict[str, Any],
    times: tuple[Time, ...],
    conditions: list[str],
) -> str:
    """Give a policy a branch for each of the times, and perhaps one that goes by a state alone."""
    branches: list[dict[str, Any]] = []
    dues: list[str] = []
    for time in times:
        branch: dict[str, Any] = {"column": time.name, "comparison": time.comparison}
        if time.unit:
            branch["unit"] = time.unit
        if time.retention or random.random() < 0.5:
            branch["retention"] = f"{time.retention} seconds"
        due = f"coalesce({time.due()}, {NEVER})"
        if random.random() < 0.3:
            branch["condition"] = f"target.{name(table.state)} <> 'open'"
            due = f"case when {branch['condition']} then {due} else {NEVER} end"
        branches.append(branch)
        dues.append(due)
    if random.random() < 0.1:
        key = random.choice(times)
        test = f"{name(table.state)} = 'gone'"
        branches.append({"condition": test, "key": key.name})
        there = f"target.{test} and target.{name(key.name)} is not null"
        dues.append(f"case when {there} then {ALWAYS} else {NEVER} end")
    if random.random() < 0.2:
        conditions.append(
            f"target.{name(table.weight)} > -3 or target.{name(table.state)} = 'done'"
        )
    settings["branches"] = branches
    if conditions:
        settings["condition"] = " and ".join(f"({one})" for one in conditions)
    return _guarded(table, settings, f"least({', '.join(dues)})")


def _guarded(table: Table, settings: dict[str, Any], due: str) -> str:
    """Write that a row is never due which the condition leaves out or the hold column keeps."""
    tests = [f"({settings['condition']})"] if "condition" in settings else []
    if held := settings.get("hold_column"):
        [kind] = [one.type for one in table.columns if one.name == held]
        free = "coalesce(not target.{}, true)" if kind == "boolean" else "target.{} is null"
        tests.append(free.format(name(held)))
    if not tests:
        return due
    return f"case when {' and '.join(tests)} then {due} else {NEVER} end"


def _select(
    table: Table,
    title: str,
    settings: dict[str, Any],
    times: tuple[Time, ...],
    conditions: list[str],
    ddl: list[str],
) -> str:
    """Give a policy a view that names the rows."""
    due = " , ".join(f"coalesce({time.due()}, {NEVER})" for time in times)
    due = f"least({due})"
    if conditions:
        settings["condition"] = " and ".join(f"({one})" for one in conditions)
    view = table.sibling(f"{title} of no use")
    key = ", ".join(f"target.{name(one)}" for one in table.key)
    ddl.append(
        f"create view {view} as select {key}, 'expired' as reason from {table.only} as target"
        f" where {due} < extract(epoch from now())"
    )
    settings["selector"] = view
    return _guarded(table, settings, due)


def _made(relation: str, archive: str) -> str:
    """Let the package make an archive."""
    return f"select maintenance.create_archive({literal(relation)}::regclass, {literal(archive)})"


def _archive(random: Random, table: Table, title: str, ddl: list[str], *, is_made: bool) -> str:
    """Make the table that rows go to, or let it be made: the same columns, in another order."""
    archive = table.sibling(f"{title} archive")
    if is_made:
        ddl.append(_made(table.relation, archive))
        return archive
    columns = [f"{name(one.name)} {one.type}" for one in table.columns]
    random.shuffle(columns)
    if random.random() < 0.5:
        columns.insert(random.randrange(len(columns)), "archived_at timestamptz default now()")
    ddl.append(f"create table {archive} ({', '.join(columns)})")
    if random.random() < 0.3:
        ddl.append(f"create index on {archive} ({name(table.tag)})")
    return archive


def describe(policy: Policy) -> str:
    """Say on one line what a policy is."""
    swept = f", swept by inserts, at_once {policy.at_once}" if policy.has_sweep else ""
    return f"{policy.name}: {policy.settings}{swept}; due: {literal(policy.due)}"
