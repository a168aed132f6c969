"""How every benchmark here measures and reports.

The two sides take turns, A B A B, on the same data: whatever slows the machine down for a while
slows both, and the ratio is taken within each turn. One turn goes before those that count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import Connection

from runner.connection import literal
from runner.embedded import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

    from psycopg.errors import Diagnostic

CHOICE = "RUNNER_PG_BIN"
SETTINGS = ("shared_buffers", "work_mem", "fsync", "synchronous_commit", "autovacuum", "jit")


@dataclass(frozen=True)
class Options:
    """What the user may choose."""

    runs: int | None = None
    """How many turns count; None: what the benchmark needs."""
    size: float = 1.0
    """Share of the full amount of data."""

    def rows(self, full: int) -> int:
        """Scale a number of rows."""
        return max(1, round(full * self.size))


def options(description: str | None) -> Options:
    """Read the command line of a benchmark that has no options of its own."""
    return parse(arguments(description))[0]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Begin a command line: with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, help="turns that count (default: 5; processes: 9; inserts: 3)"
    )
    parser.add_argument("--size", type=float, default=1.0, help="share of the rows (default: 1)")
    return parser


def parse(parser: argparse.ArgumentParser) -> tuple[Options, argparse.Namespace]:
    """Read a command line, and let a SIGTERM clean up like Ctrl-C."""
    given = parser.parse_args()
    if (given.runs is not None and given.runs < 1) or given.size <= 0:
        parser.error("--runs and --size must be positive")
    signal.signal(signal.SIGTERM, _terminated)
    return Options(given.runs, given.size), given


def _terminated(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @cached_property
    def median(self) -> float:
        """The figure to quote."""
        return median(self.values)

    def shown(self, unit: str = "") -> str:
        """Median, and in brackets the lowest and the highest."""
        quoted = f"{short(self.median)} {unit}".rstrip()
        return f"{quoted} ({short(min(self.values))}-{short(max(self.values))})"

    def over(self, other: Spread) -> Spread:
        """Divide turn by turn."""
        return Spread(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def less(self, other: Spread) -> Spread:
        """Subtract turn by turn."""
        return Spread(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))


def short(value: float) -> str:
    """Print what matters of a figure."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.1g}"


@dataclass(frozen=True)
class Call:
    """One timed call."""

    ms: float
    value: object
    """What it returned, or how many rows it touched."""
    wal: int
    """Bytes of write-ahead log."""


def milliseconds(work: Callable[[], object]) -> float:
    """Time one piece of work."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def turns(runs: int, **sides: Callable[[], float]) -> dict[str, Spread]:
    """Measure each side in turn, ``runs`` times after one turn that does not count."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(runs + 1):
        for name, side in sides.items():
            figure = side()
            if turn:
                measured[name].append(figure)
    return {name: Spread(tuple(figures)) for name, figures in measured.items()}


def call(
    connection: Connection, statement: str, parameters: Mapping[str, object] | None = None
) -> Call:
    """Time one statement, in the transaction of the caller."""
    before = scalar(connection, "select pg_current_wal_insert_lsn()")
    began = time.perf_counter()
    cursor = connection.execute(literal(statement), parameters)
    row = cursor.fetchone() if cursor.description else (cursor.rowcount,)
    ms = (time.perf_counter() - began) * 1000
    wal = scalar(
        connection, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %(before)s)", before=before
    )
    return Call(ms, row[0] if row else None, int(wal))


@contextmanager
def undone(connection: Connection, *, checkpoint: bool = True) -> Generator[None]:
    """Undo the work afterwards; CHECKPOINT first, so that each page is logged in full again."""
    if checkpoint:
        connection.execute("checkpoint")
    with connection.transaction(force_rollback=True):
        yield


def scalar(connection: Connection, statement: str, **parameters: object) -> str:
    """Return the one value that a statement returns, as text."""
    row = connection.execute(literal(statement), parameters or None).fetchone()
    return str(row[0]) if row else ""


def plan(
    connection: Connection, statement: str, parameters: Mapping[str, object] | None = None
) -> str:
    """Name the nodes that read tables, also below a function's call, outermost first."""
    found: dict[str, None] = {}

    def heard(diagnostic: Diagnostic) -> None:
        text = diagnostic.message_primary or ""
        if "plan:\n" in text:
            found.update(dict.fromkeys(_reading(json.loads(text.partition("plan:\n")[2])["Plan"])))

    connection.execute("load 'auto_explain'")
    connection.add_notice_handler(heard)
    with undone(connection):
        for name, value in (
            ("log_format", "json"),
            ("log_level", "notice"),
            ("log_nested_statements", "on"),
            ("log_min_duration", "0"),
        ):
            connection.execute("select set_config(%s, %s, true)", (f"auto_explain.{name}", value))
        found.clear()
        connection.execute(literal(statement), parameters)
        connection.execute("select")  # ends the statement before it, which is logged only then
    connection.remove_notice_handler(heard)
    return ", ".join(found)


def _reading(node: dict[str, Any]) -> Iterator[str]:
    kind: str = node["Node Type"]
    if "Scan" in kind and not kind.startswith(("CTE", "Subquery", "Function")):
        name = node.get("Index Name") or node.get("Relation Name")
        yield f"{kind} on {name}" if name else kind
    for below in node.get("Plans", ()):
        yield from _reading(below)


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Lend a folder in which the server of root, who runs it as another user, can be."""
    folder = Path(tempfile.mkdtemp(prefix="pgm-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_server(binaries: Path | None = None) -> Generator[Server]:
    """Lend a durable server with PostgreSQL's default settings; it is gone afterwards.

    ``binaries`` is the folder of its programs; None: those that every command would take.
    """
    with temporary_folder() as folder:
        with _chosen(binaries):
            server = Server(folder)
        try:
            server.start()
            yield server
        finally:
            server.reset()
            # elsewhere if the path is long, and there before there is anything to reset
            shutil.rmtree(server.socket_folder, ignore_errors=True)


@contextmanager
def _chosen(binaries: Path | None) -> Generator[None]:
    """Choose the programs of a server that is made meanwhile: it asks the environment, and once."""
    before = os.environ.get(CHOICE)
    if binaries is not None:
        os.environ[CHOICE] = str(binaries)
    try:
        yield
    finally:
        os.environ.pop(CHOICE, None)
        if before is not None:
            os.environ[CHOICE] = before


@contextmanager
def session(server: Server, database: str = "postgres") -> Generator[Connection]:
    """Open a connection in autocommit mode."""
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        yield connection


def machine() -> str:
    """Describe where this runs."""
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )


def heading(title: str, runs: int, connection: Connection | None = None) -> None:
    """Print what is measured, where, how often and under which settings."""
    print(f"\n{title}\n{'-' * len(title)}")
    where = machine()
    if connection is not None:
        where = f"PostgreSQL {scalar(connection, 'show server_version')}, {where}"
    print(f"{where}; {runs} runs, taking turns")
    if connection is not None:
        shown = (f"{name} {scalar(connection, f'show {name}')}" for name in SETTINGS)
        print(f"default settings: {', '.join(shown)}")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in (lines[0], ["-" * width for width in widths], *lines[1:]):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(),
            flush=True,
        )


def target(what: str, met: bool) -> None:
    """Print whether a target was met. It is a report, not a test: nothing fails."""
    print(f"target {what}: {'met' if met else 'MISSED'}", flush=True)


def goal(what: str, met: bool) -> None:
    """Print whether a goal was reached, which is more than the target."""
    print(f"goal {what}: {'reached' if met else 'not reached'}", flush=True)


def equal(what: str, *values: object) -> None:
    """Stop the benchmark when the sides did not do the same work."""
    if len(set(map(str, values))) != 1:
        raise SystemExit(f"the sides differ in {what}: {values}")
