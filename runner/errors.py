"""The one exception that a user may see, and the exit codes that every command shares."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import Error


class Exit(IntEnum):
    """What a command's exit status says."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BUSY = 3
    """The same work is already running elsewhere."""
    REFUSED = 4
    """A guard refused, or the user did not confirm; nothing was changed."""
    FINDINGS = 5
    """A question was answered, and the answer needs attention: pending, changed or missing."""


class RunnerError(Exception):
    """Something that the user has to know, in PostgreSQL's own three parts.

    ``message`` is one clause without a full stop; ``detail`` and ``hint`` are sentences, and the
    hint is something to do. ``code`` becomes the exit status of the command.
    """

    def __init__(
        self,
        message: str,
        *,
        detail: str | None = None,
        hint: str | None = None,
        code: Exit = Exit.FAILED,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        self.code = code


def sentence(error: Error) -> str:
    """Return what PostgreSQL, or its driver, reports as one sentence."""
    return error.diag.message_primary or " ".join(str(error).split())


def reported(error: Error, *, hint: str | None = None, code: Exit = Exit.FAILED) -> RunnerError:
    """Put what PostgreSQL reports into our form; ``hint`` goes before its own."""
    return RunnerError(
        sentence(error),
        detail=error.diag.message_detail,
        hint=hint or error.diag.message_hint,
        code=code,
    )
