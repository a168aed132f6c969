"""Starts the embedded server, and the same programs by hand with initdb and pg_ctl.

By hand means PostgreSQL's defaults, but for a socket in the data directory and no TCP, so that it
disturbs no other server.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from benchmarks.measuring import (
    Options,
    Spread,
    heading,
    milliseconds,
    options,
    table,
    target,
    temporary_folder,
)
from runner import programs
from runner.embedded import Server

if TYPE_CHECKING:
    from pathlib import Path

GOAL = 2_000
"""Milliseconds."""
STEPS = ("cold: make and start", "warm: start", "running already")


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs = chosen.runs or 5
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    with temporary_folder() as folder:
        (folder / "ours").mkdir(mode=0o755)
        for _ in range(runs + 1):
            theirs.append(_by_hand(folder / "theirs", Server(folder / "ours")))
            ours.append(_ours(folder / "ours"))
        heading("Start of the embedded server", runs)
        print(programs.run(Server(folder / "ours").bin / "postgres", "--version", account=None))
    rows: list[tuple[str, ...]] = []
    cold = Spread(())
    for number, step in enumerate(STEPS):
        hand, embedded = (
            Spread(tuple(figures[number] for figures in side[1:])) for side in (theirs, ours)
        )
        ratio = embedded.over(hand)
        rows.append((step, hand.shown("ms"), embedded.shown("ms"), ratio.shown("x")))
        cold = cold if cold.values else embedded
    table(("", "by hand", "ours", "ours / by hand"), rows)
    target(f"cold start under {GOAL:,} ms", cold.median < GOAL)


def _ours(folder: Path) -> list[float]:
    server = Server(folder)
    try:
        cold = milliseconds(lambda: Server(folder).start())
        server.stop()
        return [cold, *(milliseconds(lambda: Server(folder).start()) for _ in range(2))]
    finally:
        server.reset()


def _by_hand(folder: Path, server: Server) -> list[float]:
    account = programs.account_for(folder)
    folder.mkdir(mode=0o700)
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)

    def pg_ctl(*words: str) -> None:
        programs.run(server.bin / "pg_ctl", "-D", folder, *words, account=account)

    def start() -> None:
        pg_ctl("start", "-w", "-l", str(folder / "log"), "-o", f"-k '{folder}' -h ''")

    def make_and_start() -> None:
        programs.run(
            server.bin / "initdb", "-D", folder, "-U", "postgres", "-A", "trust", account=account
        )
        start()

    try:
        cold = milliseconds(make_and_start)
        pg_ctl("stop", "-w", "-m", "fast")
        return [cold, milliseconds(start), milliseconds(lambda: pg_ctl("status"))]
    finally:
        if (folder / "postmaster.pid").exists():
            pg_ctl("stop", "-w", "-m", "fast")
        shutil.rmtree(folder)


if __name__ == "__main__":
    measure(options(__doc__))
