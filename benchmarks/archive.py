"""Archives the expired among many refresh tokens, and undoes that.

The rival copies the rows of some pages into an archive, which locks them, and then deletes them: an
INSERT and a DELETE where a policy has one statement. It goes page by page like ours, commits as
often, does not wait for the disk either, and its archive is a bare table. Each side works on a
fresh copy of a database, right after a CHECKPOINT. The undo follows ours in the same copy.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.copies import TOKENS, filled, tended_copy
from benchmarks.measuring import (
    Options,
    Removals,
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
from runner.runs import run
from runner.undo import undo

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from benchmarks.measuring import Done
    from runner.embedded import Server

LAYOUT = "random"
RETENTION = "65 days"
"""A quarter of the tokens expired longer ago than that."""
PAGES = 500
SEPARATE = """
    insert into public.bare ({columns})
    select {columns} from public.refresh_tokens
    where ctid >= v_low and ctid < v_high and expires_at < cutoff
    for update;

    delete from public.refresh_tokens
    where ctid >= v_low and ctid < v_high and expires_at < cutoff;
"""
AT_ONCE = """
    with removed as (
        delete from public.refresh_tokens
        where ctid >= v_low and ctid < v_high and expires_at < cutoff
        returning {columns}
    )
    insert into public.bare ({columns}) select {columns} from removed;
"""
RIVAL = """
    create procedure public.{name}(
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
        v_low tid;
        v_high tid;
    begin
        for page in 0 .. pg_relation_size('public.refresh_tokens') / 8192 by {pages} loop
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
            removed := removed + v_rows;
            batches := batches + 1;
        end loop;
    end;
    $procedure$
"""
CALL = "call public.{name}(now() - %(retention)s::interval)"
NAMES = {
    "separate": "INSERT, then DELETE",
    "at once": "one statement, by hand",
    "ours": "ours",
    "runner": "the runner",
    "undo": "undo",
    "undo, runner": "undo, the runner",
}
SIDES = ("separate", "at once", "ours", "runner")


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs, tokens = chosen.runs or 5, chosen.rows(TOKENS)
    undone: dict[str, list[Done]] = {"undo": [], "undo, runner": []}
    with roomy_server() as server:
        fill(server, tokens)
        with session(server) as admin:
            roomy_heading(f"Archive: a quarter of {tokens:,} refresh tokens", runs, admin)
        measured = Removals(runs, {side: partial(move, server, side, undone) for side in SIDES})
    back = {side: found[1:] for side, found in undone.items()}
    table(
        ("", "speed", "to INSERT, DELETE", "WAL", "batches", "longest"),
        [row[1:] for row in measured.rows("", NAMES)],
    )
    print()
    speeds = {
        "undo": measured.times["ours"],
        "undo, runner": measured.times["runner"],
    }
    ratios = {
        side: type(times)(
            tuple(ms / one.ms for ms, one in zip(times.values, back[side], strict=True))
        )
        for side, times in speeds.items()
    }
    table(
        ("", "speed", "to archiving", "longest"),
        [
            (
                NAMES[side],
                type(ratio)(tuple(one.rows * 1000 / one.ms for one in back[side])).shown("/s"),
                ratio.shown("x"),
                type(ratio)(tuple(one.longest for one in back[side])).shown("ms"),
            )
            for side, ratio in ratios.items()
        ],
    )
    for side in ("ours", "runner"):
        target(
            f"{NAMES[side]}: at least 1.15x of separate INSERT and DELETE",
            measured.speed(side).median >= 1.15,
        )
    for side, ratio in ratios.items():
        target(f"{NAMES[side]}: at least half the archive's rows per second", ratio.median >= 0.5)


def fill(server: Server, tokens: int) -> None:
    """Fill a database with tokens, an archive, and what the rival has."""
    with filled(server, LAYOUT, tokens) as connection:
        columns = scalar(
            connection,
            "select string_agg(column_name, ', ' order by ordinal_position)"
            " from information_schema.columns where table_name = 'refresh_tokens'",
        )
        connection.execute("select maintenance.detach_insert_sweep('refresh_tokens')")
        connection.execute("create table public.bare (like public.refresh_tokens)")
        for name, statements in (("separate", SEPARATE), ("at_once", AT_ONCE)):
            connection.execute(
                literal(
                    RIVAL.format(
                        name=name, pages=PAGES, statements=statements.format(columns=columns)
                    )
                )
            )
        connection.execute("select maintenance.create_archive('public.refresh_tokens', 'kept')")


def move(server: Server, side: str, undone: dict[str, list[Done]]) -> Done:
    """Let one side archive what has expired, in a copy of its own; then take it back, if it can."""
    settings = {
        "retention": RETENTION,
        "action": "archive",
        "archive_table": "public.kept",
    }
    with tended_copy(server, LAYOUT, "refresh_tokens", settings) as connection:
        before = _rows(connection)
        done = removal(connection, partial(MOVES[side], connection))
        archive = "bare" if side in ("separate", "at once") else "kept"
        equal(
            "rows gone and kept", done.rows, scalar(connection, f"select count(*) from {archive}")
        )
        if side in UNDOING:
            name, work = UNDOING[side]
            connection.execute("checkpoint")
            undone[name].append(removal(connection, partial(work, connection)))
            equal("rows before and after", before, _rows(connection))
        return done


def _rows(connection: Connection) -> str:
    return scalar(connection, "select count(*) from public.refresh_tokens")


def _rival(name: str, connection: Connection) -> tuple[int, float, int]:
    row = connection.execute(literal(CALL.format(name=name)), {"retention": RETENTION}).fetchone()
    assert row
    return row[0], row[1], row[2]


def _procedure(connection: Connection) -> tuple[int, float, int]:
    connection.execute("call maintenance.run_policy('refresh_tokens')")
    return logged(connection)


def _runner(connection: Connection) -> tuple[int, float, int]:
    run(connection.info.dsn, ["refresh_tokens"])
    return logged(connection)


def _undo(connection: Connection) -> tuple[int, float, int]:
    connection.execute("call maintenance.undo_run(1)")
    return _undone(connection)


def _undo_by_runner(connection: Connection) -> tuple[int, float, int]:
    undo(connection.info.dsn, 1)
    return _undone(connection)


def _undone(connection: Connection) -> tuple[int, float, int]:
    row = connection.execute(
        "select restored, extract(epoch from longest_batch)::float8 * 1000, batches"
        " from maintenance.run_history where action = 'undo'"
    ).fetchone()
    assert row
    return row[0], row[1], row[2]


MOVES: dict[str, Callable[[Connection], tuple[int, float, int]]] = {
    "separate": partial(_rival, "separate"),
    "at once": partial(_rival, "at_once"),
    "ours": _procedure,
    "runner": _runner,
}
UNDOING = {"ours": ("undo", _undo), "runner": ("undo, runner", _undo_by_runner)}


if __name__ == "__main__":
    measure(options(__doc__))
