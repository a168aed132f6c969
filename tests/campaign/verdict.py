"""The verdict on a round: which rows must be live, archived or gone, and what was said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.campaign.drivers import is_accident
from tests.campaign.schema import name
from tests.campaign.workload import LEEWAY, Model, Version
from tests.conftest import scalar
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from psycopg import Connection

    from tests.campaign.policies import Policy
    from tests.campaign.schema import Table

SHOWN = 8
"""Most violations of a round that are told."""
AUDIT = """
create schema campaign;
create table campaign.marker (writer text, transaction integer, primary key (writer, transaction));
create table campaign.by_hand (policy text, removed bigint);
create table campaign.audit (operation text, tag text, was text, by text);
grant usage on schema campaign to public;
grant insert on campaign.audit to public;
"""


@dataclass(frozen=True)
class Found:
    """What is there after a round."""

    live: dict[str, list[str]]
    archived: dict[str, list[tuple[str, str]]]
    """By tags: the policy, and the row as a text in the order of the table's columns."""
    children: dict[str, list[str]]
    archived_children: dict[str, list[str]]
    audit: dict[str, list[str]] | None
    """What others than the application deleted, as it was; None where no trigger looked on."""
    changed: int
    """How many updates others than the application made."""
    decoy: str
    now: float


def look(
    db: Connection, table: Table, policies: tuple[Policy, ...], decoys: list[str], *, audited: bool
) -> Found:
    """See what is there, all at one moment."""
    execute(db, "begin isolation level repeatable read; set local timezone = 'UTC'")
    tag = f"target.{name(table.tag)}"
    live: dict[str, list[str]] = {}
    for key, text in rows(db, f"select {tag}, {table.row()} from {table.only} as target"):
        live.setdefault(key, []).append(text)
    archived: dict[str, list[tuple[str, str]]] = {}
    for policy in policies:
        if policy.archive:
            found = rows(db, f"select {tag}, {table.row()} from {policy.archive} as target")
            for key, text in found:
                archived.setdefault(key, []).append((policy.name, text))
    children: dict[str, list[str]] = {}
    archived_children: dict[str, list[str]] = {}
    if table.children:
        children = _notes(db, [table.children.relation])
        archives = [one.children_archive for one in policies if one.children_archive]
        archived_children = _notes(db, archives)
    audit: dict[str, list[str]] = {}
    others = "by not like 'app %' and by <> 'campaign setup'"
    deleted = f"select tag, was from campaign.audit where operation = 'DELETE' and {others}"
    for key, text in rows(db, deleted):
        audit.setdefault(key, []).append(text)
    changed = f"select count(*) from campaign.audit where operation = 'UPDATE' and {others}"
    seen = Found(
        live, archived, children, archived_children, audit if audited else None,
        scalar(db, changed),
        fingerprint(db, decoys), scalar(db, "select extract(epoch from clock_timestamp())::float8"),
    )  # fmt: skip
    execute(db, "commit")
    return seen


def _notes(db: Connection, relations: list[str]) -> dict[str, list[str]]:
    """Read rows that refer to rows: what they say, by their tags."""
    found: dict[str, list[str]] = {}
    for relation in relations:
        for key, note in rows(db, f"select tag, note from {relation}"):
            found.setdefault(key, []).append(note)
    return found


def fingerprint(db: Connection, decoys: list[str]) -> str:
    """Return what all rows of some tables come to, wherever they lie."""
    return " ".join(
        scalar(
            db,
            "select concat(count(*), ' ', md5(string_agg(decoy::text, '' order by decoy::text)))"
            f" from {decoy} as decoy",
        )
        for decoy in decoys
    )


class Judge:
    """Compares what is there with what has to be."""

    def __init__(self, policies: tuple[Policy, ...], model: Model, found: Found) -> None:
        """Take what is known to be committed, and what was found."""
        self._policies = policies
        self._model = model
        self._found = found
        self._due_by = found.now + LEEWAY
        self.violations: list[str] = []

    def judge(self) -> list[str]:
        """Return what is wrong, each row by itself."""
        for tag in self._found.live.keys() | self._found.archived.keys():
            if tag not in self._model.rows:
                self._say(tag, "is there and was never committed")
        for tag, version in self._model.rows.items():
            live = self._found.live.get(tag, [])
            archived = self._found.archived.get(tag, [])
            if version is None:
                if live or archived:
                    self._say(tag, f"was deleted: live {len(live)}, archived {len(archived)}")
            else:
                self._judge_row(tag, version, live, archived)
        self._judge_children()
        return self.violations

    def _say(self, tag: str, what: str) -> None:
        self.violations.append(f"row {tag} {what}"[:1500])

    def _judge_row(
        self, tag: str, version: Version, live: list[str], archived: list[tuple[str, str]]
    ) -> None:
        if len(live) + len(archived) > 1:
            self._say(tag, f"is live {len(live)} times and archived {len(archived)} times")
        elif live:
            if tag in self._model.gone:
                self._say(tag, "is live, and was seen to be gone")
            if live[0] not in self._texts(version, is_live=True):
                self._say(tag, f"is live as {live[0]}, and was written as {version}")
        elif archived:
            policy, text = archived[0]
            if not self._may_take(version, policy):
                self._say(tag, f"is archived by {policy} and was not due: {version}")
            if text not in self._texts(version, is_live=False):
                self._say(tag, f"is archived as {text}, and was written as {version}")
        elif not any(
            self._may_take(version, policy.name)
            for policy in self._policies
            if policy.action == "delete"
        ):
            self._say(tag, f"is gone and was not due: {version}")
        if self._found.audit is not None:
            self._judge_audit(tag, version, was_taken=not live)

    def _judge_audit(self, tag: str, version: Version, *, was_taken: bool) -> None:
        """Compare with what a trigger saw go."""
        assert self._found.audit is not None
        seen = self._found.audit.get(tag, [])
        if len(seen) != int(was_taken):
            self._say(tag, f"went {len(seen)} times; it is {'gone' if was_taken else 'live'}")
        elif seen and seen[0] not in self._texts(version, is_live=False):
            self._say(tag, f"went as {seen[0]}, and was written as {version}")

    def _may_take(self, version: Version, policy: str) -> bool:
        [place] = [place for place, one in enumerate(self._policies) if one.name == policy]
        return version.due[place] <= self._due_by

    def _texts(self, version: Version, *, is_live: bool) -> set[str]:
        """List what a row may look like by now, as policies and foreign keys change rows too."""
        texts = {version.text}
        for place, text in enumerate(version.when_set):
            if is_live and text is not None and version.due[place] <= self._due_by:
                texts.add(text)
        parent = version.parent
        if version.when_orphaned is not None and parent and parent not in self._found.live:
            texts.add(version.when_orphaned)
            if is_live:
                texts.discard(version.text)
        return texts

    def _judge_children(self) -> None:
        """See to it that what refers to rows is where those are."""
        found = self._found
        keepers = {one.name for one in self._policies if one.children_archive}
        for tag in found.children.keys() | found.archived_children.keys():
            if tag not in self._model.children:
                self._say(tag, "(child) is there and was never committed")
        for tag, child in self._model.children.items():
            live = found.children.get(tag, [])
            archived = found.archived_children.get(tag, [])
            parent = child[0] if child else ""
            kept = any(policy in keepers for policy, _ in found.archived.get(parent, []))
            if (len(live), len(archived)) != (int(parent in found.live), int(kept)):
                self._say(
                    tag,
                    f"(child) is live {len(live)} times and archived {len(archived)} times;"
                    f" its parent: {child}",
                )
            elif child and [*live, *archived] not in ([], [child[1]]):
                self._say(tag, f"(child) is not what it was: {child}")


def judge_log(
    db: Connection, policies: tuple[Policy, ...], model: Model, found: Found
) -> list[str]:
    """Compare what the log says with what went."""
    wrong: list[str] = []
    removed: dict[str, int] = {}
    logged = "select policy, sum(removed)::bigint from maintenance.run_step group by policy"
    by_hand = "select policy, sum(removed)::bigint from campaign.by_hand group by policy"
    for policy, count in [*rows(db, logged), *rows(db, by_hand)]:
        removed[policy] = removed.get(policy, 0) + count
    for policy in policies:
        if policy.archive:
            kept = sum(one[0] == policy.name for row in found.archived.values() for one in row)
            if removed.get(policy.name, 0) != kept:
                wrong.append(
                    f"{policy.name} archived {kept} rows, and the log says {removed[policy.name]}"
                )
    takers = [policy for policy in policies if policy.action != "set"]
    gone = sum(tag not in found.live for tag, version in model.rows.items() if version is not None)
    total = sum(removed.get(policy.name, 0) for policy in takers)
    swept = any(policy.has_sweep for policy in policies)
    if takers and (total > gone if swept else total != gone):
        wrong.append(f"{gone} rows went, and the log says {total}")
    if found.audit is not None and not takers:
        total = sum(removed.values())
        if total != found.changed:
            wrong.append(f"{found.changed} rows were set, and the log says {total}")
    for code, message in rows(
        db, "select sqlstate, message from maintenance.run_step where exit_reason = 'error'"
    ):
        if not is_accident(code, message):
            wrong.append(f"a step ended with {code}: {message}")
    return wrong


def judge_leases(db: Connection) -> list[str]:
    """See to it that nothing is held or open any more."""
    held = column(db, "select policy from maintenance.lease where step is not null")
    opened = column(
        db,
        "select run.id from maintenance.run as run where run.ended_at is null union all"
        " select step.run from maintenance.run_step as step where step.exit_reason is null",
    )
    return [
        *(f"the lease of {policy} is held still" for policy in held),
        *(f"run {run} is open still" for run in opened),
    ]


def judge_rest(
    db: Connection, table: Table, policies: tuple[Policy, ...], since: float
) -> list[str]:
    """See to it that no row is left that was due before the last runs began."""
    wrong: list[str] = []
    for policy in policies:
        left = column(
            db,
            f"select target.{name(table.tag)} from {table.only} as target"
            f" where {policy.due} < {since - LEEWAY}",
        )
        if left:
            wrong.append(f"{policy.name} left {len(left)} rows that are due: {left[:5]}")
    return wrong
