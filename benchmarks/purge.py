"""Removes the expired among many refresh tokens: one DELETE, the usual loop, and a policy's runs.

Each run works on a fresh copy of a database, right after a CHECKPOINT: every page that changes is
logged whole once, whoever changes it. In the random layout the time at which a token expires says
nothing about its place in the table, in the correlated one both go up together.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.filling import fill_users
from benchmarks.measuring import (
    Options,
    Removals,
    Spread,
    call,
    fresh_copy,
    logged,
    options,
    removal,
    roomy_heading,
    roomy_server,
    scalar,
    session,
    table,
    target,
    turns,
    undone,
)
from runner.connection import literal
from runner.migrate import migrate
from runner.runs import run
from runner.steps import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from psycopg import Connection

    from benchmarks.measuring import Done
    from runner.embedded import Server

TOKENS = 4_000_000
USERS = 1_000
TABLES = 2_000
LAYOUTS = {"random": "hashint8extended(i, 7) %% %(tokens)s", "correlated": "i"}

# The tokens expire within 100 days, 90 of which are over; around each midnight by this count there
# is an hour without any, so that a run that begins a little later removes the same ones.
FILL = """
    insert into public.refresh_tokens (id, user_id, token_hash, expires_at)
    select
        lpad(to_hex(i), 32, '0')::uuid,
        lpad(to_hex(1 + i %% %(users)s), 32, '0')::uuid,
        lpad(to_hex(i), 64, '0'),
        now() - interval '90 days' + interval '1 hour'
            + place * 100 / %(tokens)s * interval '1 day'
            + place * 100 %% %(tokens)s * interval '22 hours' / %(tokens)s
    from generate_series(0::bigint, %(tokens)s - 1) as i
    cross join lateral (select abs({place})) as token (place)
"""
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
NO_GUARD = {"guard_rows": 9_000_000_000_000, "guard_share": 1}
GUARD = {"guarded": {"guard_share": 0.5}}


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
        ("DELETE", "in order", "loop", "ours", "runner", "two", "waiting", "guarded"),
    ),
    Case("90 %, random", "random", "0", ("DELETE", "ours", "runner", "two", "waiting")),
    Case("1 %, correlated", "correlated", "89 days", ("DELETE", "ours", "runner")),
    Case("10 %, old snapshot", "correlated", "80 days", ("DELETE", "ours", "runner", "two"), True),
)
NAMES = {
    "DELETE": "one DELETE",
    "in order": "one DELETE, page by page",
    "loop": "the usual loop",
    "ours": "ours, as it ships",
    "guarded": "the same, with its guard",
    "runner": "the runner, one session",
    "two": "the runner, two sessions",
    "waiting": "ours, each commit waits",
}


def measure(chosen: Options) -> None:
    """Measure, and print the tables."""
    runs, tokens = chosen.runs or 5, chosen.rows(TOKENS)
    with roomy_server() as server:
        with session(server) as admin:
            for layout in LAYOUTS:
                admin.execute(literal(f"create database {layout}"))
                fill(server, layout, tokens)
            roomy_heading(f"Purge: {tokens:,} refresh tokens", runs, admin)
            measured = {
                case: Removals(
                    runs, {side: partial(remove, server, case, side) for side in case.sides}
                )
                for case in CASES
            }
            table(
                ("expired", "", "speed", "to DELETE", "WAL to DELETE", "batches", "longest"),
                [row for case, did in measured.items() for row in did.rows(case.title, NAMES)],
            )
            registered = _register(server, runs)
            quarter = measured[CASES[0]]
            print(f"ours to a DELETE page by page: {quarter.speed('ours', 'in order').shown('x')}")
            print(f"ours to the usual loop: {quarter.speed('ours', 'loop').shown('x')}")
            print(f"the runner to the procedure: {quarter.speed('runner', 'ours').shown('x')}")
            print(f"with its guard to without: {quarter.speed('guarded', 'ours').shown('x')}")
            print(f"register_policy among {TABLES:,} tables: {registered.shown('ms')}")
        _report(measured, registered)


def fill(server: Server, layout: str, tokens: int) -> None:
    """Fill a database that copies are made of."""
    migrate(server.url(layout))
    with session(server, layout) as connection:
        fill_users(connection, USERS)
        connection.execute("alter table public.refresh_tokens set (autovacuum_enabled = off)")
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")
            connection.execute(
                literal(FILL.format(place=LAYOUTS[layout])), {"tokens": tokens, "users": USERS}
            )
        connection.execute(literal(USUAL_LOOP))
        connection.execute("vacuum (analyze)")


@contextmanager
def copy(server: Server, case: Case, side: str) -> Generator[Connection]:
    """Lend a session in a fresh copy of a filled database, whose policy expects the case."""
    with ExitStack() as sessions:
        connection = sessions.enter_context(fresh_copy(server, case.layout))
        settings = {"retention": case.retention} | NO_GUARD | GUARD.get(side, {})
        connection.execute(
            "select maintenance.alter_policy('refresh_tokens', %s::text::jsonb)",
            [json.dumps(settings)],
        )
        if case.snapshot:
            other = sessions.enter_context(session(server, "copy"))
            other.execute("begin isolation level repeatable read")
            other.execute("select from public.users limit 1")
        connection.execute("checkpoint")
        yield connection


def remove(server: Server, case: Case, side: str) -> Done:
    """Let one side remove what has expired, from a copy of its own."""
    with copy(server, case, side) as connection:
        return removal(connection, partial(SIDES[side], connection, case.retention))


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
    return logged(connection)


def _runner(connection: Connection, _retention: str, *, jobs: int = 1) -> tuple[int, float, int]:
    """Let the runner drive, connecting included; it is not started anew as a command is."""
    run(connection.info.dsn, ["refresh_tokens"], order=Order(jobs=jobs))
    return logged(connection)


def _by_hand(connection: Connection, _retention: str) -> tuple[int, float, int]:
    """Drive the batches one by one, and let each wait for the disk."""
    number = scalar(connection, "select maintenance.open_run('purge')")
    opened = connection.execute(OPEN, {"run": number}).fetchone()
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
    connection.execute(CLOSE, {"step": step, "token": token, "reason": reason, "run": number})
    rows, _, batches = logged(connection)
    return rows, longest, batches


SIDES: dict[str, Callable[[Connection, str], tuple[int, float, int]]] = {
    "DELETE": _delete,
    "in order": _delete_in_order,
    "loop": _loop,
    "ours": _procedure,
    "guarded": _procedure,
    "runner": _runner,
    "two": partial(_runner, jobs=2),
    "waiting": _by_hand,
}


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


def _report(measured: dict[Case, Removals], registered: Spread) -> None:
    quarter, _, few, held = measured.values()
    for case in CASES[:2]:
        ours, waiting = (measured[case].speed(side).median for side in ("ours", "waiting"))
        target(f"{case.title}: at least 1.0x of DELETE, as it ships", ours >= 1)
        target(f"{case.title}: at least 0.8x where commits wait", waiting >= 0.8)
    target(
        f"{CASES[0].title}: at least 1.0x of a DELETE page by page",
        quarter.speed("ours", "in order").median >= 1,
    )
    for case, goal in zip(CASES, (1.1, 1.05), strict=False):
        did = measured[case]
        target(
            f"{case.title}: two sessions at least {goal}x of DELETE",
            did.speed("two").median >= goal,
        )
        target(
            f"{case.title}: no batch of two sessions over 200 ms",
            max(did.longest("two").values) <= 200,
        )
        target(
            f"{case.title}: the runner adds less than 5 % to the procedure",
            did.speed("runner", "ours").median > 1 / 1.05,
        )
    target(
        f"{CASES[0].title}: at least 3.5x of the usual loop",
        quarter.speed("ours", "loop").median >= 3.5,
    )
    target(f"{CASES[2].title}: at least 0.5x of DELETE", few.speed("ours").median >= 0.5)
    target(f"{CASES[3].title}: at least 0.7x of DELETE", held.speed("ours").median >= 0.7)
    for case, did in measured.items():
        sides = [side for side in ("ours", "runner", "waiting", "guarded") if side in case.sides]
        target(
            f"{case.title}: at most 1.05x of the WAL",
            max(did.wal(side).median for side in sides) <= 1.05,
        )
        target(
            f"{case.title}: no batch over 100 ms",
            max(max(did.longest(side).values) for side in sides) <= 100,
        )
    target("registration under 1,000 ms", registered.median < 1000)


if __name__ == "__main__":
    measure(options(__doc__))
