"""Carries out one policy of a run: batch after batch, on several sessions, until something ends it.

What a batch removes, its lease and its log are the database's (``maintenance.run_batch`` and its
neighbours). Here is what a procedure cannot do: several sessions at once, pauses that follow the
load, progress, and a stop on a signal.

The caller's thread opens and closes the step and watches; each session has a thread of its own.
The first session is the run's: the database takes the run for dead when that is gone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg.errors import (
    InsufficientPrivilege,
    QueryCanceled,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
)
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from runner.brake import Brake, Signal
from runner.connection import literal
from runner.database import installed
from runner.errors import Exit, RunnerError, sentence
from runner.locks import Terms
from runner.pace import Pace

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.errors import Diagnostic

PROGRAM = "runner run"
PARTS_PER_JOB = 4
"""Into how many parts the work is divided for each session: who is done early takes another."""
TICK = 0.1
"""Seconds between two looks at signals, load and progress."""
MOST_JOBS = 32

SLICE = 0.2
"""Seconds for which a session at full speed removes batch after batch before it reports."""

BATCHES = """
    call maintenance.drive_batches(
        %(step)s, %(token)s, %(size)s, %(goal)s * interval '1 s', %(slice)s * interval '1 s',
        %(cursor)s::jsonb
    )
"""

STATUSES = {
    "exhausted": "completed",
    "budget": "completed",
    "stopped": "completed",
    "nothing_to_do": "skipped",
    "lease_held": "skipped",
    "disabled": "skipped",
    "paused": "skipped",
}
"""What an exit reason is called in the document that a run answers with; the others are errors."""


EXITS = {"error": Exit.FAILED, "incomplete": Exit.FAILED, "interrupted": Exit.FAILED,
         "guard": Exit.REFUSED,
         "lease_held": Exit.BUSY}  # fmt: skip
"""The exit status that follows from an exit reason; the others are done."""


@dataclass(frozen=True)
class Policy:
    """A policy, as far as driving it goes."""

    name: str
    operation: str
    relation: str
    action: str
    severity: str
    batch_size: int
    priority: int
    is_enabled: bool
    title: str
    """What reports call it."""
    days: float | None
    """How old the youngest row is that may go; None where no time decides."""


@dataclass(frozen=True)
class Order:
    """How a run is to be carried out, and where its limits are; None is no limit of the run's."""

    jobs: int = 1
    """Sessions that work at once."""
    batch_size: int | None = None
    """Most rows in a transaction. None: the policy's."""
    max_rows: int | None = None
    """Most rows of the whole run."""
    max_duration: float | None = None
    """Seconds for the whole run."""
    pace: Pace | None = None
    """None: full speed, but polite for a policy that had to be accepted."""
    accept: Mapping[str, str] = field(default_factory=dict[str, str])
    """Tokens that lift the guard, by policy."""
    reason: str | None = None
    """Why the guard was lifted, for the log."""
    vacuum: bool | None = None
    """Whether to VACUUM each table afterwards. None: those of policies that had to be accepted."""

    def check(self) -> None:
        """Raise RunnerError (usage) for what makes no sense."""
        for name, value, most in (
            ("jobs", self.jobs, MOST_JOBS),
            ("batch-size", self.batch_size, 100_000),
            ("max-rows", self.max_rows, None),
            ("max-duration", self.max_duration, None),
        ):
            if value is not None and (value <= 0 or (most is not None and value > most)):
                limit = f"between 1 and {most:,}" if most else "positive"
                raise RunnerError(f"--{name} must be {limit}, not {value}", code=Exit.USAGE)


@dataclass(frozen=True)
class Progress:
    """How far a step is."""

    policy: str
    removed: int
    expected: int | None
    """An estimate; None where there is none."""
    waiting: str | None
    """What the run waits for, if it does."""
    unit: str = "rows"
    """Of what ``removed`` and ``expected`` are numbers."""
    at: str | None = None
    """What it is at, where that is worth saying."""


@dataclass(frozen=True)
class Vacuumed:
    """A VACUUM after a run: how long it took in seconds, or why there was none."""

    command: str
    seconds: float
    problem: str | None


@dataclass(frozen=True)
class StepResult:
    """What a run did for one policy."""

    policy: str
    operation: str
    relation: str
    action: str
    exit_reason: str
    message: str | None
    removed: int
    dependents: int
    cascaded: int
    bytes: int | None
    batches: int
    longest_batch: float
    """Seconds."""
    seconds: float
    left_over: int | None
    sqlstate: str | None
    title: str
    """What reports call the policy."""
    days: float | None
    """How old the youngest row was that might go; None where no time decides."""
    vacuum: Vacuumed | None = None

    @property
    def deleted(self) -> int:
        """Rows that are gone from the table: those that were only changed are not."""
        return 0 if self.action == "set" else self.removed

    @property
    def status(self) -> str:
        return STATUSES.get(self.exit_reason, "error")

    @property
    def code(self) -> Exit:
        return EXITS.get(self.exit_reason, Exit.DONE)


class Crew:
    """The sessions of a run: its own, and as many more as there are jobs, once they are needed."""

    def __init__(self, url: str, connection: Connection, stack: ExitStack, jobs: int) -> None:
        self.url = url
        self.first = connection
        self._stack = stack
        self._jobs = jobs
        self._sessions = [connection]

    def hands(self, most: int) -> list[Connection]:
        """Return sessions for that many parts, and no more than there are jobs.

        Those that were lost in an earlier step are replaced, except for the run's own.
        """
        self._sessions = [
            session for session in self._sessions if session is self.first or not session.closed
        ]
        while len(self._sessions) < min(self._jobs, most):
            program = f"{PROGRAM} (worker {len(self._sessions) + 1})"
            self._sessions.append(self._stack.enter_context(installed(self.url, program=program)))
        return self._sessions[: max(min(self._jobs, most), 1)]

    @property
    def pids(self) -> list[int]:
        return [session.info.backend_pid for session in self._sessions if not session.closed]

    def cancel(self) -> None:
        """Cancel whatever the sessions are at."""
        for session in self._sessions:
            if not session.closed:
                with suppress(psycopg.Error):  # it may be lost, or its server
                    session.cancel_safe(timeout=5)


@dataclass(frozen=True)
class _Ended:
    """Why a step ended."""

    reason: str
    message: str | None = None
    sqlstate: str | None = None


INTERRUPTED = _Ended("stopped", "interrupted: the batches in hand were rolled back")


@dataclass(frozen=True)
class _Slice:
    """What maintenance.drive_batches answers."""

    cursor: Any
    removed: int
    is_done: bool | None
    exit_reason: str | None
    message: str | None
    error_code: str | None
    pause: timedelta | None


class _Allowance:
    """Divides a limit of rows between sessions, so that together they stay within it."""

    def __init__(self, rows: int | None) -> None:
        self._left = rows
        self._given = 0
        self._change = threading.Condition()

    @property
    def is_limited(self) -> bool:
        return self._left is not None

    def take(self, most: int) -> int:
        """Return how many rows a batch may remove; 0 when the limit is used up.

        It waits while all that is left is in the hands of others, who may give some of it back.
        """
        with self._change:
            if self._left is None:
                return most
            while self._left == 0 and self._given > 0:
                self._change.wait()
            taken = min(most, self._left)
            self._left -= taken
            self._given += taken
            return taken

    def settle(self, taken: int, removed: int) -> None:
        """Give back what a batch did not need of what it took."""
        with self._change:
            if self._left is not None:
                self._left += taken - removed
                self._given -= taken
                self._change.notify_all()


class Step:
    """One policy of a run, from opening its step to closing it."""

    def __init__(
        self,
        crew: Crew,
        run: int,
        policy: Policy,
        order: Order,
        max_rows: int | None,
        deadline: float | None,
        watch: Callable[[Progress], None],
        terms: Terms,
    ) -> None:
        self._crew = crew
        self._run = run
        self._policy = policy
        self._order = order
        self._max_rows = max_rows
        self._deadline = deadline
        self._watch = watch
        self._terms = terms
        self._token = order.accept.get(policy.name)
        pace = order.pace or (Pace.POLITE if self._token else Pace.FULL)
        self._is_full = pace is Pace.FULL
        self._pace = pace
        self._brake = Brake(crew.url, pace)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._ended: _Ended | None = None
        self._defect: BaseException | None = None
        self._is_cancelled = False
        """Whether somebody cancelled more than this step: no other policy begins then."""
        self._parts: deque[Any] = deque()
        self._current: dict[int, Any] = {}
        """The part that each session is at, by its process."""
        self._finished: list[Any] = []
        self._removed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._brake.__exit__()

    @property
    def signals(self) -> list[Signal]:
        return self._brake.signals

    def carry_out(self) -> StepResult:
        """Open the step, do its work, close it, and return what the log has on it.

        Raises RunnerError when the session of the run is lost, for the log is then out of reach.
        """
        try:
            return self._carry_out()
        except psycopg.OperationalError as error:
            if not self._crew.first.closed:
                raise
            raise self._lost(sentence(error)) from None

    def _carry_out(self) -> StepResult:
        began = monotonic()
        connection = self._crew.first
        if self._terms.stopped():
            self._stop_run()
        try:
            opened = self._open()
        except (InsufficientPrivilege, UndefinedColumn, UndefinedFunction, UndefinedTable):
            raise  # it would be the same for every policy
        except psycopg.Error as error:
            if connection.closed or isinstance(error, QueryCanceled):
                raise
            return self._failure(error, monotonic() - began)
        if opened["exit_reason"] is not None:
            return self._result(opened["step"], monotonic() - began)
        self._step, self._fence = opened["step"], opened["token"]
        self._expected: int | None = opened["eligible"]
        self._allowance = _Allowance(opened["allowed"])
        try:
            self._drive(opened["resume"])
        except BaseException as error:
            self._end_with(error, connection)
        ended = self._ended or _Ended("error", "the step ended without a reason")
        if self._defect is not None:
            ended = _Ended("error", f"{type(self._defect).__name__}: {self._defect}")
        if connection.closed:
            raise self._lost(ended.message)
        self._close(ended)
        if self._defect is not None:
            raise self._defect
        wanted = self._token is not None if self._order.vacuum is None else self._order.vacuum
        vacuum = self._vacuum() if wanted and self._removed and ended.reason != "stopped" else None
        return self._result(self._step, monotonic() - began, vacuum)

    def _open(self) -> dict[str, Any]:
        opened = (
            self._crew.first.cursor(row_factory=dict_row)
            .execute(
                "select step, token, exit_reason, message, eligible, allowed, resume "
                "from maintenance.open_step("
                "%s, %s, %s, %s, clock_timestamp() + %s * interval '1 s')",
                (
                    self._run,
                    self._policy.name,
                    self._token,
                    self._max_rows,
                    None if self._deadline is None else self._deadline - monotonic(),
                ),
            )
            .fetchone()
        )
        assert opened is not None
        return opened

    def _close(self, ended: _Ended) -> None:
        self._crew.first.execute(
            "select maintenance.close_step(%s, %s, %s, %s, %s, %s)",
            (
                self._step,
                self._fence,
                ended.reason,
                ended.message,
                ended.sqlstate,
                Jsonb(self._unfinished()),
            ),
        )
        if self._is_cancelled:
            self._stop_run()

    def _stop_run(self) -> None:
        self._crew.first.execute("select maintenance.stop_run(%s)", (self._run,))

    def _lost(self, why: str | None) -> RunnerError:
        lost = "the connection was lost"
        sentence = why if why and why.startswith(lost) else f"{lost}: {why}" if why else lost
        return RunnerError(
            f"{self._policy.name}: {sentence}",
            detail=f"Run {self._run} removed {self._removed:,} rows of it until then.",
            hint="Run the command again: it removes what is left.",
        )

    def _drive(self, resume: list[Any] | None) -> None:
        """Work on what an earlier run came not to, then on everything, then on what was held."""
        if resume is not None:
            self._work(resume)
        if self._order.jobs > 1 and self._ended is None:
            self._finished.clear()
            row = self._crew.first.execute(
                "select maintenance.split_step(%s, %s)",
                (self._step, self._order.jobs * PARTS_PER_JOB),
            ).fetchone()
            assert row is not None
            self._work(row[0])
        if self._ended is None:
            last = None
            if self._order.jobs > 1:
                row = self._crew.first.execute(
                    "select maintenance.join_parts(%s)", (Jsonb(self._finished),)
                ).fetchone()
                assert row is not None
                last = row[0]
            self._work([last])

    def _work(self, parts: Sequence[Any]) -> None:
        """Walk through parts, on as many sessions as there are jobs and parts, and watch."""
        self._parts = deque(parts)
        done: dict[threading.Thread, threading.Event] = {}
        # Not by join: interrupted, it takes a thread for ended that is not (CPython, bpo-45274).
        for session in self._crew.hands(len(parts)):
            ended = threading.Event()
            thread = threading.Thread(target=self._take_parts, args=(session, ended), daemon=True)
            done[thread] = ended
        try:
            self._look()  # before the first batch, not after it
            for thread in done:
                thread.start()
            for ended in done.values():
                while not ended.wait(TICK):
                    self._look()
                    self._report()
        except BaseException as error:
            self._end_with(error, self._crew.first)
            # One that was between two batches was not at anything yet that could be cancelled.
            while any(thread.ident and not ended.is_set() for thread, ended in done.items()):
                with suppress(KeyboardInterrupt):
                    self._crew.cancel()
                    sleep(TICK)
            raise
        self._report()

    def _look(self) -> None:
        """Look whether somebody asks to stop, and what the load is."""
        if self._terms.stopped():
            self._end(_Ended("stopped", "asked to stop by a signal"))
        if self._over.is_set():
            return
        try:
            self._brake.check(self._crew.pids)
        except psycopg.Error as error:
            why = sentence(error)
            self._end(_Ended("error", f"the load cannot be read: {why}", error.sqlstate))
        except RunnerError as error:
            self._end(_Ended("error", f"the load cannot be read: {error.message}"))
        if self._brake.is_worn_out:
            self._end(_Ended("stopped", f"it was held up too long; {self._brake.holding}"))

    def _report(self) -> None:
        held = self._brake.holding
        self._watch(
            Progress(self._policy.name, self._removed, self._expected, str(held) if held else None)
        )

    def _take_parts(self, session: Connection, ended: threading.Event) -> None:
        """Take one part after the other until there is none, or the step ends."""
        try:
            while not self._over.is_set():
                with self._lock:
                    if not self._parts:
                        return
                    self._current[session.info.backend_pid] = self._parts.popleft()
                self._walk(session)
        except BaseException as error:
            self._end_with(error, session)
        finally:
            ended.set()

    def _end_with(self, error: BaseException, session: Connection) -> None:
        """Let the step end for an exception: one that a session raised, or one of this thread."""
        match error:
            # Waiting for an event and interrupted once more, CPython fails to release its lock.
            case KeyboardInterrupt() | RuntimeError(__context__=KeyboardInterrupt()):
                self._is_cancelled = True
                self._end(INTERRUPTED)
            case QueryCanceled():
                self._is_cancelled = True
                self._end(_Ended("stopped", sentence(error), error.sqlstate))
            case psycopg.Error():
                lost = "the connection was lost: " if session.closed else ""
                self._end(_Ended("error", lost + sentence(error), error.sqlstate))
            case RunnerError():
                self._end(_Ended("error", " ".join(filter(None, (error.message, error.detail)))))
            case _:
                self._defect = error
                self._end(_Ended("error", str(error)))

    def _walk(self, session: Connection) -> None:
        """Remove batch after batch of the part that a session is at."""
        pid = session.info.backend_pid
        size = self._order.batch_size or self._policy.batch_size
        while not self._over.is_set():
            if self._brake.holding is not None:
                self._hold(session)
                continue
            taken = self._allowance.take(size)
            removed = 0
            began = monotonic()
            try:
                if self._over.is_set():  # while it waited
                    return
                done = self._drive_batches(session, self._current[pid], max(taken, 1))
                removed = done.removed
            finally:
                self._allowance.settle(taken, removed)
            with self._lock:
                self._removed += removed
                self._current[pid] = done.cursor
                if done.is_done and done.exit_reason is None:
                    self._finished.append(self._current.pop(pid))
                    return
            if done.exit_reason is not None:
                self._is_cancelled |= done.error_code == QueryCanceled.sqlstate
                self._end(_Ended(done.exit_reason, done.message, done.error_code))
                return
            self._over.wait(
                max(
                    done.pause.total_seconds() if done.pause else 0,
                    0 if self._is_full else monotonic() - began,
                )
            )

    def _hold(self, session: Connection) -> None:
        """Wait for a moment, unless the step has to end: no batch asks meanwhile."""
        row = session.execute(
            "select exit_reason, message from maintenance.check_step(%s)", (self._step,)
        ).fetchone()
        if row is not None and row[0] is not None:
            self._end(_Ended(row[0], row[1]))
        self._over.wait(Brake.INTERVAL)

    def _drive_batches(self, session: Connection, part: Any, size: int) -> _Slice:
        """Remove what fits into a slice of time; one batch where a pause or a limit follows."""
        alone = self._is_full and not self._allowance.is_limited
        done = (
            session.cursor(row_factory=class_row(_Slice))
            .execute(
                literal(BATCHES),
                {
                    "step": self._step,
                    "token": self._fence,
                    "size": size,
                    "goal": self._brake.goal,
                    "slice": SLICE if alone else 0,
                    "cursor": None if part is None else Jsonb(part),
                },
            )
            .fetchone()
        )
        assert done is not None
        return done

    def _end(self, ended: _Ended) -> None:
        """Let the step end, for the first reason that is given."""
        with self._lock:
            self._ended = self._ended or ended
        self._over.set()

    def _unfinished(self) -> list[Any]:
        return [*self._current.values(), *self._parts]

    def _vacuum(self) -> Vacuumed:
        """VACUUM the table, gently unless the run was at full speed."""
        connection = self._crew.first
        row = connection.execute(
            "select maintenance.vacuum_command(%s), set_config('vacuum_cost_delay', %s, false)",
            (self._policy.name, "0" if self._is_full else "2ms"),
        ).fetchone()
        assert row is not None
        self._terms.say(row[0])
        began = monotonic()
        with warnings(connection) as heard:
            try:
                connection.execute(literal(row[0]))
            except psycopg.Error as error:
                heard.append(sentence(error))
        return Vacuumed(row[0], monotonic() - began, "; ".join(heard) or None)

    def _result(self, step: int, seconds: float, vacuum: Vacuumed | None = None) -> StepResult:
        row = (
            self._crew.first.cursor(row_factory=dict_row)
            .execute(
                "select policy, operation, relation, exit_reason, message, removed, dependents, "
                "cascaded, bytes, batches, extract(epoch from longest_batch)::float8 as "
                "longest_batch, left_over, sqlstate from maintenance.run_step where id = %s",
                (step,),
            )
            .fetchone()
        )
        assert row is not None
        return StepResult(
            **row,
            action=self._policy.action,
            seconds=seconds,
            title=self._policy.title,
            days=self._policy.days,
            vacuum=vacuum,
        )

    def _failure(self, error: psycopg.Error, seconds: float) -> StepResult:
        """Return what there is to say of a step that could not even be opened, nor logged."""
        return StepResult(
            policy=self._policy.name,
            operation=self._policy.operation,
            relation=self._policy.relation,
            action=self._policy.action,
            exit_reason="error",
            message=sentence(error),
            removed=0,
            dependents=0,
            cascaded=0,
            bytes=None,
            batches=0,
            longest_batch=0,
            seconds=seconds,
            left_over=None,
            sqlstate=error.sqlstate,
            title=self._policy.title,
            days=self._policy.days,
        )


@contextmanager
def warnings(connection: Connection) -> Generator[list[str]]:
    """Collect what the server warns of: VACUUM of another's table is no error to it."""
    heard: list[str] = []

    def hear(report: Diagnostic) -> None:
        heard.append(report.message_primary or "")

    connection.add_notice_handler(hear)
    try:
        yield heard
    finally:
        connection.remove_notice_handler(hear)
