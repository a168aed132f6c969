"""How much of the server a run takes."""

from __future__ import annotations

from enum import StrEnum


class Pace(StrEnum):
    """How much of the server a run takes."""

    FULL = "full"
    """As fast as batches go."""
    POLITE = "polite"
    """Short batches, and after each a pause as long as it took: half of a session's time."""
    LAG = "lag"
    """Polite, and waits while a replica lags, WAL is not archived or an old snapshot is held."""


GOALS = {Pace.FULL: 0.050, Pace.POLITE: 0.002, Pace.LAG: 0.002}
"""How long a batch should take, in seconds. Whatever waits for the run's locks waits as long."""

SHORTEST = 0.001
"""Batches are not made shorter than that, in seconds, whoever waits for their locks."""

PATIENCE = 600.0
"""Seconds after which a run that waits for a replica, the archiver or a snapshot gives up."""
