"""Which rows a policy removes, to the microsecond: Python computes what PostgreSQL has to find."""

from __future__ import annotations

import operator
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from tests.conftest import scalar
from tests.core.policies import each_end_of_time, purge, register, run
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

SESSIONS = ("UTC", "Asia/Tokyo", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati")
HOME = "America/New_York"
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2024, 5, 15, 16, 0, 0, tzinfo=UTC)
ODD = datetime(2024, 5, 15, 16, 0, 0, 500_001, tzinfo=UTC)
LEVELS = {"<": operator.lt, "<=": operator.le}


def local(moment: datetime, zone: str) -> datetime:
    """Return what the clocks of a zone show."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def seconds(moment: datetime) -> Decimal:
    """Return the seconds since 1970, exactly."""
    return Decimal((moment - EPOCH) // MICROSECOND) / 1_000_000


# By type: the unit, and what the bound at a moment is. A day counts by its beginning.
TYPES: dict[str, tuple[str | None, Callable[[datetime], Any]]] = {
    "timestamptz": (None, lambda moment: moment),
    "timestamp": (None, lambda moment: local(moment, HOME)),
    "date": (None, lambda moment: local(moment, HOME).date()),
    "integer": ("s", seconds),
    "bigint": ("s", seconds),
    "bigint ": ("ms", lambda moment: seconds(moment) * 1000),
    "numeric": ("s", seconds),
    "numeric ": ("ms", lambda moment: seconds(moment) * 1000),
    "double precision": ("s", lambda moment: float(seconds(moment))),
    "double precision ": ("ms", lambda moment: float(seconds(moment) * 1000)),
}


def around(kind: str, bound: Any, seed: int) -> list[Any]:
    """Return values of a type on the bound, next to it, and at random distances from it."""
    distances = [0, 1, -1, *random.Random(seed).sample(range(-1_000_000, 1_000_000), 12)]
    match bound:
        case datetime():
            return [
                *(bound + distance * MICROSECOND for distance in distances),
                *(bound + distance * timedelta(hours=1) for distance in range(-30, 31)),
            ]
        case date():
            return [bound + timedelta(days=distance) for distance in range(-5, 6)]
        case float():
            return [bound, *(bound + distance / 1000 for distance in distances)]
        case _ if kind.startswith("numeric"):
            return [bound + Decimal(distance) / 1_000_000_000 for distance in distances]
        case _:
            return [int(bound) + distance for distance in (*distances, 3600, -3600, 86400, -86400)]


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("comparison", ["<", "<="])
@pytest.mark.parametrize("moment", [NOON, ODD], ids=["whole", "fraction"])
def test_the_same_rows_go_in_every_session_and_the_boundary_is_exact(
    tx: Connection, moment: datetime, comparison: str, kind: str, session: str
) -> None:
    unit, bound_of = TYPES[kind]
    cutoff = moment - timedelta(hours=50)
    bound = bound_of(cutoff)
    values = around(kind, bound, seed=1)
    execute(tx, f"set local time zone '{session}'; set local datestyle = 'German, DMY'")
    execute(tx, f"create table public.t (id integer primary key, at {kind})")
    if kind == "timestamptz":
        values += [cutoff.astimezone(ZoneInfo(zone)) for zone in SESSIONS]
    for number, value in enumerate(values):
        execute(tx, f"insert into public.t values (%s, %s::{kind})", number, value)
    execute(tx, "insert into public.t values (-1, null)")

    given = {} if unit is None else {"unit": unit}
    register(
        tx,
        "t",
        "public.t",
        column="at",
        comparison=comparison,
        zone=HOME,
        retention="50 h",
        **given,
    )
    expected = [
        number for number, value in enumerate(values) if not LEVELS[comparison](value, bound)
    ]
    assert 0 < len(expected) < len(values)
    assert purge(tx, "t", moment.isoformat()) == len(values) - len(expected)
    assert column(tx, "select id from public.t order by id") == [-1, *expected]


@each_end_of_time
@pytest.mark.parametrize("comparison", ["<", "<="])
def test_the_ends_of_time_are_on_their_side_and_null_is_on_neither(
    tx: Connection, comparison: str, kind: str, unit: str | None, stay: list[str], go: list[str]
) -> None:
    execute(tx, f"create table public.t (name text primary key, at {kind})")
    for name in (*stay, *go, None):
        execute(tx, f"insert into public.t values (%s, %s::text::{kind})", str(name), name)
    given = {} if unit is None else {"unit": unit}
    register(tx, "t", "public.t", column="at", comparison=comparison, **given)
    assert purge(tx, "t", "2024-05-15 12:00+00") == len(go)
    assert column(tx, "select name from public.t order by name") == sorted([*stay, "None"])


DAYS: list[tuple[str, str, str, tuple[str, str]]] = [
    # The moment, the retention, the zone, and the cutoff as that zone's clocks show it and in UTC.
    ("2024-05-15T12:00-04:00", "2 mons", HOME, ("2024-03-15T12:00", "2024-03-15T16:00")),
    ("2024-05-15T12:00-04:00", "3 mons", HOME, ("2024-02-15T12:00", "2024-02-15T17:00")),
    ("2024-05-15T12:00-04:00", "3 mons", "UTC", ("2024-02-15T16:00", "2024-02-15T16:00")),
    ("2024-03-31T12:00-04:00", "1 mon", HOME, ("2024-02-29T12:00", "2024-02-29T17:00")),
    ("2023-03-31T12:00-04:00", "1 mon", HOME, ("2023-02-28T12:00", "2023-02-28T17:00")),
    ("2024-05-31T20:00+00:00", "1 mon", "Asia/Tokyo", ("2024-05-01T05:00", "2024-04-30T20:00")),
    ("2024-05-31T20:00+00:00", "1 mon", "UTC", ("2024-04-30T20:00", "2024-04-30T20:00")),
    ("2024-03-01T05:00+00:00", "1 year", "Asia/Kolkata", ("2023-03-01T10:30", "2023-03-01T05:00")),
    ("2024-02-29T12:00+14:00", "1 year", "Pacific/Kiritimati",
     ("2023-02-28T12:00", "2023-02-27T22:00")),
    # The clocks of New York went from 2 to 3 on 2024-03-10, and from 2 back to 1 on 2024-11-03.
    ("2024-03-11T00:30-04:00", "1 day", HOME, ("2024-03-10T00:30", "2024-03-10T05:30")),
    ("2024-03-11T00:30-04:00", "24 h", HOME, ("2024-03-09T23:30", "2024-03-10T04:30")),
    ("2024-03-10T03:30-04:00", "1 h", HOME, ("2024-03-10T01:30", "2024-03-10T06:30")),
    ("2024-03-10T03:30-04:00", "1 day 1 h", HOME, ("2024-03-09T02:30", "2024-03-09T07:30")),
    ("2024-11-03T12:00-05:00", "1 day", HOME, ("2024-11-02T12:00", "2024-11-02T16:00")),
    ("2024-11-03T12:00-05:00", "24 h", HOME, ("2024-11-02T13:00", "2024-11-02T17:00")),
    ("2024-11-03T03:30-05:00", "48 h", HOME, ("2024-11-01T04:30", "2024-11-01T08:30")),
]  # fmt: skip


@pytest.mark.parametrize("split", [False, True], ids=["retention", "half of it as grace"])
@pytest.mark.parametrize("session", ["Asia/Tokyo", HOME])
@pytest.mark.parametrize(("moment", "retention", "zone", "cutoff"), DAYS)
def test_months_and_days_are_the_calendars_of_the_zone_and_hours_pass(
    tx: Connection,
    moment: str,
    retention: str,
    zone: str,
    cutoff: tuple[str, str],
    session: str,
    *,
    split: bool,
) -> None:
    shown, instant = map(datetime.fromisoformat, cutoff)
    execute(tx, f"set local time zone '{session}'")
    execute(tx, "create table public.t (id integer primary key, at timestamptz, naive timestamp)")
    for number in (-1, 0, 1):
        execute(
            tx,
            "insert into public.t values (%s, %s, null), (%s, null, %s)",
            number,
            instant.replace(tzinfo=UTC) + number * MICROSECOND,
            number + 10,
            shown + number * MICROSECOND,
        )
    count, _, unit = retention.partition(" ")
    halves = {"retention": retention}
    if split and " " not in unit and int(count) % 2 == 0:
        halves = dict.fromkeys(("retention", "grace"), f"{int(count) // 2} {unit}")
    register(
        tx, "t", "public.t", zone=zone, branches=[{"column": "at"}, {"column": "naive"}], **halves
    )
    assert purge(tx, "t", moment) == 2
    assert column(tx, "select id from public.t order by id") == [0, 1, 10, 11]


# In New York, 01:00 to 02:00 of 2024-11-03 came twice: from 05:00 and from 06:00 in UTC.
TWICE: list[tuple[str, str, str, str]] = [
    # The moment and the retention; the cutoff of a column with a zone, and of one without.
    ("2024-11-03T04:59+00:00", "0 s", "2024-11-03T04:59", "2024-11-03T00:59"),
    ("2024-11-03T05:00+00:00", "0 s", "2024-11-03T05:00", "2024-11-03T00:00"),
    ("2024-11-03T05:30+00:00", "0 s", "2024-11-03T05:30", "2024-11-03T00:30"),
    ("2024-11-03T06:00+00:00", "0 s", "2024-11-03T06:00", "2024-11-03T01:00"),
    ("2024-11-03T06:30+00:00", "0 s", "2024-11-03T06:30", "2024-11-03T01:30"),
    ("2024-11-03T07:30+00:00", "2 h", "2024-11-03T05:30", "2024-11-03T00:30"),
    ("2024-11-03T08:30+00:00", "2 h", "2024-11-03T06:30", "2024-11-03T01:30"),
    ("2024-11-04T05:30+00:00", "24 h", "2024-11-03T05:30", "2024-11-03T00:30"),
    ("2024-11-04T06:30+00:00", "1 day", "2024-11-03T06:30", "2024-11-03T01:30"),
    ("2024-11-04T05:30+00:00", "1 day", "2024-11-03T04:30", "2024-11-03T00:30"),
]


@pytest.mark.parametrize(("moment", "retention", "instant", "shown"), TWICE)
def test_no_row_goes_early_in_the_hour_that_comes_twice(
    tx: Connection, moment: str, retention: str, instant: str, shown: str
) -> None:
    execute(tx, "create table public.t (id integer primary key, at timestamptz, naive timestamp)")
    for number in (-1, 0, 1):
        execute(
            tx,
            "insert into public.t values (%s, %s, null), (%s, null, %s)",
            number,
            datetime.fromisoformat(instant).replace(tzinfo=UTC) + number * MICROSECOND,
            number + 10,
            datetime.fromisoformat(shown) + number * MICROSECOND,
        )
    branches = [{"column": "at"}, {"column": "naive"}]
    register(tx, "t", "public.t", zone=HOME, branches=branches, retention=retention)
    assert purge(tx, "t", moment) == 2
    assert column(tx, "select id from public.t order by id") == [0, 1, 10, 11]


def test_python_and_postgresql_know_the_same_clocks(tx: Connection) -> None:
    for zone in SESSIONS:
        for month in range(1, 13):
            moment = datetime(2024, month, 15, 7, tzinfo=UTC)
            shown = scalar(tx, f"select %s at time zone '{zone}'", moment)
            assert shown == local(moment, zone)


def test_a_branch_has_its_own_retention_and_the_grace_is_added_to_each(tx: Connection) -> None:
    execute(
        tx,
        "create table public.t (id integer primary key, seen_at timestamptz, made_at timestamptz);"
        " insert into public.t select hour, timestamptz '2024-05-15 12:00+00'"
        " - make_interval(hours => hour), null from generate_series(1, 9) as hour;"
        " insert into public.t select 10 + hour, null, timestamptz '2024-05-15 12:00+00'"
        " - make_interval(hours => hour) from generate_series(1, 9) as hour",
    )
    register(
        tx,
        "t",
        "public.t",
        retention="4 h",
        grace="1 h",
        branches=[{"column": "seen_at"}, {"column": "made_at", "retention": "6 h"}],
    )
    assert purge(tx, "t", "2024-05-15 12:00+00") == 4 + 2
    assert column(tx, "select id from public.t order by id") == [*range(1, 6), *range(11, 18)]


def test_a_row_that_both_branches_name_counts_once(tx: Connection) -> None:
    execute(
        tx,
        "create table public.t (id integer primary key, a timestamptz, b timestamptz);"
        " insert into public.t values (1, '2020-01-01', '2020-01-01'), (2, '2020-01-01', null),"
        " (3, null, '2020-01-01'), (4, null, null), (5, 'infinity', 'infinity')",
    )
    register(tx, "t", "public.t", branches=[{"column": "a"}, {"column": "b"}])
    assert purge(tx, "t", "2024-05-15 12:00+00") == 3
    assert column(tx, "select id from public.t order by id") == [4, 5]


@pytest.mark.parametrize(
    ("kind", "held", "free"),
    [
        ("boolean", ["true"], ["false", None]),
        ("text", ["", "court case"], [None]),
        ("timestamptz", ["2020-01-01", "infinity"], [None]),
        ("integer", ["0", "7"], [None]),
    ],
)
def test_a_hold_keeps_a_row_whatever_its_time(
    tx: Connection, kind: str, held: list[str], free: list[str | None]
) -> None:
    execute(
        tx,
        f'create table public.t (id serial primary key, "Hold" {kind},'
        " at timestamptz default '2020-01-01')",
    )
    for value in (*held, *free):
        execute(tx, f'insert into public.t ("Hold") values (%s::text::{kind})', value)
    register(tx, "t", "public.t", column="at", hold_column="Hold")
    assert purge(tx, "t", "2024-05-15 12:00+00") == len(free)
    assert column(tx, "select id from public.t order by id") == [*range(1, len(held) + 1)]


@pytest.mark.parametrize("session", SESSIONS)
def test_a_table_never_seen_before_is_tended_in_every_session(db: Connection, session: str) -> None:
    now = datetime.now(UTC)
    execute(db, f"set time zone '{session}'")
    execute(
        db,
        'create schema "Old App";'
        ' create table "Old App"."Log Entries" ("Tenant" text, "No" integer,'
        ' "Seen At" timestamp, primary key ("Tenant", "No"));'
        ' create index on "Old App"."Log Entries" ("Seen At")',
    )
    cutoff = local(now, "Asia/Tokyo") - timedelta(days=30)
    hours = [hour for hour in range(-60, 61) if hour != 0]
    for hour in hours:
        execute(
            db,
            'insert into "Old App"."Log Entries" values (%s, %s, %s)',
            f"tenant {hour % 3}",
            hour,
            cutoff + timedelta(hours=hour),
        )
    risks = register(
        db,
        "old_log",
        '"Old App"."Log Entries"',
        column="Seen At",
        retention="30 days",
        zone="Asia/Tokyo",
    )
    assert risks == []
    assert run(db, "old_log") == (60, "exhausted")
    kept = column(db, 'select "No" from "Old App"."Log Entries" order by 1')
    assert kept == [*range(1, 61)]
    assert rows(
        db,
        "select policy, operation, relation, removed, exit_reason, left_over, program,"
        " started_by = current_user, ended_at >= started_at, moment between %s and now()"
        " from maintenance.run_history",
        now,
    ) == [
        ("old_log", "cleanup", '"Old App"."Log Entries"', 60, "exhausted", 0, "run_policy",
         True, True, True)
    ]  # fmt: skip
    assert run(db, "old_log") == (0, "nothing_to_do")


def test_a_domain_tells_time_as_the_type_below_it(tx: Connection) -> None:
    execute(
        tx,
        "create domain public.instant as timestamptz; create domain public.expiry as instant;"
        " create table public.t (id integer primary key, at expiry);"
        " insert into public.t values (1, '2020-01-01'), (2, 'infinity')",
    )
    register(tx, "t", "public.t", column="at")
    assert purge(tx, "t", "2024-05-15 12:00+00") == 1
    assert column(tx, "select id from public.t") == [2]


def test_days_of_midnight_belong_to_the_zone(tx: Connection) -> None:
    """Where it is already tomorrow, yesterday is over."""
    moment = datetime.combine(date(2024, 5, 15), time(20), tzinfo=UTC)
    execute(
        tx,
        "create table public.t (day date primary key);"
        " insert into public.t select '2024-05-10'::date + n from generate_series(0, 9) as n",
    )
    register(tx, "kiritimati", "public.t", column="day", zone="Pacific/Kiritimati")
    register(tx, "utc", "public.t", column="day")
    assert purge(tx, "utc", moment.isoformat()) == 5
    assert purge(tx, "kiritimati", moment.isoformat()) == 1
    assert scalar(tx, "select min(day) from public.t") == date(2024, 5, 16)
