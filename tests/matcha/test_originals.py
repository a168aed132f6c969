"""The databases that the application's own migrations made, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.matcha.originals import FILLED, LEVELS, build, decorate, fill
from tests.matcha.tokens import TABLES, USED_ONCE
from tests.statements import execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.matcha.originals import Level

each_level = pytest.mark.parametrize("level", LEVELS)


@each_level
def test_a_filled_database_has_what_it_says(empty: str, level: Level) -> None:
    with psycopg.connect(empty) as db:
        build(db, level)
        assert fill(db) == FILLED
        for table in TABLES:
            used = FILLED.used_tokens if table in USED_ONCE else 0
            dead = " or used_at is not null" if table in USED_ONCE else ""
            assert rows(
                db,
                f"select count(*), count(*) filter (where expires_at < now(){dead})"
                f" from public.{table}",
            ) == [
                (
                    FILLED.live_tokens + FILLED.expired_tokens + used,
                    FILLED.expired_tokens + used,
                )
            ]
        assert rows(
            db,
            "select (select count(*) from users), (select count(*) from decks),"
            " (select count(*) from flashcards), (select count(*) from deck_flashcards),"
            " (select count(*) from user_card_progress), (select count(*) from user_deck_progress),"
            " (select count(*) from users where not email_verified"
            " and created_at < now() - interval '7 days')",
        ) == [
            (
                FILLED.users,
                FILLED.decks,
                FILLED.cards,
                FILLED.cards,
                FILLED.card_progress,
                FILLED.deck_progress,
                FILLED.unverified_users,
            )
        ]


def test_of_four_stale_decks_the_application_reports_one(empty: str) -> None:
    with psycopg.connect(empty) as db:
        build(db, 6)
        fill(db)
        stale = (
            "select count(*) from user_deck_progress"
            " where updated_at is null or updated_at < now() - interval '1 hour'"
        )
        assert scalar(db, stale) == FILLED.stale_decks
        assert (
            scalar(db, "select refresh_stale_deck_progress(id) from users where username = 'ada'")
            == 1
        )
        assert scalar(db, stale) == 0


def test_since_its_migration_10_the_documented_calls_fail(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as db:
        build(db, 12)
        fill(db)
        ada = scalar(db, "select id from users where username = 'ada'")
        deck = scalar(db, "select id from decks where title = 'deck 1'")
        with pytest.raises(errors.AmbiguousFunction, match="is not unique") as raised:
            execute(db, "select refresh_deck_progress(%s::uuid, %s::uuid)", ada, deck)
        assert raised.value.sqlstate == "42725"
        with pytest.raises(errors.AmbiguousFunction):
            execute(db, "select refresh_stale_deck_progress(%s)", ada)
        execute(db, "select refresh_deck_progress(%s, %s, 10)", ada, deck)
        # cards 5, 10, 15 and 20 of the deck, of which two were mastered: 4 + 8 + 12 + 20 of 40
        assert rows(
            db,
            "select total_cards, mastered_cards, total_practices, progress_percentage"
            " from user_deck_progress where deck_id = %s",
            deck,
        ) == [(4, 2, 56, 100)]
        assert scalar(db, "select calculate_and_update_streak(%s)", ada) == 3


@each_level
def test_the_application_removes_tokens_when_one_arrives(empty: str, level: Level) -> None:
    with psycopg.connect(empty) as db:
        build(db, level)
        fill(db)
        for table in TABLES:
            execute(
                db,
                f"insert into {table} (user_id, token_hash, expires_at)"
                " select id, 'new', now() + interval '1 day' from users where username = 'ada'",
            )
            assert scalar(db, f"select count(*) from {table}") == FILLED.live_tokens + 1
        assert rows(db, "select * from cleanup_all_expired_tokens()") == [(0, 0, 0, 0)]


@each_level
def test_decorations_are_there(empty: str, level: Level, role: Callable[[str], str]) -> None:
    owner, caller = role("app_owner"), role("app_caller")
    with psycopg.connect(empty) as db:
        build(db, level)
        fill(db)
        decorate(db, owner=owner, caller=caller)
        assert rows(
            db,
            "select distinct pg_get_userbyid(relowner) from pg_class"
            " where relnamespace = 'public'::regnamespace"
            " union all select distinct pg_get_userbyid(proowner) from pg_proc"
            " where pronamespace = 'public'::regnamespace",
        ) == [(owner,), (owner,)]
        assert rows(
            db,
            "select tgrelid::regclass::text, tgenabled::text from pg_trigger"
            " where tgname like 'trigger_cleanup%%' order by 1",
        ) == [
            ("email_verification_tokens", "R"),
            ("password_reset_tokens", "D"),
            ("refresh_tokens", "O"),
        ]
        execute(db, f"set role {caller}")
        with pytest.raises(errors.InsufficientPrivilege):
            execute(db, "select refresh_stale_deck_progress(gen_random_uuid())")
