"""The triggers that sweep tokens when new ones arrive, and what they may never do to an insert."""

from __future__ import annotations

import json
import os
from time import monotonic
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import IsolationLevel, errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner.migrate import migrate
from tests.conftest import scalar
from tests.core.sweeps import end_rests
from tests.matcha.tokens import (
    EXPIRED,
    TABLES,
    USED_ONCE,
    a_user,
    count,
    insert,
    names,
    put,
    statement,
)
from tests.statements import column, execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

each_table = pytest.mark.parametrize("table", TABLES)
each_table_with_uses = pytest.mark.parametrize("table", USED_ONCE)
each_strict_level = pytest.mark.parametrize(
    "level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE], ids=lambda it: it.name
)
each_lax_level = pytest.mark.parametrize(
    "level",
    [IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED],
    ids=lambda it: it.name,
)
each_level = pytest.mark.parametrize("level", [*IsolationLevel], ids=lambda it: it.name)


def configure(db: Connection, table: str, arguments: str) -> None:
    execute(db, f"select maintenance.set_insert_sweep('{table}', {arguments})")


def memory(db: Connection, table: str) -> str | None:
    """Return what the session remembers of its sweeps of a table."""
    return scalar(db, f"select current_setting('maintenance.rest_{table}', true)")


def logged(db: Connection) -> list[str]:
    """Return a list that the log lines of a session are added to as they come."""
    messages: list[str] = []
    db.add_notice_handler(
        lambda notice: messages.append(f"{notice.severity_nonlocalized}: {notice.message_primary}")
    )
    execute(db, "set client_min_messages = log")
    return messages


def milliseconds(db: Connection) -> int:
    """Return the server's time as the memory of a sweep counts it."""
    return scalar(db, "select (extract(epoch from clock_timestamp()) * 1000)::bigint")


def assert_rests_a_minute(db: Connection, table: str) -> None:
    """See to it that the session has just noted that a sweep failed."""
    now = milliseconds(db)
    failed = scalar(db, f"select current_setting('maintenance.failed_{table}', true)")
    assert memory(db, table) == failed
    assert now + 55_000 < int(failed) <= now + 60_000


def begin(db: Connection, level: IsolationLevel) -> None:
    execute(db, f"begin isolation level {level.name.replace('_', ' ')}")


# Dead on arrival


@each_table
@each_lax_level
def test_an_expired_token_is_inserted_returned_and_gone(
    db: Connection, table: str, level: IsolationLevel
) -> None:
    a_user(db)
    begin(db, level)
    [identity] = insert(db, table, "dead", expires="now() - interval '1 microsecond'")
    assert identity is not None
    assert names(db, table) == []
    [again] = insert(db, table, "dead too", expires="'-infinity'")
    assert again != identity
    assert names(db, table) == []
    execute(db, "commit")
    assert names(db, table) == []


@each_table_with_uses
@each_lax_level
def test_a_used_token_is_inserted_returned_and_gone(
    db: Connection, table: str, level: IsolationLevel
) -> None:
    a_user(db)
    begin(db, level)
    for name in ("first statement", "second statement"):
        [identity] = insert(db, table, name, used="now()")
        assert identity is not None
        assert names(db, table) == []
    execute(db, "commit")


@each_table
@each_strict_level
def test_a_stricter_transaction_keeps_the_dead_and_commits(
    db: Connection, table: str, level: IsolationLevel
) -> None:
    a_user(db)
    begin(db, level)
    assert len(insert(db, table, "dead", expires=EXPIRED, count=2)) == 2
    if table in USED_ONCE:
        insert(db, table, "used", used="now()")
    execute(db, "commit")
    assert names(db, table)[:2] == ["dead1", "dead2"]
    insert(db, table, "new")
    assert names(db, table) == ["new"]


@each_table
@each_strict_level
def test_two_stricter_transactions_that_insert_expired_tokens_both_commit(
    db: Connection, another: Callable[[], Connection], table: str, level: IsolationLevel
) -> None:
    a_user(db)
    sessions = [another(), another()]
    for session in sessions:
        begin(session, level)
        execute(session, "select")  # takes the snapshot
    for number, session in enumerate(sessions):
        execute(session, statement(table, EXPIRED, "null", None), f"dead {number}", a_user(db))
    for session in sessions:
        execute(session, "commit")
    assert names(db, table) == ["dead 0", "dead 1"]


@each_table
def test_a_token_that_expires_this_very_moment_stays(tx: Connection, table: str) -> None:
    insert(tx, table, "now", expires="now()")
    insert(tx, table, "just before", expires="now() + interval '1 microsecond'")
    assert names(tx, table) == ["just before", "now"]


@each_table
def test_a_token_that_expires_this_very_moment_stays_beside_a_dead_one(
    tx: Connection, table: str
) -> None:
    expires = f"case when number = 2 then {EXPIRED} else now() end"
    execute(tx, statement(table, expires, "null", 3), "token ", a_user(tx))
    assert names(tx, table) == ["token 1", "token 3"]


@each_table
def test_only_the_dead_of_a_statement_go(tx: Connection, table: str) -> None:
    user = a_user(tx)
    expires = f"case when mod(number, 2) = 0 then {EXPIRED} else 'infinity' end"
    returned = column(tx, statement(table, expires, "null", 6) + " returning 1", "token ", user)
    assert len(returned) == 6
    assert names(tx, table) == ["token 1", "token 3", "token 5"]


@each_table
def test_all_the_dead_of_a_statement_go_whatever_the_batch_size(tx: Connection, table: str) -> None:
    configure(tx, table, "batch_size => 3")
    insert(tx, table, "dead", expires=EXPIRED, count=250)
    assert count(tx, table) == 0


@each_table
def test_the_dead_go_during_a_rest(db: Connection, table: str) -> None:
    configure(db, table, "rest => '1 h'")
    insert(db, table, "live")  # finds nothing: the session rests
    insert(db, table, "dead in a rest", expires=EXPIRED)
    assert names(db, table) == ["live"]


@each_table
def test_the_dead_stay_where_the_sweep_is_off(db: Connection, table: str) -> None:
    configure(db, table, "enabled => false, rest => '1 h'")
    insert(db, table, "dead", expires=EXPIRED)
    insert(db, table, "dead in a rest", expires=EXPIRED)
    assert names(db, table) == ["dead", "dead in a rest"]
    now = milliseconds(db)
    assert now + 3_590_000 < int(memory(db, table) or "0") <= now + 3_600_000
    configure(db, table, "enabled => true")
    insert(db, table, "dead where enabled", expires=EXPIRED)
    assert names(db, table) == ["dead", "dead in a rest"]


@each_table
def test_copied_tokens_are_inserted_tokens(tx: Connection, table: str) -> None:
    user = a_user(tx)
    put(tx, table, "old", expires=EXPIRED)
    copy = f"copy public.{table} (token_hash, user_id, expires_at) from stdin"
    with tx.cursor() as cursor, cursor.copy(copy.encode()) as lines:
        lines.write_row(("live", user, "infinity"))
        lines.write_row(("dead", user, "-infinity"))
    assert names(tx, table) == ["live"]


# What a sweep takes


@each_table
def test_an_insert_sweeps_what_has_expired_by_the_microsecond(tx: Connection, table: str) -> None:
    put(tx, table, "now", expires="now()")
    put(tx, table, "just after", expires="now() - interval '1 microsecond'")
    put(tx, table, "never", expires="'-infinity'")
    insert(tx, table, "new")
    assert names(tx, table) == ["new", "now"]


@each_table_with_uses
def test_an_insert_sweeps_what_was_used(tx: Connection, table: str) -> None:
    put(tx, table, "used", used="now()")
    put(tx, table, "used and expired", used="now()", expires=EXPIRED)
    put(tx, table, "used in the future", used="'infinity'", expires="'infinity'")
    insert(tx, table, "new")
    assert names(tx, table) == ["new"]


@each_table
def test_a_sweep_takes_at_most_a_hundred(db: Connection, table: str) -> None:
    put(db, table, "old", expires=EXPIRED, count=250)
    left: list[int] = []
    for number in range(4):
        end_rests(db, table)
        insert(db, table, f"new {number}")
        left.append(count(db, table) - number - 1)
    assert left == [150, 50, 0, 0]


@each_table
def test_a_sweep_takes_the_oldest_and_as_many_as_it_is_told(db: Connection, table: str) -> None:
    configure(db, table, "batch_size => 3")
    put(db, table, "old ", expires="now() - make_interval(days => mod(number * 3, 8))", count=7)
    oldest = [f"old {number}" for number in range(1, 8) if (number * 3) % 8 >= 5]
    insert(db, table, "new")
    expected = sorted({"new"} | {f"old {each}" for each in range(1, 8)} - {*oldest})
    assert names(db, table) == expected


@each_table_with_uses
@pytest.mark.parametrize(
    ("expired", "used", "left"), [(2, 9, (0, 6)), (9, 2, (4, 2)), (5, 5, (0, 5))]
)
def test_expired_and_used_ones_share_a_batch(
    tx: Connection, table: str, expired: int, used: int, left: tuple[int, int]
) -> None:
    configure(tx, table, "batch_size => 5")
    put(tx, table, "expired", expires=EXPIRED, count=expired)
    put(tx, table, "used", used="now()", count=used)
    insert(tx, table, "new")
    remaining = names(tx, table)
    assert (
        sum(name.startswith("expired") for name in remaining),
        sum(name.startswith("used") for name in remaining),
    ) == left


@each_table_with_uses
def test_the_tokens_used_first_go_first(tx: Connection, table: str) -> None:
    configure(tx, table, "batch_size => 1")
    put(tx, table, "later", used="now() - interval '1 hour'")
    put(tx, table, "first", used="now() - interval '3 hours'")
    put(tx, table, "last", used="now()")
    insert(tx, table, "new")
    assert names(tx, table) == ["last", "later", "new"]


@each_table
def test_a_token_that_a_conflict_made_expire_does_not_fail_the_insert(
    db: Connection, table: str
) -> None:
    user = a_user(db)
    put(db, table, "same")
    put(db, table, "old", expires=EXPIRED)
    conflict = " on conflict (token_hash) do update set expires_at = excluded.expires_at"
    execute(db, statement(table, "'infinity'", "null", None) + conflict, "same", user)
    assert names(db, table) == ["same"]
    execute(
        db,
        statement(table, EXPIRED, "null", None) + " on conflict (token_hash) do nothing",
        "same",
        user,
    )
    assert names(db, table) == ["same"]


@each_table
def test_an_upsert_revives_an_expired_token_and_keeps_it(db: Connection, table: str) -> None:
    user = a_user(db)
    put(db, table, "same", expires=EXPIRED)
    conflict = " on conflict (token_hash) do update set expires_at = excluded.expires_at"
    execute(db, statement(table, "'infinity'", "null", None) + conflict, "same", user)
    assert names(db, table) == ["same"]


def test_a_sweep_of_one_table_leaves_the_others_alone(tx: Connection) -> None:
    for table in TABLES:
        put(tx, table, "old", expires=EXPIRED)
    for number, table in enumerate(TABLES):
        insert(tx, table, "new")
        assert [names(tx, each) for each in TABLES[number + 1 :]] == [["old"]] * (2 - number)
        assert names(tx, table) == ["new"]


# When a session sweeps


@each_table
def test_a_transaction_sweeps_once(db: Connection, table: str) -> None:
    configure(db, table, "batch_size => 2")
    put(db, table, "old", expires=EXPIRED, count=5)
    with db.transaction():
        insert(db, table, "new", count=3)
        insert(db, table, "more", count=3)
        assert count(db, table) == 9
    end_rests(db, table)
    insert(db, table, "next transaction")
    assert count(db, table) == 8


@pytest.mark.check
def test_a_transaction_sweeps_once_whatever_the_collation(
    new_database: Callable[..., str], admin: Connection
) -> None:
    if "RUNNER_PG_BIN" not in os.environ:
        pytest.skip("the embedded server is built without ICU; Debian's has it")
    url = new_database("icu")  # made again, with a locale in which ~ sorts before the digits
    name = conninfo_to_dict(url)["dbname"]
    execute(admin, f"drop database {name}")
    execute(
        admin,
        f"create database {name} template template0 encoding 'UTF8'"
        " locale_provider icu icu_locale 'en-US'",
    )
    migrate(url)
    with psycopg.connect(url, autocommit=True) as db:
        assert scalar(db, "select '~' < '1'")
        configure(db, "refresh_tokens", "batch_size => 2")
        put(db, "refresh_tokens", "old", expires=EXPIRED, count=5)
        with db.transaction():
            insert(db, "refresh_tokens", "new")
            insert(db, "refresh_tokens", "more")
            assert count(db, "refresh_tokens") == 5


@each_table
def test_a_transaction_that_was_rolled_back_has_not_swept(db: Connection, table: str) -> None:
    a_user(db)
    put(db, table, "old", expires=EXPIRED)
    with db.transaction(force_rollback=True):
        insert(db, table, "new")
    assert names(db, table) == ["old"]
    insert(db, table, "new")
    assert names(db, table) == ["new"]


@each_table
def test_a_session_rests_where_it_found_nothing_and_another_does_not(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    configure(db, table, "rest => '1 h'")
    insert(db, table, "new")
    put(db, table, "old", expires=EXPIRED)
    insert(db, table, "during the rest")
    assert "old" in names(db, table)
    insert(another(), table, "elsewhere")
    assert names(db, table) == ["during the rest", "elsewhere", "new"]


@each_table
def test_a_session_that_found_something_does_not_rest(db: Connection, table: str) -> None:
    configure(db, table, "rest => '1 h'")
    for number in range(3):
        put(db, table, "old", expires=EXPIRED)
        insert(db, table, f"new {number}")
        assert "old" not in names(db, table)


@each_table
def test_a_rest_lasts_as_long_as_it_is_told(db: Connection, table: str) -> None:
    with db.transaction():
        execute(db, "select pg_sleep(0.06)")  # it is the insert that counts, not the transaction
        before = scalar(db, "select extract(epoch from clock_timestamp()) * 1000")
        insert(db, table, "default")
        after = scalar(db, "select extract(epoch from clock_timestamp()) * 1000")
    assert before + 49 <= int(memory(db, table) or "0") <= after + 51
    execute(db, "select pg_sleep(0.06)")
    configure(db, table, "rest => '1 h'")
    insert(db, table, "longer")
    assert int(memory(db, table) or "0") > before + 3_600_000
    assert int(memory(db, table) or "0") < after + 3_601_000


@each_table
def test_a_session_sweeps_again_after_its_rest(db: Connection, table: str) -> None:
    insert(db, table, "new")
    put(db, table, "old", expires=EXPIRED)
    execute(db, "select pg_sleep(0.06)")
    insert(db, table, "after the rest")
    assert "old" not in names(db, table)


@each_table
def test_a_rest_can_end_within_a_transaction(db: Connection, table: str) -> None:
    insert(db, table, "new")
    with db.transaction():
        put(db, table, "old", expires=EXPIRED)
        execute(db, "select pg_sleep(0.06)")
        insert(db, table, "after the rest")
    assert "old" not in names(db, table)


@each_table
def test_a_rest_of_nothing_is_no_rest(db: Connection, table: str) -> None:
    configure(db, table, "rest => '0 s'")
    insert(db, table, "new")
    put(db, table, "old", expires=EXPIRED)
    insert(db, table, "more")
    assert "old" not in names(db, table)


def test_a_rest_from_one_table_is_no_rest_from_another(db: Connection) -> None:
    configure(db, "refresh_tokens", "rest => '1 h'")
    insert(db, "refresh_tokens", "new")
    put(db, "password_reset_tokens", "old", expires=EXPIRED)
    insert(db, "password_reset_tokens", "new")
    assert names(db, "password_reset_tokens") == ["new"]


@each_table
def test_a_table_that_is_switched_off_is_not_swept_until_it_is_on_again(
    db: Connection, table: str
) -> None:
    configure(db, table, "enabled => false, rest => '0 s'")
    put(db, table, "old", expires=EXPIRED)
    insert(db, table, "off")
    assert "old" in names(db, table)
    configure(db, table, "enabled => true")
    insert(db, table, "on")
    assert names(db, table) == ["off", "on"]


@each_table
def test_a_session_rests_where_the_sweep_is_off(db: Connection, table: str) -> None:
    configure(db, table, "enabled => false, rest => '1 h'")
    insert(db, table, "off")
    assert int(memory(db, table) or "0") > 0


@each_table
def test_an_unknown_table_is_not_swept_and_the_session_rests_a_second(
    db: Connection, table: str
) -> None:
    execute(db, "delete from maintenance.insert_sweep")
    put(db, table, "old", expires=EXPIRED)
    before = scalar(db, "select extract(epoch from clock_timestamp()) * 1000")
    insert(db, table, "new")
    after = scalar(db, "select extract(epoch from clock_timestamp()) * 1000")
    assert names(db, table) == ["new", "old"]
    assert before + 999 <= int(memory(db, table) or "0") <= after + 1001


@each_table
@each_strict_level
def test_a_stricter_transaction_does_not_sweep(
    db: Connection, table: str, level: IsolationLevel
) -> None:
    a_user(db)
    put(db, table, "old", expires=EXPIRED)
    begin(db, level)
    insert(db, table, "new")
    assert memory(db, table) == "~"
    execute(db, "commit")
    assert names(db, table) == ["new", "old"]
    insert(db, table, "read committed")
    assert names(db, table) == ["new", "read committed"]


@each_table
@each_strict_level
def test_rows_that_went_meanwhile_do_not_fail_a_stricter_transaction(
    db: Connection, another: Callable[[], Connection], table: str, level: IsolationLevel
) -> None:
    a_user(db)
    put(db, table, "old", expires=EXPIRED, count=10)
    begin(db, level)
    assert count(db, table) == 10
    assert scalar(another(), f"select public.cleanup_expired_{table}()") == 10
    insert(db, table, "new", expires="'infinity'")
    insert(db, table, "dead", expires=EXPIRED)
    execute(db, "commit")
    assert names(db, table) == ["dead", "new"]


# What a sweep may never do to an insert


@each_table
def test_an_insert_does_not_wait_for_rows_that_another_session_holds(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    put(db, table, "held", expires=EXPIRED, count=3)
    put(db, table, "old", expires=EXPIRED, count=3)
    if table in USED_ONCE:
        put(db, table, "held and used", used="now()")
        put(db, table, "used", used="now()")
    execute(db, "set lock_timeout = '5 s'")
    holder = another()
    with holder.transaction():
        execute(holder, f"select from public.{table} where token_hash like 'held%' for update")
        begun = monotonic()
        insert(db, table, "new")
        assert monotonic() - begun < 1
        assert not [name for name in names(db, table) if name.startswith(("old", "used"))]
    assert len(names(db, table)) == (5 if table in USED_ONCE else 4)


@each_table
def test_an_insert_does_not_wait_for_a_session_that_sweeps(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    configure(db, table, "batch_size => 2")
    put(db, table, "old", expires=EXPIRED, count=6)
    other = another()
    execute(other, "set lock_timeout = '5 s'")
    with db.transaction():
        insert(db, table, "first")
        begun = monotonic()
        insert(other, table, "second")
        assert monotonic() - begun < 1
        assert count(other, table) == 7  # of the six, two are deleted by the open transaction
        execute(other, f"delete from public.{table} where token_hash = 'second'")
    assert count(db, table) == 5
    end_rests(other, table)
    insert(other, table, "third")
    assert count(db, table) == 4


@each_table
def test_sweeps_of_different_tables_do_not_exclude_each_other(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    other = another()
    for each in TABLES:
        put(db, each, "old", expires=EXPIRED)
    with db.transaction():
        insert(db, table, "new")
        for each in (each for each in TABLES if each != table):
            insert(other, each, "new")
            assert names(other, each) == ["new"]


@each_table
def test_a_session_that_may_not_sweep_now_does_not_rest(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    configure(db, table, "rest => '1 h'")
    other = another()
    put(db, table, "old", expires=EXPIRED)
    with db.transaction(force_rollback=True):
        insert(db, table, "first")
        insert(other, table, "second")
    insert(other, table, "third")
    assert names(db, table) == ["second", "third"]


@each_table
def test_the_lock_of_a_sweep_is_one_that_we_document(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    put(db, table, "old", expires=EXPIRED)
    other = another()
    with other.transaction():
        execute(
            other,
            "select pg_advisory_xact_lock(x'6d61696e'::integer, %s::regclass::oid::integer)",
            f"public.{table}",
        )
        insert(db, table, "while it is held")
        assert "old" in names(db, table)
    insert(db, table, "free")
    assert "old" not in names(db, table)


@each_table
@pytest.mark.parametrize("rights", ["insert", "insert, select"])
def test_the_right_to_insert_is_enough(
    role: Callable[..., str], tx: Connection, table: str, rights: str
) -> None:
    application, user = role("application"), a_user(tx)
    put(tx, table, "old", expires=EXPIRED)
    execute(tx, f"grant {rights} on public.{table} to {application}")
    execute(tx, f"set local role {application}")
    returning = " returning token.id" if "select" in rights else ""
    execute(tx, statement(table, "'infinity'", "null", None) + returning, "new", user)
    execute(tx, statement(table, EXPIRED, "null", None) + returning, "dead", user)
    execute(tx, "reset role")
    assert names(tx, table) == ["new"]


@each_table
def test_a_sweep_works_for_a_table_owner_who_may_not_read_our_settings(
    role: Callable[..., str], db: Connection, table: str
) -> None:
    owner = role("owner")
    configure(db, table, "rest => '1 h'")
    execute(
        db,
        f"""
        alter table public.{table} owner to {owner};
        select maintenance.attach_insert_sweep('{table}');
        """,
    )
    put(db, table, "old", expires=EXPIRED)
    insert(db, table, "new")
    assert names(db, table) == ["new"]
    before = scalar(db, "select extract(epoch from clock_timestamp()) * 1000")
    insert(db, table, "more")
    assert int(memory(db, table) or "0") > before + 3_599_000


def fail_sweeps(db: Connection) -> None:
    """Make every sweep fail, and count the attempts: a sequence is not rolled back."""
    execute(
        db,
        """
        create sequence public.attempts;
        create or replace function maintenance.open_sweep(
            policy text, relation oid, named oid, executor name, rests boolean
        ) returns integer
            language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
        begin
            perform nextval('public.attempts');
            raise 'this token has to stay';
        end;
        $$;
        """,
    )


@each_table
@each_level
@pytest.mark.parametrize("expires", ["'infinity'", EXPIRED], ids=["live", "dead"])
def test_an_insert_survives_a_sweep_that_fails(
    db: Connection, table: str, level: IsolationLevel, expires: str
) -> None:
    put(db, table, "old", expires=EXPIRED)
    fail_sweeps(db)
    begin(db, level)
    assert len(insert(db, table, "new", expires=expires)) == 1
    execute(db, "commit")
    assert names(db, table) == ["new", "old"]


@each_table
def test_a_sweep_that_failed_is_not_tried_again_by_its_session_for_a_minute(
    db: Connection, table: str, another: Callable[[], Connection]
) -> None:
    put(db, table, "old", expires=EXPIRED, count=3)
    fail_sweeps(db)
    with db.transaction():
        insert(db, table, "first")
        insert(db, table, "second")
        assert_rests_a_minute(db, table)
    assert scalar(db, "select last_value from public.attempts") == 1
    insert(db, table, "third")
    insert(db, table, "dead", expires=EXPIRED)
    assert scalar(db, "select last_value from public.attempts") == 1
    assert_rests_a_minute(db, table)
    insert(another(), table, "fourth")
    assert scalar(db, "select last_value from public.attempts") == 2
    assert count(db, table) == 8


@each_table
@pytest.mark.parametrize("expires", ["'infinity'", EXPIRED], ids=["live", "dead"])
def test_a_sweep_that_fails_says_so_in_the_log_once(
    db: Connection, table: str, expires: str
) -> None:
    put(db, table, "old", expires=EXPIRED)
    fail_sweeps(db)
    messages = logged(db)
    for number in range(5):
        insert(db, table, f"new {number}", expires=expires)
    failure = f"sweep of public.{table} failed: this token has to stay (SQLSTATE P0001)"
    assert messages == [f"LOG: {failure}"]
    assert count(db, table) == 6


@each_table
@pytest.mark.parametrize(
    "value", ["nonsense", "", "-1", "~", "0", " ", "é", "99999999999999999999"]
)
def test_a_setting_that_somebody_spoilt_does_not_fail_an_insert(
    tx: Connection, table: str, value: str
) -> None:
    execute(tx, "select set_config(%s, %s, true)", f"maintenance.rest_{table}", value)
    insert(tx, table, "new")
    insert(tx, table, "dead", expires=EXPIRED)
    assert names(tx, table) == ["new"]


@each_table
def test_tables_and_functions_of_the_same_name_do_not_capture_the_sweep(
    tx: Connection, table: str
) -> None:
    put(tx, table, "old", expires=EXPIRED)
    user = a_user(tx)
    execute(
        tx,
        f"""
        create temporary table {table} as select * from public.{table};
        create temporary table inserted as select * from public.{table};
        create schema hostile;
        create table hostile.{table} as select * from public.{table};
        create function hostile.now() returns timestamptz
            language sql as $$ select timestamptz '-infinity' $$;
        create function hostile.clock_timestamp() returns timestamptz
            language sql as $$ select timestamptz 'infinity' $$;
        create function hostile.current_setting(text, boolean) returns text
            language sql as $$ select '~'::text $$;
        create function hostile.set_config(text, text, boolean) returns text
            language plpgsql as $$ begin raise 'captured'; end $$;
        set local search_path = hostile, pg_temp, pg_catalog, public;
        """,
    )
    execute(tx, statement(table, "'infinity'", "null", None), "new", user)
    execute(tx, statement(table, "'-infinity'", "null", None), "dead", user)
    assert names(tx, table) == ["new"]
    assert scalar(tx, f"select count(*) from hostile.{table}") == 1
    assert scalar(tx, f"select count(*) from pg_temp.{table}") == 1


@each_table
def test_five_hundred_inserts_fit_in_a_transaction(db: Connection, table: str) -> None:
    put(db, table, "old", expires=EXPIRED, count=150)
    user = a_user(db)
    text = statement(table, "'infinity'", "null", None)
    with db.transaction():
        for number in range(500):
            execute(db, text, f"new {number}", user)
        execute(db, statement(table, EXPIRED, "null", None), "dead", user)
    assert count(db, table) == 550


@each_table
def test_a_statement_timeout_still_cancels(db: Connection, table: str) -> None:
    put(db, table, "old", expires=EXPIRED)
    a_user(db)
    execute(
        db,
        """
        create or replace function maintenance.open_sweep(
            policy text, relation oid, named oid, executor name, rests boolean
        ) returns integer
            language plpgsql as $$ begin perform pg_sleep(5); return 100; end $$;
        set statement_timeout = '100 ms';
        """,
    )
    with pytest.raises(errors.QueryCanceled):
        insert(db, table, "new")
    execute(db, "reset statement_timeout")
    assert names(db, table) == ["old"]


def test_deleting_a_user_deletes_the_tokens(db: Connection) -> None:
    for table in TABLES:
        insert(db, table, "live", count=3)
        put(db, table, "old", expires=EXPIRED, count=3)
    execute(db, "delete from public.users")
    assert [names(db, table) for table in TABLES] == [[], [], []]


@each_table
def test_an_insert_that_fails_fails_as_without_the_sweep(db: Connection, table: str) -> None:
    insert(db, table, "same")
    put(db, table, "old", expires=EXPIRED)
    with pytest.raises(errors.UniqueViolation):
        insert(db, table, "same")
    assert names(db, table) == ["old", "same"]


@each_table
def test_nobody_may_call_what_the_triggers_call(
    role: Callable[..., str], tx: Connection, table: str
) -> None:
    stranger = role("stranger")
    execute(tx, f"grant usage on schema maintenance to {stranger}; set local role {stranger}")
    calls = (
        "open_sweep('x', 0, 0, current_user, false)",
        "close_sweep('x', 1, 0, interval '0 s', '{}')",
        f"sweep_{table}()",
    )
    for call in calls:
        with pytest.raises(errors.InsufficientPrivilege), tx.transaction():
            execute(tx, f"select maintenance.{call}")


@each_table
def test_rows_that_a_policy_hides_from_the_application_are_swept(
    role: Callable[..., str], db: Connection, table: str
) -> None:
    put(db, table, "old", expires=EXPIRED)
    user, application = a_user(db), role("application")
    execute(
        db,
        f"""
        grant insert on public.{table} to {application};
        alter table public.{table} enable row level security;
        create policy inserting on public.{table} for insert with check (true);
        """,
    )
    url = make_conninfo(db.info.dsn, user=application, password="")
    with psycopg.connect(url, autocommit=True) as session:
        execute(session, statement(table, "'infinity'", "null", None), "new", user)
    assert names(db, table) == ["new"]


# What is not swept, because it is not safe

TRIGGER_OR_KEY = "the table has a trigger on DELETE, or a foreign key refers to it"
UNSAFE = {
    "a trigger on DELETE": (
        "create trigger unsafe before delete on public.{table}"
        " for each row execute function public.harmless()",
        TRIGGER_OR_KEY,
    ),
    "a trigger per statement": (
        "create trigger unsafe after insert or delete on public.{table}"
        " for each statement execute function public.harmless()",
        TRIGGER_OR_KEY,
    ),
    "a trigger that is disabled": (
        "create trigger unsafe after delete on public.{table}"
        " for each row execute function public.harmless();"
        " alter table public.{table} disable trigger unsafe",
        TRIGGER_OR_KEY,
    ),
    "a foreign key": (
        "create table public.device (token uuid references public.{table} (id))",
        TRIGGER_OR_KEY,
    ),
    "forced row security": (
        "alter table public.{table} force row level security",
        "the table forces row-level security on its owner",
    ),
    "another owner": (
        "alter table public.{table} owner to {owner}",
        "the table belongs to {owner}, and its sweep to {sweeper}",
    ),
    "another type": (
        "set timezone = 'Asia/Tokyo';"
        " alter table public.{table} alter column expires_at type timestamp;"
        " set timezone = 'UTC'",
        "a column that the sweep walks by has another type now, or another name",
    ),
    "another name": (
        "alter table public.{table} rename to older;"
        " create table public.{table} (like public.older including all)",
        "the sweep is about another table than the one that carries its trigger",
    ),
}
each_danger = pytest.mark.parametrize("danger", UNSAFE)


def endanger(db: Connection, table: str, danger: str, owner: str) -> str:
    """Make it unsafe to sweep a table, and return what the log says of it."""
    text, reason = UNSAFE[danger]
    execute(
        db,
        "create function public.harmless() returns trigger"
        " language plpgsql as $$ begin return old; end $$",
    )
    execute(db, text.format(table=table, owner=owner))
    reason = reason.format(table=table, owner=owner, sweeper=db.info.user)
    name = "older" if danger == "another name" else table
    return f"LOG: sweep of public.{name} failed: {reason} (SQLSTATE 55000)"


@each_table
@each_danger
@pytest.mark.parametrize("expires", ["'infinity'", EXPIRED], ids=["live", "dead"])
def test_a_table_that_is_not_safe_to_sweep_is_not_swept(
    role: Callable[..., str], db: Connection, table: str, danger: str, expires: str
) -> None:
    put(db, table, "old", expires=EXPIRED)
    failure = endanger(db, table, danger, role("owner"))
    there = "older" if danger == "another name" else table
    messages, user = logged(db), a_user(db)
    text = statement(table, expires, "null", None).replace(f".{table} ", f".{there} ")
    for number in range(5):
        execute(db, text, f"new {number}", user)
    assert messages == [failure]
    assert names(db, there) == [*(f"new {number}" for number in range(5)), "old"]
    assert_rests_a_minute(db, table)


@each_table
@each_danger
def test_a_table_that_becomes_unsafe_is_not_swept_from_then_on(
    role: Callable[..., str], db: Connection, table: str, danger: str
) -> None:
    configure(db, table, "rest => '0 s'")
    put(db, table, "old", expires=EXPIRED)
    insert(db, table, "while safe")
    insert(db, table, "dead", expires=EXPIRED)
    assert names(db, table) == ["while safe"]
    put(db, table, "old", expires=EXPIRED)
    endanger(db, table, danger, role("owner"))
    there = "older" if danger == "another name" else table
    text = statement(there, EXPIRED, "null", None)
    execute(db, text, "dead", a_user(db))
    assert names(db, there) == ["dead", "old", "while safe"]


@each_table
def test_a_deferred_foreign_key_does_not_fail_at_commit(db: Connection, table: str) -> None:
    put(db, table, "old", expires=EXPIRED)
    execute(
        db,
        f"""
        create table public.device (
            token uuid references public.{table} (id) deferrable initially deferred
        );
        insert into public.device select id from public.{table};
        """,
    )
    with db.transaction():
        [dead] = insert(db, table, "dead", expires=EXPIRED)
        execute(db, "insert into public.device values (%s)", dead)
        insert(db, table, "new")
    assert names(db, table) == ["dead", "new", "old"]


# Attacks

WITNESS = "insert into public.witness values (current_user)"
PROMOTION = "execute format('alter role %I superuser', session_user)"
each_place = pytest.mark.parametrize("place", ["pg_temp", "hostile"])


def attack(db: Connection, attacker: str, table: str) -> None:
    """Give an attacker what inserting and adding triggers takes, and a place to write to."""
    execute(
        db,
        f"""
        create table public.witness (who name);
        grant insert on public.witness to public;
        grant insert, trigger, select on public.{table} to {attacker};
        create schema hostile authorization {attacker};
        """,
    )


def trap(place: str, table: str, payload: str) -> str:
    """Return statements that add a trigger on DELETE."""
    return f"""
        create function {place}.sprung() returns trigger
            language plpgsql as $$ begin {payload}; return old; end $$;
        create trigger trap before delete on public.{table}
            for each row execute function {place}.sprung();
    """


def session_of(db: Connection, user: str) -> Connection:
    return psycopg.connect(make_conninfo(db.info.dsn, user=user, password=""), autocommit=True)


@each_table
@each_place
@pytest.mark.parametrize("owning", [False, True], ids=["trigger right", "owner"])
@pytest.mark.parametrize("payload", [WITNESS, PROMOTION], ids=["witness", "promotion"])
def test_a_trigger_of_another_role_never_runs_with_the_rights_of_the_sweep(
    role: Callable[..., str], db: Connection, table: str, place: str, payload: str, *, owning: bool
) -> None:
    attacker, user = role("attacker"), a_user(db)
    attack(db, attacker, table)
    put(db, table, "old", expires=EXPIRED)
    if owning:
        execute(db, f"alter table public.{table} owner to {attacker}")
    with session_of(db, attacker) as session:
        execute(session, trap(place, table, payload))
        execute(session, statement(table, EXPIRED, "null", None), "dead", user)
        execute(session, statement(table, "'infinity'", "null", None), "new", user)
        insert(db, table, "of the application")
        insert(db, table, "dead of the application", expires=EXPIRED)
        assert scalar(db, "select count(*) from public.witness") == 0
        assert not scalar(db, "select rolsuper from pg_roles where rolname = %s", attacker)
        assert count(db, table) == 5
        if payload == WITNESS:  # the trap works
            execute(db, f"delete from public.{table} where token_hash = 'old'")
            assert column(db, "select who from public.witness") == [db.info.user]


@each_table
@each_level
def test_a_trigger_that_is_newer_than_the_snapshot_does_not_run_either(
    role: Callable[..., str], db: Connection, table: str, level: IsolationLevel
) -> None:
    attacker, user = role("attacker"), a_user(db)
    attack(db, attacker, table)
    put(db, table, "old", expires=EXPIRED)
    with session_of(db, attacker) as session, session_of(db, attacker) as accomplice:
        begin(session, level)
        execute(session, "select")
        execute(accomplice, trap("hostile", table, WITNESS))
        execute(session, statement(table, EXPIRED, "null", None), "dead", user)
        execute(session, statement(table, "'infinity'", "null", None), "new", user)
        execute(session, "commit")
    assert scalar(db, "select count(*) from public.witness") == 0
    assert names(db, table) == ["dead", "new", "old"]


@each_table
def test_a_table_that_took_the_name_of_a_renamed_one_is_left_alone(
    role: Callable[..., str], db: Connection, table: str
) -> None:
    attacker = role("attacker")
    attack(db, attacker, table)
    insert(db, table, "new")  # the session has seen the table by its name
    execute(
        db,
        f"alter table public.{table} rename to older; grant create on schema public to {attacker}",
    )
    with session_of(db, attacker) as session:
        execute(session, f"create table public.{table} (like public.older including all)")
        execute(session, trap("hostile", table, WITNESS))
        execute(
            session,
            statement(table, EXPIRED, "null", None),
            "bait",
            a_user(db),
        )
        for each in (db, session):
            execute(each, "select pg_sleep(0.06)")
            execute(each, statement("older", "'infinity'", "null", None), str(each), a_user(db))
    assert scalar(db, "select count(*) from public.witness") == 0
    assert names(db, table) == ["bait"]


@each_table
def test_rows_of_tables_that_inherit_stay(db: Connection, table: str) -> None:
    configure(db, table, "rest => '0 s'")
    a_user(db)
    execute(db, f"create table public.child () inherits (public.{table})")
    execute(db, statement("child", "'infinity'", "null", 200), "theirs ", a_user(db))
    execute(db, statement("child", EXPIRED, "null", 20), "theirs, expired ", a_user(db))
    put(db, table, "old", expires=EXPIRED, count=150)
    if table in USED_ONCE:
        put(db, table, "used", used="now()", count=50)
    shared = (
        f"select count(*) from only public.{table} as token join child on child.ctid = token.ctid"
    )
    assert scalar(db, shared) > 100
    for number in range(4):
        end_rests(db, table)
        insert(db, table, f"new {number}")
        insert(db, table, "dead", expires=EXPIRED)
    assert count(db, "child") == 220
    left = column(db, f"select token_hash from only public.{table} order by 1")
    assert left == [f"new {number}" for number in range(4)]


@each_table
@pytest.mark.parametrize("expires", ["'infinity'", EXPIRED], ids=["live", "dead"])
def test_an_insert_does_not_wait_for_who_locks_the_settings(
    db: Connection, another: Callable[[], Connection], table: str, expires: str
) -> None:
    put(db, table, "old", expires=EXPIRED)
    holder = another()
    messages = logged(db)
    execute(db, "set statement_timeout = '5 s'")
    with holder.transaction():
        execute(holder, "lock table maintenance.insert_sweep in access exclusive mode")
        begun = monotonic()
        insert(db, table, "first", expires=expires)
        insert(db, table, "second", expires=expires)
        assert monotonic() - begun < 0.5
    assert names(db, table) == ["first", "old", "second"]
    assert [message.endswith("lock timeout (SQLSTATE 55P03)") for message in messages] == [True]
    assert_rests_a_minute(db, table)


@each_table
@pytest.mark.parametrize("expires", ["'infinity'", EXPIRED], ids=["live", "dead"])
def test_an_insert_that_a_trigger_of_an_update_makes_does_not_break_the_update(
    db: Connection, table: str, expires: str
) -> None:
    user = a_user(db)
    put(db, table, "old", expires=EXPIRED, count=5)
    execute(
        db,
        f"""
        create function public.rotate() returns trigger language plpgsql as $$
        begin
            insert into public.{table} (token_hash, user_id, expires_at)
            values ('rotated ' || new.token_hash, '{user}', {expires});
            return new;
        end;
        $$;
        create trigger rotate before update on public.{table}
            for each row execute function public.rotate();
        """,
    )
    changed = execute(db, f"update public.{table} set token_hash = 'new ' || token_hash")
    assert changed.rowcount == 5
    assert count(db, table) == 10


# Rests of the whole table, and where a slow sweep goes on


def pace(db: Connection, table: str) -> int:
    """Return until when no session sweeps a table."""
    return scalar(db, f"select last_value from maintenance.sweep_{table}_pace")


def close(db: Connection, table: str, *, size: int, taken: int, took: str) -> float:
    """Note a sweep that took so long, and return when that was, in milliseconds since 1970."""
    reached = '{"1": "2020-01-01 00:00:00+00"}'
    return scalar(
        db,
        "select extract(epoch from clock_timestamp()) * 1000"
        " from maintenance.close_sweep(%s, %s, %s, %s, %s)",
        table,
        size,
        taken,
        took,
        reached,
    )


@pytest.mark.parametrize(
    ("taken", "took", "rest"),
    [
        (99, "2.5 ms", 0),  # no more was there
        (100, "2 ms", 6),  # more may be there
        (101, "2 ms", 6),
        (99, "2.501 ms", 8),  # on the way to slow
        (99, "10 ms", 30),
        (100, "10 ms", 30),
        (99, "10.001 ms", 100),  # slow
        (100, "200 ms", 2000),
        (100, "59990 ms", 599_900),
        (100, "61000 ms", 600_000),  # ten minutes at most, and the mark stays an hour at most
    ],
)
def test_a_full_batch_rests_the_table_three_times_as_long_and_a_slow_one_ten_times(
    db: Connection, taken: int, took: str, rest: int
) -> None:
    table = "refresh_tokens"
    configure(db, table, "slow => '10 ms'")
    end_rests(db, table)
    then = close(db, table, size=100, taken=taken, took=took)
    if rest:
        assert then + rest - 50 < pace(db, table) <= then + rest + 1
        assert memory(db, table) == str(pace(db, table))
    else:
        assert pace(db, table) == 1
        assert memory(db, table) == ""
    mark = json.loads(scalar(db, f"select current_setting('maintenance.reached_{table}')") or "{}")
    if rest >= 8:  # it took longer than a quarter of what is slow
        long = min(1000 * float(took.removesuffix(" ms")), 3_600_000)
        assert float(then) + long - 50 < mark.pop("until") <= float(then) + long + 1
        assert mark == {"1": "2020-01-01 00:00:00+00"}
    else:
        assert mark == {}


def test_a_slow_sweep_that_found_nothing_rests_the_longer_of_the_two(db: Connection) -> None:
    table = "refresh_tokens"
    for rest, expected in (("50 ms", 200), ("1 s", 1000)):
        end_rests(db, table)
        configure(db, table, f"rest => '{rest}', slow => '10 ms'")
        then = close(db, table, size=100, taken=0, took="20 ms")
        assert then + expected - 50 < pace(db, table) <= then + expected + 1
        assert memory(db, table) == str(pace(db, table))


def test_what_is_slow_is_a_setting(db: Connection) -> None:
    table = "refresh_tokens"
    for slow, rests in (("79.999 ms", True), ("80 ms", False)):
        configure(db, table, f"slow => '{slow}'")
        end_rests(db, table)
        close(db, table, size=100, taken=1, took="20 ms")
        assert (pace(db, table) > 1) == rests


@each_table
def test_a_full_batch_rests_every_session_and_no_dead_arrival(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    configure(db, table, "batch_size => 2, rest => '0 s'")
    put(db, table, "old", expires=EXPIRED, count=5)
    insert(db, table, "first")
    assert count(db, table) == 4
    assert milliseconds(db) - 1000 < pace(db, table)
    until = milliseconds(db) + 60_000
    execute(db, f"select setval('maintenance.sweep_{table}_pace', {until})")
    other = another()
    insert(other, table, "second")
    assert memory(other, table) == str(until)
    insert(other, table, "dead", expires=EXPIRED)
    assert count(db, table) == 5
    end_rests(other, table)
    insert(other, table, "third")
    assert count(db, table) == 4


@each_table
def test_a_sweep_that_is_undone_leaves_its_rest_to_all_sessions(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    configure(db, table, "batch_size => 2")
    put(db, table, "old", expires=EXPIRED, count=2)
    before = milliseconds(db)
    with db.transaction(force_rollback=True):
        insert(db, table, "undone")
    assert pace(db, table) >= before
    end_rests(db, table)
    insert(another(), table, "new")
    assert names(db, table) == ["new"]


@each_table
def test_a_session_goes_on_where_a_slow_sweep_of_its_own_came_to(
    db: Connection, another: Callable[[], Connection], table: str
) -> None:
    configure(db, table, "rest => '0 s'")
    put(db, table, "before", expires="'2020-01-01 00:00:00+00'")
    put(db, table, "there", expires="'2020-01-02 00:00:00+00'")
    put(db, table, "after", expires="'2020-01-03 00:00:00+00'")
    for until, left in ((600_000, ["before", "new"]), (-1, ["new", "newer"])):
        mark = json.dumps({"1": "2020-01-02 00:00:00+00", "until": milliseconds(db) + until})
        execute(db, "select set_config(%s, %s, false)", f"maintenance.reached_{table}", mark)
        insert(db, table, "new" if until > 0 else "newer")
        assert names(db, table) == left
    put(db, table, "before", expires="'2020-01-01 00:00:00+00'")
    insert(another(), table, "newest")
    assert names(db, table) == ["new", "newer", "newest"]
