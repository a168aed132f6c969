"""Deck progress: what is counted, when it is stale, and what is left unwritten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.matcha.tokens import a_user
from tests.statements import column, execute, rows, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

NOBODY = UUID(int=0)


def add_deck(db: Connection, *cards: str) -> Any:
    """Add a deck of new cards, and return its id."""
    deck = scalar(
        db,
        "insert into public.decks (title, language_from, language_to)"
        " values ('deck', 'ja', 'en') returning id",
    )
    for card in cards:
        execute(
            db,
            "with card as (insert into public.flashcards"
            " (term, translation, language_from, language_to)"
            " values (%s, gen_random_uuid()::text, 'ja', 'en') returning id)"
            " insert into public.deck_flashcards select %s, card.id from card",
            card,
            deck,
        )
    return deck


def add_user(db: Connection) -> Any:
    """Add another user, and return the id."""
    return scalar(
        db,
        "insert into public.users (username, email, password_hash)"
        " select word, word, 'x' from (select gen_random_uuid()::text as word) as made"
        " returning id",
    )


def learn(
    db: Connection,
    user: Any,
    card: str,
    *,
    review: str = "'infinity'",
    mastered: str = "null",
    practised: str = "0, 0, null",
) -> None:
    """Note what a user knows of the cards with a term; practised: right, wrong and when."""
    execute(
        db,
        "insert into public.user_card_progress (user_id, flashcard_id, next_review_at, mastered_at,"
        " times_correct, times_wrong, last_review_at)"
        f" select %s, id, {review}, {mastered}, {practised} from public.flashcards where term = %s",
        user,
        card,
    )


def note(
    db: Connection,
    user: Any,
    deck: Any,
    *,
    updated: str,
    figures: str = "9, 9, 9",
    practices: str = "0, null",
) -> None:
    """Put down figures of a deck, wrong unless told otherwise."""
    execute(
        db,
        "insert into public.user_deck_progress (user_id, deck_id, total_cards, mastered_cards,"
        " cards_due_today, total_practices, last_practiced_at, updated_at)"
        f" values (%s, %s, {figures}, {practices}, {updated})",
        user,
        deck,
    )


def figures(db: Connection, deck: Any) -> tuple[int, int, int]:
    """Return the figures of a deck: total, mastered, due."""
    [found] = rows(
        db,
        "select total_cards, mastered_cards, cards_due_today"
        " from public.user_deck_progress where deck_id = %s",
        deck,
    )
    return found[0], found[1], found[2]


def versions(db: Connection) -> list[Any]:
    """Return the row versions of all progress: a row that is written has another one."""
    return rows(
        db, "select deck_id, ctid, xmin::text, updated_at from public.user_deck_progress order by 1"
    )


def refresh(db: Connection, user: Any, deck: Any) -> None:
    execute(db, "select public.refresh_deck_progress(%s, %s)", user, deck)


def refresh_stale(db: Connection, user: Any) -> int:
    return scalar(db, "select public.refresh_stale_deck_progress(%s)", user)


def refresh_either(db: Connection, user: Any, deck: Any, how: str) -> None:
    """Bring a deck up to date with the one function, or with the other."""
    if how == "one":
        refresh(db, user, deck)
        return
    execute(db, "update public.user_deck_progress set updated_at = now() - interval '2 hours'")
    if scalar(db, "select count(*) from public.user_deck_progress where deck_id = %s", deck) == 0:
        note(db, user, deck, updated="null")
    assert refresh_stale(db, user) == 1


either = pytest.mark.parametrize("how", ["one", "stale"])


@either
def test_cards_without_progress_count_but_are_neither_mastered_nor_due(
    tx: Connection, how: str
) -> None:
    user, deck = a_user(tx), add_deck(tx, "a", "b", "c")
    refresh_either(tx, user, deck, how)
    assert figures(tx, deck) == (3, 0, 0)


@either
def test_a_card_is_due_from_its_review_time_on(tx: Connection, how: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "earlier", "now", "later", "unknown")
    learn(tx, user, "earlier", review="now() - interval '1 microsecond'")
    learn(tx, user, "now", review="now()")
    learn(tx, user, "later", review="now() + interval '1 microsecond'")
    refresh_either(tx, user, deck, how)
    assert figures(tx, deck) == (4, 0, 2)


@either
def test_a_card_is_mastered_where_it_says_when(tx: Connection, how: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "mastered", "learning", "both")
    learn(tx, user, "mastered", mastered="now()")
    learn(tx, user, "learning", review="now()")
    learn(tx, user, "both", review="'-infinity'", mastered="'infinity'")
    refresh_either(tx, user, deck, how)
    assert figures(tx, deck) == (3, 2, 2)


@either
def test_a_deck_without_cards_has_nothing_to_count(tx: Connection, how: str) -> None:
    user, deck = a_user(tx), add_deck(tx)
    refresh_either(tx, user, deck, how)
    assert figures(tx, deck) == (0, 0, 0)


@either
def test_progress_of_others_and_cards_of_other_decks_do_not_count(tx: Connection, how: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a")
    other = add_user(tx)
    add_deck(tx, "elsewhere")
    learn(tx, other, "a", review="'-infinity'", mastered="now()")
    learn(tx, user, "elsewhere", review="'-infinity'", mastered="now()")
    refresh_either(tx, user, deck, how)
    assert figures(tx, deck) == (1, 0, 0)


@either
@pytest.mark.parametrize("wrong", ["9, 1, 1", "2, 9, 1", "2, 1, 9"])
def test_any_wrong_figure_is_put_right_and_dated(tx: Connection, how: str, wrong: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a", "b")
    learn(tx, user, "a", review="now()", mastered="now()")
    note(tx, user, deck, updated="now() - interval '2 hours'", figures=wrong)
    refresh_either(tx, user, deck, how)
    assert figures(tx, deck) == (2, 1, 1)
    assert scalar(tx, "select updated_at = now() from public.user_deck_progress")


@either
def test_practices_are_added_up_and_the_last_is_dated(tx: Connection, how: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a", "b", "c")
    learn(tx, user, "a", practised="3, 2, '2020-02-02'")
    learn(tx, user, "b", practised="10, 0, '2021-03-03'")
    note(tx, user, deck, updated="null", figures="3, 0, 0", practices="99, now()")
    refresh_either(tx, user, deck, how)
    practices = "select total_practices, last_practiced_at::date::text"
    assert rows(tx, f"{practices} from public.user_deck_progress") == [(15, "2021-03-03")]


@either
@pytest.mark.parametrize("practices", ["14, '2021-03-03'", "15, '2021-03-04'", "15, null"])
def test_a_wrong_practice_alone_is_corrected(tx: Connection, how: str, practices: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a")
    learn(tx, user, "a", practised="9, 6, '2021-03-03'")
    old = "now() - interval '2 hours'"
    note(tx, user, deck, updated=old, figures="1, 0, 0", practices=practices)
    refresh_either(tx, user, deck, how)
    found = "select total_practices, last_practiced_at::date::text, updated_at = now()"
    assert rows(tx, f"{found} from public.user_deck_progress") == [(15, "2021-03-03", True)]


@either
def test_right_figures_are_not_written_again(tx: Connection, how: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a", "b", "c", "d")
    for card in ("a", "b", "c"):
        learn(tx, user, card, review="now()", mastered="null" if card == "c" else "now()")
    note(tx, user, deck, updated="now() - interval '2 hours'", figures="4, 2, 3")
    before = versions(tx)
    if how == "one":
        refresh(tx, user, deck)
    else:
        assert refresh_stale(tx, user) == 1
    assert versions(tx) == before


@either
def test_right_figures_without_a_date_are_dated(tx: Connection, how: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a")
    note(tx, user, deck, updated="null", figures="1, 0, 0")
    if how == "one":
        refresh(tx, user, deck)
    else:
        assert refresh_stale(tx, user) == 1
    assert scalar(tx, "select updated_at = now() from public.user_deck_progress")


@either
def test_two_dashboards_in_a_row_write_once(db: Connection, how: str) -> None:
    user, deck = a_user(db), add_deck(db, "a")
    note(db, user, deck, updated="now() - interval '2 hours'")
    if how == "one":
        refresh(db, user, deck)
    else:
        assert refresh_stale(db, user) == 1
    before = versions(db)
    refresh(db, user, deck)
    assert refresh_stale(db, user) == 0
    assert versions(db) == before


def test_a_first_refresh_adds_the_row_and_a_later_one_changes_it(tx: Connection) -> None:
    user, deck = a_user(tx), add_deck(tx, "a")
    refresh(tx, user, deck)
    assert figures(tx, deck) == (1, 0, 0)
    learn(tx, user, "a", review="now()", mastered="now()")
    refresh(tx, user, deck)
    assert figures(tx, deck) == (1, 1, 1)


def test_only_the_deck_that_was_named_is_refreshed(tx: Connection) -> None:
    user, deck, other = a_user(tx), add_deck(tx, "a"), add_deck(tx, "b")
    note(tx, user, deck, updated="null")
    note(tx, user, other, updated="null")
    refresh(tx, user, deck)
    assert (figures(tx, deck), figures(tx, other)) == ((1, 0, 0), (9, 9, 9))


@pytest.mark.parametrize("unknown", ["user", "deck"])
def test_an_unknown_user_or_deck_is_a_foreign_key_violation(tx: Connection, unknown: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a")
    with pytest.raises(errors.ForeignKeyViolation), tx.transaction():
        refresh(tx, NOBODY if unknown == "user" else user, NOBODY if unknown == "deck" else deck)


@pytest.mark.parametrize(
    ("updated", "stale"),
    [
        ("now() - interval '1 hour'", False),
        ("now() - interval '1 hour' + interval '1 microsecond'", False),
        ("now() - interval '1 hour' - interval '1 microsecond'", True),
        ("now()", False),
        ("'infinity'", False),
        ("'-infinity'", True),
        ("null", True),
    ],
)
def test_a_deck_is_stale_when_it_is_more_than_an_hour_old(
    tx: Connection, updated: str, *, stale: bool
) -> None:
    user, deck = a_user(tx), add_deck(tx, "a")
    note(tx, user, deck, updated=updated)
    assert refresh_stale(tx, user) == int(stale)
    assert figures(tx, deck) == ((1, 0, 0) if stale else (9, 9, 9))


def test_the_result_counts_the_stale_decks_right_or_wrong(tx: Connection) -> None:
    user = a_user(tx)
    for right in ("9, 9, 9", "9, 9, 9", "1, 0, 0", "1, 0, 0"):
        note(tx, user, add_deck(tx, "a"), updated="null", figures=right)
    note(tx, user, add_deck(tx, "a", "b"), updated="now()")
    assert refresh_stale(tx, user) == 4
    assert scalar(tx, "select pg_typeof(public.refresh_stale_deck_progress(%s))::text", user) == (
        "integer"
    )


def test_fresh_rows_are_not_touched(tx: Connection) -> None:
    user = a_user(tx)
    note(tx, user, add_deck(tx, "a"), updated="now() - interval '59 minutes'")
    before = versions(tx)
    assert refresh_stale(tx, user) == 0
    assert versions(tx) == before


def test_an_unknown_user_has_no_stale_decks(tx: Connection) -> None:
    note(tx, a_user(tx), add_deck(tx, "a"), updated="null")
    before = versions(tx)
    assert refresh_stale(tx, NOBODY) == 0
    assert refresh_stale(tx, None) == 0
    assert versions(tx) == before


def test_decks_of_other_users_are_not_touched(tx: Connection) -> None:
    user, other, deck = a_user(tx), add_user(tx), add_deck(tx, "a")
    note(tx, other, deck, updated="null")
    note(tx, other, add_deck(tx, "b"), updated="null")
    theirs = versions(tx)
    note(tx, user, deck, updated="null")
    assert refresh_stale(tx, user) == 1
    assert [each for each in versions(tx) if each in theirs] == theirs


def test_a_shared_deck_is_refreshed_for_the_user_who_asks(tx: Connection) -> None:
    user, other, deck = a_user(tx), add_user(tx), add_deck(tx, "a")
    learn(tx, user, "a", mastered="now()")
    note(tx, user, deck, updated="null")
    note(tx, other, deck, updated="null")
    refresh(tx, user, deck)
    found = "select mastered_cards from public.user_deck_progress where user_id = %s"
    assert (column(tx, found, user), column(tx, found, other)) == ([1], [9])


def test_tables_of_the_same_name_do_not_capture_it(tx: Connection) -> None:
    user, deck = a_user(tx), add_deck(tx, "a")
    note(tx, user, deck, updated="null")
    execute(
        tx,
        """
        create temporary table user_deck_progress as table public.user_deck_progress with no data;
        create temporary table deck_flashcards as table public.deck_flashcards with no data;
        create schema hostile;
        create function hostile.now() returns timestamptz
            language sql as $$ select timestamptz 'infinity' $$;
        set local search_path = hostile, pg_temp, pg_catalog, public;
        """,
    )
    assert refresh_stale(tx, user) == 1
    refresh(tx, user, deck)
    assert figures(tx, deck) == (1, 0, 0)


@either
def test_whoever_may_write_progress_may_call_and_others_are_refused(
    role: Callable[..., str], tx: Connection, how: str
) -> None:
    caller, user, deck = role("learner"), a_user(tx), add_deck(tx, "a")
    note(tx, user, deck, updated="null")
    execute(
        tx,
        "grant select on public.deck_flashcards, public.user_card_progress,"
        f" public.user_deck_progress to {caller}",
    )
    call = f"refresh_deck_progress('{user}', '{deck}')"
    if how == "stale":
        call = f"refresh_stale_deck_progress('{user}')"
    execute(tx, f"set local role {caller}")
    with pytest.raises(errors.InsufficientPrivilege), tx.transaction():
        execute(tx, f"select public.{call}")
    execute(tx, f"reset role; grant insert, update on public.user_deck_progress to {caller}")
    execute(tx, f"set local role {caller}; select public.{call}; reset role")
    assert figures(tx, deck) == (1, 0, 0)


@pytest.mark.parametrize("unknown", ["user", "deck"])
def test_no_user_or_no_deck_is_an_error(tx: Connection, unknown: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a")
    with pytest.raises(errors.NotNullViolation), tx.transaction():
        refresh(tx, None if unknown == "user" else user, None if unknown == "deck" else deck)


def test_a_row_of_another_user_of_the_deck_is_not_waited_for(
    db: Connection, another: Callable[[], Connection]
) -> None:
    user, other, deck = a_user(db), add_user(db), add_deck(db, "a")
    note(db, user, deck, updated="null")
    note(db, other, deck, updated="null")
    holder = another()
    execute(db, "set lock_timeout = '2 s'")
    with holder.transaction():
        execute(
            holder, "select from public.user_deck_progress where user_id = %s for update", other
        )
        assert refresh_stale(db, user) == 1


def test_dashboards_of_one_user_do_not_deadlock(
    db: Connection, another: Callable[[], Connection]
) -> None:
    user = a_user(db)
    decks = [add_deck(db, "a") for _ in range(40)]
    for deck in decks:
        note(db, user, deck, updated="null")
    sessions = [another() for _ in range(3)]
    for session in sessions:
        execute(session, "set deadlock_timeout = '20 ms'; set lock_timeout = '10 s'")
    with ThreadPoolExecutor() as pool:
        for _ in range(8):
            execute(db, "update public.user_deck_progress set updated_at = null, total_cards = 9")
            loads = [pool.submit(refresh_stale, session, user) for session in sessions]
            assert max(load.result(20) for load in loads) == 40
            assert {figures(db, deck) for deck in decks} == {(1, 0, 0)}


def test_a_refresh_waits_for_one_of_the_same_user_and_keeps_what_it_put_right(
    db: Connection, another: Callable[[], Connection]
) -> None:
    user, deck = a_user(db), add_deck(db, "a")
    note(db, user, deck, updated="null")
    first, second = another(), another()
    execute(second, "set lock_timeout = '10 s'")
    with ThreadPoolExecutor() as pool, first.transaction():
        assert refresh_stale(first, user) == 1
        waiting = pool.submit(refresh_stale, second, user)
        until_blocked(db, second)
        before = versions(first)
    assert waiting.result(10) == 0  # it has looked for stale ones since
    assert versions(db) == before


def master(db: Connection, user: Any, card: str) -> None:
    execute(
        db,
        "update public.user_card_progress set mastered_at = now() from public.flashcards as card"
        " where card.id = flashcard_id and term = %s and user_id = %s",
        card,
        user,
    )


@pytest.mark.parametrize("first_time", [False, True], ids=["known deck", "new deck"])
def test_two_transactions_that_master_a_card_each_count_both(
    db: Connection, another: Callable[[], Connection], *, first_time: bool
) -> None:
    user, deck = a_user(db), add_deck(db, "F1", "F2")
    for card in ("F1", "F2"):
        learn(db, user, card)
    if not first_time:
        note(db, user, deck, updated="now()", figures="2, 0, 0")
    first, second = another(), another()
    execute(second, "set lock_timeout = '10 s'")
    with ThreadPoolExecutor() as pool, second.transaction():
        with first.transaction():
            master(first, user, "F1")
            refresh(first, user, deck)
            master(second, user, "F2")
            waiting = pool.submit(refresh, second, user, deck)
            until_blocked(db, second)
        waiting.result(10)
    assert figures(db, deck) == (2, 2, 0)


@either
def test_a_count_from_before_another_refresh_does_not_replace_a_later_one(
    db: Connection, another: Callable[[], Connection], how: str
) -> None:
    user, deck = a_user(db), add_deck(db, "a")
    learn(db, user, "a")
    note(db, user, deck, updated="null")
    first, second = another(), another()
    execute(second, "set lock_timeout = '10 s'")
    with ThreadPoolExecutor() as pool, first.transaction():
        master(first, user, "a")
        refresh(first, user, deck)
        if how == "one":
            waiting = pool.submit(refresh, second, user, deck)
        else:
            waiting = pool.submit(refresh_stale, second, user)
        until_blocked(db, second)
    assert waiting.result(10) == (None if how == "one" else 0)
    assert figures(db, deck) == (1, 1, 0)


@either
def test_refreshes_of_different_users_do_not_wait_for_each_other(
    db: Connection, another: Callable[[], Connection], how: str
) -> None:
    user, other, deck = a_user(db), add_user(db), add_deck(db, "a")
    note(db, other, deck, updated="null")
    second = another()
    execute(second, "set lock_timeout = '2 s'")
    with db.transaction():
        refresh(db, user, deck)
        if how == "one":
            refresh(second, other, deck)
        else:
            assert refresh_stale(second, other) == 1


@either
def test_more_practices_than_fit_count_as_many_as_fit(tx: Connection, how: str) -> None:
    user, deck = a_user(tx), add_deck(tx, "a", "b")
    for card in ("a", "b"):
        learn(tx, user, card, practised="2000000000, 2000000000, null")
    refresh_either(tx, user, deck, how)
    assert column(tx, "select total_practices from public.user_deck_progress") == [2147483647]
