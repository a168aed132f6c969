"""What a command prints: text for people, or one JSON document for machines."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import RunnerError

if TYPE_CHECKING:
    from rich.table import Table


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
        if not self.quiet and not self.is_json:
            print(line, file=sys.stderr, flush=True)  # noqa: T201

    def warn(self, line: str) -> None:
        """Warn, on stderr whatever the answer's form."""
        if not self.quiet:
            print(f"warning: {line}", file=sys.stderr, flush=True)  # noqa: T201

    def say(self, line: str) -> None:
        """Print a line of the answer for people."""
        if not self.quiet and not self.is_json:
            print(line, flush=True)  # noqa: T201

    def table(self, table: Table) -> None:
        """Print a table of the answer for people."""
        if self.quiet or self.is_json:
            return
        from rich.console import Console

        # Off a terminal there is no width: a line of a table must not be cut for a pipe.
        Console(width=None if sys.stdout.isatty() else 200).print(table)

    def document(self, answer: Any) -> None:
        """Print the answer for machines."""
        if self.is_json:
            print(json.dumps(answer, default=_plain, indent=2))  # noqa: T201

    def error(self, error: RunnerError) -> None:
        """Say what went wrong: in PostgreSQL's three parts, or as the JSON document."""
        parts = {"error": error.message, "detail": error.detail, "hint": error.hint}
        if self.is_json:
            document = {"message": error.message, "detail": error.detail, "hint": error.hint}
            print(json.dumps({"error": document, "exit_code": int(error.code)}, indent=2))  # noqa: T201
            return
        for label, text in parts.items():
            if text:
                print(f"{label}: {text}", file=sys.stderr)  # noqa: T201


def new_table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """Return an empty table in this product's style; the ``numbers`` columns are flush right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    return table


def _plain(value: Any) -> Any:
    """Turn what our answers are made of into what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
