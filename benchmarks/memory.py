"""Asks how much memory ``runner run`` takes: with few rows to remove and with very many.

Each run is a process of its own, started by a small one that asks the system for the highest amount
it ever held. Each works on a fresh copy of a database.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.copies import tended_copy
from benchmarks.measuring import (
    COPY,
    Options,
    equal,
    options,
    roomy_heading,
    roomy_server,
    session,
    table,
    target,
    turns,
)
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from runner.embedded import Server

ROWS = {"few": 10_000, "many": 10_000_000}
JOBS = (1, 2)
MOST = 4
"""Megabytes that very many rows may take more than few."""

# What forks has the size of its parent until it is another program: this one is small.
WATCH = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
UNIT = 1024 if sys.platform != "darwin" else 1
"""Bytes in the system's unit of memory."""
TABLE = "create table public.token (id bigint primary key, expires_at timestamptz not null)"
FILL = """
    insert into public.token (id, expires_at)
    select i, now() - interval '2 days' from generate_series(1::bigint, %(rows)s) as i
"""
REGISTER = """
    select maintenance.register_policy('tokens', 'public.token', '{"column": "expires_at"}')
"""


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs = chosen.runs or 3
    amounts = {name: chosen.rows(rows) for name, rows in ROWS.items()}
    with roomy_server() as server:
        for name, rows in amounts.items():
            _fill(server, name, rows)
        with session(server) as admin:
            roomy_heading("Memory of a run", runs, admin)
        sides = {f"{name}, {jobs}": (name, jobs) for name in amounts for jobs in JOBS}
        peaks = turns(
            runs,
            **{
                side: partial(_peak, server, name, amounts[name], jobs)
                for side, (name, jobs) in sides.items()
            },
        )
    table(
        ("jobs", *(f"{rows:,} rows" for rows in amounts.values()), "more"),
        [
            (
                str(jobs),
                *(peaks[f"{name}, {jobs}"].shown("MB") for name in amounts),
                peaks[f"many, {jobs}"].less(peaks[f"few, {jobs}"]).shown("MB"),
            )
            for jobs in JOBS
        ],
    )
    for jobs in JOBS:
        more = peaks[f"many, {jobs}"].less(peaks[f"few, {jobs}"])
        target(f"{jobs} jobs: at most {MOST} MB more", max(more.values) <= MOST)


def _fill(server: Server, name: str, rows: int) -> None:
    with session(server) as admin:
        admin.execute(literal(f"create database {name}"))
    migrate(server.url(name))
    with session(server, name) as connection:
        connection.execute(TABLE)
        connection.execute(FILL, {"rows": rows})
        connection.execute(REGISTER)
        connection.execute("vacuum (analyze)")


def _peak(server: Server, name: str, rows: int, jobs: int) -> float:
    """Run in a fresh copy, and return how many megabytes it held at most."""
    with tended_copy(server, name, "tokens", {}):
        words = [sys.executable, "-m", "runner", "run", "tokens", "--yes", "--json"]
        done = subprocess.run(
            [sys.executable, "-c", WATCH, *words, "--jobs", str(jobs)],
            env=os.environ | {"DATABASE_URL": server.url(COPY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"runner run failed: {done.stderr}{done.stdout}")
    document, _, peak = done.stdout.rstrip().rpartition("\n")
    removed = json.loads(document)["tokens"]["rows_deleted"]
    equal("rows to remove and removed", rows, removed)
    return int(peak) * UNIT / 1_000_000


if __name__ == "__main__":
    measure(options(__doc__))
