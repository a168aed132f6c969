"""Refreshes the figures of a user's decks: the seed's loop over the decks and our one statement.

Each works on tables of its own with the same rows, the seed's with the original's indexes; what
each does is undone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.filling import CARDS_PER_DECK, DECKS, USER, fill_decks, fill_users
from benchmarks.measuring import (
    Options,
    Spread,
    call,
    equal,
    heading,
    options,
    plan,
    private_server,
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
    from psycopg import Connection

KNOWN = 400_000
GOAL = 2.5

# The seed's way: its indexes, PL/pgSQL, a call for each deck, every deck written. Its function
# returns what it says it returns.
SEED = """
    create schema seed;

    create table seed.deck_flashcards (like public.deck_flashcards including constraints);
    insert into seed.deck_flashcards select * from public.deck_flashcards;
    alter table seed.deck_flashcards add primary key (deck_id, flashcard_id);
    create index on seed.deck_flashcards (deck_id) include (flashcard_id);

    create table seed.user_card_progress (like public.user_card_progress including constraints);
    insert into seed.user_card_progress select * from public.user_card_progress;
    alter table seed.user_card_progress add primary key (user_id, flashcard_id);
    create index on seed.user_card_progress (user_id) where mastered_at is not null;
    create index on seed.user_card_progress (user_id, flashcard_id, next_review_at)
        include (times_correct, times_wrong, last_review_at);

    create table seed.user_deck_progress (like public.user_deck_progress including constraints);
    insert into seed.user_deck_progress select * from public.user_deck_progress;
    alter table seed.user_deck_progress
        add primary key (user_id, deck_id),
        add foreign key (user_id) references public.users on delete cascade,
        add foreign key (deck_id) references public.decks on delete cascade;
    create index on seed.user_deck_progress (user_id);

    create function seed.refresh_deck_progress(p_user_id uuid, p_deck_id uuid)
    returns void
    language plpgsql
    as $function$
    begin
        insert into seed.user_deck_progress as progress (
            user_id, deck_id, total_cards, mastered_cards, cards_due_today, total_practices,
            last_practiced_at, updated_at
        )
        select
            p_user_id,
            p_deck_id,
            count(*),
            count(*) filter (where known.mastered_at is not null),
            count(*) filter (where known.next_review_at <= now()),
            coalesce(sum(known.times_correct + known.times_wrong), 0),
            max(known.last_review_at),
            now()
        from seed.deck_flashcards as card
        left join seed.user_card_progress as known
            on known.flashcard_id = card.flashcard_id and known.user_id = p_user_id
        where card.deck_id = p_deck_id
        on conflict (user_id, deck_id) do update
        set
            total_cards = excluded.total_cards,
            mastered_cards = excluded.mastered_cards,
            cards_due_today = excluded.cards_due_today,
            total_practices = excluded.total_practices,
            last_practiced_at = excluded.last_practiced_at,
            updated_at = now();
    end;
    $function$;

    create function seed.refresh_stale_deck_progress(p_user_id uuid)
    returns integer
    language plpgsql
    as $function$
    declare
        v_deck record;
        v_refreshed integer := 0;
    begin
        for v_deck in
            select progress.deck_id
            from seed.user_deck_progress as progress
            where progress.user_id = p_user_id
              and (progress.updated_at < now() - interval '1 hour' or progress.updated_at is null)
        loop
            perform seed.refresh_deck_progress(p_user_id, v_deck.deck_id);
            v_refreshed := v_refreshed + 1;
        end loop;

        return v_refreshed;
    end;
    $function$;
"""
SCHEMAS = {"theirs": "seed", "ours": "public"}
SIDES = {
    "theirs": "select seed.refresh_stale_deck_progress(%(user)s)",
    "ours": "select public.refresh_stale_deck_progress(%(user)s)",
}
FIGURES = """
    select md5(string_agg(concat_ws(' ', deck_id, total_cards, mastered_cards, cards_due_today,
                                    total_practices, last_practiced_at), ',' order by deck_id))
    from {schema}.user_deck_progress
    where user_id = %(user)s
"""
KEEP_STATISTICS = "alter table {schema}.user_deck_progress set (autovacuum_enabled = off)"
ANALYZE = "analyze {schema}.user_deck_progress"
AGE = "update {schema}.user_deck_progress set updated_at = now() - interval '2 hours'"
REFRESH_ALL_BUT_ONE = """
    update {schema}.user_deck_progress set updated_at = now()
    where user_id = %(user)s and deck_id <> %(deck)s
"""
SPOIL = f"{AGE}, total_cards = 0, mastered_cards = 0, cards_due_today = 0"


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs, known = chosen.runs or 5, chosen.rows(KNOWN)
    with private_server() as server:
        migrate(server.url())
        with session(server) as connection:
            fill_users(connection, 1_000)
            learners = fill_decks(connection, known=known)
            known = int(scalar(connection, "select count(*) from public.user_card_progress"))
            connection.execute(literal(SEED))
            connection.execute("vacuum analyze")
            heading(
                f"Deck refresh: {DECKS} decks x {CARDS_PER_DECK} cards, {known:,} known cards of "
                f"{learners} users",
                runs,
                connection,
            )
            # The statistics of the table are part of each case: nobody else may renew them.
            _both(connection, KEEP_STATISTICS)
            _both(connection, SPOIL)
            surprised = _case(connection, runs)
            _both(connection, ANALYZE)
            wrong = _case(connection, runs)
            reads = {name: plan(connection, text, {"user": USER}) for name, text in SIDES.items()}
            _both(connection, REFRESH_ALL_BUT_ONE)
            _both(connection, ANALYZE)
            single = _case(connection, runs, stale=1)
            _both(connection, AGE)
            for text in SIDES.values():
                call(connection, text, {"user": USER})
            _both(connection, AGE)
            _both(connection, ANALYZE)
            right = _case(connection, runs)
            again = _case(connection, runs, calls=2)
            table(
                ("", "seed", "ours", "seed / ours", "WAL, seed", "WAL, ours"),
                [
                    ("all stale and wrong", *wrong.shown()),
                    ("the same, statistics older", *surprised.shown()),
                    ("one deck stale and wrong", *single.shown()),
                    ("all stale, all right", *right.shown()),
                    ("the same, asked again", *again.shown()),
                ],
            )
            print(f"seed reads: {reads['theirs']}\nours reads: {reads['ours']}")
            target(f"at least {GOAL}x, all stale and wrong", wrong.ratio.median >= GOAL)


def _both(connection: Connection, statement: str) -> None:
    """Do the same to the tables of both sides."""
    for schema in SCHEMAS.values():
        text = literal(statement.format(schema=schema))
        connection.execute(text, {"user": USER, "deck": USER} if "%(" in text else None)


class _Case:
    """Times and WAL of both sides in one situation."""

    def __init__(self, times: dict[str, Spread], wal: dict[str, int]) -> None:
        self.times = times
        self.wal = wal
        self.ratio = times["theirs"].over(times["ours"])

    def shown(self) -> list[str]:
        """The cells of its row."""
        return [
            self.times["theirs"].shown("ms"),
            self.times["ours"].shown("ms"),
            self.ratio.shown("x"),
            *(f"{self.wal[name]:,} B" for name in SIDES),
        ]


def _case(connection: Connection, runs: int, *, stale: int = DECKS, calls: int = 1) -> _Case:
    """Time the last of so many calls in a row."""
    wal: dict[str, int] = {}
    figures: set[str] = set()

    def refresh(name: str) -> float:
        connection.execute(literal(f"vacuum {SCHEMAS[name]}.user_deck_progress"))
        with undone(connection):
            done = [call(connection, SIDES[name], {"user": USER}) for _ in range(calls)]
            figures.add(scalar(connection, FIGURES.format(schema=SCHEMAS[name]), user=USER))
        equal("decks refreshed", done[0].value, stale)
        wal[name] = done[-1].wal
        return done[-1].ms

    times = turns(runs, theirs=lambda: refresh("theirs"), ours=lambda: refresh("ours"))
    equal("figures", *figures)
    return _Case(times, wal)


if __name__ == "__main__":
    measure(options(__doc__))
