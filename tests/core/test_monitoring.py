"""The monitoring views: right about every table, whatever its name, and closed to strangers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.matcha.tokens import EXPIRED, put
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

# Seed 003's query, as it stands there.
SEED = """
    SELECT
        'password_reset' as token_type,
        COUNT(*) FILTER (WHERE expires_at < NOW()) as expired,
        COUNT(*) FILTER (WHERE used_at IS NOT NULL) as used,
        COUNT(*) FILTER (WHERE expires_at >= NOW() AND used_at IS NULL) as active
    FROM password_reset_tokens
    UNION ALL
    SELECT
        'email_verification' as token_type,
        COUNT(*) FILTER (WHERE expires_at < NOW()) as expired,
        COUNT(*) FILTER (WHERE used_at IS NOT NULL) as used,
        COUNT(*) FILTER (WHERE expires_at >= NOW() AND used_at IS NULL) as active
    FROM email_verification_tokens
    UNION ALL
    SELECT
        'refresh_tokens' as token_type,
        COUNT(*) FILTER (WHERE expires_at < NOW()) as expired,
        NULL as used,
        COUNT(*) FILTER (WHERE expires_at >= NOW()) as active
    FROM refresh_tokens
"""

ODD = '"Odd Schema"."It\'s ""Mixed"""'
GROWTH = "select * from maintenance.token_growth"


@pytest.fixture
def odd(tx: Connection) -> Connection:
    """A table whose names all need quotes, with an index, rows and values out of line."""
    execute(
        tx,
        f"""
        create schema "Odd Schema";
        create table {ODD} (
            id integer primary key, "Expires" timestamptz, "Used %" timestamptz, filler text
        );
        alter table {ODD} alter column filler set storage external;
        insert into {ODD}
        select number, now() + make_interval(secs => number - 3),
            case when number in (1, 5) then now() end, repeat('x', 9000)
        from generate_series(1, 20) as number;
        """,
    )
    return tx


def watch(db: Connection, *, used: str | None) -> None:
    execute(
        db,
        "insert into maintenance.watched_token values (%s, %s, 'Expires', %s)",
        "it's odd",
        ODD,
        used,
    )


# table_sizes


def test_sizes_agree_with_postgresql(odd: Connection) -> None:
    [found] = rows(
        odd,
        "select total_bytes, heap_bytes, index_bytes, other_bytes, size"
        " from maintenance.table_sizes"
        " where schema_name = 'Odd Schema' and table_name = 'It''s \"Mixed\"'",
    )
    expected = rows(
        odd,
        "select pg_total_relation_size(oid), pg_relation_size(oid), pg_indexes_size(oid),"
        " pg_table_size(oid) - pg_relation_size(oid),"
        " pg_size_pretty(pg_total_relation_size(oid))"
        " from pg_class where oid = %s::regclass",
        ODD,
    )
    assert [found] == expected
    assert found[0] == found[1] + found[2] + found[3]
    assert min(found[1], found[2]) > 0
    assert found[3] > 100_000  # the values out of line


def test_rows_are_unknown_before_analyze_and_right_after_it(odd: Connection) -> None:
    estimate = "select estimated_rows from maintenance.table_sizes where schema_name = 'Odd Schema'"
    assert scalar(odd, estimate) is None
    execute(odd, f"analyze {ODD}")
    assert scalar(odd, estimate) == 20
    execute(odd, f"truncate {ODD}; analyze {ODD}")
    assert scalar(odd, estimate) == 0


def test_tables_and_materialized_views_are_listed_and_nothing_else(tx: Connection) -> None:
    execute(
        tx,
        """
        create schema kinds;
        create table kinds."table" (id integer primary key);
        create unlogged table kinds.unlogged (id integer);
        create materialized view kinds.materialized as select 1 as one;
        create view kinds.view as select 1 as one;
        create sequence kinds.sequence;
        create table kinds.partitioned (id integer) partition by list (id);
        create table kinds.partition partition of kinds.partitioned for values in (1);
        create temporary table temporary (id integer);
        """,
    )
    listed = "select table_name from maintenance.table_sizes where schema_name = 'kinds' order by 1"
    assert column(tx, listed) == ["materialized", "partition", "table", "unlogged"]
    schemas = set(column(tx, "select schema_name from maintenance.table_sizes"))
    assert {"kinds", "maintenance", "public"} == schemas


def test_the_largest_table_comes_first(odd: Connection) -> None:
    order = "select total_bytes, schema_name, table_name from maintenance.table_sizes"
    found = rows(odd, order)
    assert found == sorted(found, key=lambda row: (-row[0], row[1], row[2]))
    # Ours have grown with what other tests have rolled back.
    theirs = [row for row in found if row[1] != "maintenance"]
    assert theirs[0][1:] == ("Odd Schema", 'It\'s "Mixed"')


# index_usage


def test_usage_agrees_with_postgresql(db: Connection) -> None:
    execute(
        db,
        f"""
        create schema "Odd Schema";
        create table {ODD} (id integer constraint "Key's" unique, other integer);
        create index plain on {ODD} (other);
        insert into {ODD} select number, number from generate_series(1, 100) as number;
        set enable_seqscan = off; set enable_bitmapscan = off;
        """,
    )
    for _ in range(3):
        assert column(db, f"select other from {ODD} where other between 1 and 5") == [1, 2, 3, 4, 5]
    execute(db, "set enable_indexscan = off; set enable_bitmapscan = on")
    assert column(db, f"select id from {ODD} where other between 6 and 7") == [6, 7]
    execute(db, "select pg_stat_force_next_flush()")
    found = rows(
        db,
        "select index_name, table_name, scans, tuples_read, tuples_fetched, index_bytes,"
        " is_unique, is_valid from maintenance.index_usage where schema_name = 'Odd Schema'",
    )
    table = 'It\'s "Mixed"'
    assert found[0] == ("plain", table, 4, 17, 15, 16384, False, True)
    assert found[1] == ("Key's", table, 0, 0, 0, 16384, True, True)


def test_every_index_that_postgresql_counts_is_listed_most_used_first(db: Connection) -> None:
    for _ in range(3):
        execute(db, "set enable_seqscan = off; select from public.users where email = 'x'")
    execute(db, "select pg_stat_force_next_flush()")
    names = "select schema_name, table_name, index_name, scans from maintenance.index_usage"
    found = rows(db, names)
    assert found == sorted(found, key=lambda row: (-row[3], row[0], row[1], row[2]))
    assert found[0][3] > found[-1][3]
    assert sorted(row[2] for row in found) == sorted(
        column(db, "select indexrelname from pg_stat_user_indexes")
    )


def test_what_a_failed_build_left_is_shown_as_not_valid(tx: Connection) -> None:
    execute(
        tx,
        "update pg_index set indisvalid = false"
        " where indexrelid = 'public.users_email_key'::regclass",
    )
    invalid = "select index_name from maintenance.index_usage where not is_valid"
    assert column(tx, invalid) == ["users_email_key"]


# token_growth


def test_empty_tables_have_no_tokens(tx: Connection) -> None:
    assert rows(tx, GROWTH) == [
        ("email_verification", 0, 0, 0),
        ("password_reset", 0, 0, 0),
        ("refresh_tokens", 0, None, 0),
    ]


def test_tokens_count_as_the_seeds_query_counts_them(tx: Connection) -> None:
    for number, table in enumerate(("password_reset_tokens", "email_verification_tokens")):
        put(tx, table, "expired", expires=EXPIRED, count=2 + number)
        put(tx, table, "used", used="now()", count=4 + number)
        put(tx, table, "used and expired", used="now()", expires=EXPIRED, count=7)
        put(tx, table, "live", count=11)
        put(tx, table, "now", expires="now()")
    put(tx, "refresh_tokens", "expired", expires="now() - interval '1 microsecond'", count=3)
    put(tx, "refresh_tokens", "now", expires="now()", count=5)
    expected = [
        ("email_verification", 10, 12, 12),
        ("password_reset", 9, 11, 12),
        ("refresh_tokens", 3, None, 5),
    ]
    assert rows(tx, GROWTH) == expected
    assert sorted(rows(tx, SEED)) == expected


@pytest.mark.parametrize(("used", "expected"), [("Used %", (2, 2, 17)), (None, (2, None, 18))])
def test_a_table_with_an_odd_name_is_counted_like_any_other(
    odd: Connection, used: str | None, expected: tuple[Any, ...]
) -> None:
    watch(odd, used=used)
    found = rows(odd, GROWTH + " where token_type = 'it''s odd'")
    assert found == [("it's odd", *expected)]


def test_a_table_that_was_dropped_is_counted_no_more(tx: Connection) -> None:
    execute(tx, "drop table public.refresh_tokens")
    assert rows(tx, GROWTH) == [("email_verification", 0, 0, 0), ("password_reset", 0, 0, 0)]


def test_the_counts_have_names_and_types_to_rely_on(tx: Connection) -> None:
    described = execute(tx, GROWTH).description or []
    assert [(each.name, each.type_display) for each in described] == [
        ("token_type", "text"),
        ("expired", "int8"),
        ("used", "int8"),
        ("active", "int8"),
    ]


def test_names_in_the_search_path_do_not_capture_the_counts(tx: Connection) -> None:
    put(tx, "refresh_tokens", "live")
    execute(
        tx,
        """
        create temporary table refresh_tokens as table public.refresh_tokens with no data;
        create schema hostile;
        create function hostile.now() returns timestamptz
            language sql as $$ select timestamptz 'infinity' $$;
        set local search_path = hostile, pg_temp, pg_catalog, public, maintenance;
        """,
    )
    counted = rows(tx, GROWTH + " where token_type = 'refresh_tokens'")
    assert counted == [("refresh_tokens", 0, None, 1)]


def test_rows_that_a_policy_hides_are_an_error_and_not_a_wrong_number(
    role: Callable[..., str], tx: Connection
) -> None:
    monitor = role("monitor")
    grant_monitoring(tx, monitor)
    execute(tx, "alter table public.refresh_tokens enable row level security")
    execute(tx, f"set local role {monitor}")
    with pytest.raises(errors.InsufficientPrivilege, match="row-level security"), tx.transaction():
        execute(tx, GROWTH)


# Rights


def grant_monitoring(db: Connection, monitor: str) -> None:
    """Grant what reading all three views takes."""
    execute(
        db,
        f"""
        grant usage on schema maintenance to {monitor};
        grant select on maintenance.table_sizes, maintenance.index_usage,
            maintenance.token_growth, maintenance.watched_token to {monitor};
        grant execute on function maintenance.count_tokens() to {monitor};
        grant select on public.password_reset_tokens, public.email_verification_tokens,
            public.refresh_tokens to {monitor};
        """,
    )


views = pytest.mark.parametrize("view", ["table_sizes", "index_usage", "token_growth"])


@views
def test_a_role_that_was_granted_may_read(
    role: Callable[..., str], tx: Connection, view: str
) -> None:
    monitor = role("monitor")
    grant_monitoring(tx, monitor)
    execute(tx, f"set local role {monitor}")
    assert rows(tx, f"select * from maintenance.{view}")


@views
@pytest.mark.parametrize("usage", [False, True])
def test_a_role_that_was_not_granted_is_refused(
    role: Callable[..., str], tx: Connection, view: str, *, usage: bool
) -> None:
    stranger = role("stranger")
    if usage:
        execute(tx, f"grant usage on schema maintenance to {stranger}")
    execute(tx, f"set local role {stranger}")
    with pytest.raises(errors.InsufficientPrivilege), tx.transaction():
        execute(tx, f"select * from maintenance.{view}")


def test_the_counts_of_a_table_take_the_right_to_read_it(
    role: Callable[..., str], tx: Connection
) -> None:
    monitor = role("monitor")
    grant_monitoring(tx, monitor)
    execute(tx, f"revoke select on public.refresh_tokens from {monitor}")
    execute(tx, f"set local role {monitor}")
    with pytest.raises(errors.InsufficientPrivilege, match="refresh_tokens"), tx.transaction():
        execute(tx, GROWTH)
