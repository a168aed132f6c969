"""Archives what has expired, and undoes that: refresh tokens with four indexes, events with two.

The rival copies the rows of some pages into an archive, which locks them, and then deletes them: an
INSERT and a DELETE where a policy has one statement. It goes page by page like ours, commits as
often, does not wait for the disk either, and its archive is a bare table. Each side works on a
fresh copy of a database, right after a CHECKPOINT. Undoing follows in the same copy; by hand that
is a DELETE ... RETURNING and an INSERT in one statement, page by page, which asks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.copies import TOKENS, filled, tended_copy
from benchmarks.measuring import (
    Options,
    Removals,
    Spread,
    equal,
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
from runner.connection import literal
from runner.migrate import migrate
from runner.runs import run
from runner.undo import undo

if TYPE_CHECKING:
    from psycopg import Connection

    from benchmarks.measuring import Done
    from runner.embedded import Server

PAGES = 500
RIVAL = """
    create procedure public.{name}(
        cutoff timestamptz,
        inout moved bigint default 0,
        inout longest_ms double precision default 0,
        inout batches bigint default 0
    )
    language plpgsql
    as $procedure$
    declare
        v_began timestamptz;
        v_rows bigint;
        v_low tid;
        v_high tid;
    begin
        for page in 0 .. pg_relation_size('public.{read}') / 8192 by {pages} loop
            v_began := clock_timestamp();
            perform set_config('synchronous_commit', 'off', true);
            v_low := format('(%s,0)', page);
            v_high := format('(%s,0)', page + {pages});
            {statements}
            get diagnostics v_rows = row_count;
            commit;
            longest_ms := greatest(
                longest_ms, extract(epoch from clock_timestamp() - v_began) * 1000
            );
            moved := moved + v_rows;
            batches := batches + 1;
        end loop;
    end;
    $procedure$
"""
SEPARATE = """
    insert into public.bare ({columns})
    select {columns} from public.{table}
    where ctid >= v_low and ctid < v_high and {time} < cutoff
    for update;

    delete from public.{table} where ctid >= v_low and ctid < v_high and {time} < cutoff;
"""
AT_ONCE = """
    with removed as (
        delete from public.{table}
        where ctid >= v_low and ctid < v_high and {time} < cutoff
        returning {columns}
    )
    insert into public.bare ({columns}) select {columns} from removed;
"""
BACK = """
    with back as (
        delete from public.bare where ctid >= v_low and ctid < v_high returning {columns}
    )
    insert into public.{table} ({columns}) overriding system value select {columns} from back;
"""
EVENTS = """
    create table public.events (
        id bigint generated always as identity primary key,
        created_at timestamptz not null,
        kind text not null,
        payload jsonb not null
    )
"""
# As with the tokens, there is an hour around each midnight without any.
FILL_EVENTS = """
    insert into public.events (created_at, kind, payload)
    select
        now() - interval '100 days' + interval '1 hour'
            + i * 100 / %(rows)s * interval '1 day'
            + i * 100 %% %(rows)s * interval '22 hours' / %(rows)s,
        'kind ' || i %% 10,
        jsonb_build_object('number', i, 'text', repeat('x', 60))
    from generate_series(0::bigint, %(rows)s - 1) as i
"""
REGISTER_EVENTS = """
    select maintenance.register_policy('events', 'public.events', '{"column": "created_at"}')
"""


@dataclass(frozen=True)
class Case:
    """A table whose rows are archived; a quarter of them are older than the retention."""

    table: str
    time: str
    retention: str
    template: str
    """The database that copies are made of."""


CASES = (
    Case("refresh_tokens", "expires_at", "65 days", "random"),
    Case("events", "created_at", "75 days", "events"),
)
NAMES = {
    "separate": "INSERT, then DELETE",
    "at once": "one statement, by hand",
    "ours": "ours",
    "large": "ours, batch_size 30000",
    "runner": "the runner",
}


def measure(chosen: Options) -> None:
    """Measure, and print the tables."""
    runs, rows = chosen.runs or 5, chosen.rows(TOKENS)
    with roomy_server() as server:
        fill_tokens(server, rows)
        fill_events(server, rows)
        with session(server) as admin:
            roomy_heading(f"Archive and undo: a quarter of {rows:,} rows", runs, admin)
        moved: dict[Case, Removals] = {}
        undone: dict[Case, dict[str, Spread]] = {}
        speeds: dict[Case, dict[str, Spread]] = {}
        for case in CASES:
            back: dict[str, list[Done]] = {side: [] for side in UNDOING}
            moved[case] = Removals(
                runs, {side: partial(move, server, case, side, back) for side in NAMES}
            )
            found = {side: back[side][1:] for side in UNDOING}
            speeds[case] = {
                side: Spread(tuple(one.rows * 1000 / one.ms for one in did))
                for side, did in found.items()
            }
            undone[case] = {
                side: moved[case].times[side].over(Spread(tuple(one.ms for one in did)))
                for side, did in found.items()
            }
    table(
        ("rows", "", "archived", "to INSERT, DELETE", "WAL", "batches", "longest"),
        [row for case, did in moved.items() for row in did.rows(case.table, NAMES)],
    )
    table(
        ("rows", "", "undone", "to archiving them", "to undoing by hand"),
        [
            (
                case.table,
                NAMES[side],
                speeds[case][side].shown("/s"),
                undone[case][side].shown("x"),
                speeds[case][side].over(speeds[case]["at once"]).shown("x"),
            )
            for case in CASES
            for side in UNDOING
        ],
    )
    for case in CASES:
        for side in ("ours", "large", "runner"):
            target(
                f"{case.table}, {NAMES[side]}: at least 1.15x of separate INSERT and DELETE",
                moved[case].speed(side).median >= 1.15,
            )
        for side in ("ours", "runner"):
            target(
                f"{case.table}, {NAMES[side]}: undo at half the archive's rows per second",
                undone[case][side].median >= 0.5,
            )


def fill_tokens(server: Server, rows: int) -> None:
    """Fill a database with refresh tokens in random order."""
    with filled(server, CASES[0].template, rows) as connection:
        connection.execute("select maintenance.detach_insert_sweep('refresh_tokens')")
        _prepare(connection, CASES[0])


def fill_events(server: Server, rows: int) -> None:
    """Fill a database with events in the order of their time."""
    with session(server) as admin:
        admin.execute("create database events")
    migrate(server.url("events"), applications=["none"])
    with session(server, "events") as connection:
        connection.execute(EVENTS)
        connection.execute("alter table public.events set (autovacuum_enabled = off)")
        connection.execute(FILL_EVENTS, {"rows": rows})
        connection.execute("create index on public.events (created_at)")
        connection.execute(REGISTER_EVENTS)
        _prepare(connection, CASES[1])
        connection.execute("vacuum (analyze)")


def _prepare(connection: Connection, case: Case) -> None:
    """Make what the rival has, and the archive of ours."""
    columns = scalar(
        connection,
        "select string_agg(column_name, ', ' order by ordinal_position)"
        f" from information_schema.columns where table_name = '{case.table}'",
    )
    connection.execute(literal(f"create table public.bare (like public.{case.table})"))
    for name, read, statements in (
        ("separate", case.table, SEPARATE),
        ("at_once", case.table, AT_ONCE),
        ("back", "bare", BACK),
    ):
        written = statements.format(columns=columns, table=case.table, time=case.time)
        connection.execute(
            literal(RIVAL.format(name=name, read=read, pages=PAGES, statements=written))
        )
    connection.execute(
        "select maintenance.create_archive(%s::text::regclass, 'public.kept')",
        [f"public.{case.table}"],
    )


def move(server: Server, case: Case, side: str, back: dict[str, list[Done]]) -> Done:
    """Let one side archive what has expired, in a copy of its own; then take it back, if it can."""
    settings = {
        "retention": case.retention,
        "action": "archive",
        "archive_table": "public.kept",
        "batch_size": 30_000 if side == "large" else 10_000,
    }
    with tended_copy(server, case.template, case.table, settings) as connection:
        count = f"select count(*) from public.{case.table}"  # ours
        before = scalar(connection, count)
        done = removal(connection, partial(MOVING[side], connection, case))
        kept = "bare" if side in ("separate", "at once") else "kept"
        equal(
            "rows gone and kept",
            done.rows,
            scalar(connection, f"select count(*) from public.{kept}"),
        )
        if side in UNDOING:
            connection.execute("checkpoint")
            back[side].append(removal(connection, partial(UNDOING[side], connection, case)))
            equal("rows before and after", before, scalar(connection, count))
        return done


def _rival(name: str, connection: Connection, case: Case) -> tuple[int, float, int]:
    row = connection.execute(
        literal(f"call public.{name}(now() - %(retention)s::interval)"),
        {"retention": case.retention},
    ).fetchone()
    assert row
    return row[0], row[1], row[2]


def _procedure(connection: Connection, case: Case) -> tuple[int, float, int]:
    connection.execute("call maintenance.run_policy(%s)", [case.table])
    return logged(connection)


def _runner(connection: Connection, case: Case) -> tuple[int, float, int]:
    run(connection.info.dsn, [case.table])
    return logged(connection)


def _undo(connection: Connection, _: Case) -> tuple[int, float, int]:
    connection.execute("call maintenance.undo_run(1)")
    return _undone(connection)


def _undo_by_runner(connection: Connection, _: Case) -> tuple[int, float, int]:
    undo(connection.info.dsn, 1)
    return _undone(connection)


def _undone(connection: Connection) -> tuple[int, float, int]:
    row = connection.execute(
        "select restored, extract(epoch from longest_batch)::float8 * 1000, batches"
        " from maintenance.run_history where action = 'undo'"
    ).fetchone()
    assert row
    return row[0], row[1], row[2]


Work = Callable[["Connection", Case], tuple[int, float, int]]

MOVING: dict[str, Work] = {
    "separate": partial(_rival, "separate"),
    "at once": partial(_rival, "at_once"),
    "ours": _procedure,
    "large": _procedure,
    "runner": _runner,
}
UNDOING: dict[str, Work] = {
    "at once": partial(_rival, "back"),
    "ours": _undo,
    "runner": _undo_by_runner,
}


if __name__ == "__main__":
    measure(options(__doc__))
