"""Inserts refresh tokens under a trigger that sweeps expired ones: none, the seed's and ours.

Each transaction of pgbench inserts one token, like a login. Each turn works on a fresh copy of a
database, right after a CHECKPOINT; the turn that does not count is a short one for each situation.
Where Debian's PostgreSQL 15 is installed, it follows the embedded server's version. All of it takes
about a quarter of an hour for each of the two; --only and --clients choose parts.

The seed's trigger deletes whatever has expired, however much, with every insert.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import pgbench
from benchmarks.filling import USER, fill_users
from benchmarks.measuring import (
    Options,
    Spread,
    arguments,
    equal,
    goal,
    heading,
    milliseconds,
    parse,
    private_server,
    scalar,
    session,
    short,
    table,
    target,
    temporary_folder,
    turns,
)
from benchmarks.pgbench import Log
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from runner.embedded import Server

LIVE = 200_000
EXPIRED = 1_000_000
CLIENTS = (1, 4, 16)
LOOPED = 3_000
"""Inserts in one session's loop."""
CONNECTIONS = 20
LONGEST = 60
"""Seconds of a turn, so that pgbench is not taken for one that hangs."""
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

# The time at which an expired token expired says nothing about its place in the table: 7,919 and
# 1,000,003 are primes.
FILL_LIVE = f"""
    insert into public.refresh_tokens (user_id, token_hash, expires_at)
    select
        '{USER}', md5(i::text) || md5((-i)::text), now() + interval '1 day' + i * interval '1 ms'
    from generate_series(1::bigint, %(tokens)s) as i
"""
FILL_EXPIRED = f"""
    insert into public.refresh_tokens (user_id, token_hash, expires_at)
    select
        '{USER}',
        md5('expired' || i) || md5((-i)::text),
        now() - interval '2 days' + i * 7919 %% 1000003 * interval '1 ms'
    from generate_series(1::bigint, %(tokens)s) as i
"""
INSERT = f"""
    insert into public.refresh_tokens (user_id, token_hash, expires_at)
    values (
        '{USER}',
        md5(random()::text) || md5(random()::text),
        now() + interval '{{lives}}'
    );
"""
LOOP = """
    do $do$
    begin
        for i in 1 .. {inserts} loop
            {insert}
            commit;
        end loop;
    end;
    $do$
"""
COUNT = """
    select
        count(*) filter (where expires_at >= to_timestamp(%(end)s)),
        count(*) filter (where expires_at < to_timestamp(%(end)s))
    from public.refresh_tokens
"""
RESTS = """
    select
        current_setting('maintenance.rest_refresh_tokens', true)
            > (extract(epoch from now() + interval '30 min') * 1000)::bigint::text
"""
SEED = """
    create function public.seed_sweep()
    returns trigger
    language plpgsql
    as $function$
    begin
        delete from public.refresh_tokens where expires_at < now();
        return null;
    end;
    $function$;

    create trigger seed_sweep
    after insert on public.refresh_tokens
    for each statement execute function public.seed_sweep();
"""
NONE, SEEDS, OURS, LATER = "no trigger", "the seed's", "ours", "at_once off"
SIDES = {
    NONE: "select",
    SEEDS: SEED,
    OURS: "select maintenance.attach_insert_sweep('refresh_tokens')",
    LATER: "select maintenance.attach_insert_sweep('refresh_tokens', at_once => false)",
}


@dataclass(frozen=True)
class Parts:
    """What of it the user wants to see."""

    only: tuple[str, ...]
    clients: tuple[int, ...] = CLIENTS
    seconds: int = 3
    """How long a turn lasts."""


@dataclass(frozen=True)
class Situation:
    """What the inserts meet."""

    title: str
    template: str
    lives: str = "7 days"
    """How long an inserted token lives."""
    waits: bool = True
    """Whether a commit waits for the disk."""
    snapshot: bool = False
    """Whether another session holds a snapshot from before."""


SITUATIONS = {
    "idle": Situation("nothing expired, synchronous_commit off", "quiet", waits=False),
    "backlog": Situation("{expired:,} expired tokens", "backlog"),
    "steady": Situation("each inserted token expires after a second", "quiet", lives="1 s"),
    "snapshot": Situation(
        "{expired:,} expired tokens, and a snapshot from before", "backlog", snapshot=True
    ),
}
COST = "cost"
ALL = Parts((*SITUATIONS, COST))


@dataclass(frozen=True)
class Done:
    """What one turn did."""

    tps: float
    p50: float
    p99: float
    longest: float
    """Milliseconds of the longest transaction."""
    removed: float
    """Rows per insert."""
    left: int
    """Expired rows that were there when the last transaction ended."""
    failed: int


LATENCIES: tuple[Callable[[Done], float], ...] = (
    lambda done: done.p50,
    lambda done: done.p99,
    lambda done: done.longest,
)


def measure(chosen: Options, parts: Parts = ALL) -> None:
    """Measure, and print the tables."""
    with private_server() as server:
        _measure(server, chosen, parts)
        version = _major(server)
    if version == 15:
        return
    if (DEBIAN_15 / "postgres").is_file():
        with private_server(DEBIAN_15) as server:
            _measure(server, chosen, parts)
    else:
        print(f"\nPostgreSQL 15 was not measured: it is not in {DEBIAN_15}")


def _measure(server: Server, chosen: Options, parts: Parts) -> None:
    runs, live, expired = chosen.runs or 3, chosen.rows(LIVE), chosen.rows(EXPIRED)
    fill(server, live, expired)
    with session(server) as connection:
        heading(f"Inserts into {live:,} refresh tokens", runs, connection)
    measured: dict[str, _Measured] = {}
    for name, situation in SITUATIONS.items():
        if name in parts.only:
            title = situation.title.format(expired=expired)
            clients = ", ".join(map(str, parts.clients))
            print(f"\n{name}: {title}; {clients} clients for {parts.seconds} s", flush=True)
            rows = {"quiet": (live, 0), "backlog": (live, expired)}[situation.template]
            measured[name] = _Measured(server, situation, rows, runs, parts)
            measured[name].show()
    if COST in parts.only:
        _show_cost(server, runs)
    _report(_major(server), parts, measured)


def _major(server: Server) -> int:
    return server.version // 10000


def fill(server: Server, live: int, expired: int) -> None:
    """Fill the databases that copies are made of."""

    def make(name: str, template: str, tokens: int, statement: str) -> None:
        with session(server) as admin:
            admin.execute(literal(f"create database {name} template {template}"))
        with session(server, name) as connection:
            with connection.transaction():
                connection.execute("set local session_replication_role = replica")
                connection.execute(literal(statement), {"tokens": tokens})
            connection.execute("vacuum (analyze) public.refresh_tokens")

    with session(server) as admin:
        admin.execute("create database bare")
    migrate(server.url("bare"))
    with session(server, "bare") as connection:
        fill_users(connection, 1)
        connection.execute("select maintenance.detach_insert_sweep('refresh_tokens')")
        connection.execute("alter table public.refresh_tokens set (autovacuum_enabled = off)")
    make("quiet", "bare", live, FILL_LIVE)
    make("backlog", "quiet", expired, FILL_EXPIRED)


def copy(server: Server, name: str, template: str, side: str, *, waits: bool) -> None:
    """Make a fresh copy of a filled database, with the trigger of one side."""
    with session(server) as admin:
        admin.execute(literal(f"drop database if exists {name} (force)"))
        admin.execute(literal(f"create database {name} template {template} strategy file_copy"))
        if not waits:
            admin.execute(literal(f"alter database {name} set synchronous_commit = off"))
        with session(server, name) as connection:
            connection.execute("select maintenance.adopt_clone()")
            connection.execute(literal(SIDES[side]))
        admin.execute("checkpoint")


def load(
    server: Server, situation: Situation, side: str, clients: int, seconds: int
) -> tuple[Log, int, tuple[int, int]]:
    """Insert for a while; return the log, how many failed, and the rows that live and do not."""
    copy(server, "copy", situation.template, side, waits=situation.waits)
    with temporary_folder() as folder, ExitStack() as sessions:
        if situation.snapshot:
            other = sessions.enter_context(session(server, "copy"))
            other.execute("begin isolation level repeatable read")
            other.execute("select from public.users limit 1")
        script = folder / "insert.sql"
        script.write_text(INSERT.format(lives=situation.lives))
        said = pgbench.run(
            server,
            *("--no-vacuum", "--protocol=prepared", f"--file={script}", f"--time={seconds}"),
            *(f"--client={clients}", f"--jobs={min(clients, os.cpu_count() or 1)}"),
            *(*pgbench.logging(folder), server.url("copy")),
        )
        failed = pgbench.failed(said)
        log = Log.read(pgbench.logged(folder))
        with session(server, "copy") as connection:
            row = connection.execute(COUNT, {"end": log.end}).fetchone()
        assert row
        return log, failed, (row[0], row[1])


class _Measured:
    """What the sides did in a situation, turn by turn."""

    def __init__(
        self, server: Server, situation: Situation, rows: tuple[int, int], runs: int, parts: Parts
    ) -> None:
        self.done: dict[tuple[int, str], list[Done]] = {}
        for side in SIDES:
            load(server, situation, side, parts.clients[0], 1)  # does not count
        for clients in parts.clients:
            for _ in range(runs):
                for side in SIDES:
                    log, failed, (live, left) = load(
                        server, situation, side, clients, parts.seconds
                    )
                    inserted = len(log.latencies)
                    if situation.lives != "1 s":
                        equal("live tokens, expected and found", rows[0] + inserted, live)
                    self.done.setdefault((clients, side), []).append(
                        Done(
                            tps=inserted / log.seconds,
                            p50=log.percentile(50),
                            p99=log.percentile(99),
                            longest=log.latencies[-1],
                            removed=(sum(rows) + inserted - live - left) / inserted,
                            left=left,
                            failed=failed,
                        )
                    )

    def figures(self, clients: int, side: str, figure: Callable[[Done], float]) -> Spread:
        """One figure of each turn."""
        return Spread(tuple(map(figure, self.done[clients, side])))

    def speed(self, clients: int, side: str, other: str) -> Spread:
        """Transactions per second, as a multiple of another side's."""
        return self.figures(clients, side, lambda done: done.tps).over(
            self.figures(clients, other, lambda done: done.tps)
        )

    def longest(self, clients: int, side: str) -> Spread:
        """The longest transaction, as a multiple of the one without a trigger."""
        return self.figures(clients, side, lambda done: done.longest).over(
            self.figures(clients, NONE, lambda done: done.longest)
        )

    def failed(self, clients: int, side: str) -> int:
        """How many transactions failed, in all turns."""
        return sum(done.failed for done in self.done[clients, side])

    def show(self) -> None:
        """Print the table."""
        rows: list[tuple[str, ...]] = []
        for clients, side in self.done:
            of = partial(self.figures, clients, side)
            rows.append(
                (
                    str(clients) if side == NONE else "",
                    side,
                    short(of(lambda done: done.tps).median),
                    "1" if side == NONE else self.speed(clients, side, NONE).shown(),
                    "1" if side == SEEDS else self.speed(clients, side, SEEDS).shown(),
                    *(short(of(figure).median) for figure in LATENCIES),
                    "1" if side == NONE else short(self.longest(clients, side).median),
                    short(of(lambda done: done.removed).median),
                    f"{of(lambda done: done.left).median:,.0f}",
                )
            )
        table(
            (
                *("", "", "per s", "to none", "to the seed's"),
                *("p50 ms", "p99", "max", "to none", "removed", "left"),
            ),
            rows,
        )
        failed = {key: self.failed(*key) for key in self.done if self.failed(*key)}
        for (clients, side), count in failed.items():
            print(f"failed, {side}, {clients} clients: {count:,} transactions")


def _show_cost(server: Server, runs: int) -> None:
    """Time inserts of one session that does not sweep, and the first one of a new session."""
    loop = LOOP.format(inserts=LOOPED, insert=INSERT.format(lives="7 days"))
    first = INSERT.format(lives="7 days")
    with ExitStack() as stack:
        connections: dict[str, Connection] = {}
        names = {side: f"copy_{number}" for number, side in enumerate(SIDES)}
        for side, name in names.items():
            copy(server, name, "quiet", side, waits=False)
            connections[side] = stack.enter_context(session(server, name))
            if side in (OURS, LATER):
                connections[side].execute(
                    "select maintenance.set_insert_sweep('refresh_tokens', rest => '1 h')"
                )
            connections[side].execute(literal(first))

        def many(side: str) -> float:
            return milliseconds(lambda: connections[side].execute(literal(loop))) * 1000 / LOOPED

        def one(side: str) -> float:
            with session(server, names[side]) as connection:
                return milliseconds(lambda: connection.execute(literal(first)))

        costs = turns(5 * runs, **{side: partial(many, side) for side in SIDES})
        firsts = turns(CONNECTIONS, **{side: partial(one, side) for side in SIDES})
        for side in (OURS, LATER):
            equal(f"how {side} rests, expected and found", True, scalar(connections[side], RESTS))
    print(
        f"\ncost: {LOOPED:,} inserts of one session that rests from sweeping, {5 * runs} turns; "
        f"the first insert of {CONNECTIONS} sessions"
    )
    table(
        ("", "an insert", "more than none", "to the seed's", "first insert", "to none"),
        [
            (
                side,
                costs[side].shown("µs"),
                "" if side == NONE else costs[side].less(costs[NONE]).shown("µs"),
                "1" if side == SEEDS else costs[side].over(costs[SEEDS]).shown(),
                firsts[side].shown("ms"),
                "1" if side == NONE else firsts[side].over(firsts[NONE]).shown(),
            )
            for side in SIDES
        ],
    )


def _report(version: int, parts: Parts, measured: dict[str, _Measured]) -> None:
    print()
    for name, clients in ((name, clients) for name in measured for clients in parts.clients):
        case = measured[name]
        title = f"{version}, {name}, {clients} {'clients' if clients > 1 else 'client'}"
        none, seeds = (case.speed(clients, OURS, side).median for side in (NONE, SEEDS))
        if name == "backlog" and clients == 4:
            target(f"{title}: at least 0.35x of no trigger", none >= 0.35)
            goal(f"{title}: at least 0.6x of no trigger", none >= 0.6)
            target(f"{title}: at least 30x of the seed's", seeds >= 30)
            removed = case.figures(clients, OURS, lambda done: done.removed).median
            target(f"{title}: at least 2 rows removed per insert", removed >= 2)
            longest = case.longest(clients, OURS).median
            target(f"{title}: the longest at most 1.5x of no trigger's", longest <= 1.5)
        if name == "idle" and clients <= 4 and version >= 18:
            target(f"{title}: at least 0.7x of no trigger", none >= 0.7)
            goal(f"{title}: at least 0.9x of no trigger", none >= 0.9)
            target(f"{title}: at least 0.9x of the seed's", seeds >= 0.9)
        if name == "steady":
            target(f"{title}: at least 0.45x of no trigger", none >= 0.45)
            left = max(case.figures(clients, OURS, lambda done: done.left).values)
            target(f"{title}: fewer than 1,000 expired tokens left", left < 1000)
    for side in (OURS, LATER) if measured else ():
        failed = sum(
            case.failed(clients, side) for case in measured.values() for clients in parts.clients
        )
        target(f"{version}: no transaction failed, {side}", failed == 0)


def _choose() -> tuple[Options, Parts]:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=ALL.only, default=ALL.only, help="parts")
    parser.add_argument(
        "--clients", nargs="+", type=int, default=CLIENTS, help="how many, e.g. 4 16"
    )
    parser.add_argument(
        "--seconds", type=int, default=ALL.seconds, help="of each turn; steady needs 2"
    )
    options, given = parse(parser)
    if min(given.clients) < 1 or not 1 <= given.seconds <= LONGEST:
        parser.error(f"--clients must be positive, and --seconds from 1 to {LONGEST}")
    return options, Parts(tuple(given.only), tuple(given.clients), given.seconds)


if __name__ == "__main__":
    measure(*_choose())
