"""Ctrl-C and SIGTERM: the first asks to stop between two steps, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def stop_requests(say: Callable[[str], None]) -> Generator[Callable[[], bool]]:
    """Within the block, turn the first SIGINT or SIGTERM into a True from the yielded function.

    The second raises KeyboardInterrupt, which rolls the transaction in hand back.
    """
    requested: list[int] = []

    def request(number: int, _: FrameType | None) -> None:
        if requested:
            raise KeyboardInterrupt
        requested.append(number)
        with suppress(RuntimeError):  # the signal came in the middle of another line
            say("stopping after this step; once more to stop at once")

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(requested)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
