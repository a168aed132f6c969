"""The views database_facts, table_facts and xmin_horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import scalar
from tests.core.runs import a_table, put
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

HELD = "select kind, name, pid, role from maintenance.xmin_horizon"


def test_the_database_in_one_line(db: Connection) -> None:
    # in one statement: other databases of the server go on counting transactions
    [line] = rows(
        db,
        "select database, server_version, started_at, max_connections, transaction_age,"
        " multixact_age, size_bytes from maintenance.database_facts"
        " intersect"
        " select datname, current_setting('server_version'), pg_postmaster_start_time(),"
        " current_setting('max_connections')::integer, age(datfrozenxid), mxid_age(datminmxid),"
        " pg_database_size(oid) from pg_database where datname = current_database()",
    )
    assert line[0] == db.info.dbname


def test_connections_and_hits_are_those_of_this_database(
    db: Connection, another: Callable[[], Connection]
) -> None:
    another()
    [(connections, ratio)] = rows(
        db, "select connections, cache_hit_ratio from maintenance.database_facts"
    )
    assert connections == 2
    assert ratio is None or 0 <= ratio <= 1


def test_the_way_to_wraparound_is_that_of_the_older_counter(tx: Connection) -> None:
    writing_stops = (2147483648 - 3000000) / 100
    # frozen up to what would be the future is an age below zero: the other counter is the older
    for frozen, multi, expected in ((1000, 0, 1000), (0, 2000, 2000)):
        execute(
            tx,
            "update pg_database set"
            f" datfrozenxid = ((txid_current() - {frozen * 1000000}) & 4294967295)::text::xid,"
            f" datminmxid = ((mxid_age('1')::bigint + 1 - {multi * 1000000})"
            " & 4294967295)::text::xid"
            " where datname = current_database()",
        )
        percent = scalar(tx, "select wraparound_percent from maintenance.database_facts")
        assert percent == pytest.approx(expected * 1000000 / writing_stops, abs=0.06)


def test_who_keeps_dead_rows_is_named(
    role: Callable[[str], str], db: Connection, another: Callable[[], Connection]
) -> None:
    monitor = role("monitor")
    execute(db, "select maintenance.grant_monitor(%s)", monitor)
    holder = another()
    execute(holder, "set application_name = 'report'; begin isolation level repeatable read")
    execute(holder, "select")
    pid, owner = holder.info.backend_pid, holder.info.user
    assert rows(db, HELD) == [("session", "report", pid, owner)]
    said = scalar(db, "select xmin_holder from maintenance.database_facts")
    assert said.startswith(f"session {pid} report {owner} since 2")
    execute(db, f"set role {monitor}")
    assert rows(db, HELD) == []
    said = scalar(db, "select xmin_holder from maintenance.database_facts")
    assert said == "unknown, needs pg_read_all_stats"
    execute(db, "reset role")
    execute(holder, "commit")
    assert rows(db, HELD) == []
    said = scalar(db, "select xmin_holder from maintenance.database_facts")
    assert said == "nobody"
    execute(db, f"drop owned by {monitor}")


def test_a_session_of_another_database_keeps_nothing_here(
    db: Connection, admin: Connection
) -> None:
    with admin.transaction():
        execute(admin, "set transaction isolation level repeatable read")
        execute(admin, "select")
        assert rows(db, HELD) == []


def test_a_slot_keeps_dead_rows(db: Connection) -> None:
    execute(db, "select pg_create_physical_replication_slot('pgm_oversee')")
    try:
        assert rows(db, HELD) == [], "it holds no transaction yet"
    finally:
        execute(db, "select pg_drop_replication_slot('pgm_oversee')")


def test_tables_come_with_what_vacuum_knows_the_largest_first(db: Connection) -> None:
    a_table(db)
    put(db, "dead", 100)
    execute(db, "delete from token where id <= 30")
    execute(db, "select pg_stat_force_next_flush()")
    facts = (
        "select estimated_rows, dead_rows, last_vacuum_at is not null, last_analyze_at is not null"
        " from maintenance.table_facts where table_name = 'token'"
    )
    assert rows(db, facts) == [(None, 30, False, False)]
    execute(db, "vacuum token")
    assert rows(db, facts) == [(70, 0, True, False)]
    execute(db, "analyze token")
    assert rows(db, facts) == [(70, 0, True, True)]
    found = rows(db, "select total_bytes, schema_name, table_name from maintenance.table_facts")
    assert found == sorted(found, key=lambda row: (-row[0], row[1], row[2]))
    assert len(found) == len(column(db, "select total_bytes from maintenance.table_sizes"))
