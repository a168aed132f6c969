"""Clears a Django project's sessions and simplejwt's tokens: their own commands, and policies.

The tables are as the migrations of Django and simplejwt make them. Each run works on a fresh copy
of a database, right after a CHECKPOINT. A management command runs in a process of its own; the
time is that of the command alone, without Python's start and the imports.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import django_project
from benchmarks.measuring import (
    Options,
    Removals,
    Spread,
    equal,
    fresh_copy,
    goal,
    logged,
    options,
    removal,
    roomy_heading,
    roomy_server,
    scalar,
    session,
    table,
    target,
)
from runner import api
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from psycopg import Connection

    from benchmarks.django_project import Took
    from benchmarks.measuring import Done
    from runner.embedded import Server

SESSIONS = 1_200_000
TOKENS = 300_000
USERS = 1_000
NO_GUARD = {"guard_rows": 9_000_000_000_000, "guard_share": 1}

# A key has 32 characters, and the data is signed: compressed JSON, the time, the signature. Five of
# six have expired within two weeks, an hour ago at the latest, and the others have a day at least:
# a run that begins later removes the same ones. When one expires has nothing to do with its place.
FILL_SESSIONS = """
    insert into public.django_session (session_key, session_data, expire_date)
    select
        md5('session ' || i),
        '.eJ' || translate(
            encode(
                substring(
                    sha512(int8send(i)) || sha512(int8send(-i)) || sha512(int8send(i + 1))
                        || sha512(int8send(-i - 1)),
                    1,
                    120 + abs(hashint8(i) %% 130)
                ),
                'base64'
            ),
            E'+/=\\n', '-_'
        ) || ':1t' || substring(md5(i::text), 1, 4) || ':'
        || translate(encode(sha256(int8send(i)), 'base64'), '+/=', '-_'),
        now() + case
            when place * 6 < 5 * %(rows)s then
                interval '-1 hour' - place * interval '14 days' / %(rows)s
            else interval '1 day' + place * interval '14 days' / %(rows)s
        end
    from generate_series(0::bigint, %(rows)s - 1) as i
    cross join lateral (select abs(hashint8extended(i, 7) %% %(rows)s)) as session (place)
"""

FILL_USERS = """
    insert into public.auth_user (
        password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
        date_joined
    )
    select
        'pbkdf2_sha256$1000000$' || md5(i::text), false, 'learner' || i, '', '',
        'learner' || i || '@example.com', false, true, now()
    from generate_series(1, %(users)s) as i
"""

# A refresh token in the order in which they were given out, which is that of their time. The first
# two of three have expired, and every third of those was used before, and is on the blacklist; so
# is one in ten of the others.
FILL_TOKENS = """
    insert into public.token_blacklist_outstandingtoken (
        jti, token, created_at, expires_at, user_id
    )
    select
        md5('token ' || i),
        'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.' || translate(
            encode(
                convert_to(
                    format(
                        '{"token_type":"refresh","exp":%%s,"iat":%%s,"jti":"%%s","user_id":"%%s"}',
                        extract(epoch from token.ends)::bigint,
                        extract(epoch from token.ends)::bigint - 604800,
                        md5('token ' || i),
                        1 + i %% %(users)s
                    ),
                    'UTF8'
                ),
                'base64'
            ),
            E'+/=\\n', '-_'
        ) || '.' || translate(encode(sha256(int8send(i)), 'base64'), '+/=', '-_'),
        token.ends - interval '7 days',
        token.ends,
        1 + i %% %(users)s
    from generate_series(0::bigint, %(rows)s - 1) as i
    cross join lateral (
        select now() + case
            when i * 3 < 2 * %(rows)s then
                interval '-1 hour' - (%(rows)s - i) * interval '14 days' / %(rows)s
            else interval '1 day' + i * interval '5 days' / %(rows)s
        end
    ) as token (ends);

    insert into public.token_blacklist_blacklistedtoken (token_id, blacklisted_at)
    select token.id, token.created_at + interval '1 hour'
    from public.token_blacklist_outstandingtoken as token
    where token.id %% case when token.expires_at < now() then 3 else 10 end = 0
    order by token.id
"""

TOKENS_BY_HAND = """
    delete from public.token_blacklist_blacklistedtoken as blacklisted
    using public.token_blacklist_outstandingtoken as token
    where blacklisted.token_id = token.id
      and token.expires_at <= now();

    delete from public.token_blacklist_outstandingtoken where expires_at <= now()
"""

REGISTER = """
    select maintenance.register_policy(%(policy)s, %(relation)s::regclass, %(definition)s::jsonb)
"""


LEFT = """
    select format('%s rows of {0}, %s', count(*), sum(hashtextextended(kept::text, 0)::numeric))
    from {0} as kept
"""


@dataclass(frozen=True)
class Case:
    """What expires, and who removes it."""

    title: str
    command: str
    policy: str
    definition: Mapping[str, object]
    relations: tuple[str, ...]
    """The table of the policy comes first."""
    rows: int
    fill: str
    target: float
    goal: float
    by_hand: str = ""

    @property
    def database(self) -> str:
        """The one that copies are made of."""
        return self.title

    @property
    def sides(self) -> list[str]:
        """Who takes part, the rival first."""
        return [side for side in SIDES if side != "by hand" or self.by_hand]

    @property
    def names(self) -> dict[str, str]:
        """What the sides are called."""
        return {
            "command": self.command,
            "by hand": "by hand",
            "ours": "run_policy()",
            "runner": "runner run",
            "runner of two": "runner run --jobs 2",
        }


CASES = (
    Case(
        title="sessions",
        command="clearsessions",
        policy="django_sessions",
        definition={"column": "expire_date"},
        relations=("public.django_session",),
        rows=SESSIONS,
        fill=FILL_SESSIONS,
        target=1,
        goal=1.5,
    ),
    Case(
        title="tokens",
        command="flushexpiredtokens",
        policy="outstanding_tokens",
        definition={
            "column": "expires_at",
            "comparison": "<=",
            "dependents": [
                {
                    "relation": "public.token_blacklist_blacklistedtoken",
                    "columns": ["token_id"],
                    "references": ["id"],
                }
            ],
        },
        relations=(
            "public.token_blacklist_outstandingtoken",
            "public.token_blacklist_blacklistedtoken",
        ),
        rows=TOKENS,
        fill=f"{FILL_USERS}; {FILL_TOKENS}",
        target=5,
        goal=10,
        by_hand=TOKENS_BY_HAND,
    ),
)


class Contest:
    """A database that was filled for a case, and what its sides do to copies of it."""

    def __init__(self, server: Server, case: Case, rows: int, runs: int) -> None:
        self.server = server
        self.case = case
        self.rows = rows
        self.left: list[str] = []
        """The rows that each side left so far, summed up."""
        self.took: list[Took] = []
        _fill(server, case, rows)
        self.measured = Removals(
            runs,
            {side: partial(self.remove, side) for side in case.sides},
        )
        self.took = self.took[1:]

    def remove(self, side: str) -> Done:
        """Let one side remove what has expired, from a copy of its own."""
        with fresh_copy(self.server, self.case.database) as connection:
            connection.execute("checkpoint")
            done = removal(connection, partial(SIDES[side], self, connection))
            self.left.append(
                "; ".join(scalar(connection, LEFT.format(name)) for name in self.case.relations)
            )
        equal("the rows that are left", *self.left)
        gone = self.rows - int(self.left[-1].partition(" ")[0])
        if side == "command":  # which does not say how many; and Python's start is not counted
            return replace(done, rows=gone, ms=done.longest)
        equal("rows removed and rows gone", done.rows, gone)
        return done

    def line(self) -> str:
        """Say how long each side took, and how much memory the command."""
        times = (
            f"{self.case.names[side]} {spread.shown('ms')}"
            for side, spread in self.measured.times.items()
        )
        peak, before = (
            Spread(tuple(getattr(took, what) / 2**20 for took in self.took)).shown("MB")
            for what in ("memory", "before")
        )
        return (
            f"{self.case.title}: {', '.join(times)}\n"
            f"{self.case.command}: memory up to {peak}, {before} before it began"
        )


def _command(contest: Contest, connection: Connection) -> tuple[int, float, int]:
    took = django_project.command(contest.server.url("copy"), contest.case.command)
    contest.took.append(took)
    return 0, took.ms, 1


def _by_hand(contest: Contest, connection: Connection) -> tuple[int, float, int]:
    with connection.transaction():
        rows = [
            connection.execute(literal(statement)).rowcount
            for statement in contest.case.by_hand.split(";")
        ]
    return rows[-1], 0, 1


def _ours(contest: Contest, connection: Connection) -> tuple[int, float, int]:
    connection.execute("call maintenance.run_policy(%s)", [contest.case.policy])
    return logged(connection)


def _runner(jobs: int, contest: Contest, connection: Connection) -> tuple[int, float, int]:
    url, policy = contest.server.url("copy"), contest.case.policy
    api.run(url, [policy], order=api.Order(jobs=jobs))
    return logged(connection)


SIDES: dict[str, Callable[[Contest, Connection], tuple[int, float, int]]] = {
    "command": _command,
    "by hand": _by_hand,
    "ours": _ours,
    "runner": partial(_runner, 1),
    "runner of two": partial(_runner, 2),
}


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs = chosen.runs or 5
    with roomy_server() as server:
        with session(server) as admin:
            amounts = (f"{chosen.rows(case.rows):,} {case.title}" for case in CASES)
            roomy_heading(f"Django: {', '.join(amounts)}", runs, admin)
        print(", ".join(django_project.versions()))
        contests = [Contest(server, case, chosen.rows(case.rows), runs) for case in CASES]
    table(
        ("", "", "speed", "to the command", "WAL to the command", "batches", "longest"),
        [row for did in contests for row in did.measured.rows(did.case.title, did.case.names)],
    )
    for did in contests:
        print(did.line())
    for did in contests:
        ratio = did.measured.speed("ours").median
        what = f"of {did.case.command}"
        target(f"{did.case.target}x {what}", ratio >= did.case.target)
        goal(f"{did.case.goal}x {what}", ratio >= did.case.goal)
        target("no batch over 100 ms", max(did.measured.longest("ours").values) <= 100)


def _fill(server: Server, case: Case, rows: int) -> None:
    """Have Django make its tables in a database that copies are made of, and fill them."""
    with session(server) as admin:
        admin.execute(literal(f"create database {case.database}"))
    django_project.command(server.url(case.database), "migrate")
    migrate(server.url(case.database), applications=["none"])
    with session(server, case.database) as connection:
        for relation in case.relations:
            connection.execute(literal(f"alter table {relation} set (autovacuum_enabled = off)"))
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")
            for statement in case.fill.split(";"):
                connection.execute(literal(statement), {"rows": rows, "users": USERS})
        connection.execute(
            REGISTER,
            {
                "policy": case.policy,
                "relation": case.relations[0],
                "definition": json.dumps({**case.definition, **NO_GUARD}),
            },
        )
        connection.execute("vacuum (analyze)")


if __name__ == "__main__":
    measure(options(__doc__))
