"""Adopts a table that is written to all the time: what the writers notice of `runner migrate`.

Two sessions insert, update and delete refresh tokens of an application that is not ours yet. Beside
them nothing happens, or `runner migrate --app matcha`, once straight and once killed in the middle
of its first index and run again; or, for the rival, its indexes are built by plain CREATE INDEX.

A wait of a writer for a lock that lasts 200 ms is heard of from the server, so that it is not
mistaken for a slow disk or a busy machine.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING

import psycopg

from benchmarks.filling import USERS
from benchmarks.measuring import (
    COPY,
    Options,
    Spread,
    equal,
    options,
    roomy_heading,
    roomy_server,
    scalar,
    session,
    table,
    target,
)
from runner.connection import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from psycopg import Connection
    from psycopg.errors import Diagnostic

    from runner.embedded import Server

TOKENS = 5_000_000
PEOPLE = 100_000
WRITERS = 2
CONTROL = 15.0
"""Seconds that the control lasts."""
LONGEST = 200
"""Milliseconds that no writer may wait for a lock."""
APPLICATION = """
    create table public.users (
        id uuid primary key,
        username text not null unique,
        email text not null unique,
        password_hash text not null,
        email_verified boolean not null default true,
        created_at timestamptz not null default now()
    );
    create table public.refresh_tokens (
        id uuid primary key default gen_random_uuid(),
        user_id uuid not null references public.users (id) on delete cascade,
        token_hash text not null unique,
        expires_at timestamptz not null,
        created_at timestamptz not null default now(),
        last_used_at timestamptz
    );
"""
FILL = """
    insert into public.refresh_tokens (id, user_id, token_hash, expires_at)
    select
        lpad(to_hex(i), 32, '0')::uuid,
        lpad(to_hex(1 + (i * 7919) %% %(users)s), 32, '0')::uuid,
        lpad(to_hex(i), 64, '0'),
        now() + interval '1 day' + ((i * 7919) %% 7776000) * interval '1 second'
    from generate_series(1::bigint, %(tokens)s) as i
"""
INDEXES = (
    "create index idx_users_unverified_created_at on public.users (created_at)"
    " where not email_verified",
    "create index idx_refresh_tokens_user on public.refresh_tokens (user_id)",
    "create index idx_refresh_tokens_expires_at on public.refresh_tokens (expires_at)",
)
BUILT = """
    select string_agg(pg_get_indexdef(indexrelid), '; ' order by indexrelid::regclass::text)
    from pg_index
    where indrelid in ('public.users'::regclass, 'public.refresh_tokens'::regclass)
      and indexrelid::regclass::text ~ 'idx_'
      and indisvalid
"""
HALF_BUILT = """
    select count(*) from pg_stat_progress_create_index
    where datname = current_database() and blocks_done > 0
"""
STATEMENTS = (
    "insert into public.refresh_tokens (user_id, token_hash, expires_at)"
    " values (%(user)s, %(hash)s, now() + interval '30 days')",
    "update public.refresh_tokens set last_used_at = now() where id = %(token)s",
    "delete from public.refresh_tokens where id = %(token)s",
)
# A wait for a lock is reported when it has lasted as long as deadlock_timeout.
SETTINGS = f"""
    set lc_messages = 'C';
    set client_min_messages = log;
    set log_lock_waits = on;
    set deadlock_timeout = '{LONGEST}ms';
"""


@dataclass
class Noticed:
    """What the writers noticed."""

    ms: list[float] = field(default_factory=list[float], repr=False)
    """How long each statement took."""
    waits: list[str] = field(default_factory=list[str])
    """Waits for a lock that lasted too long, as the server reports them."""
    seconds: float = 0
    """How long the work beside them took."""

    def quantile(self, share: float) -> float:
        """Return the time in ms within which that share of the statements was done."""
        return sorted(self.ms)[min(int(len(self.ms) * share), len(self.ms) - 1)]


@contextmanager
def writing(url: str, tokens: int, people: int) -> Generator[Noticed]:
    """Let the writers write as long as the block lasts."""
    noticed = Noticed()
    end = Event()

    def hear(notice: Diagnostic) -> None:
        if "still waiting for" in (text := notice.message_primary or ""):
            noticed.waits.append(text)

    def write(number: int) -> None:
        chance = random.Random(number)
        with psycopg.connect(url, autocommit=True, application_name="application") as connection:
            connection.add_notice_handler(hear)
            connection.execute(literal(SETTINGS))
            while not end.is_set():
                for statement in STATEMENTS:
                    values = {
                        "user": f"{chance.randint(1, people):032x}",
                        "hash": f"{chance.getrandbits(256):064x}",
                        "token": f"{chance.randint(1, tokens):032x}",
                    }
                    began = perf_counter()
                    connection.execute(literal(statement), values)
                    noticed.ms.append((perf_counter() - began) * 1000)
                end.wait(0.002)

    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, number) for number in range(WRITERS)]
        began = monotonic()
        try:
            yield noticed
        finally:
            noticed.seconds = monotonic() - began
            end.set()
    for writer in writers:
        writer.result()


def migrate(url: str) -> subprocess.Popen[str]:
    """Begin what a user would type."""
    return subprocess.Popen(
        [sys.executable, "-m", "runner", "migrate", "--app", "matcha"],
        env=os.environ | {"DATABASE_URL": url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a migrate, and stop the benchmark if it failed."""
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"runner migrate failed:\n{out}")


def straight(url: str) -> None:
    """Migrate in one go."""
    finish(migrate(url))


def interrupted(url: str) -> None:
    """Kill the migrate in the middle of an index, and run it again."""
    with migrate(url) as process, psycopg.connect(url, autocommit=True) as observer:
        while scalar(observer, HALF_BUILT) == "0":
            if process.poll() is not None:
                raise SystemExit("no index was built long enough for a kill")
            sleep(0.01)
        process.kill()
    finish(migrate(url))


def plainly(url: str) -> None:
    """Build the same indexes as one does without thinking."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in INDEXES:
            connection.execute(literal(statement))


def nothing(_url: str) -> None:
    """Let the writers alone."""
    sleep(CONTROL)


SIDES: dict[str, Callable[[str], None]] = {
    "nothing": nothing,
    "runner migrate": straight,
    "the same, killed and run again": interrupted,
    "CREATE INDEX": plainly,
}
OURS = ("runner migrate", "the same, killed and run again")


def fill(connection: Connection, tokens: int, people: int) -> None:
    """Make the application's tables, with rows that all live."""
    connection.execute(literal(APPLICATION))
    connection.execute(literal(USERS), {"users": people})
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(literal(FILL), {"users": people, "tokens": tokens})
    connection.execute("vacuum (analyze)")


def measure(chosen: Options) -> None:
    """Run each side on a copy of its own, and print what the writers noticed."""
    runs, tokens, people = chosen.runs or 1, chosen.rows(TOKENS), chosen.rows(PEOPLE)
    done: dict[str, list[Noticed]] = {side: [] for side in SIDES}
    built: dict[str, str] = {}
    with roomy_server() as server:
        with session(server) as admin:
            admin.execute("create database application")
            roomy_heading(f"Adoption: {tokens:,} tokens, {WRITERS} writers", runs, admin)
        with session(server, "application") as connection:
            fill(connection, tokens, people)
        for _ in range(runs):
            for side, work in SIDES.items():
                with _copy(server) as connection:
                    with writing(server.url(COPY), tokens, people) as noticed:
                        work(server.url(COPY))
                    done[side].append(noticed)
                    built[side] = scalar(connection, BUILT)
    table(
        (
            "beside the writers",
            "took",
            "statements",
            "median",
            "99 %",
            "longest",
            "waits for locks",
        ),
        [_line(side, found) for side, found in done.items()],
    )
    equal("indexes", *(found for side, found in built.items() if side != "nothing"))
    ours = [one for side in OURS for one in done[side]]
    print()
    target(f"no writer waited {LONGEST} ms for a lock of ours", not any(one.waits for one in ours))
    target(f"no statement took {LONGEST} ms", all(max(one.ms) < LONGEST for one in ours))


@contextmanager
def _copy(server: Server) -> Generator[Connection]:
    with session(server) as admin:
        admin.execute(literal(f"drop database if exists {COPY} (force)"))
        admin.execute(literal(f"create database {COPY} template application strategy file_copy"))
        admin.execute("checkpoint")
    with session(server, COPY) as connection:
        yield connection


def _line(side: str, found: list[Noticed]) -> tuple[str, ...]:
    return (
        side,
        Spread(tuple(one.seconds for one in found)).shown("s"),
        f"{sum(len(one.ms) for one in found):,}",
        *(
            Spread(tuple(one.quantile(share) for one in found)).shown("ms")
            for share in (0.5, 0.99, 1)
        ),
        str(sum(len(one.waits) for one in found)),
    )


if __name__ == "__main__":
    measure(options(__doc__))
