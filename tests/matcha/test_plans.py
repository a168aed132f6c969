"""The plans that PostgreSQL chooses, on tables that are large enough to matter.

Where statements are inside functions and triggers, auto_explain shows the plans that ran there.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.conftest import scalar
from tests.core.sweeps import end_rests
from tests.matcha.tokens import LIVE, TABLES, USED_ONCE, a_user, insert
from tests.statements import column, execute

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from psycopg import Connection

    from tests.conftest import TestServer

ROWS = 40_000

LOAD = f"""
    set session_replication_role = replica;

    insert into public.users (username, email, password_hash)
    select 'user' || number, 'user' || number || '@example.org', 'x'
    from generate_series(1, 5000) as number;

    create temporary table numbered as
    select id, row_number() over (order by id) as number from public.users;
    create index on numbered (number);

    insert into public.flashcards (term, translation, language_from, language_to)
    select 'term' || number, 'translation', 'ja', 'en' from generate_series(1, 1000) as number;

    insert into public.user_card_progress (user_id, flashcard_id, next_review_at)
    select numbered.id, card.id, now() + make_interval(hours => (random() * 200)::integer - 100)
    from numbered
    cross join public.flashcards as card
    where numbered.number <= {ROWS // 1000};
"""

FILL = f"""
    insert into public.{{table}} (user_id, token_hash, expires_at)
    select numbered.id, 'token' || series, now() + make_interval(days => 1, secs => series)
    from generate_series(1, {ROWS}) as series
    join numbered on numbered.number = mod(series, 5000) + 1;
"""


@pytest.fixture(scope="module")
def loaded(server: TestServer, admin: Connection) -> Iterator[Connection]:
    """A database with many live tokens in each table, and as much progress on cards."""
    name = f"pgm_{server.worker}_plans"
    execute(admin, f"drop database if exists {name} with (force)")
    execute(admin, f"create database {name} template {server.template} strategy file_copy")
    with psycopg.connect(server.url(name), autocommit=True) as db:
        execute(db, LOAD)
        for table in TABLES:
            execute(db, FILL.format(table=table))
        execute(db, "reset session_replication_role")
        a_user(db)
        execute(db, "vacuum analyze")
        execute(
            db,
            """
            load 'auto_explain';
            set auto_explain.log_nested_statements = on;
            set auto_explain.log_level = 'log';
            """,
        )
        yield db
    execute(admin, f"drop database {name} with (force)")


@pytest.fixture
def large(loaded: Connection) -> Iterator[Connection]:
    """The loaded database, in a transaction that is rolled back."""
    with loaded.transaction(force_rollback=True):
        yield loaded


@contextmanager
def plans(db: Connection) -> Generator[list[str]]:
    """Collect the plans of what runs inside, statements of functions and triggers included."""
    collected: list[str] = []

    def collect(notice: psycopg.errors.Diagnostic) -> None:
        if "Query Text:" in (text := notice.message_primary or ""):
            collected.append(text)

    db.add_notice_handler(collect)
    execute(db, "set auto_explain.log_min_duration = 0; set client_min_messages = log")
    try:
        yield collected
    finally:
        execute(db, "set client_min_messages = notice; set auto_explain.log_min_duration = -1")
        db.remove_notice_handler(collect)


def deletes(collected: list[str], table: str) -> list[str]:
    """Return the plans that delete from a table."""
    return [plan for plan in collected if re.search(rf"Delete on {table}\b", plan)]


def explain(db: Connection, text: str) -> str:
    return "\n".join(column(db, f"explain (costs off) {text}"))


def make_removable(db: Connection, table: str, *, every: int, used: bool = False) -> int:
    """Let one token in so many expire, or be used; return how many there are now."""
    change = "used_at = now()" if used else "expires_at = now() - interval '1 day'"
    changed = execute(
        db, f"update public.{table} set {change} where mod(hashtext(token_hash), {every}) = 0"
    )
    execute(db, f"analyze public.{table}")
    return changed.rowcount


def test_login_finds_the_user_through_the_unique_constraint(large: Connection) -> None:
    """Seed 003's idx_users_email would be this index once more: emails were unique from the start.

    What uniqueness needs also answers the question, so a second index would only cost writes.
    """
    plan = explain(large, "select * from public.users where email = 'user77@example.org'")
    assert "Index Scan using users_email_key on users" in plan


@pytest.mark.parametrize("table", TABLES)
def test_a_token_is_found_by_its_hash(large: Connection, table: str) -> None:
    plan = explain(large, f"select * from public.{table} where token_hash = 'token77'")
    assert f"Index Scan using {table}_token_hash_key on {table}" in plan


@pytest.mark.parametrize("table", TABLES)
def test_the_tokens_of_a_user_are_found_by_index(large: Connection, table: str) -> None:
    plan = explain(large, f"select * from public.{table} where user_id = '{a_user(large)}'")
    assert re.search(rf"Index Scan (using|on) idx_{table}_user", plan)


def test_a_practice_session_is_answered_by_its_index_alone(large: Connection) -> None:
    user = scalar(large, "select user_id from public.user_card_progress limit 1")
    plan = explain(
        large,
        "select flashcard_id, next_review_at, times_correct, times_wrong, last_review_at"
        f" from public.user_card_progress where user_id = '{user}' and next_review_at <= now()"
        " order by next_review_at limit 20",
    )
    assert "Index Only Scan using idx_practice_session on user_card_progress" in plan


@pytest.mark.parametrize("table", TABLES)
def test_cleaning_a_few_tokens_reads_no_whole_table(large: Connection, table: str) -> None:
    removable = make_removable(large, table, every=500)
    if table in USED_ONCE:
        removable += make_removable(large, table, every=499, used=True)
    with plans(large) as collected:
        removed = scalar(large, f"select public.cleanup_expired_{table}()")
    assert 70 < removed <= removable
    [plan] = deletes(collected, table)
    assert "Seq Scan" not in plan
    assert f"idx_{table}_expires_at" in plan
    if table in USED_ONCE:
        assert f"idx_{table}_used_at" in plan


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("every", [500, 1], ids=["few", "all"])
def test_a_sweep_reads_a_batch_by_index_however_much_has_expired(
    large: Connection, table: str, every: int
) -> None:
    make_removable(large, table, every=every)
    check_sweeps(large, table, index=f"idx_{table}_expires_at", sorts=every != 1)


@pytest.mark.parametrize("table", USED_ONCE)
@pytest.mark.parametrize("every", [500, 1], ids=["few", "all"])
def test_a_sweep_reads_a_batch_by_index_however_many_were_used(
    large: Connection, table: str, every: int
) -> None:
    make_removable(large, table, every=every, used=True)
    check_sweeps(large, table, index=f"idx_{table}_used_at", sorts=every != 1)


def check_sweeps(db: Connection, table: str, *, index: str, sorts: bool) -> None:
    """Sweep often enough for a generic plan: none reads the table, or sorts what is too many."""
    execute(db, f"select maintenance.set_insert_sweep('{table}', batch_size => 8)")
    for number in range(8):
        with plans(db) as collected:
            before = scalar(db, f"select count(*) from public.{table}")
            insert(db, table, f"new {number}", expires=LIVE)
            assert scalar(db, f"select count(*) from public.{table}") == before - 7
        [plan] = deletes(collected, table)
        assert not re.search(rf"Seq Scan on {table}\b", plan)
        assert "Tid Scan" in plan
        assert re.search(rf"Index Scan (using|on) {index}", plan)
        assert sorts or f"Index Scan using {index}" in plan
        assert sorts or plan.count("Sort") <= plan.count("Bitmap Heap Scan")
        end_rests(db, table)  # as if in a later transaction


@pytest.mark.parametrize("table", TABLES)
def test_a_dead_arrival_is_looked_up_by_its_key(large: Connection, table: str) -> None:
    with plans(large) as collected:
        insert(large, table, "dead", expires="now() - interval '1 day'")
    plan = deletes(collected, table)[0]
    assert f"Index Scan using {table}_pkey" in plan
    assert not re.search(rf"Seq Scan on {table}\b", plan)


@pytest.mark.parametrize("table", TABLES)
def test_deleting_a_user_finds_the_tokens_by_index(large: Connection, table: str) -> None:
    plan = explain(large, f"delete from only public.{table} where '{a_user(large)}' = user_id")
    assert re.search(rf"Index Scan (using|on) idx_{table}_user", plan)


@pytest.mark.parametrize("function", ["refresh_deck_progress", "refresh_stale_deck_progress"])
def test_refreshing_decks_reads_no_whole_table(large: Connection, function: str) -> None:
    execute(
        large,
        """
        insert into public.decks (title, language_from, language_to)
        select 'deck', 'ja', 'en' from generate_series(1, 200);
        insert into public.deck_flashcards
        select deck.id, card.id from public.decks as deck
        cross join lateral (
            select id from public.flashcards where deck.id is not null order by random() limit 50
        ) as card;
        insert into public.user_deck_progress (user_id, deck_id, updated_at)
        select person.user_id, deck.id, null
        from (select distinct user_id from public.user_card_progress) as person
        cross join (select id from public.decks) as deck;
        analyze public.decks, public.deck_flashcards, public.user_deck_progress;
        """,
    )
    user = scalar(large, "select user_id from public.user_card_progress limit 1")
    deck = scalar(large, "select id from public.decks limit 1")
    arguments = f"'{user}'" if "stale" in function else f"'{user}', '{deck}'"
    with plans(large) as collected:
        execute(large, f"select public.{function}({arguments})")
    [plan] = [each for each in collected if "user_card_progress" in each and "Scan" in each][:1]
    assert not re.search(r"Seq Scan on (user_card_progress|user_deck_progress)\b", plan)
