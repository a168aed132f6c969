"""Undoing runs: which of the rows that a run took away can come back, and putting them back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.errors import ObjectNotInPrerequisiteState, QueryCanceled, UndefinedObject
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from runner.connection import refuse_pooler, refuse_pooler_url
from runner.database import installed
from runner.errors import Exit, RunnerError, reported, sentence
from runner.identity import assert_endpoint
from runner.locks import Terms
from runner.runs import open_run, worst
from runner.steps import EXITS, Progress

if TYPE_CHECKING:
    from psycopg import Connection

PROGRAM = "runner undo"


@dataclass(frozen=True)
class UndoStep:
    """What a run did for one policy, and whether that can be undone."""

    step: int
    policy: str
    relation: str
    action: str
    removed: int
    """Rows that the run took away."""
    dependents: int
    """Rows of dependents that went with them."""
    waiting: int
    """Rows that are in archives still."""
    verdict: str
    """ready, nothing (there is nothing to put back), or cannot."""
    reason: str | None


@dataclass(frozen=True)
class UndoPlan:
    """What undoing a run would put back: its steps, the last one first."""

    database: str
    run: int
    steps: list[UndoStep]
    taking: list[str]
    """Policies that are switched on, and would take the rows away again."""

    @property
    def waiting(self) -> int:
        return sum(step.waiting for step in self.steps if step.verdict == "ready")


@dataclass(frozen=True)
class UndoneStep:
    """What came of undoing one step."""

    policy: str
    relation: str
    exit_reason: str
    message: str | None
    restored: int
    left_over: int
    """Rows that the table refused; they stay in the archive."""
    conflicts: list[dict[str, Any]]
    """The first hundred of them: relation, archive, key, message and sqlstate of each."""
    seconds: float

    @property
    def code(self) -> Exit:
        return EXITS.get(self.exit_reason, Exit.DONE)


@dataclass(frozen=True)
class Undone:
    """What came of undoing a run."""

    database: str
    run: int
    """The run that was undone."""
    undo: int
    """The number that undoing it has in the log."""
    steps: list[UndoneStep]
    impossible: list[UndoStep]
    """Steps that could not be undone, with the reason."""
    seconds: float

    @property
    def restored(self) -> int:
        return sum(step.restored for step in self.steps)

    @property
    def code(self) -> Exit:
        """The exit status: failed as well where a part of the run cannot be undone."""
        codes = [step.code for step in self.steps]
        return worst([*codes, Exit.FAILED] if self.impossible else codes)


def plan_undo(url: str, run: int, *, policy: str | None = None) -> UndoPlan:
    """Say what undoing a run, or what it did for one policy, would put back. Writes nothing.

    Raises RunnerError where there is no such run (usage), and where nothing of it can be put back,
    with the reason: what was deleted is gone.
    """
    with installed(url, program=PROGRAM, read_only=True) as connection:
        return _plan(connection, run, policy)


def undo(
    url: str,
    run: int,
    *,
    policy: str | None = None,
    batch_size: int | None = None,
    watch: Callable[[Progress], None] = lambda _: None,
    terms: Terms = Terms(),
) -> Undone:
    """Put every row that a run archived back into its table; nothing is overwritten.

    ``policy`` narrows it down to one of the run's policies. ``batch_size`` is the most rows in a
    transaction. ``terms.stopped`` ends it after the batch in hand. Rows that a table refuses stay
    in the archive, and are in the result. Raises RunnerError as ``plan_undo`` does, for poolers,
    and when the session is lost.
    """
    refuse_pooler_url(url)
    if batch_size is not None and not 1 <= batch_size <= 100000:
        raise RunnerError(
            f"--batch-size must be between 1 and 100000, not {batch_size}", code=Exit.USAGE
        )
    with installed(url, program=PROGRAM) as connection:
        refuse_pooler(connection, url)
        assert_endpoint(connection)
        plan = _plan(connection, run, policy)
        began = monotonic()
        arguments = {"run": run} | ({} if policy is None else {"policy": policy})
        number = open_run(connection, PROGRAM, arguments)
        steps: list[UndoneStep] = []
        try:
            for step in plan.steps:
                if step.verdict == "ready":
                    done = _Undo(connection, number, step, batch_size, watch, terms).carry_out()
                    steps.append(done)
                    if done.exit_reason == "stopped":
                        break
        except psycopg.OperationalError as error:
            if not connection.closed:
                raise
            raise RunnerError(
                "the connection was lost",
                detail=f"{sentence(error)} What was put back until then is back.",
                hint="Run the command again: it puts back what is left.",
            ) from None
        finally:
            if not connection.closed:
                with suppress(psycopg.OperationalError):  # the next run closes it
                    connection.execute("select maintenance.close_run(%s)", (number,))
        return Undone(
            plan.database,
            run,
            number,
            steps,
            [step for step in plan.steps if step.verdict == "cannot"],
            monotonic() - began,
        )


def _plan(connection: Connection, run: int, policy: str | None) -> UndoPlan:
    try:
        connection.execute("select maintenance.assert_undoable(%s, %s)", (run, policy))
    except UndefinedObject as error:
        hint = "`runner history` lists the runs."
        raise reported(error, hint=hint, code=Exit.USAGE) from None
    except ObjectNotInPrerequisiteState as error:
        raise reported(error) from None
    steps = (
        connection.cursor(row_factory=class_row(UndoStep))
        .execute(
            "select planned.* from maintenance.plan_undo(%s) as planned "
            "where planned.policy = coalesce(%s, planned.policy)",
            (run, policy),
        )
        .fetchall()
    )
    ready = [step.policy for step in steps if step.verdict == "ready"]
    taking = connection.execute(
        "select name from maintenance.policy where is_enabled and name = any(%s) order by name",
        (ready,),
    )
    return UndoPlan(connection.info.dbname, run, steps, [name for (name,) in taking])


class _Undo:
    """The undoing of one step, from taking the lease to giving it back."""

    def __init__(
        self,
        connection: Connection,
        run: int,
        undone: UndoStep,
        batch_size: int | None,
        watch: Callable[[Progress], None],
        terms: Terms,
    ) -> None:
        self._connection = connection
        self._run = run
        self._undone = undone
        self._batch_size = batch_size
        self._watch = watch
        self._terms = terms
        self._restored = 0

    def carry_out(self) -> UndoneStep:
        began = monotonic()
        row = self._connection.execute(
            "select step, token, exit_reason from maintenance.open_undo(%s, %s)",
            (self._run, self._undone.step),
        ).fetchone()
        assert row is not None
        step, token, exit_reason = row
        if exit_reason is None:
            ended: Sequence[str | None]
            try:
                ended = self._drive(step, token)
            except KeyboardInterrupt:
                ended = ("stopped", "interrupted: the batch in hand was rolled back", None)
            except psycopg.Error as error:
                if self._connection.closed:
                    raise
                reason = "stopped" if isinstance(error, QueryCanceled) else "error"
                ended = (reason, sentence(error), error.sqlstate)
            self._connection.execute(
                "select maintenance.close_step(%s, %s, %s, %s, %s)", (step, token, *ended)
            )
        return self._result(step, monotonic() - began)

    def _drive(self, step: int, token: int) -> tuple[str, str | None, None]:
        """Put batch after batch back; return why that ended, as close_step takes it."""
        cursor: Any = None
        while True:
            self._watch(
                Progress(self._undone.policy, self._restored, self._undone.waiting, waiting=None)
            )
            if self._terms.stopped():
                return ("stopped", "asked to stop by a signal", None)
            with self._connection.transaction():
                # Nothing is lost that another undo would not put back; closing the step syncs.
                self._connection.execute("set local synchronous_commit = off")
                # What is deferred would fail at the COMMIT, and could not be told from others.
                self._connection.execute("set constraints all immediate")
                batch = (
                    self._connection.cursor(row_factory=dict_row)
                    .execute(
                        "select restored, is_done, exit_reason, message, next_cursor "
                        "from maintenance.undo_batch(%s, %s, %s, coalesce(%s, 10000))",
                        (step, token, None if cursor is None else Jsonb(cursor), self._batch_size),
                    )
                    .fetchone()
                )
            assert batch is not None
            self._restored += batch["restored"]
            cursor = batch["next_cursor"]
            if batch["is_done"]:
                return (batch["exit_reason"], batch["message"], None)

    def _result(self, step: int, seconds: float) -> UndoneStep:
        row = (
            self._connection.cursor(row_factory=dict_row)
            .execute(
                "select policy, relation, exit_reason, message, restored, "
                "coalesce(left_over, 0) as left_over, coalesce(conflicts, '[]') as conflicts "
                "from maintenance.run_step where id = %s",
                (step,),
            )
            .fetchone()
        )
        assert row is not None
        return UndoneStep(**row, seconds=seconds)
