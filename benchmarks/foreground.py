"""Looks at what an application notices of a run, at each pace, and of one DELETE.

Half of many refresh tokens have expired, in random layout. Four clients of pgbench insert a token
and then look for it by its hash, each statement a transaction of its own; a latency is that of the
pair. After two seconds of that the run begins, `runner run` as users call it; what counts is what
the application did between its begin and its end. Last in each turn comes the control, without any
run: each side is compared with the same span of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import pgbench
from benchmarks.copies import TOKENS, USERS, filled, tended_copy
from benchmarks.measuring import (
    COPY,
    Options,
    Spread,
    arguments,
    equal,
    parse,
    roomy_heading,
    roomy_server,
    session,
    short,
    table,
    target,
    turns,
)
from benchmarks.pgbench import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.embedded import Server

CLIENTS = 4
BEFORE = 2.0
"""Seconds of load before a run begins."""
RETENTION = "40 days"
"""Half of the tokens expired before that."""
SCRIPT = f"""
\\set key random(1, 9223372036854775807)
insert into public.refresh_tokens (user_id, token_hash, expires_at)
values (
    lpad(to_hex(1 + (:key)::bigint % {USERS}), 32, '0')::uuid,
    md5((:key)::bigint::text) || md5((-(:key)::bigint)::text),
    now() + interval '7 days'
);
select id, user_id, expires_at
from public.refresh_tokens
where token_hash = md5((:key)::bigint::text) || md5((-(:key)::bigint)::text);
"""
DELETE = "delete from public.refresh_tokens where expires_at < now() - %s::interval"
PERCENTILES = (50, 99, 99.9, 100)


@dataclass(frozen=True)
class Ran:
    """What a run did, and when, in seconds since 1970."""

    began: float
    ended: float
    rows: int
    longest: float
    """Milliseconds of the longest transaction."""


@dataclass(frozen=True)
class Noticed:
    """What the application did during a run, and in the same span of the control."""

    ran: Ran
    during: Log
    control: Log
    failed: int


def command(*words: str, program: Sequence[str] = ("-m", "runner")) -> Callable[[Server], Ran]:
    """Return what carries out a command, ``runner run`` with so many words more."""

    def run(server: Server) -> Ran:
        done = subprocess.run(
            [sys.executable, *program, "run", "refresh_tokens", "--yes", "--json", *words],
            env=os.environ | {"DATABASE_URL": server.url(COPY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"runner run failed: {done.stderr}{done.stdout}")
        document = json.loads(done.stdout)
        step = document["refresh_tokens"]["details"]["refresh_tokens"]
        equal("why it ended", step["exit_reason"], "exhausted")
        began = datetime.fromisoformat(document["metadata"]["timestamp"]).timestamp()
        ended = began + document["metadata"]["duration_seconds"]
        return Ran(began, ended, step["removed"], step["longest_batch"] * 1000)

    return run


def delete(server: Server) -> Ran:
    """Remove the same by one statement."""
    with session(server, COPY) as connection:
        began = time.time()
        rows = connection.execute(DELETE, [RETENTION]).rowcount
        ended = time.time()
    return Ran(began, ended, rows, (ended - began) * 1000)


SIDES = {
    "full": command("--pace", "full"),
    "full, 2 jobs": command("--pace", "full", "--jobs", "2"),
    "polite": command("--pace", "polite"),
    "lag": command("--pace", "lag"),
    "one DELETE": delete,
}


def measure(
    chosen: Options,
    sides: dict[str, Callable[[Server], Ran]] = SIDES,
    before: float = BEFORE,
) -> None:
    """Measure, and print the table."""
    runs, tokens = chosen.runs or 5, chosen.rows(TOKENS)
    with roomy_server() as server:
        with filled(server, "random", tokens) as connection:
            connection.execute("select maintenance.detach_insert_sweep('refresh_tokens')")
        with session(server) as admin:
            title = f"Foreground of a run: {tokens:,} refresh tokens, {CLIENTS} clients"
            roomy_heading(title, runs, admin)
        noticed = _Measured(server, sides, runs, before)
    noticed.show()
    noticed.report()


def beside(
    server: Server, work: Callable[[Server], Ran], before: float
) -> tuple[Ran, float, pgbench.Load]:
    """Let something run while the application works, and say when that began to."""
    settings = {"retention": RETENTION}
    with tended_copy(server, "random", "refresh_tokens", settings):
        began = time.time()
        with pgbench.load(server, COPY, SCRIPT, CLIENTS) as load:
            time.sleep(before)
            ran = work(server)
        return ran, ran.began - began, load


def rest(_server: Server, seconds: float) -> Ran:
    """Do nothing for as long."""
    began = time.time()
    time.sleep(seconds)
    return Ran(began, time.time(), 0, 0)


class _Measured:
    """What the application noticed of each side, turn by turn."""

    def __init__(
        self, server: Server, sides: dict[str, Callable[[Server], Ran]], runs: int, before: float
    ) -> None:
        self.noticed: dict[str, list[Noticed]] = {side: [] for side in sides}
        self.controls: list[Log] = []
        self.failed_alone = 0
        turn: dict[str, tuple[Ran, float, pgbench.Load]] = {}

        def take(side: str) -> float:
            turn[side] = beside(server, sides[side], before)
            return 0

        def control() -> float:
            """Work as long as beside the longest run, and compare them all with that."""
            most = max(lead + ran.ended - ran.began for ran, lead, _ in turn.values())
            resting = partial(rest, seconds=most + 0.1 - before)
            ran, lead, load = beside(server, resting, before)
            start = ran.began - lead
            self.controls.append(Log.read(load.lines, ran.began, ran.ended))
            self.failed_alone += load.failed
            for side, (done, lead, beside_it) in turn.items():
                since = start + lead
                self.noticed[side].append(
                    Noticed(
                        done,
                        Log.read(beside_it.lines, done.began, done.ended),
                        Log.read(load.lines, since, since + done.ended - done.began),
                        beside_it.failed,
                    )
                )
            return 0

        turns(runs, **{side: partial(take, side) for side in sides}, control=control)
        self.noticed = {side: found[1:] for side, found in self.noticed.items()}
        self.controls = self.controls[1:]
        equal("rows removed", *(one.ran.rows for found in self.noticed.values() for one in found))

    def figures(self, side: str, figure: Callable[[Noticed], float]) -> Spread:
        """One figure of each turn."""
        return Spread(tuple(map(figure, self.noticed[side])))

    def throughput(self, side: str) -> Spread:
        """Transactions per second, as a share of the control's."""
        return self.figures(side, lambda one: one.during.rate / one.control.rate)

    def latency(self, side: str, percent: float) -> Spread:
        """Milliseconds that so many per cent do not exceed."""
        return self.figures(side, lambda one: one.during.percentile(percent))

    def slowdown(self, side: str, percent: float) -> Spread:
        """The same, as a multiple of the control's."""
        return self.figures(
            side, lambda one: one.during.percentile(percent) / one.control.percentile(percent)
        )

    def failed(self, side: str) -> int:
        """How many transactions failed, in all turns."""
        return sum(one.failed for one in self.noticed[side])

    def show(self) -> None:
        """Print the tables."""
        alone = [
            Spread(tuple(log.percentile(percent) for log in self.controls))
            for percent in PERCENTILES
        ]
        rate = Spread(tuple(log.rate for log in self.controls))
        rows = [("no run", rate.shown("/s"), *(one.shown("ms") for one in alone))]
        rows += [
            (
                side,
                self.throughput(side).shown("x"),
                *(
                    f"{short(self.latency(side, percent).median)} ms, "
                    f"{self.slowdown(side, percent).shown('x')}"
                    for percent in PERCENTILES
                ),
            )
            for side in self.noticed
        ]
        table(("", "to no run", "p50, to no run", "p99", "p99.9", "max"), rows)
        print()
        table(
            ("", "rows/s", "seconds", "longest transaction"),
            [
                (
                    side,
                    self.figures(
                        side, lambda one: one.ran.rows / (one.ran.ended - one.ran.began)
                    ).shown("/s"),
                    self.figures(side, lambda one: one.ran.ended - one.ran.began).shown("s"),
                    self.figures(side, lambda one: one.ran.longest).shown("ms"),
                )
                for side in self.noticed
            ],
        )

    def report(self) -> None:
        """Print which targets were met."""
        for side in self.noticed:
            if side.startswith("full"):
                target(f"{side}: at least 0.35x of no run", self.throughput(side).median >= 0.35)
                target(f"{side}: max at most 50 ms", self.latency(side, 100).median <= 50)
            if side.startswith(("polite", "lag")):
                target(f"{side}: at least 0.6x of no run", self.throughput(side).median >= 0.6)
                target(f"{side}: p99.9 at most 1.5x", self.slowdown(side, 99.9).median <= 1.5)
        failed = {side: self.failed(side) for side in self.noticed if self.failed(side)}
        print(f"failed: {failed or 'none'}; without a run: {self.failed_alone}")
        target("no statement failed", not failed)


def _choose() -> tuple[Options, dict[str, Callable[[Server], Ran]]]:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES), help="sides")
    options, given = parse(parser)
    return options, {side: SIDES[side] for side in given.only}


if __name__ == "__main__":
    measure(*_choose())
