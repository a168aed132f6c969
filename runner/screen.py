"""What a command prints: text for people, or one JSON document for machines."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from shutil import get_terminal_size
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TextIO

from runner.documents import plain
from runner.errors import RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table

    from runner.locks import BuildProgress
    from runner.steps import Progress

NOW_AND_THEN = 30.0
"""Seconds between two lines on a build, off a terminal."""

CONTROLS = {
    code: chr(code).encode("unicode_escape").decode()
    for code in (
        *range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
}  # fmt: skip
"""Characters that a terminal obeys, or that reorder a line, and how they are shown instead: names
in a database are anybody's."""

LINES = {code: shown for code, shown in CONTROLS.items() if chr(code) not in "\n\t"}
"""The same for text that may have several lines."""


class Output(StrEnum):
    """How to answer."""

    TEXT = "text"
    JSON = "json"


class Screen:
    """Prints a command's answer to stdout, and what happens meanwhile to stderr."""

    def __init__(self, output: Output, *, quiet: bool = False) -> None:
        self.is_json = output is Output.JSON
        self.quiet = quiet

    def note(self, line: str) -> None:
        """Say what happens: for people, and on stderr, so that an answer can be piped."""
        if not self.quiet:
            self.ask(line)

    def ask(self, line: str) -> None:
        """Print, also when quiet, what somebody has to know who is asked to confirm it."""
        if not self.is_json:
            _print(line, sys.stderr)

    def warn(self, line: str) -> None:
        """Warn, on stderr whatever the answer's form."""
        if not self.quiet:
            _print(f"warning: {line}", sys.stderr)

    def say(self, line: str) -> None:
        """Print a line of the answer for people."""
        if not self.quiet and not self.is_json:
            _print(line, sys.stdout)

    def table(self, table: Table) -> None:
        """Print a table of the answer for people."""
        if self.quiet or self.is_json or sys.stdout is None:
            return
        from rich.console import Console

        # Off a terminal there is no width: a line of a table must not be cut for a pipe.
        # What stands in brackets or between colons is a name, and neither a style nor an emoji.
        width = None if sys.stdout.isatty() else 1000
        with suppress(OSError):
            Console(width=width, markup=False, emoji=False).print(table)

    def fits(self, width: int) -> bool:
        """Whether lines of that width fit on the terminal. Off a terminal there is any room."""
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        return not is_terminal or width <= get_terminal_size().columns

    def document(self, answer: Any) -> None:
        """Print the answer for machines."""
        if self.is_json:
            _print(json.dumps(answer, default=plain, indent=2), sys.stdout)

    def error(self, error: RunnerError) -> None:
        """Say what went wrong: in PostgreSQL's three parts, or as the JSON document."""
        parts = {"error": error.message, "detail": error.detail, "hint": error.hint}
        if self.is_json:
            document = {"message": error.message, "detail": error.detail, "hint": error.hint}
            answer = {"error": document, "exit_code": int(error.code)}
            _print(json.dumps(answer, indent=2), sys.stdout)
            return
        for label, text in parts.items():
            if text:
                _print(f"{label}: {text}", sys.stderr)


class Bar:
    """A progress bar on stderr, for people at a terminal: rows, rate and what is left to go."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and sys.stderr is not None and sys.stderr.isatty()
        self._rich: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._rich = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[rows]}", markup=False),
                TimeRemainingColumn(),
                TextColumn("{task.fields[waiting]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rich is not None:
            self._rich.stop()

    def show(self, progress: Progress) -> None:
        """Show how far a step is; one line for each policy."""
        if self._rich is None:
            return
        if progress.policy not in self._tasks:
            self._tasks[progress.policy] = self._rich.add_task(
                progress.policy, total=None, rows="", waiting=""
            )
        task = self._tasks[progress.policy]
        expected = progress.expected
        speed = self._rich.tasks[task].speed
        self._rich.update(
            task,
            completed=progress.removed,
            # More rows than were estimated: how many are left to go is not known any more.
            total=expected if expected and expected >= progress.removed else None,
            rows=f"{progress.removed:,}"
            + (f" of about {expected:,} {progress.unit}" if expected else f" {progress.unit}")
            + (f", {speed:,.0f}/s" if speed else ""),
            waiting=f"waits: {progress.waiting}" if progress.waiting else progress.at or "",
        )


class BuildBar:
    """How far an index is: a bar on stderr at a terminal, and off it a line now and then."""

    def __init__(self, note: Callable[[str], None], *, shown: bool) -> None:
        self._note = note
        self._has_bar = shown and sys.stderr is not None and sys.stderr.isatty()
        self._rich: RichProgress | None = None
        self._task: TaskID | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rich is not None:
            self._rich.stop()

    def show(self, progress: BuildProgress) -> None:
        """Show the phase, and how much of it is done."""
        if not self._has_bar:
            self._say(progress)
            return
        if self._rich is None or self._task is None:
            self._start()
        assert self._rich is not None
        assert self._task is not None
        self._rich.update(
            self._task,
            description=progress.name,
            completed=progress.percent or 0,
            total=None if progress.percent is None else 100,
            phase=progress.phase,
            waiting=f"waits for pid {progress.waits_for[0].pid}" if progress.waits_for else "",
        )

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._rich = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[phase]}", markup=False),
            TextColumn("{task.fields[waiting]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._rich.add_task("", total=None, phase="", waiting="")
        self._rich.start()

    def _say(self, progress: BuildProgress) -> None:
        now = monotonic()
        if self._next == 0.0:
            self._next = now + NOW_AND_THEN
        if now < self._next:
            return
        self._next = now + NOW_AND_THEN
        percent = "" if progress.percent is None else f", {progress.percent:.0f} %"
        self._note(f"{progress.name}: {progress.phase}{percent}")


def new_table(*columns: str, numbers: tuple[str, ...] = (), wraps: bool = False) -> Table:
    """Return an empty table in this product's style; the ``numbers`` columns are flush right.

    Where the terminal is too narrow, cells are cut, or continued in the next line if it ``wraps``.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in numbers else "left",
            no_wrap=not wraps,
            overflow="fold" if wraps else "ellipsis",
        )
    return table


def cells(*values: object) -> list[str]:
    """Write values as the cells of a row: nothing for None, and control characters spelled out."""
    return [_cell(value) for value in values]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S %Z}"
    return str(value).translate(CONTROLS)


def _print(text: str, stream: TextIO | None) -> None:
    """Print a line, and go on when nobody reads it: a closed pipe must not stop work half-way."""
    if stream is None:
        return
    try:
        print(text.translate(LINES), file=stream, flush=True)
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def moment(time: datetime | None) -> str:
    """Return a time for people, to the second; nothing for none."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S %Z}"


def byte_size(size: float) -> str:
    """Return a size for people, in the unit that leaves up to three digits before the point."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
