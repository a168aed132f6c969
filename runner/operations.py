"""Operations that are no policies: what they would execute or report, and doing it.

The database says what there is need of: views that list statements with a reason each, and views
with figures. The runner executes the statements one by one, outside any transaction, and logs each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql
from psycopg.rows import class_row, dict_row

from runner.errors import Exit, sentence
from runner.locks import Terms
from runner.statements import Outcome, carry_out, unhurried
from runner.steps import EXITS, STATUSES, Progress, warnings

if TYPE_CHECKING:
    from psycopg import Connection

NOT_INSTALLED = "not installed"
LOCK = "200ms"
"""What a statement waits, each time that it is tried, for a lock behind which others queue."""
PAUSE = 1.0
"""Seconds between two tries."""
REPORTS = {
    "stats": {
        "database": "database_facts",
        "tables": "largest_tables",
        "indexes": "largest_indexes",
    },
    "bloat": {"tables": "bloated_tables", "indexes": "bloated_indexes"},
}
"""The views of each report, by what their rows are about."""
UNSETTLED = ("error", "incomplete", "lease_held", "stopped", "budget")
"""Exit reasons that an operation takes over from one of its statements, the worst first."""


@dataclass(frozen=True)
class Operation:
    """An operation, as maintenance.operation has it."""

    name: str
    position: int
    kind: str
    """policies, statements, report or tool."""
    title: str


@dataclass(frozen=True)
class Task:
    """A statement that there is need of."""

    object: str
    statement: str
    reason: str
    is_patient: bool
    """Whether it may wait for its locks: nobody who reads or writes queues behind it."""


@dataclass(frozen=True)
class TaskResult:
    """A statement that was executed, and what came of it."""

    object: str
    statement: str
    reason: str
    exit_reason: str
    message: str | None
    sqlstate: str | None
    seconds: float
    rows: int | None
    bytes_before: int | None
    bytes_after: int | None


@dataclass(frozen=True)
class OperationResult:
    """What an operation without policies did, or in a dry run would do."""

    operation: str
    kind: str
    exit_reason: str
    message: str
    tasks: list[TaskResult]
    planned: list[Task]
    """What a dry run found to do."""
    report: dict[str, list[dict[str, Any]]]
    """The rows of a report, by what they are about."""
    seconds: float
    is_simulated: bool = False

    @property
    def status(self) -> str:
        if self.is_simulated and self.exit_reason == "exhausted":
            return "simulated"
        return STATUSES.get(self.exit_reason, "error")

    @property
    def code(self) -> Exit:
        return EXITS.get(self.exit_reason, Exit.DONE)

    @property
    def errors(self) -> list[str]:
        """What went wrong, a sentence each."""
        failed = [task for task in self.tasks if task.exit_reason in ("error", "incomplete")]
        return [f"{task.object}: {task.message}" for task in failed] or (
            [self.message] if self.status == "error" else []
        )


def read_operations(connection: Connection) -> list[Operation]:
    """Return the operations that runs know, in order."""
    return (
        connection.cursor(row_factory=class_row(Operation))
        .execute("select name, position, kind, title from maintenance.operation order by position")
        .fetchall()
    )


def read_tasks(connection: Connection, operation: str, *, everything: bool = False) -> list[Task]:
    """Return the statements that an operation would execute now; of all objects if asked for."""
    sources = connection.execute(
        "select source from maintenance.statement_source where operation = %s "
        "and scope = %s order by source",
        (operation, "all" if everything else "needed"),
    ).fetchall()
    return [
        task
        for (source,) in sources
        for task in connection.cursor(row_factory=class_row(Task)).execute(
            sql.SQL("select object, statement, reason, is_patient from {}").format(
                sql.Identifier(*source.split("."))
            )
        )
    ]


class Operator:
    """Carries operations without policies out, within one run."""

    def __init__(
        self,
        connection: Connection,
        url: str,
        run: int,
        deadline: float | None,
        watch: Callable[[Progress], None],
        terms: Terms,
    ) -> None:
        self._connection = connection
        self._url = url
        self._run = run
        self._deadline = deadline
        self._watch = watch
        self._terms = terms

    def carry_out(self, operation: Operation, *, everything: bool = False) -> OperationResult:
        """Execute what there is need of, one statement after the other, and log each.

        A statement that fails does not keep the others from their turn, nor does an operation that
        fails keep others. ``everything`` takes all objects, whether there is need or not.
        """
        try:
            return self._carry_out(operation, everything=everything)
        except errors.Error as error:
            if self._connection.closed:
                raise
            return failed(operation, error)

    def _carry_out(self, operation: Operation, *, everything: bool) -> OperationResult:
        began = monotonic()
        if operation.name == "stats":  # how tables grow is known from the sizes of each day
            self._connection.execute("select maintenance.note_sizes()")
        if operation.kind != "statements":
            return report(self._connection, operation)
        tasks = read_tasks(self._connection, operation.name, everything=everything)
        results: list[TaskResult] = []
        ended: str | None = None
        held: str | None = None
        for number, task in enumerate(tasks):
            self._watch(
                Progress(operation.name, number, len(tasks), None, "statements", task.statement)
            )
            if ended := self._ended():
                break
            try:
                results.append(self._execute(operation, task))
            except errors.ObjectInUse as error:  # another run executes statements of it
                ended, held = "lease_held", sentence(error)
                break
        reasons = {result.exit_reason for result in results} | {ended}
        exit_reason = next(
            (reason for reason in UNSETTLED if reason in reasons),
            "exhausted" if tasks else "nothing_to_do",
        )
        done = sum(result.exit_reason == "exhausted" for result in results)
        message = held or (
            f"{done} of {len(tasks)} statements done"
            if tasks
            else "there is no need"
            if is_offered(self._connection, operation.name)
            else NOT_INSTALLED
        )
        return OperationResult(
            operation.name,
            operation.kind,
            exit_reason,
            message,
            results,
            tasks[len(results) :],
            {},
            monotonic() - began,
        )

    def _ended(self) -> str | None:
        """Return why no further statement may begin, if so."""
        if self._terms.stopped():
            return "stopped"
        if self._deadline is not None and monotonic() > self._deadline:
            return "budget"
        return None

    def _execute(self, operation: Operation, task: Task) -> TaskResult:
        began = monotonic()
        row = self._connection.execute(
            "select maintenance.open_task(%s, %s, %s, %s, %s)",
            (self._run, operation.name, task.object, task.statement, task.reason),
        ).fetchone()
        assert row is not None
        number = row[0]
        with warnings(self._connection) as heard:
            outcome = self._try(task, monotonic() + self._terms.lock_wait)
        error = outcome.error
        exit_reason, message = "exhausted", "; ".join(heard) or None
        if error is not None and outcome.is_given_up:
            is_late = self._deadline is not None and monotonic() > self._deadline
            exit_reason, message = "budget" if is_late else "stopped", "it was cancelled"
        elif isinstance(error, errors.LockNotAvailable):
            exit_reason = "incomplete"
            message = f"it did not get its lock in {self._terms.lock_wait:g} s"
        elif error is not None:
            exit_reason, message = "error", sentence(error)
        elif heard:  # what lacks a right is skipped with a warning, and called a success
            exit_reason = "error"
        if self._connection.closed:
            assert error is not None
            raise error
        rows = outcome.rows[0][0] if outcome.rows and isinstance(outcome.rows[0][0], int) else None
        self._connection.execute(
            "select maintenance.close_task(%s, %s, %s, %s, %s)",
            (number, exit_reason, message, error.sqlstate if error else None, rows),
        )
        sizes = self._connection.execute(
            "select bytes_before, bytes_after from maintenance.run_task where id = %s", (number,)
        ).fetchone()
        assert sizes is not None
        return TaskResult(
            task.object,
            task.statement,
            task.reason,
            exit_reason,
            message,
            error.sqlstate if error else None,
            monotonic() - began,
            rows,
            *sizes,
        )

    def _try(self, task: Task, until: float) -> Outcome:
        """Execute a statement; again and again where it must not wait for its lock."""
        name = task.statement
        if task.is_patient:
            with unhurried(self._connection):
                return carry_out(
                    self._connection, self._url, name, task.statement, self._terms,
                    deadline=self._deadline,
                )  # fmt: skip
        while True:
            self._connection.execute("select set_config('lock_timeout', %s, false)", (LOCK,))
            outcome = carry_out(
                self._connection, self._url, name, task.statement, self._terms,
                deadline=self._deadline,
            )  # fmt: skip
            is_locked = isinstance(outcome.error, errors.LockNotAvailable)
            if not is_locked or monotonic() > until or self._ended():
                return outcome
            sleep(PAUSE)


def plan(
    connection: Connection, operation: Operation, *, everything: bool = False
) -> OperationResult:
    """Say what an operation would do now, and write nothing. A report is the same either way."""
    try:
        with connection.transaction():
            return _plan(connection, operation, everything=everything)
    except errors.Error as error:
        if connection.closed:
            raise
        return failed(operation, error)


def failed(operation: Operation, error: errors.Error) -> OperationResult:
    """Return an operation that failed before it executed anything."""
    return OperationResult(
        operation.name, operation.kind, "error", sentence(error), [], [], {}, 0.0
    )


def _plan(connection: Connection, operation: Operation, *, everything: bool) -> OperationResult:
    began = monotonic()
    if operation.kind != "statements":
        return report(connection, operation)
    tasks = read_tasks(connection, operation.name, everything=everything)
    message = (
        f"{len(tasks)} statements would be executed"
        if tasks
        else "there is no need"
        if is_offered(connection, operation.name)
        else NOT_INSTALLED
    )
    return OperationResult(
        operation.name,
        operation.kind,
        "exhausted" if tasks else "nothing_to_do",
        message,
        [],
        tasks,
        {},
        monotonic() - began,
        is_simulated=True,
    )


def report(connection: Connection, operation: Operation) -> OperationResult:
    """Read the figures of a report; what is not installed, or switched off, says so."""
    began = monotonic()
    rows: dict[str, list[dict[str, Any]]] = {}
    message, reason = NOT_INSTALLED, "nothing_to_do"
    if has_policies(connection, operation.name):
        message = "its policies are switched off"
    if operation.name in REPORTS:
        rows = {
            name: connection.cursor(row_factory=dict_row)
            .execute(sql.SQL("select * from {}").format(sql.Identifier("maintenance", view)))
            .fetchall()
            for name, view in REPORTS[operation.name].items()
        }
        message = ", ".join(f"{len(group)} {name}" for name, group in rows.items())
        reason = "exhausted"
    return OperationResult(
        operation.name, operation.kind, reason, message, [], [], rows, monotonic() - began
    )


def has_policies(connection: Connection, operation: str) -> bool:
    """Say whether there are policies of an operation, switched on or off."""
    row = connection.execute(
        "select exists (select from maintenance.policy where operation = %s)", (operation,)
    ).fetchone()
    return row == (True,)


def is_offered(connection: Connection, operation: str) -> bool:
    """Say whether anything installed lists statements for an operation."""
    row = connection.execute(
        "select exists (select from maintenance.statement_source where operation = %s)",
        (operation,),
    ).fetchone()
    return row == (True,)
