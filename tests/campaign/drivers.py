"""Whoever carries policies out in a round: commands, procedures, single batches; all at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psycopg

from runner.errors import Exit
from tests.campaign.schema import literal
from tests.campaign.workload import LEVELS, GaveUpError
from tests.statements import execute

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from psycopg import Connection

DEFECTS = ("21", "22", "23", "42", "XX")
"""Classes of errors that no accident brings about: they would be mistakes in the package."""
PATIENCE = 25
INTERRUPTED = 130
"""Exit status of a program that was interrupted."""


ACCIDENTS = (
    "08", "40001", "40P01", "53100", "55P03", "57014", "57P01", "57P02", "57P03",
)  # fmt: skip
"""Errors that a step may end with: lost, in conflict, out of room or patience, cancelled."""
LOST = ("the connection was lost", "the load cannot be read")


def is_accident(code: str | None, said: str) -> bool:
    """Tell whether a step may end with an error, as things went in its round."""
    return (
        (code is not None and code.startswith(ACCIDENTS))
        or said.startswith(LOST)
        or "File too large" in said
    )


def is_defect(code: str | None, said: str) -> bool:
    """Tell whether an error would be a mistake in the package; a file at its limit is none."""
    return (code or "").startswith(DEFECTS) and "File too large" not in said


@dataclass(frozen=True)
class Command:
    """A `runner run` with its arguments, that starts so many seconds after the round."""

    arguments: tuple[str, ...]
    delay: float


@dataclass(frozen=True)
class Session:
    """A session that carries policies out again and again: by a procedure, or batch by batch."""

    kind: str
    policies: tuple[str, ...]
    level: str
    size: int
    delay: float
    seed: int


def draw_commands(random: Random, policies: tuple[str, ...]) -> tuple[Command, ...]:
    """Draw the commands of a round: two as a rule."""
    return tuple(
        Command(tuple(_arguments(random, policies)), random.choice([0, 0, 0.1, 0.3]))
        for _ in range(random.choice([0, 1, 2, 2, 2]))
    )


def _arguments(random: Random, policies: tuple[str, ...]) -> list[str]:
    arguments = ["run", *random.choice([["--all"], random.sample(policies, len(policies))])]
    arguments += ["--batch-size", str(random.choice([1, 3, 10, 40, 1000]))]
    if random.random() < 0.4:
        arguments += ["--jobs", "2"]
    if random.random() < 0.2:
        arguments += ["--max-rows", str(random.randint(1, 150))]
    if random.random() < 0.2:
        arguments += ["--max-duration", random.choice(["1s", "0.3"])]
    if random.random() < 0.3:
        arguments += ["--pace", random.choice(["polite", "lag"])]
    if random.random() < 0.2:
        arguments += ["--vacuum"]
    return arguments


def draw_sessions(
    random: Random, policies: tuple[str, ...], *, is_alone: bool
) -> tuple[Session, ...]:
    """Draw the sessions of a round: at least one, if there is no command."""
    kinds = ["run_policy", "run_policy", "run_operations", "purge_batch"]
    drawn: list[Session] = []
    for _ in range(random.choice([1, 2] if is_alone else [0, 1, 1, 2])):
        kind = random.choice(kinds)
        # a single batch is refused at any level but one; whoever commits sees to that himself
        level = "read committed" if kind == "purge_batch" else random.choice(LEVELS)
        drawn.append(Session(
            kind, policies, level, random.choice([1, 5, 30, 1000]), random.choice([0, 0.1, 0.4]),
            random.getrandbits(32),
        ))  # fmt: skip
    return tuple(drawn)


class Running:
    """A command that runs."""

    def __init__(self, command: Command, url: str) -> None:
        """Start it."""
        self.command = command
        self._was_told = False
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  a pipe could fill up
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runner", *command.arguments],
            env=os.environ | {"DATABASE_URL": url},
            stdin=subprocess.DEVNULL, stdout=self._out, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._was_told = True
        self._process.send_signal(number)

    def end(self) -> None:
        """Ask it to end, and see to it that it ended well."""
        if not self.is_done:
            self.signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired as late:
            message = f"{self.command} does not end {PATIENCE} s after SIGTERM:\n{self._said()}"
            raise GaveUpError(message) from late
        code = self._process.returncode
        fine = [Exit.DONE, Exit.FAILED, Exit.BUSY, -signal.SIGKILL]
        if self._was_told and code in (-signal.SIGTERM, -signal.SIGINT, INTERRUPTED):
            return  # before it could listen
        said = self._said()
        if code not in fine or "Traceback" in said:
            message = f"{self.command} ended with {code}:\n{said}"
            raise GaveUpError(message)

    def kill(self) -> None:
        """Kill it, if it still runs, and let go of what it said."""
        self._process.kill()
        self._process.wait()
        self._out.close()

    def _said(self) -> str:
        self._out.seek(0)
        return self._out.read().decode(errors="replace")


class Driver:
    """A session of the database that carries policies out."""

    def __init__(self, plan: Session, connect: Callable[[str], Connection]) -> None:
        """connect opens a session of a name."""
        self.plan = plan
        self.random = Random(plan.seed)
        self.failure: BaseException | None = None
        self.said: dict[str, int] = {}
        self._connect = connect

    def work(self, end: Event) -> None:
        """Carry policies out to the end."""
        end.wait(self.plan.delay)
        try:
            while not end.is_set():
                # its session may be lost at any time
                with suppress(psycopg.OperationalError), self._connect("driver") as session:
                    execute(session, f"set default_transaction_isolation = '{self.plan.level}'")
                    while not end.is_set() and not session.closed:
                        self._drive(session)
                        end.wait(self.random.choice([0, 0.01, 0.1]))
        except BaseException as failure:
            self.failure = failure

    def _drive(self, session: Connection) -> None:
        policy = literal(self.random.choice(self.plan.policies))
        try:
            if self.plan.kind == "purge_batch":
                self._purge(session, policy)
            elif self.plan.kind == "run_operations":
                execute(session, "call maintenance.run_operations(array['cleanup'])")
            else:
                execute(
                    session,
                    f"call maintenance.run_policy({policy}, batch_size => {self.plan.size})",
                )
        except psycopg.Error as error:
            code = str(error.sqlstate)
            self.said[code] = self.said.get(code, 0) + 1
            if is_defect(code, str(error)):
                message = f"{self.plan}: {code}: {error}"
                raise GaveUpError(message) from error
            with suppress(psycopg.OperationalError):
                execute(session, "rollback")

    def _purge(self, session: Connection, policy: str) -> None:
        """Remove some batches, one transaction each, and note in it how many rows went."""
        cursor = "null"
        for _ in range(self.random.randint(1, 30)):
            execute(session, "begin")
            found = execute(
                session,
                f"select removed, is_done, next_cursor::text from maintenance.purge_batch({policy},"
                f" null, {cursor}, {self.plan.size})",
            ).fetchone()
            assert found is not None
            removed, is_done, after = found
            execute(
                session,
                f"insert into campaign.by_hand (policy, removed) values ({policy}, {removed})",
            )
            execute(session, "rollback" if self.random.random() < 0.1 else "commit")
            cursor = f"{literal(after)}::jsonb"
            if is_done:
                break


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Wait for something for a while, and return whether it came to pass."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(0.01)
    return True
