"""Removes the expired among many refresh tokens: one DELETE, the usual loop, and a policy's run.

Each run works on a fresh copy of a database, right after a CHECKPOINT: every page that changes is
logged whole once, whoever changes it. In the random layout the time at which a token expires says
nothing about its place in the table, in the correlated one both go up together.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.copies import COPY, LAYOUTS, TOKENS, filled, fresh_copy, room, roomy_server
from benchmarks.measuring import (
    Options,
    Spread,
    call,
    equal,
    heading,
    options,
    scalar,
    session,
    table,
    target,
    turns,
    undone,
)
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from psycopg import Connection

    from runner.embedded import Server

TABLES = 2_000
USUAL_LOOP = """
    create procedure public.usual_loop(
        cutoff timestamptz,
        inout removed bigint default 0,
        inout longest_ms double precision default 0,
        inout batches bigint default 0
    )
    language plpgsql
    as $procedure$
    declare
        v_began timestamptz;
        v_rows bigint;
    begin
        loop
            v_began := clock_timestamp();

            delete from public.refresh_tokens
            where ctid = any (
                array(
                    select ctid
                    from public.refresh_tokens
                    where expires_at < cutoff
                    order by expires_at
                    limit 10000
                    for update skip locked
                )
            );

            get diagnostics v_rows = row_count;
            commit;
            exit when v_rows = 0;
            longest_ms := greatest(
                longest_ms, extract(epoch from clock_timestamp() - v_began) * 1000
            );
            removed := removed + v_rows;
            batches := batches + 1;
        end loop;
    end;
    $procedure$;
"""
DELETE = "delete from public.refresh_tokens where expires_at < now() - %(retention)s::interval"
CALL_LOOP = "call public.usual_loop(now() - %(retention)s::interval)"
CALL_OURS = "call maintenance.run_policy('refresh_tokens')"
OPEN = """
    select opened.step, opened.token, opened.exit_reason
    from maintenance.open_step(%(run)s, 'refresh_tokens') as opened
"""
BATCH = """
    select batch.exit_reason, batch.next_cursor::text
    from maintenance.run_batch(%(step)s, %(token)s, %(cursor)s::jsonb) as batch
"""
CLOSE = """
    select
        maintenance.close_step(%(step)s, %(token)s, %(reason)s),
        maintenance.close_run(%(run)s)
"""
LAST_STEP = """
    select
        step.removed, extract(epoch from step.longest_batch)::float8 * 1000, step.batches,
        step.exit_reason
    from maintenance.run_step as step
    order by step.id desc
    limit 1
"""
MANY = """
    do $do$
    begin
        for i in 0 .. 499 loop
            execute format(
                'create table public.token_%s (id bigint primary key, expires_at timestamptz)',
                {first} + i
            );
        end loop;
    end;
    $do$
"""
REGISTER = """
    select maintenance.register_policy('mine', 'public.token_7', '{"column": "expires_at"}')
"""
GUARD = {"guarded": {"guard_share": 0.5}}


@dataclass(frozen=True)
class Done:
    """What one run did."""

    rows: int
    ms: float
    wal: int
    longest: float
    """Milliseconds of the longest transaction."""
    batches: int


@dataclass(frozen=True)
class Case:
    """Some share of a table, and who removes it."""

    title: str
    layout: str
    retention: str
    sides: tuple[str, ...]
    snapshot: bool = False
    """Whether another session holds a snapshot from before."""


CASES = (
    Case(
        "25 %, random",
        "random",
        "65 days",
        ("DELETE", "in order", "loop", "ours", "waiting", "guarded"),
    ),
    Case("90 %, random", "random", "0", ("DELETE", "ours", "waiting")),
    Case("1 %, correlated", "correlated", "89 days", ("DELETE", "ours")),
    Case("10 %, old snapshot", "correlated", "80 days", ("DELETE", "ours"), True),
)
NAMES = {
    "DELETE": "one DELETE",
    "in order": "one DELETE, page by page",
    "loop": "the usual loop",
    "ours": "ours, as it ships",
    "guarded": "the same, with its guard",
    "waiting": "ours, each commit waits",
}


def measure(chosen: Options) -> None:
    """Measure, and print the tables."""
    runs, tokens = chosen.runs or 5, chosen.rows(TOKENS)
    with roomy_server() as server:
        for layout in LAYOUTS:
            with filled(server, layout, tokens) as connection:
                connection.execute(literal(USUAL_LOOP))
        heading(f"Purge: {tokens:,} refresh tokens", runs)
        print(room(server))
        measured = {case.title: _Measured(server, case, runs) for case in CASES}
        table(
            ("expired", "", "speed", "to DELETE", "WAL to DELETE", "batches", "longest"),
            [row for case in measured.values() for row in case.rows()],
        )
        registered = _register(server, runs)
        quarter = measured[CASES[0].title]
        print(f"ours to a DELETE page by page: {quarter.speed('ours', 'in order').shown('x')}")
        print(f"ours to the usual loop: {quarter.speed('ours', 'loop').shown('x')}")
        print(f"with its guard to without: {quarter.speed('guarded', 'ours').shown('x')}")
        print(f"register_policy among {TABLES:,} tables: {registered.shown('ms')}")
        _report(measured, registered)


@contextmanager
def copy(server: Server, case: Case, side: str) -> Generator[Connection]:
    """Lend a session in a fresh copy of a filled database, whose policy expects the case."""
    settings: dict[str, object] = {"retention": case.retention}
    with ExitStack() as sessions:
        connection = sessions.enter_context(
            fresh_copy(server, case.layout, "refresh_tokens", settings | GUARD.get(side, {}))
        )
        if case.snapshot:
            other = sessions.enter_context(session(server, COPY))
            other.execute("begin isolation level repeatable read")
            other.execute("select from public.users limit 1")
        yield connection


def remove(connection: Connection, case: Case, side: str) -> Done:
    """Remove what has expired, as one side does it."""
    before = scalar(connection, "select pg_current_wal_insert_lsn()")
    began = time.perf_counter()
    rows, longest, batches = SIDES[side](connection, case.retention)
    ms = (time.perf_counter() - began) * 1000
    wal = scalar(
        connection, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %(before)s)", before=before
    )
    return Done(rows, ms, int(wal), longest or ms, batches)


def _delete(connection: Connection, retention: str) -> tuple[int, float, int]:
    return connection.execute(DELETE, {"retention": retention}).rowcount, 0, 1


def _delete_in_order(connection: Connection, retention: str) -> tuple[int, float, int]:
    """Delete as if the planner knew that an index scan would come back to each page again."""
    connection.execute("set enable_indexscan = off")
    return _delete(connection, retention)


def _loop(connection: Connection, retention: str) -> tuple[int, float, int]:
    row = connection.execute(CALL_LOOP, {"retention": retention}).fetchone()
    assert row
    return row[0], row[1], row[2]


def _procedure(connection: Connection, _retention: str) -> tuple[int, float, int]:
    connection.execute(CALL_OURS)
    return _logged(connection)


def _by_hand(connection: Connection, _retention: str) -> tuple[int, float, int]:
    """Drive the batches one by one, and let each wait for the disk."""
    run = scalar(connection, "select maintenance.open_run('purge')")
    opened = connection.execute(OPEN, {"run": run}).fetchone()
    assert opened
    step, token, reason = opened
    cursor: str | None = None
    longest = 0.0
    while reason is None:
        began = time.perf_counter()
        batch = connection.execute(BATCH, {"step": step, "token": token, "cursor": cursor})
        row = batch.fetchone()
        assert row
        reason, cursor = row
        longest = max(longest, (time.perf_counter() - began) * 1000)
    connection.execute(CLOSE, {"step": step, "token": token, "reason": reason, "run": run})
    rows, _, batches = _logged(connection)
    return rows, longest, batches


def _logged(connection: Connection) -> tuple[int, float, int]:
    row = connection.execute(LAST_STEP).fetchone()
    assert row
    equal("why it ended", row[3], "exhausted")
    return row[0], row[1], row[2]


SIDES: dict[str, Callable[[Connection, str], tuple[int, float, int]]] = {
    "DELETE": _delete,
    "in order": _delete_in_order,
    "loop": _loop,
    "ours": _procedure,
    "guarded": _procedure,
    "waiting": _by_hand,
}


class _Measured:
    """What the sides of a case did, turn by turn."""

    def __init__(self, server: Server, case: Case, runs: int) -> None:
        self.case = case
        done: dict[str, list[Done]] = {side: [] for side in case.sides}

        def turn(side: str) -> float:
            with copy(server, case, side) as connection:
                done[side].append(remove(connection, case, side))
            return done[side][-1].ms

        self.times = turns(runs, **{side: partial(turn, side) for side in case.sides})
        self.done = {side: found[1:] for side, found in done.items()}
        equal("rows removed", *(one.rows for found in done.values() for one in found))

    def speed(self, side: str, other: str = "DELETE") -> Spread:
        """Rows per second, as a multiple of another side's."""
        return self.times[other].over(self.times[side])

    def wal(self, side: str) -> Spread:
        """Bytes of the log, as a multiple of what the DELETE wrote."""
        return Spread(tuple(one.wal for one in self.done[side])).over(
            Spread(tuple(one.wal for one in self.done["DELETE"]))
        )

    def longest(self, side: str) -> Spread:
        """Milliseconds of the longest transaction."""
        return Spread(tuple(one.longest for one in self.done[side]))

    def rows(self) -> list[tuple[str, ...]]:
        """The lines of the table."""
        return [
            (
                self.case.title,
                NAMES[side],
                Spread(tuple(one.rows * 1000 / one.ms for one in found)).shown("/s"),
                self.speed(side).shown("x"),
                self.wal(side).shown("x"),
                f"{median(one.batches for one in found):,.0f}",
                self.longest(side).shown("ms"),
            )
            for side, found in self.done.items()
        ]


def _register(server: Server, runs: int) -> Spread:
    """Time the registration of a policy in a database of many tables."""
    with session(server) as admin:
        admin.execute("create database many")
    migrate(server.url("many"))
    with session(server, "many") as connection:
        for first in range(0, TABLES, 500):
            connection.execute(literal(MANY.format(first=first)))
        connection.execute("vacuum (analyze)")

        def register() -> float:
            with undone(connection, checkpoint=False):
                return call(connection, REGISTER).ms

        return turns(runs, ours=register)["ours"]


def _report(measured: dict[str, _Measured], registered: Spread) -> None:
    quarter, most, few, held = measured.values()
    for case in (quarter, most):
        title = case.case.title
        target(f"{title}: at least 1.0x of DELETE, as it ships", case.speed("ours").median >= 1)
        target(f"{title}: at least 0.8x where commits wait", case.speed("waiting").median >= 0.8)
    target(
        f"{quarter.case.title}: at least 1.0x of a DELETE page by page",
        quarter.speed("ours", "in order").median >= 1,
    )
    target(
        f"{quarter.case.title}: at least 3.5x of the usual loop",
        quarter.speed("ours", "loop").median >= 3.5,
    )
    target(f"{few.case.title}: at least 0.5x of DELETE", few.speed("ours").median >= 0.5)
    target(f"{held.case.title}: at least 0.7x of DELETE", held.speed("ours").median >= 0.7)
    for case in measured.values():
        ours = [side for side in ("ours", "waiting", "guarded") if side in case.case.sides]
        title = case.case.title
        target(
            f"{title}: at most 1.05x of the WAL",
            max(case.wal(side).median for side in ours) <= 1.05,
        )
        target(
            f"{title}: no batch over 100 ms",
            max(max(case.longest(side).values) for side in ours) <= 100,
        )
    target("registration under 1,000 ms", registered.median < 1000)


if __name__ == "__main__":
    measure(options(__doc__))
