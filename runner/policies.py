"""Policies: which rows of which table go. Each function here is one call of a routine in SQL.

Tables are named as in SQL, and found along the search_path that the role has by default.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from runner.database import installed
from runner.errors import Exit, RunnerError
from runner.naming import TABLES, VIEWS, asking, resolve

if TYPE_CHECKING:
    from psycopg import Connection

JSON_SETTINGS: dict[str, type | tuple[type, ...]] = {
    "allow_cascade": bool,
    "batch_size": int,
    "branches": list,
    "dependents": list,
    "guard_rows": int,
    "guard_share": (int, float),
    "is_enabled": bool,
    "max_rows": int,
    "priority": int,
}
"""Settings that are no text, and what JSON makes of them."""

NONE = "none"
"""Takes a limit away, or what belongs to another action."""

RELATIONS = {"archive_table": TABLES, "selector": VIEWS}
"""Settings that name a table or a view, and which kind in pg_class they should be."""

RELATIONS_OF_DEPENDENTS = {"archive_table": TABLES, "relation": TABLES}
"""The same of each dependent."""

POLICY_STATUS = (
    "select policy, relation::text, operation, is_enabled, severity, retention,"
    " last_run_at, last_exit_reason, last_removed, last_finished_at, is_overdue,"
    " arriving_per_hour::float, leaving_per_hour::float, backlog, outlook, insert_sweep"
    " from maintenance.policy_status"
)
"""What PolicyStatus is read with."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Risk:
    """What could make a policy slow, incomplete or surprising."""

    risk: str
    message: str
    statement: str | None
    """The statement that removes it, where there is one."""


@dataclass(frozen=True)
class PolicyStatus:
    """How a policy stands: a row of maintenance.policy_status."""

    policy: str
    relation: str
    operation: str
    is_enabled: bool
    severity: str
    retention: str | None
    """How long rows stay, as PostgreSQL writes it; None: no time decides."""
    last_run_at: datetime | None
    last_exit_reason: str | None
    last_removed: int | None
    last_finished_at: datetime | None
    is_overdue: bool
    arriving_per_hour: float | None
    leaving_per_hour: float | None
    backlog: int | None
    outlook: str
    insert_sweep: str


@dataclass(frozen=True)
class PolicyChange:
    """Who registered, altered or removed a policy."""

    version: int
    event: str
    changed_at: datetime
    changed_by: str
    changes: dict[str, list[Any]]
    """Settings that were altered: of each, what it was and what it became."""


@dataclass(frozen=True)
class PolicyLease:
    """The step that tends a policy now."""

    step: int
    pid: int
    started_at: datetime
    is_alive: bool
    """Whether its session is still there; if not, the next run takes over."""


@dataclass(frozen=True)
class PolicyDetails:
    """All that is known of a policy without looking at the rows of its table."""

    policy: str
    relation: str
    chain: str | None
    """The chain that shipped it; None: a user registered it."""
    version: int
    changed_at: datetime
    changed_by: str
    settings: dict[str, Any]
    """As they are in force."""
    shipped: dict[str, Any]
    """As they were registered."""
    overrides: dict[str, Any]
    """What users changed since."""
    status: PolicyStatus
    lease: PolicyLease | None
    history: list[PolicyChange]
    """The last ten changes, the newest first."""
    archives: list[dict[str, Any]]
    """Which table is archived into which, and what the archive is like."""
    archive_problem: str | None
    """Why nothing can be archived now, with the way out; None: it can."""
    risks: list[Risk]


@dataclass(frozen=True)
class SavedPolicy:
    """A policy that was registered or altered, and what is risky about it."""

    policy: str
    relation: str
    risks: list[Risk]
    archives: list[str]
    """Archives that were made for it."""


@dataclass(frozen=True)
class ArchiveChange:
    """What bringing an archive into line changed about a column."""

    archive: str
    column: str
    change: str
    """added, or dropped: it stays in the archive, and its table has it no more."""


@dataclass(frozen=True)
class SwitchedPolicy:
    """A policy that is on or off, and whether it was not before."""

    policy: str
    is_enabled: bool
    changed: bool


@dataclass(frozen=True)
class PlannedBranch:
    """One reason for rows to go."""

    branch: int
    before: str | None
    """Rows with an earlier time go, as a constant in SQL; None: no time decides."""
    condition: str
    index: str | None
    oldest: str | None


@dataclass(frozen=True)
class PlannedStrategy:
    """How a run would walk a table, or a partition of it."""

    table: str
    strategy: str
    reason: str


@dataclass(frozen=True)
class PlannedForeignKey:
    """A foreign key that a deletion touches, and what it does to the rows that refer."""

    child: str
    parent: str
    constraint_name: str
    action: str
    depth: int


@dataclass(frozen=True)
class PolicyPlan:
    """What a run of a policy would do now."""

    policy: str
    relation: str
    action: str
    is_enabled: bool
    severity: str
    version: int
    moment: datetime
    eligible: int
    is_counted: bool
    """Whether that is all; else counting stopped there."""
    estimated: int | None
    branches: list[PlannedBranch]
    strategies: list[PlannedStrategy]
    foreign_keys: list[PlannedForeignKey]
    risks: list[Risk]
    verdict: str
    """What the guard says: pass, refused, or needs_backup."""
    reason: str | None
    token: str | None
    """Lifts a refusal, once and within 24 hours."""
    expected_seconds: float | None
    statement: str

    @property
    def may_run(self) -> bool:
        return self.verdict == "pass"


def list_policies(url: str) -> list[PolicyStatus]:
    """Return how each policy stands, in the order in which they run. Writes nothing."""
    with installed(url, program="runner policy list", read_only=True) as connection:
        return (
            connection.cursor(row_factory=class_row(PolicyStatus)).execute(POLICY_STATUS).fetchall()
        )


def show_policy(url: str, name: str) -> PolicyDetails:
    """Return everything about a policy but what it would remove. Writes nothing.

    Raises RunnerError (usage) when there is no such policy.
    """
    with installed(url, program="runner policy show", read_only=True) as connection:
        with asking(connection, name):
            row = connection.execute("select maintenance.describe_policy(%s)", (name,)).fetchone()
        assert row is not None
        described: dict[str, Any] = row[0]
    lease: dict[str, Any] | None = described["lease"]
    status: dict[str, Any] = described["status"]
    return _made(
        PolicyDetails,
        described,
        changed_at=_moment(described["changed_at"]),
        status=_made(
            PolicyStatus,
            status,
            last_run_at=_moment(status["last_run_at"]),
            last_finished_at=_moment(status["last_finished_at"]),
        ),
        lease=lease and _made(PolicyLease, lease, started_at=_moment(lease["started_at"])),
        history=[
            _made(PolicyChange, one, changed_at=_moment(one["changed_at"]))
            for one in described["history"]
        ],
        risks=[_made(Risk, risk) for risk in described["risks"]],
    )


def add_policy(
    url: str,
    name: str,
    table: str,
    definition: Mapping[str, Any],
    *,
    create_archive: bool = False,
) -> SavedPolicy:
    """Register a policy on a table, and return what is risky about it.

    ``definition`` is that of maintenance.register_policy. ``create_archive`` makes the archive that
    it moves rows into, and those of its dependents; where none is named, they are called after
    their tables. Raises RunnerError: usage when there is no such table or the definition cannot
    work, failed when the name is taken; nothing was made then.
    """
    with installed(url, program="runner policy add") as connection:
        oid, relation = resolve(connection, table, TABLES)
        given = _qualified(connection, definition, archives=not create_archive)
        with asking(connection, name):
            if create_archive:
                given = _with_archives(connection, oid, given)
            risks = (
                connection.cursor(row_factory=class_row(Risk))
                .execute(
                    "select risk, message, statement"
                    " from maintenance.register_policy(%s, %s::oid::regclass, %s)",
                    (name, oid, Jsonb(given)),
                )
                .fetchall()
            )
    archives = [
        one["archive_table"] for one in (given, *_dependents(given)) if "archive_table" in one
    ]
    return SavedPolicy(name, relation, risks, archives if create_archive else [])


def alter_policy(url: str, name: str, changes: Mapping[str, Any]) -> list[Risk]:
    """Change settings of a policy, and return what is risky about it now.

    None takes a change back, and 'none' lifts a limit. Raises RunnerError (usage) when there is no
    such policy or setting, or the value cannot work; nothing is changed then.
    """
    with installed(url, program="runner policy set") as connection:
        given = _qualified(connection, changes)
        with asking(connection, name):
            return (
                connection.cursor(row_factory=class_row(Risk))
                .execute(
                    "select risk, message, statement from maintenance.alter_policy(%s, %s)",
                    (name, Jsonb(given)),
                )
                .fetchall()
            )


def evolve_archive(url: str, name: str) -> list[ArchiveChange]:
    """Bring the archives of a policy into line with their tables, and return what was changed.

    A column that a table has gained is added; one that it has lost stays, and is empty from now on.
    Raises RunnerError: usage when there is no such policy or it has no archive, failed where a type
    has changed.
    """
    with installed(url, program="runner policy set") as connection, asking(connection, name):
        return (
            connection.cursor(row_factory=class_row(ArchiveChange))
            .execute(
                "select archive::text, column_name as column, change"
                " from maintenance.evolve_archive(%s)",
                (name,),
            )
            .fetchall()
        )


def enable_policy(url: str, name: str, *, enabled: bool = True) -> SwitchedPolicy:
    """Switch a policy on or off; a run in progress ends with its next batch.

    Raises RunnerError (usage) when there is no such policy.
    """
    program = f"runner policy {'enable' if enabled else 'disable'}"
    with installed(url, program=program) as connection, asking(connection, name):
        row = connection.execute(
            "select maintenance.enable_policy(%s, %s)", (name, enabled)
        ).fetchone()
        assert row is not None
        return SwitchedPolicy(name, enabled, row[0])


def remove_policy(url: str, name: str) -> None:
    """Forget a policy that a user registered; its runs stay in the log.

    Raises RunnerError: usage when there is no such policy, failed when a chain shipped it.
    """
    with installed(url, program="runner policy remove") as connection, asking(connection, name):
        connection.execute("select maintenance.remove_policy(%s)", (name,))


def plan_policy(url: str, name: str, *, exact: bool = False) -> PolicyPlan:
    """Return what a run of a policy would do now. Writes nothing.

    It counts up to 10,000 rows, or all of them if that is to be ``exact``, or the guard would
    refuse the run. Raises RunnerError (usage) when there is no such policy.
    """
    with installed(url, program="runner policy plan", read_only=True) as connection:
        with asking(connection, name):
            row = connection.execute(
                "select maintenance.plan_policy(%s, %s)", (name, exact)
            ).fetchone()
        assert row is not None
    return read_plan(row[0])


def read_plan(planned: dict[str, Any]) -> PolicyPlan:
    """Return the document of maintenance.plan_policy as one of our answers."""
    return _made(
        PolicyPlan,
        planned,
        moment=_moment(planned["moment"]),
        branches=[_made(PlannedBranch, branch) for branch in planned["branches"]],
        strategies=[_made(PlannedStrategy, chosen) for chosen in planned["strategies"]],
        foreign_keys=[_made(PlannedForeignKey, key) for key in planned["foreign_keys"]],
        risks=[_made(Risk, risk) for risk in planned["risks"]],
    )


def setting_value(key: str, text: str) -> Any:
    """Return the value of a setting that somebody typed: JSON where that is its type, else text.

    Text is for PostgreSQL to read or to refuse. It is not unquoted: "At" is a column in SQL.
    """
    kind = JSON_SETTINGS.get(key)
    if kind is None:
        return text
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    return value if isinstance(value, kind) else text


def parse_definition(text: str) -> dict[str, Any]:
    """Return the definition of a policy that somebody typed as JSON; raises RunnerError (usage)."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RunnerError(
            "the definition is no JSON", detail=f"{error}.", hint=EXAMPLE, code=Exit.USAGE
        ) from None
    if not isinstance(value, dict):
        raise RunnerError("the definition must be an object", hint=EXAMPLE, code=Exit.USAGE)
    return value  # pyright: ignore[reportUnknownVariableType]  # json's keys are text


EXAMPLE = 'For example {"column": "expires_at", "retention": "30 days"}.'


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _qualified(
    connection: Connection, settings: Mapping[str, Any], *, archives: bool = True
) -> dict[str, Any]:
    """Return settings with the tables and views in them named so that any session finds them.

    Without ``archives``, those have yet to be made.
    """
    given = copy.deepcopy(dict(settings))
    for one in (given, *_dependents(given)):
        named = RELATIONS if one is given else RELATIONS_OF_DEPENDENTS
        for key, kinds in named.items():
            name = one.get(key)
            if isinstance(name, str) and name != NONE and (archives or key != "archive_table"):
                one[key] = resolve(connection, name, kinds)[1]
    return given


def _with_archives(
    connection: Connection, oid: int, definition: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the archives of a policy, and return its definition with their names."""
    given: dict[str, Any] = {"action": "archive"} | dict(definition)

    def create(relation: int, name: str | None) -> str:
        row = connection.execute(
            "select maintenance.create_archive(%s::oid::regclass, %s)::text", (relation, name)
        ).fetchone()
        assert row is not None
        return row[0]

    given["archive_table"] = create(oid, given.get("archive_table"))
    for dependent in _dependents(given):
        if isinstance(dependent.get("relation"), str):
            child, _ = resolve(connection, dependent["relation"], TABLES)
            dependent["archive_table"] = create(child, dependent.get("archive_table"))
    return given


def _dependents(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is an object among the dependents; PostgreSQL refuses the rest."""
    dependents: Any = definition.get("dependents")  # somebody's JSON
    if not isinstance(dependents, list):
        return []
    return [one for one in dependents if isinstance(one, dict)]  # pyright: ignore[reportUnknownVariableType]


def _made(kind: type[Answer], row: dict[str, Any], **converted: Any) -> Answer:
    """Return a document of PostgreSQL's as one of our answers, some of its parts converted."""
    return kind(**{**row, **converted})


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
