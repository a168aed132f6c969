"""Runs of policies and of other operations: which ones, what they would do, and doing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from json import dumps
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.errors import ObjectNotInPrerequisiteState
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from runner.brake import Signal
from runner.connection import refuse_pooler, refuse_pooler_url
from runner.database import installed
from runner.documents import completed, plain
from runner.errors import Exit, RunnerError, reported, sentence
from runner.identity import assert_endpoint
from runner.locks import Terms
from runner.operations import Operation, OperationResult, Operator, read_operations
from runner.operations import plan as plan_operation
from runner.policies import PolicyPlan, read_plan
from runner.steps import PROGRAM, Crew, Order, Policy, Progress, Step, StepResult
from runner.warnings import Warnings

if TYPE_CHECKING:
    from psycopg import Connection

OTHERS = 100
"""Place of an operation that only policies know; as in maintenance.policies_of."""
PRECEDENCE = (Exit.FAILED, Exit.REFUSED, Exit.BUSY, Exit.FINDINGS)
"""Of several exit statuses, the first of these that occurs is the command's."""


@dataclass(frozen=True)
class Ran:
    """A run and its steps."""

    database: str
    run: int
    started_at: datetime
    seconds: float
    asked: dict[str, list[str]]
    """The policies of each name that was asked for."""
    steps: list[StepResult]
    operations: list[OperationResult]
    """Those without policies, in the order in which they ran."""
    unknown: list[Signal]
    """What the pace could not take into account, and for want of which right."""
    warnings: list[str]
    """Who might be in its way, before it began with something."""
    unreported: str | None = None
    """The applications that could not take the run into their own record, and why."""

    @property
    def code(self) -> Exit:
        """The exit status that tells the truth about all steps and operations."""
        return worst([one.code for one in (*self.steps, *self.operations)])


@dataclass(frozen=True)
class Plan:
    """What a run of a policy would do now."""

    policy: Policy
    details: PolicyPlan | None
    error: str | None = None
    """Why there are none."""

    @property
    def token(self) -> str | None:
        return None if self.details is None else self.details.token

    @property
    def is_refused(self) -> bool:
        """Whether the guard, or a missing backup, would refuse the run."""
        return self.details is not None and not self.details.may_run

    @property
    def code(self) -> Exit:
        if self.details is None:
            return Exit.FAILED
        return Exit.REFUSED if self.is_refused else Exit.DONE


@dataclass(frozen=True)
class Planned:
    """What a run would do: the plans of each name that was asked for."""

    database: str
    started_at: datetime
    seconds: float
    plans: dict[str, list[Plan]]
    operations: list[OperationResult]
    """What those without policies would do."""

    @property
    def all(self) -> list[Plan]:
        return list({plan.policy: plan for group in self.plans.values() for plan in group}.values())

    @property
    def code(self) -> Exit:
        """The exit status: refused where the run would be."""
        return worst([one.code for one in (*self.all, *self.operations)])


def worst(codes: Sequence[Exit]) -> Exit:
    """Return the exit status that goes before the others."""
    return next((code for code in PRECEDENCE if code in codes), Exit.DONE)


@dataclass(frozen=True)
class Chosen:
    """What a run is about: the policies of each name, and the operations that have none."""

    policies: dict[str, list[Policy]]
    operations: dict[str, Operation]
    """By their names, which are among the names of ``policies``, with no policy there."""

    work: list[Policy | Operation]
    """What there is to do, each once, in its order."""

    @property
    def distinct(self) -> list[Policy]:
        """The policies, each once, in their order."""
        return [one for one in self.work if isinstance(one, Policy)]


def choose(
    connection: Connection,
    names: Sequence[str],
    *,
    everything: bool = False,
    schedule: str | None = None,
) -> Chosen:
    """Return what a run of some names is about.

    A name is an operation or a policy; a policy can belong to two names, and runs once.
    ``everything`` gives all operations with their enabled policies, in their order, and
    ``schedule`` those of a bundle.
    Raises RunnerError (usage) for a name that does not exist.
    """
    known = {
        policy.name: policy
        for policy in connection.cursor(row_factory=class_row(Policy)).execute(
            "select name, operation, relation::text, action, severity, batch_size, priority, "
            "is_enabled, coalesce(title, name) as title, (extract(epoch from "
            "maintenance.shortest_retention(policy)) / 86400)::float8 as days "
            "from maintenance.policy order by priority, name"
        )
    }
    listed = {one.name: one for one in read_operations(connection)}
    of_policies = dict.fromkeys(policy.operation for policy in known.values())
    operations = sorted(
        {*listed, *of_policies},
        key=lambda name: (listed[name].position if name in listed else OTHERS, name),
    )
    for name in names:
        if name not in known and name not in operations:
            near = get_close_matches(name, [*operations, *known], n=1)
            meant = f"Did you mean {near[0]}? " if near else ""
            raise RunnerError(
                f"there is no operation or policy {name}",
                hint=f"{meant}`runner run` lists what there is.",
                code=Exit.USAGE,
            )
    is_whole = everything or schedule is not None
    if schedule is not None:
        bundle = connection.execute("select maintenance.bundled(%s)", (schedule,)).fetchone()
        assert bundle is not None
        operations = bundle[0]
    candidates = [policy for policy in known.values() if policy.is_enabled or not is_whole]
    groups = {
        name: [policy for policy in candidates if name in (policy.name, policy.operation)]
        for name in (operations if is_whole else names)
    }
    others = {name: listed[name] for name, group in groups.items() if not group and name in listed}
    work = list(
        dict.fromkeys(
            one
            for name, group in groups.items()
            for one in ([others[name]] if name in others else group)
        )
    )
    if is_whole:  # nobody named an order: that of maintenance.policies_of

        def place(one: Policy | Operation) -> tuple[int, int, str]:
            if isinstance(one, Operation):
                return (one.position, 0, one.name)
            known_as = listed.get(one.operation)
            return (known_as.position if known_as else OTHERS, one.priority, one.name)

        work.sort(key=place)
    return Chosen(groups, others, work)


def listed(
    url: str,
    names: Sequence[str] = (),
    *,
    everything: bool = False,
    schedule: str | None = None,
) -> Chosen:
    """Return what a run of these names would be about; without any, all there is."""
    with installed(url, program=PROGRAM, read_only=True) as connection:
        if not names and not everything and schedule is None:
            rows = connection.execute("select operation from maintenance.policy").fetchall()
            positions = {one.name: one.position for one in read_operations(connection)}
            named = {name for (name,) in rows} | positions.keys()
            names = sorted(named, key=lambda name: (positions.get(name, OTHERS), name))
        return choose(connection, names, everything=everything, schedule=schedule)


def plan(
    url: str,
    names: Sequence[str] = (),
    *,
    everything: bool = False,
    schedule: str | None = None,
    exact: bool = False,
    all_objects: bool = False,
) -> Planned:
    """Say what a run would do, and write nothing. ``exact`` counts all rows.

    A policy that cannot be planned has an error in its place. Raises RunnerError for names that do
    not exist.
    """
    began = monotonic()
    started_at = datetime.now(UTC)
    with installed(url, program=PROGRAM, read_only=True) as connection:
        chosen = choose(connection, names, everything=everything, schedule=schedule)
        made = {
            one: _plan(connection, one, exact=exact)
            for one in chosen.work
            if isinstance(one, Policy)
        }
        plans = {
            name: [made[policy] for policy in group]
            for name, group in chosen.policies.items()
            if group
        }
        others = [
            plan_operation(connection, one, everything=all_objects)
            for one in chosen.operations.values()
        ]
        return Planned(connection.info.dbname, started_at, monotonic() - began, plans, others)


def _plan(connection: Connection, policy: Policy, *, exact: bool) -> Plan:
    try:
        with connection.transaction():
            row = connection.execute(
                "select maintenance.plan_policy(%s, %s)", (policy.name, exact)
            ).fetchone()
    except (psycopg.errors.InsufficientPrivilege, psycopg.OperationalError):
        raise
    except psycopg.Error as error:
        return Plan(policy, None, sentence(error))
    assert row is not None
    return Plan(policy, read_plan(row[0]))


def run(
    url: str,
    names: Sequence[str] = (),
    *,
    everything: bool = False,
    schedule: str | None = None,
    all_objects: bool = False,
    order: Order = Order(),
    watch: Callable[[Progress], None] = lambda _: None,
    terms: Terms = Terms(),
) -> Ran:
    """Carry out policies and operations by their names, and return what came of it.

    ``everything`` runs all there is, ``schedule`` a bundle. ``all_objects`` lets operations like
    vacuum take every object, and not only those that there is need of.

    ``watch`` is told how far it is, ten times a second. ``terms.stopped`` ends the run after the
    batches in hand. What a step ended with is in its result; an exception means that there was no
    run: RunnerError for names and orders that make no sense, for poolers and for missing rights.
    """
    order.check()
    refuse_pooler_url(url)
    with ExitStack() as stack:
        connection = stack.enter_context(installed(url, program=PROGRAM))
        refuse_pooler(connection, url)
        assert_endpoint(connection)
        chosen = choose(connection, names, everything=everything, schedule=schedule)
        work = chosen.work
        policies = chosen.distinct
        if stray := [name for name in order.accept if name not in {one.name for one in policies}]:
            raise RunnerError(f"a token is for {stray[0]}, which is not run", code=Exit.USAGE)
        crew = Crew(url, connection, stack, order.jobs)
        began = monotonic()
        started_at = datetime.now(UTC)
        number = open_run(connection, PROGRAM, _arguments(work, order))
        steps: list[StepResult] = []
        operations: list[OperationResult] = []
        unknown: dict[str, Signal] = {}
        warnings = Warnings(connection, terms.say)
        try:
            for one in work:
                warnings.look(one.name, one.relation if isinstance(one, Policy) else None)
                deadline = None if order.max_duration is None else began + order.max_duration
                if isinstance(one, Operation):
                    operator = Operator(connection, url, number, deadline, watch, terms)
                    operations.append(operator.carry_out(one, everything=all_objects))
                    continue
                left = None if order.max_rows is None else order.max_rows - sum(
                    step.removed for step in steps
                )  # fmt: skip
                with Step(crew, number, one, order, left, deadline, watch, terms) as step:
                    steps.append(step.carry_out())
                unknown |= {heard.signal: heard for heard in step.signals if heard.is_high is None}
        except BaseException as error:
            _close(connection, number)
            _report(connection, number, None, str(error) or type(error).__name__)
            raise
        _close(connection, number)
        ran = Ran(
            connection.info.dbname,
            number,
            started_at,
            monotonic() - began,
            {
                name: [policy.name for policy in group]
                for name, group in chosen.policies.items()
                if group
            },
            steps,
            operations,
            list(unknown.values()),
            warnings.texts,
        )
        return replace(ran, unreported=_report(connection, number, completed(ran)))


def _close(connection: Connection, run: int) -> None:
    """Close a run in the log; where the connection is lost, the next run does."""
    if not connection.closed:
        with suppress(psycopg.OperationalError):
            connection.execute("select maintenance.close_run(%s)", (run,))


def _report(
    connection: Connection, run: int, document: dict[str, Any] | None, error: str | None = None
) -> str | None:
    """Tell applications what came of a run; return which could not take it in, and why.

    Without a document they are told what the log has. A lost connection is none of their problems.
    """
    if connection.closed:
        return None
    told = None if document is None else Jsonb(document, dumps=partial(dumps, default=plain))
    try:
        row = connection.execute(
            "select maintenance.report_run(%s, %s, %s)", (run, told, error)
        ).fetchone()
    except psycopg.Error as failure:
        return sentence(failure)
    assert row is not None
    return row[0]


def _arguments(work: Sequence[Policy | Operation], order: Order) -> dict[str, Any]:
    """Return what a run was asked to do, for the log."""
    arguments = {
        "policies": [one.name for one in work if isinstance(one, Policy)],
        "operations": [one.name for one in work if isinstance(one, Operation)] or None,
        "jobs": order.jobs,
        "batch_size": order.batch_size,
        "max_rows": order.max_rows,
        "max_duration": order.max_duration,
        "pace": order.pace,
        "reason": order.reason,
    }
    return {name: value for name, value in arguments.items() if value is not None}


def open_run(connection: Connection, program: str, arguments: Mapping[str, Any]) -> int:
    """Open a run in the log, and return its number. Raises RunnerError (refused) in a copy."""
    try:
        row = connection.execute(
            "select maintenance.open_run(%s, %s)", (program, Jsonb(dict(arguments)))
        ).fetchone()
    except ObjectNotInPrerequisiteState as error:  # a copy that was not adopted
        hint = "`runner adopt-clone` if this copy shall be tended as well."
        raise reported(error, hint=hint, code=Exit.REFUSED) from None
    assert row is not None
    return row[0]
