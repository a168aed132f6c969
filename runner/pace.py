"""How a run makes room for the application: pauses, shorter batches, and waiting for others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from psycopg import Connection


class Pace(StrEnum):
    """How much of the server a run takes."""

    FULL = "full"
    """As fast as batches go."""
    POLITE = "polite"
    """Short batches, and after each a pause as long as it took: half of a session's time."""
    LAG = "lag"
    """Polite, and waits while a replica lags, WAL is not archived or an old snapshot is held."""


GOALS = {Pace.FULL: 0.050, Pace.POLITE: 0.010, Pace.LAG: 0.010}
"""How long a batch should take, in seconds. Whatever waits for the run's locks waits as long."""

SHORTEST = 0.002
"""Batches are not made shorter than that, in seconds, whoever waits for their locks."""

PATIENCE = 600.0
"""Seconds after which a run that waits for a replica, the archiver or a snapshot gives up."""


@dataclass(frozen=True)
class Signal:
    """Something that a run gives way to, as the server has it now."""

    signal: str
    is_high: bool | None
    """None where it is unknown."""
    value: str | None
    needs: str | None
    """The right without which it is unknown."""

    def __str__(self) -> str:
        if self.is_high is None:
            return f"{self.signal}: unknown, needs {self.needs}"
        return f"{self.signal}: {self.value}"


LOCK_WAITERS = "lock waiters"
"""The one signal that asks for shorter batches; the others ask to wait."""


class Brake:
    """Reads the signals for a run at pace ``lag``, on a connection of its own.

    ``pids`` are the sessions of the run. ``check`` is cheap to call often: it reads every half
    second. It holds the run up (``holding``) or shortens its batches (``goal``).
    """

    INTERVAL = 0.5

    def __init__(self, url: str, pace: Pace) -> None:
        self.goal = GOALS[pace]
        self.holding: Signal | None = None
        self.signals: list[Signal] = []
        self._url = url
        self._watches = pace is Pace.LAG
        self._stack = ExitStack()
        self._connection: Connection | None = None
        self._next = 0.0
        self._since: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def check(self, pids: Sequence[int]) -> None:
        """Read the signals if it is time to. Raises what psycopg raises where that fails."""
        if not self._watches or monotonic() < self._next:
            return
        from psycopg.rows import class_row  # the command line knows paces without a driver

        from runner.database import installed

        if self._connection is None:
            self._connection = self._stack.enter_context(
                installed(self._url, program="runner run (watching)")
            )
        self.signals = (
            self._connection.cursor(row_factory=class_row(Signal))
            .execute("select * from maintenance.load_signals(%s)", (list(pids),))
            .fetchall()
        )
        high = [one for one in self.signals if one.is_high]
        if any(one.signal == LOCK_WAITERS for one in high):
            self.goal = max(self.goal / 2, SHORTEST)
        else:
            self.goal = min(self.goal * 1.1, GOALS[Pace.LAG])
        self.holding = next((one for one in high if one.signal != LOCK_WAITERS), None)
        if self.holding is None:
            self._since = None
        elif self._since is None:
            self._since = monotonic()
        self._next = monotonic() + self.INTERVAL

    @property
    def is_worn_out(self) -> bool:
        """Whether the run has been held up for longer than it has patience."""
        return self._since is not None and monotonic() - self._since > PATIENCE
