"""Logs in at each isolation level: what a sweep on insert does to the inserts of an application.

Sixteen clients insert refresh tokens, one of them 500 in a transaction. Meanwhile expired rows
arrive, and others hold, change or delete them; the policy and its sweep change all the time;
triggers, columns and indexes come and go. Each wait of a client for a lock that lasts more than a
millisecond is heard of, with the function it happened in.

The rivals are no trigger at all, which shows what the rest of it does, and the seed's: an unbounded
DELETE after each insert.
"""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from math import inf
from random import Random
from threading import Event
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg import IsolationLevel, errors

from benchmarks.filling import fill_users
from benchmarks.measuring import (
    Options,
    heading,
    options,
    private_server,
    scalar,
    session,
    table,
    target,
)
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from psycopg import Connection
    from psycopg.errors import Diagnostic

    from runner.embedded import Server

Sweep = Literal["ours", "none", "seed"]
"""What happens after an insert."""

LEVELS = (
    IsolationLevel.READ_COMMITTED,
    IsolationLevel.REPEATABLE_READ,
    IsolationLevel.SERIALIZABLE,
)
SIDES: dict[Sweep, str] = {"ours": "our sweep", "none": "nothing", "seed": "seed's DELETE"}
COLUMN_TITLES = (
    "after an insert", "inserts", "failed", "waited: sweep", "DDL", "other",
    "sweeps", "most", "removed", "median", "99 %", "longest",
)  # fmt: skip
SECONDS = 10
CLIENTS = 16
HOLDERS = 2
USERS = 200
LIVE = 2_000
EXPIRED = 20_000
LARGE = 500
"""Inserts of the one large transaction."""
AFTER_SWEEP = "an insert in a transaction that has swept"
LARGEST_BATCH = 100
"""No sweep is ever allowed more."""
PAUSES = (0, 0.005, 0.02, 0.05)
"""Seconds between two transactions of a client."""
LONG_PAUSES = (0.1, 0.3)
"""Seconds between two large ones."""
CROWDED = 0.2
"""Seconds that DDL has to try among long transactions."""
TRIES = 40
"""How often DDL tries to get a lock on the table before it gives up."""
COLUMNS = 400
"""Columns that a campaign adds at most: a table may have 1,600 in all its life."""

# Of all waits that exist, a session reports those that last longer than its deadlock_timeout.
SETTINGS = """
    set lc_messages = 'C';
    set client_min_messages = log;
    set log_lock_waits = on;
    set deadlock_timeout = '1ms';
    set track_functions = 'pl';
    set statement_timeout = '30s';
"""
PUT = """
    insert into public.refresh_tokens (user_id, token_hash, expires_at)
    select
        lpad(to_hex(1 + i %% %(users)s), 32, '0')::uuid,
        gen_random_uuid()::text,
        clock_timestamp() + %(lasts)s::interval - random() * interval '2 s'
    from generate_series(1, %(count)s) as i
"""
SEED = """
    create schema seed;

    create function seed.sweep_expired_refresh_tokens()
    returns trigger
    language plpgsql
    as $function$
    begin
        delete from public.refresh_tokens
        where expires_at < now();

        return null;
    end;
    $function$;

    create trigger trigger_cleanup_refresh_tokens
        after insert on public.refresh_tokens
        for each statement execute function seed.sweep_expired_refresh_tokens();
"""
USER = "select username, password_hash from public.users where id = %s"
INSERT = """
    insert into public.refresh_tokens (user_id, token_hash, expires_at)
    values (%s, %s, now() + interval '1 hour')
"""
# Both go on counting from one transaction to the next, for a second or so.
COUNT = """
    select
        coalesce(pg_stat_get_xact_function_calls(%s::oid), 0),
        coalesce(pg_stat_get_xact_tuples_deleted('public.refresh_tokens'::regclass), 0)
"""
CLOSE = "maintenance.close_sweep(text, integer, bigint, interval, jsonb)"
HOLD = """
    select array_agg(held.id)
    from (
        select id
        from public.refresh_tokens
        where expires_at < now()
        order by expires_at
        limit %s
        for update skip locked
    ) as held
"""
HOLDINGS = {
    "lock": None,
    "touch": "update public.refresh_tokens set last_used_at = now() where id = any(%s)",
    "revive": """
        update public.refresh_tokens
        set expires_at = now() + interval '1 hour'
        where id = any(%s)
        returning token_hash
    """,
    "delete": "delete from public.refresh_tokens where id = any(%s)",
}
POLICY_CHANGES = (
    """select maintenance.alter_policy('refresh_tokens', '{"grace": "1 s"}')""",
    "select maintenance.set_insert_sweep('refresh_tokens', batch_size => 10)",
    "select maintenance.set_insert_sweep('refresh_tokens', rest => '0 s')",
    """select maintenance.alter_policy('refresh_tokens', '{"grace": "0 s"}')""",
    "select maintenance.set_insert_sweep('refresh_tokens', enabled => false)",
    "select maintenance.set_insert_sweep('refresh_tokens', enabled => true)",
    f"select maintenance.set_insert_sweep('refresh_tokens', batch_size => {LARGEST_BATCH})",
    "select maintenance.set_insert_sweep('refresh_tokens', rest => '20 ms')",
)
DDL = {
    "trigger without": "select maintenance.attach_insert_sweep('refresh_tokens', at_once => false)",
    "add column": "alter table public.refresh_tokens add column if not exists fleeting text",
    "index": "create index concurrently if not exists fleeting on public.refresh_tokens (user_id)",
    "trigger with": "select maintenance.attach_insert_sweep('refresh_tokens', at_once => true)",
    "drop column": "alter table public.refresh_tokens drop column if exists fleeting",
    "drop index": "drop index concurrently if exists public.fleeting",
}
WAITING = """
    select count(*)
    from pg_locks
    where not granted
      and locktype in ('transactionid', 'tuple', 'advisory')
      and pid = any(%s)
"""
IN_A_SWEEP = re.compile(r"function \S*sweep\w*\(")
WAIT = re.compile(r"still waiting for \w+ on (extension of relation|\w+)")
FAILED = re.compile(r"sweep of .* failed")


@dataclass
class Counts:
    """What a campaign came to; those of several can be added up."""

    transactions: int = 0
    """Transactions of clients that committed."""
    inserts: int = 0
    """Inserts that they are made of."""
    large: int = 0
    """Transactions of 500 inserts among them."""
    failures: Counter[str] = field(default_factory=Counter[str])
    """Transactions of clients that failed, by SQLSTATE."""
    waits: Counter[str] = field(default_factory=Counter[str])
    """Waits of clients for a lock: in a sweep, for the table's DDL, or for what else."""
    waits_seen: int = 0
    """How often a look at the locks found a client that waited for a row or another's lock."""
    looks: int = 0
    failed_sweeps: Counter[str] = field(default_factory=Counter[str])
    """What sweeps wrote to the log that failed and left their insert alone."""
    checked: int = 0
    """Transactions that were asked after each of their inserts whether it had swept."""
    several: int = 0
    """Those of them that went on to insert after they had swept."""
    sweeps: int = 0
    """Sweeps in them."""
    swept: int = 0
    """Rows that those removed."""
    removing: int = 0
    """Transactions that removed any."""
    most_sweeps: int = 0
    """Most sweeps in one transaction."""
    most_removed: int = 0
    """Most rows that one transaction removed."""
    overlaps: int = 0
    """Sweeping transactions that another one swept before the end of."""
    missing: int = 0
    """Tokens that were committed, have not expired and are gone."""
    kept: int = 0
    """Tokens that were committed and have not expired."""
    held: Counter[str] = field(default_factory=Counter[str])
    """Transactions that held expired rows, by what they did to them."""
    put: int = 0
    """Rows put in that had expired."""
    changes: int = 0
    """Changes of the policy or its sweep."""
    ddl: Counter[str] = field(default_factory=Counter[str])
    """DDL that was done."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """Changes and DDL that failed, by what and SQLSTATE."""
    state: str = ""
    """How the sweep stands at the end, if there is one: see maintenance.insert_sweep_status."""
    ms: list[float] = field(default_factory=list[float], repr=False)
    """How long each insert took."""

    @property
    def failed(self) -> int:
        """Transactions of clients that failed."""
        return sum(self.failures.values())

    def quantile(self, share: float) -> float:
        """Return the time in ms within which that share of the inserts was done."""
        if not self.ms:
            return float("nan")
        return sorted(self.ms)[min(int(len(self.ms) * share), len(self.ms) - 1)]

    def add(self, other: Counts) -> None:
        """Add up: amounts are summed, and of what was the most the greater is kept."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(value, Counter):
                mine.update(value)
            elif isinstance(value, list):
                mine.extend(value)
            elif name.startswith("most_"):
                setattr(self, name, max(mine, value))
            elif name == "state":
                self.state = value or mine
            else:
                setattr(self, name, mine + value)


@dataclass
class Campaign:
    """Clients of one level and everything that happens around them; a thread has counts its own."""

    url: str
    level: IsolationLevel
    sweep: Sweep
    seed: int
    end: Event = field(default_factory=Event)
    tokens: set[str] = field(default_factory=set[str])
    """What was committed and has to be there at the end."""
    sweeping: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """From when to when transactions held the right to sweep, at least."""
    clients: list[int] = field(default_factory=list[int])
    """Their process ids."""

    short_from: float = inf
    """When transactions get short, so that DDL that has waited gets through between them."""
    undone: set[str] = field(default_factory=set[str])
    """What has to happen and has not happened yet."""

    def __post_init__(self) -> None:
        """Note what has to happen."""
        self.ddl = [name for name in DDL if self.sweep == "ours" or "trigger" not in name]
        self.undone |= {*self.ddl, *HOLDINGS, str(LARGE)}
        if self.sweep == "ours":
            self.undone |= {*POLICY_CHANGES}
            if self.level == IsolationLevel.READ_COMMITTED:
                self.undone.add(AFTER_SWEEP)

    def run(self, seconds: float, at_most: float) -> Counts:
        """Let everybody at it, and return what they counted.

        It goes on, up to the greater time, until everything has happened once.
        """
        with connect(self.url) as connection:
            self._prepare(connection)
        parts: list[Callable[[Counts, Random], None]] = [
            *[Client(self, number).work for number in range(CLIENTS)],
            *[self.hold] * HOLDERS,
            self.put,
            self.alter,
            self.watch,
            *([self.change] if self.sweep == "ours" else []),
        ]
        counts = Counts()
        with ThreadPoolExecutor(len(parts)) as pool:
            done = [pool.submit(self._play, part, number) for number, part in enumerate(parts)]
            began = monotonic()
            while not self.end.wait(0.05) and (
                monotonic() < began + seconds or (self.undone and monotonic() < began + at_most)
            ):
                pass
            self.end.set()
        for future in done:
            counts.add(future.result())
        counts.overlaps = overlaps(self.sweeping)
        with connect(self.url) as connection:
            found = connection.execute(
                "select token_hash from public.refresh_tokens where expires_at > now()"
            )
            counts.kept = len(self.tokens)
            counts.missing = len(self.tokens.difference(row[0] for row in found))
            counts.state = scalar(
                connection,
                "select concat_ws(': ', state, detail) from maintenance.insert_sweep_status"
                " where policy = 'refresh_tokens'",
            )
        return counts

    def _play(self, part: Callable[[Counts, Random], None], number: int) -> Counts:
        counts = Counts()
        try:
            part(counts, Random(f"{self.seed}-{number}"))
        finally:
            self.end.set()  # whoever ends before the others has failed
        return counts

    @property
    def is_short(self) -> bool:
        """Whether transactions have to be short now."""
        return monotonic() >= self.short_from

    def make_room(self) -> None:
        """Return once long transactions may go on."""
        while self.is_short and not self.end.wait(0.01):
            pass

    def _prepare(self, connection: Connection) -> None:
        fill_users(connection, USERS)
        if self.sweep != "ours":
            connection.execute("select maintenance.detach_insert_sweep('refresh_tokens')")
        if self.sweep == "seed":
            connection.execute(literal(SEED))
        connection.execute("set session_replication_role = replica")
        for count, lasts in ((LIVE, "1 h"), (EXPIRED, "0 s")):
            connection.execute(literal(PUT), {"users": USERS, "count": count, "lasts": lasts})
        connection.execute("vacuum (analyze) public.refresh_tokens")
        found = connection.execute(
            "select token_hash from public.refresh_tokens where expires_at > now()"
        )
        self.tokens.update(row[0] for row in found)

    def hold(self, counts: Counts, random: Random) -> None:
        """Hold the oldest expired rows for a while, and change or delete them or not."""
        with connect(self.url) as connection:
            for what, statement in cycle(HOLDINGS.items()):
                self.make_room()
                if self.end.is_set():
                    return
                connection.execute("begin")
                [held] = connection.execute(literal(HOLD), [5 if what == "revive" else 40])
                revived: list[str] = []
                if statement is not None:
                    done = connection.execute(literal(statement), [held[0]])
                    revived = [row[0] for row in done] if done.description else []
                self.end.wait(random.uniform(0.05, 0.3))
                if random.random() < 0.5:
                    connection.execute("rollback")
                else:
                    connection.execute("commit")
                    self.tokens.update(revived)
                if held[0]:
                    counts.held[what] += 1
                    self.undone.discard(what)

    def put(self, counts: Counts, random: Random) -> None:
        """Put in expired rows behind the back of the trigger."""
        with connect(self.url) as connection:
            connection.execute("set session_replication_role = replica")
            while not self.end.is_set():
                count = random.choice([1, 50, 200])
                amounts = {"users": USERS, "count": count, "lasts": "0 s"}
                counts.put += connection.execute(literal(PUT), amounts).rowcount
                self.end.wait(0.03)

    def change(self, counts: Counts, random: Random) -> None:
        """Change the policy and its sweep."""
        with connect(self.url) as connection:
            for statement in cycle(POLICY_CHANGES):
                if self.end.is_set():
                    return
                try:
                    connection.execute(literal(statement))
                    counts.changes += 1
                    self.undone.discard(statement)
                except psycopg.Error as error:
                    counts.refused[f"policy: {error.sqlstate}"] += 1
                self.end.wait(random.uniform(0, 0.03))

    def alter(self, counts: Counts, random: Random) -> None:
        """Let triggers, columns and an index come and go, with short waits for the table."""
        with connect(self.url) as connection:
            for name in cycle(self.ddl):
                if self.end.is_set():
                    return
                if name == "add column" and counts.ddl[name] >= COLUMNS:
                    continue
                # CONCURRENTLY waits for transactions, and nobody for it.
                patience = "0" if "index" in name else "20ms"
                connection.execute("select set_config('lock_timeout', %s, false)", [patience])
                self.short_from = monotonic() + CROWDED
                if self._insist(connection, name, counts):
                    self.undone.discard(name)
                self.short_from = inf
                self.end.wait(random.uniform(0, 0.2))

    def _insist(self, connection: Connection, name: str, counts: Counts) -> bool:
        for _ in range(TRIES):
            if self.end.is_set():
                break
            try:
                connection.execute(literal(DDL[name]))
            except errors.LockNotAvailable:
                self.end.wait(0.05)
            except psycopg.Error as error:
                counts.refused[f"{name}: {error.sqlstate}"] += 1
                break
            else:
                counts.ddl[name] += 1
                return True
        return False

    def watch(self, counts: Counts, random: Random) -> None:
        """Look every few milliseconds for clients that wait for anything but the table."""
        with connect(self.url) as connection:
            while not self.end.is_set():
                counts.waits_seen += int(
                    next(connection.execute(literal(WAITING), [self.clients]))[0]
                )
                counts.looks += 1
                self.end.wait(0.005)


@dataclass
class Client:
    """A session of the application."""

    campaign: Campaign
    number: int

    def work(self, counts: Counts, random: Random) -> None:
        """Log users in to the end."""
        campaign = self.campaign
        with connect(campaign.url) as connection:
            connection.add_notice_handler(lambda notice: hear(notice, counts))
            connection.execute(literal(SETTINGS))
            connection.execute(
                "select set_config('default_transaction_isolation', %s, false)",
                [campaign.level.name.replace("_", " ").lower()],
            )
            campaign.clients.append(connection.info.backend_pid)
            close = int(scalar(connection, f"select '{CLOSE}'::regprocedure::oid"))
            while not campaign.end.is_set():
                login = Login(campaign, connection, counts, random, close)
                try:
                    if self.number == 0:
                        campaign.make_room()
                        login.many(LARGE)
                        counts.large += 1
                        campaign.undone.discard(str(LARGE))
                    elif random.random() < 0.25:
                        login.alone()
                    elif campaign.is_short:
                        login.many(1)
                    else:
                        login.many(random.choice([1, 1, 1, 2, 5]))
                except psycopg.Error as error:
                    if connection.broken:
                        raise
                    counts.failures[str(error.sqlstate)] += 1
                    connection.execute("rollback")
                campaign.end.wait(random.choice(LONG_PAUSES if self.number == 0 else PAUSES))


@dataclass
class Login:
    """One transaction of a client."""

    campaign: Campaign
    connection: Connection
    counts: Counts
    random: Random
    close: int
    """The oid of close_sweep, the last thing that a sweep calls."""

    def alone(self) -> None:
        """Insert a token without a transaction around it."""
        self._believe([self._insert()])

    def many(self, number: int) -> None:
        """Insert tokens in a transaction, and ask after each of them whether it has swept."""
        self.connection.execute("begin")
        if self.random.random() < 0.5:
            self.connection.execute(USER, [self._user()])
        before = first = self._count()
        tokens: list[str] = []
        began = 0.0
        sweeps = several = 0
        for _ in range(number):
            tokens.append(self._insert())
            several = several or int(sweeps > 0)
            now = self._count()
            done = now[0] - before[0] if self.campaign.sweep == "ours" else now[1] > before[1]
            if done and not sweeps:
                began = perf_counter()
            sweeps += done
            before = now
        if 1 < number < LARGE:
            sleep(self.random.choice([0, 0.001, 0.005]))  # the application has other things to do
        removed = before[1] - first[1]
        ended = perf_counter()
        if self.random.random() < 0.05:
            self.connection.execute("rollback")
        else:
            self.connection.execute("commit")
            self._believe(tokens)
        if sweeps:
            self.campaign.sweeping.append((began, ended))
        self.counts.checked += 1
        self.counts.several += several
        if several:
            self.campaign.undone.discard(AFTER_SWEEP)
        self.counts.sweeps += sweeps
        self.counts.swept += removed
        self.counts.removing += removed > 0
        self.counts.most_sweeps = max(self.counts.most_sweeps, sweeps)
        self.counts.most_removed = max(self.counts.most_removed, removed)

    def _user(self) -> str:
        return f"{self.random.randint(1, USERS):032x}"

    def _insert(self) -> str:
        token = f"{self.random.getrandbits(128):032x}"
        began = perf_counter()
        self.connection.execute(INSERT, [self._user(), token])
        self.counts.ms.append((perf_counter() - began) * 1000)
        return token

    def _count(self) -> tuple[int, int]:
        """Return how often this session has closed a sweep, and how many rows it has deleted."""
        row = self.connection.execute(COUNT, [self.close]).fetchone()
        assert row
        return row[0], row[1]

    def _believe(self, tokens: list[str]) -> None:
        """Note what was committed."""
        self.campaign.tokens.update(tokens)
        self.counts.transactions += 1
        self.counts.inserts += len(tokens)


def hear(notice: Diagnostic, counts: Counts) -> None:
    """Note a wait or a failed sweep that the server tells of.

    The clients' keys are never the same and their users never change, so an insert as such has to
    wait for DDL and for room in the table only. DDL alone takes locks that keep an insert out of a
    table: a sweep takes the same ones as an insert.
    """
    text = notice.message_primary or ""
    if wait := WAIT.search(text):
        if IN_A_SWEEP.search(notice.context or ""):
            counts.waits["sweep"] += 1
        elif wait[1] == "relation":
            counts.waits["DDL"] += 1
        else:
            counts.waits[wait[1]] += 1
    elif FAILED.search(text):
        counts.failed_sweeps[text] += 1


def overlaps(intervals: list[tuple[float, float]]) -> int:
    """Count the intervals that begin before an earlier one has ended."""
    count = 0
    latest = 0.0
    for began, ended in sorted(intervals):
        count += began < latest
        latest = max(latest, ended)
    return count


@contextmanager
def connect(url: str) -> Generator[Connection]:
    """Open a session in autocommit mode, in which nothing takes forever."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set statement_timeout = '30s'")
        yield connection


def drive(
    url: str,
    level: IsolationLevel,
    seconds: float,
    *,
    at_most: float = 0,
    sweep: Sweep = "ours",
    seed: int = 1,
) -> Counts:
    """Run a campaign in a database as the migrations leave it, as a superuser.

    It lasts for so many seconds, and up to ``at_most`` until everything has happened once.
    """
    return Campaign(url, level, sweep, seed).run(seconds, at_most)


def measure(chosen: Options) -> None:
    """Run the campaigns, and print the tables."""
    runs, seconds = chosen.runs or 1, SECONDS * chosen.size
    with private_server() as server:
        migrate(server.url("template1"))
        with session(server) as admin:
            heading(f"Logins: {CLIENTS} clients, {seconds:g} s at each level", runs, admin)
        done: dict[IsolationLevel, dict[Sweep, Counts]] = {
            level: {side: Counts() for side in SIDES} for level in LEVELS
        }
        for turn in range(runs):
            for level, sides in done.items():
                for side, counts in sides.items():
                    counts.add(_in_a_copy(server, level, seconds, side, turn))
    for level, sides in done.items():
        print(f"\n{level.name.replace('_', ' ')}")
        table(COLUMN_TITLES, [_line(side, counts) for side, counts in sides.items()])
        for side, counts in sides.items():
            if counts.failures:
                print(f"{SIDES[side]}: failed with {dict(counts.failures)}")
    ours = [sides["ours"] for sides in done.values()]
    print()
    target("inserts that failed: 0", not any(one.failed for one in ours))
    target(
        "inserts that waited for a lock of the sweep: 0",
        not any(one.waits["sweep"] or one.waits_seen for one in ours),
    )
    target(
        "at most one sweep per transaction, and one at a time",
        all(one.most_sweeps <= 1 and not one.overlaps for one in ours),
    )
    target("no valid token is gone", not any(one.missing for one in ours))


def _in_a_copy(
    server: Server, level: IsolationLevel, seconds: float, side: Sweep, turn: int
) -> Counts:
    with session(server) as admin:
        admin.execute("drop database if exists copy (force)")
        admin.execute("create database copy")
    with session(server, "copy") as connection:
        connection.execute("select maintenance.adopt_clone()")
    return drive(server.url("copy"), level, seconds, sweep=side, seed=turn)


def _line(side: Sweep, counts: Counts) -> tuple[str, ...]:
    others = counts.waits.total() - counts.waits["sweep"] - counts.waits["DDL"]
    amounts = (
        counts.inserts, counts.failed, counts.waits["sweep"], counts.waits["DDL"], others,
        counts.sweeps, counts.most_sweeps, counts.swept,
    )  # fmt: skip
    return (
        SIDES[side],
        *(f"{amount:,}" for amount in amounts),
        *(f"{counts.quantile(share):.3g} ms" for share in (0.5, 0.99, 1)),
    )


if __name__ == "__main__":
    measure(options(__doc__))
