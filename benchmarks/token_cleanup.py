"""Deletes the dead among many live password reset tokens: the seed's DELETE and ours.

Each works on a table of its own with the same rows in the same order: the seed's with the seed's
indexes, ours as the migrations leave it. The dead tokens are spread evenly, about one on a page,
which is the worst case for an index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.filling import DEAD, fill_tokens, fill_users
from benchmarks.measuring import (
    Options,
    Spread,
    call,
    equal,
    heading,
    options,
    plan,
    private_server,
    session,
    table,
    target,
    turns,
    undone,
)
from runner.connection import literal
from runner.migrate import migrate

if TYPE_CHECKING:
    from psycopg import Connection

LIVE = 2_000_000
USERS = 1_000
GOAL = 30

SEED = """
    create schema seed;

    create table seed.password_reset_tokens (
        like public.password_reset_tokens including defaults including constraints
    );

    insert into seed.password_reset_tokens select * from public.password_reset_tokens;

    alter table seed.password_reset_tokens
        add primary key (id),
        add unique (token_hash),
        add foreign key (user_id) references public.users (id) on delete cascade;
    create index seed_user_id on seed.password_reset_tokens (user_id);
    create index seed_expires_at on seed.password_reset_tokens (expires_at) where used_at is null;

    create function seed.cleanup_expired_password_reset_tokens()
    returns integer
    language plpgsql
    as $function$
    declare
        v_deleted integer;
    begin
        delete from seed.password_reset_tokens
        where expires_at < now() or used_at is not null;

        get diagnostics v_deleted = row_count;
        return v_deleted;
    end;
    $function$;
"""
THEIRS = "select seed.cleanup_expired_password_reset_tokens()"
OURS = "select public.cleanup_expired_password_reset_tokens()"
SITUATIONS = {"right after a checkpoint": True, "between checkpoints": False}
"""After a checkpoint the first change of a page logs the whole page, whoever makes it."""


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs, live = chosen.runs or 5, chosen.rows(LIVE)
    with private_server() as server:
        migrate(server.url())
        with session(server) as connection:
            fill_users(connection, USERS)
            fill_tokens(connection, live=live, users=USERS)
            connection.execute(literal(SEED))
            connection.execute("vacuum (analyze) seed.password_reset_tokens")

            heading(f"Token clean-up: {DEAD:,} dead among {live:,} live", runs, connection)
            rows: list[tuple[str, ...]] = []
            ratios: dict[str, Spread] = {}
            for situation, checkpoint in SITUATIONS.items():
                times = _times(connection, runs, checkpoint=checkpoint)
                ratio = ratios[situation] = times["theirs"].over(times["ours"])
                shown = (times[side].shown("ms") for side in ("theirs", "ours"))
                rows.append((situation, *shown, ratio.shown("x")))
            table(("", "seed", "ours", "seed / ours"), rows)
            print(f"both removed {DEAD:,} rows in every run")
            print(f"seed reads: {plan(connection, THEIRS)}\nours reads: {plan(connection, OURS)}")
            for situation, ratio in ratios.items():
                target(f"at least {GOAL}x, {situation}", ratio.median >= GOAL)


def _times(connection: Connection, runs: int, *, checkpoint: bool) -> dict[str, Spread]:
    def delete(statement: str) -> float:
        with undone(connection, checkpoint=checkpoint):
            done = call(connection, statement)
        equal("rows removed", done.value, DEAD)
        return done.ms

    return turns(runs, theirs=lambda: delete(THEIRS), ours=lambda: delete(OURS))


if __name__ == "__main__":
    measure(options(__doc__))
