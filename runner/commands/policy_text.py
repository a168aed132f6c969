"""What the command policy prints for people."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING

from runner.screen import Screen, cells, new_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner.policies import PolicyDetails, PolicyPlan, PolicyStatus, Risk


def print_list(screen: Screen, answer: Sequence[PolicyStatus]) -> None:
    """Print how policies stand: a line for each, or a block each where lines do not fit."""
    names = (
        "policy", "table", "operation", "enabled", "severity", "retention", "last run",
        "exit reason", "removed", "outlook", "sweep on insert",
    )  # fmt: skip
    rows = [
        cells(
            one.policy, one.relation, one.operation, one.is_enabled, one.severity, one.retention,
            one.last_run_at, one.last_exit_reason, one.last_removed,
            f"{one.outlook}, overdue" if one.is_overdue else one.outlook,
            one.insert_sweep.partition(":")[0],
        )
        for one in answer
    ]  # fmt: skip
    if not screen.fits(sum(max(map(len, cell)) + 3 for cell in zip(names, *rows, strict=True))):
        for row in rows:
            _print_facts(screen, zip(names, row, strict=True))
            screen.say("")
        return
    table = new_table(*names, numbers=("removed",))
    for row in rows:
        table.add_row(*row)
    screen.table(table)


def _print_facts(screen: Screen, facts: Iterable[tuple[str, object]]) -> None:
    """Print what is known, an item in each line."""
    table = new_table("", "", wraps=True)
    table.show_header = False
    for item, value in facts:
        if value is not None:
            table.add_row(*cells(item, value))
    screen.table(table)


def print_risks(screen: Screen, risks: Sequence[Risk]) -> None:
    """Print risks, each with the statement that removes it."""
    for risk in risks:
        screen.say(f"risk {risk.risk}: {risk.message}")
        if risk.statement:
            screen.say(f"  {risk.statement};")


def written(value: object) -> str:
    """Write a value of a setting as `policy set` takes it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def print_details(screen: Screen, answer: PolicyDetails) -> None:
    """Print everything about a policy."""
    from_whom = f"shipped with {answer.chain}" if answer.chain else "registered by a user"
    screen.say(
        f"policy {answer.policy} on {answer.relation}, {from_whom}; version {answer.version}, "
        f"changed {' '.join(cells(answer.changed_at))} by {answer.changed_by}\n"
    )
    table = new_table("setting", "value", "from", wraps=True)
    origins = {key: _origin(answer, key) for key in answer.settings}
    for key in sorted(origins, key=lambda key: (origins[key] == "default", key)):
        table.add_row(*cells(key, written(answer.settings[key]), origins[key]))
    screen.table(table)

    status = answer.status
    ended = None
    if status.last_exit_reason is not None:
        ended = f"{status.last_exit_reason}, {status.last_removed or 0:,} rows removed"
    lease = "free"
    if answer.lease is not None:
        gone = "" if answer.lease.is_alive else "; its session is gone, the next run takes over"
        lease = f"held by step {answer.lease.step}, process {answer.lease.pid}{gone}"
    facts = (
        ("last run", status.last_run_at or "never"),
        ("it ended with", ended),
        ("last finished", status.last_finished_at or "never"),
        ("overdue", status.is_overdue),
        ("outlook", status.outlook),
        ("sweep on insert", status.insert_sweep),
        ("lease", lease),
        *(("archive", f"{one['archive']}, of {one['relation']}") for one in answer.archives),
        ("archive problem", answer.archive_problem),
    )
    screen.say("")
    _print_facts(screen, facts)

    changes = new_table("version", "what", "when", "who", "changes", wraps=True)
    for one in answer.history:
        altered = ", ".join(
            f"{key}: {written(before)} -> {written(after)}"
            for key, (before, after) in one.changes.items()
        )
        changes.add_row(*cells(one.version, one.event, one.changed_at, one.changed_by, altered))
    screen.say("")
    screen.table(changes)
    if answer.risks:
        screen.say("")
        print_risks(screen, answer.risks)


def _origin(answer: PolicyDetails, key: str) -> str:
    """Say where the value of a setting comes from: whoever registered it, or changed it since."""
    # The column of the only branch may be written without the array.
    names = (key, "column", "unit", "comparison") if key == "branches" else (key,)
    registered = {name: answer.shipped[name] for name in names if name in answer.shipped}
    if any(name in answer.overrides for name in names):
        before = registered.get(key, registered or None)
        return "changed" if before is None else f"changed; was {written(before)}"
    return "registered" if registered else "default"


def print_plan(screen: Screen, answer: PolicyPlan) -> None:
    """Print what a run would do: figures, how it goes about it, risks, verdict, statement."""
    counted = f"{answer.eligible:,}"
    facts = (
        ("table", answer.relation),
        ("action", answer.action),
        ("enabled", answer.is_enabled),
        ("severity", answer.severity),
        ("as of", answer.moment),
        ("eligible rows", counted if answer.is_counted else f"more than {counted} (see --exact)"),
        ("estimated rows", answer.estimated),
        (
            "expected duration",
            None if answer.expected_seconds is None else f"{answer.expected_seconds} s",
        ),
    )
    screen.say(f"policy {answer.policy}, version {answer.version}\n")
    _print_facts(screen, facts)

    if answer.branches:
        branches = new_table("branch", "rows before", "oldest", "index", "condition", wraps=True)
        for one in answer.branches:
            branches.add_row(
                *cells(one.branch, one.before, one.oldest, one.index or "none", one.condition)
            )
        screen.say("")
        screen.table(branches)
    strategies = new_table("walks", "strategy", "because", wraps=True)
    for chosen in answer.strategies:
        strategies.add_row(*cells(chosen.table, chosen.strategy, chosen.reason))
    if answer.strategies:
        screen.say("")
        screen.table(strategies)
    if answer.foreign_keys:
        keys = new_table("foreign key", "of", "to", "does", wraps=True)
        for key in answer.foreign_keys:
            keys.add_row(*cells(key.constraint_name, key.child, key.parent, key.action))
        screen.say("")
        screen.table(keys)
    if answer.risks:
        screen.say("")
        print_risks(screen, answer.risks)

    screen.say(f"\nguard: {answer.verdict}{f': {answer.reason}' if answer.reason else ''}")
    if not answer.is_enabled:
        screen.say(f"it is disabled, and does not run: `runner policy enable {answer.policy}`")
    if answer.token is not None:
        screen.say(f"token: {answer.token}  (good once, for 24 hours)")
        screen.say(f"accept: runner run {answer.policy} --accept {quote(answer.token)}")
    screen.say(f"\n{answer.statement.rstrip()};")
