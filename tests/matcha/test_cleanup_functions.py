"""The functions that delete tokens: which rows go, what they return, who may call them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.matcha.tokens import EXPIRED, LIVE, TABLES, USED_ONCE, names, put
from tests.statements import execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

ZONES = ("UTC", "Asia/Ho_Chi_Minh", "America/Los_Angeles", "Pacific/Kiritimati", "-11:30")

each_table = pytest.mark.parametrize("table", TABLES)
each_table_with_uses = pytest.mark.parametrize("table", USED_ONCE)


def clean(db: Connection, table: str) -> int:
    """Call the function of a table."""
    return scalar(db, f"select public.cleanup_expired_{table}()")


@each_table
@pytest.mark.parametrize("zone", ZONES)
def test_a_token_goes_a_microsecond_after_its_time_in_every_time_zone(
    tx: Connection, table: str, zone: str
) -> None:
    execute(tx, f"set local time zone '{zone}'")
    put(tx, table, "now", expires="now()")
    put(tx, table, "just after", expires="now() - interval '1 microsecond'")
    put(tx, table, "just before", expires="now() + interval '1 microsecond'")
    assert clean(tx, table) == 1
    assert names(tx, table) == ["just before", "now"]


@each_table
def test_infinity_stays_and_minus_infinity_goes(tx: Connection, table: str) -> None:
    put(tx, table, "for ever", expires="'infinity'")
    put(tx, table, "never", expires="'-infinity'")
    assert clean(tx, table) == 1
    assert names(tx, table) == ["for ever"]


@each_table
def test_an_empty_table_gives_zero(tx: Connection, table: str) -> None:
    assert clean(tx, table) == 0


@each_table
def test_a_second_call_finds_nothing(tx: Connection, table: str) -> None:
    put(tx, table, "old", expires=EXPIRED, count=250)
    assert clean(tx, table) == 250
    assert clean(tx, table) == 0


@each_table_with_uses
def test_a_used_token_goes_although_it_has_not_expired(tx: Connection, table: str) -> None:
    put(tx, table, "used", used="now()")
    put(tx, table, "used in the future", expires="'infinity'", used="'infinity'")
    put(tx, table, "live")
    assert clean(tx, table) == 2
    assert names(tx, table) == ["live"]


@each_table_with_uses
def test_a_token_that_expired_after_its_use_counts_once(tx: Connection, table: str) -> None:
    put(tx, table, "both", expires=EXPIRED, used="now() - interval '2 days'")
    assert clean(tx, table) == 1
    assert names(tx, table) == []


def test_a_refresh_token_that_was_just_used_stays(tx: Connection) -> None:
    put(tx, "refresh_tokens", "live")
    execute(tx, "update public.refresh_tokens set last_used_at = now()")
    assert clean(tx, "refresh_tokens") == 0


@each_table
def test_live_rows_are_not_even_rewritten(tx: Connection, table: str) -> None:
    put(tx, table, "live", count=3)
    put(tx, table, "old", expires=EXPIRED)
    before = rows(tx, f"select ctid, xmin, * from public.{table} where expires_at > now()")
    clean(tx, table)
    assert rows(tx, f"select ctid, xmin, * from public.{table}") == before


@each_table
def test_the_other_tables_are_left_alone(tx: Connection, table: str) -> None:
    for each in TABLES:
        put(tx, each, "old", expires=EXPIRED)
    clean(tx, table)
    assert [each for each in TABLES if not names(tx, each)] == [table]


@each_table
def test_the_count_is_an_integer(tx: Connection, table: str) -> None:
    kind = scalar(tx, f"select pg_typeof(public.cleanup_expired_{table}())::text")
    assert kind == "integer"


def test_cleaning_all_returns_one_row_of_integers_by_name(tx: Connection) -> None:
    cursor = execute(tx, "select * from public.cleanup_all_expired_tokens()")
    assert [(each.name, each.type_display) for each in cursor.description or ()] == [
        ("password_reset_cleaned", "int4"),
        ("email_verification_cleaned", "int4"),
        ("refresh_tokens_cleaned", "int4"),
        ("total_cleaned", "int4"),
    ]
    assert cursor.fetchall() == [(0, 0, 0, 0)]


def test_cleaning_all_counts_each_table_and_their_sum(tx: Connection) -> None:
    put(tx, "password_reset_tokens", "old", expires=EXPIRED, count=2)
    put(tx, "email_verification_tokens", "old", expires=EXPIRED, count=3)
    put(tx, "email_verification_tokens", "used", used="now()", count=4)
    put(tx, "refresh_tokens", "old", expires=EXPIRED, count=11)
    for table in TABLES:
        put(tx, table, "live")
    assert rows(tx, "select * from public.cleanup_all_expired_tokens()") == [(2, 7, 11, 20)]
    assert [names(tx, table) for table in TABLES] == [["live"]] * 3


@each_table
def test_whoever_may_delete_from_the_table_may_call(
    role: Callable[..., str], tx: Connection, table: str
) -> None:
    caller = role("cleaner")
    put(tx, table, "old", expires=EXPIRED)
    execute(tx, f"grant select, delete on public.{table} to {caller}; set local role {caller}")
    assert clean(tx, table) == 1


@each_table
@pytest.mark.parametrize("right", ["select", "delete"])
def test_whoever_lacks_a_right_on_the_table_is_refused(
    role: Callable[..., str], tx: Connection, table: str, right: str
) -> None:
    caller = role("cleaner")
    put(tx, table, "old", expires=EXPIRED)
    execute(tx, f"grant {right} on public.{table} to {caller}")
    execute(tx, f"set local role {caller}")
    with pytest.raises(errors.InsufficientPrivilege), tx.transaction():
        clean(tx, table)
    execute(tx, "reset role")
    assert names(tx, table) == ["old"]


def test_cleaning_all_needs_the_rights_on_all_three_tables(
    role: Callable[..., str], tx: Connection
) -> None:
    caller = role("cleaner")
    everything = ", ".join(f"public.{table}" for table in TABLES)
    for table in TABLES:
        put(tx, table, "old", expires=EXPIRED)
    execute(tx, f"grant select, delete on {everything} to {caller}")
    for table in TABLES:
        execute(tx, f"revoke delete on public.{table} from {caller}; set local role {caller}")
        with pytest.raises(errors.InsufficientPrivilege), tx.transaction():
            execute(tx, "select public.cleanup_all_expired_tokens()")
        execute(tx, f"reset role; grant delete on public.{table} to {caller}")
    execute(tx, f"set local role {caller}")
    assert rows(tx, "select * from public.cleanup_all_expired_tokens()") == [(1, 1, 1, 3)]


@each_table
@pytest.mark.parametrize("function", ["one", "all"])
def test_rows_that_a_policy_hides_are_an_error_and_nothing_goes(
    role: Callable[..., str], tx: Connection, table: str, function: str
) -> None:
    caller = role("cleaner")
    put(tx, table, "hidden", expires=EXPIRED)
    put(tx, table, "shown", expires=EXPIRED)
    everything = ", ".join(f"public.{each}" for each in TABLES)
    execute(
        tx,
        f"""
        alter table public.{table} enable row level security;
        create policy shown on public.{table} using (token_hash = 'shown');
        grant select, delete on {everything} to {caller};
        """,
    )
    call = f"cleanup_expired_{table}()" if function == "one" else "cleanup_all_expired_tokens()"
    execute(tx, f"set local role {caller}; set local row_security = on")
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), tx.transaction():
        execute(tx, f"select public.{call}")
    execute(tx, "reset role")
    assert names(tx, table) == ["hidden", "shown"]


@each_table
def test_tables_and_functions_of_the_same_name_do_not_capture_it(
    tx: Connection, table: str
) -> None:
    put(tx, table, "old", expires=EXPIRED)
    put(tx, table, "live", expires=LIVE)
    execute(
        tx,
        f"""
        create temporary table {table} as select * from public.{table};
        create schema hostile;
        create table hostile.{table} as select * from public.{table};
        create function hostile.now() returns timestamptz
            language sql as $$ select timestamptz 'infinity' $$;
        create function hostile.cleanup_expired_{table}() returns integer
            language sql as $$ select 42 $$;
        set local search_path = hostile, pg_temp, pg_catalog, public;
        """,
    )
    assert clean(tx, table) == 1
    assert names(tx, table) == ["live"]
    assert len(names(tx, table)) + 1 == scalar(tx, f"select count(*) from hostile.{table}")
    assert len(names(tx, table)) + 1 == scalar(tx, f"select count(*) from pg_temp.{table}")


def test_functions_of_the_same_name_do_not_capture_cleaning_all(tx: Connection) -> None:
    put(tx, "refresh_tokens", "old", expires=EXPIRED)
    execute(
        tx,
        """
        create schema hostile;
        create function hostile.cleanup_expired_refresh_tokens() returns integer
            language sql as $$ select 42 $$;
        create function hostile.sum_up(integer, integer) returns integer
            language sql as $$ select 42 $$;
        create operator hostile.+
            (leftarg = integer, rightarg = integer, function = hostile.sum_up);
        set local search_path = hostile, pg_catalog, public;
        """,
    )
    assert rows(tx, "select * from public.cleanup_all_expired_tokens()") == [(0, 0, 1, 1)]
