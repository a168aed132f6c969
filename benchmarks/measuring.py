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
from functools import cached_property, partial
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
ROOMY = {
    "shared_buffers": "2GB",
    "work_mem": "64MB",
    "random_page_cost": "1.1",
    "max_wal_size": "8GB",
    "min_wal_size": "4GB",
    "checkpoint_timeout": "30min",
}
"""Room enough for the data, and no checkpoint in the middle of a run."""
LAST_RUN = """
    select
        sum(step.removed)::bigint,
        extract(epoch from max(step.longest_batch))::float8 * 1000,
        sum(step.batches)::bigint,
        string_agg(distinct step.exit_reason, ', ')
    from maintenance.run_step as step
    where step.run = (select max(latest.run) from maintenance.run_step as latest)
"""


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


@dataclass(frozen=True)
class Done:
    """What one run of a side removed, and at what price."""

    rows: int
    ms: float
    wal: int
    """Bytes of write-ahead log."""
    longest: float
    """Milliseconds of the longest transaction."""
    batches: int


class Removals:
    """What several sides removed, turn by turn. The first one is what the others are held to."""

    def __init__(self, runs: int, sides: Mapping[str, Callable[[], Done]]) -> None:
        done: dict[str, list[Done]] = {side: [] for side in sides}

        def turn(side: str, work: Callable[[], Done]) -> float:
            done[side].append(work())
            return done[side][-1].ms

        self.times = turns(
            runs, **{side: partial(turn, side, work) for side, work in sides.items()}
        )
        self.done = {side: found[1:] for side, found in done.items()}
        self.first = next(iter(sides))
        equal("rows removed", *(one.rows for found in done.values() for one in found))

    def speed(self, side: str, other: str | None = None) -> Spread:
        """Rows per second, as a multiple of another side's."""
        return self.times[other or self.first].over(self.times[side])

    def wal(self, side: str) -> Spread:
        """Bytes of the log, as a multiple of what the first side wrote."""
        return Spread(tuple(one.wal for one in self.done[side])).over(
            Spread(tuple(one.wal for one in self.done[self.first]))
        )

    def longest(self, side: str) -> Spread:
        """Milliseconds of the longest transaction."""
        return Spread(tuple(one.longest for one in self.done[side]))

    def rows(self, title: str, names: Mapping[str, str]) -> list[tuple[str, ...]]:
        """The lines of the table."""
        return [
            (
                title,
                names[side],
                Spread(tuple(one.rows * 1000 / one.ms for one in found)).shown("/s"),
                self.speed(side).shown("x"),
                self.wal(side).shown("x"),
                f"{median(one.batches for one in found):,.0f}",
                self.longest(side).shown("ms"),
            )
            for side, found in self.done.items()
        ]


def removal(connection: Connection, work: Callable[[], tuple[int, float, int]]) -> Done:
    """Time what returns rows, milliseconds of its longest batch (0: it is one), and batches."""
    before = scalar(connection, "select pg_current_wal_insert_lsn()")
    began = time.perf_counter()
    rows, longest, batches = work()
    ms = (time.perf_counter() - began) * 1000
    wal = scalar(
        connection, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %(before)s)", before=before
    )
    return Done(rows, ms, int(wal), longest or ms, batches)


def logged(connection: Connection) -> tuple[int, float, int]:
    """Return of the last run: rows, milliseconds of the longest batch, and batches."""
    row = connection.execute(literal(LAST_RUN)).fetchone()
    assert row
    equal("why it ended", row[3], "exhausted")
    return row[0], row[1], row[2]


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
def roomy_server() -> Generator[Server]:
    """Lend a server with room for large tables."""
    with private_server() as server:
        with session(server) as admin:
            for name, value in ROOMY.items():
                admin.execute(literal(f"alter system set {name} = '{value}'"))
        server.stop()
        server.start()
        yield server


@contextmanager
def fresh_copy(server: Server, template: str) -> Generator[Connection]:
    """Lend a session in a fresh copy of a database, called "copy"; CHECKPOINT is the caller's."""
    with session(server) as admin:
        admin.execute("drop database if exists copy (force)")
        admin.execute(literal(f"create database copy template {template} strategy file_copy"))
    with session(server, "copy") as connection:
        connection.execute("select maintenance.adopt_clone()")
        yield connection


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


def roomy_heading(title: str, runs: int, connection: Connection) -> None:
    """Print the same of a roomy server."""
    heading(title, runs)
    shown = (f"{name} {scalar(connection, f'show {name}')}" for name in ROOMY)
    print(f"PostgreSQL {scalar(connection, 'show server_version')}; {', '.join(shown)}")


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
