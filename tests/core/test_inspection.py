"""The inspection views: what they list, what they leave out, and what they say to whom."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.policies import register, run
from tests.statements import column, execute, rows, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

VIEWS = (
    "table_bloat", "index_bloat", "unused_indexes", "duplicate_indexes", "long_running_queries",
    "blocking_locks", "connections", "vacuum_needs", "analyze_needs", "reindex_needs",
    "refresh_order", "settings_advice", "table_growth",
)  # fmt: skip

ODD = '"Odd ""Schema"."Mixed Case"'


def flush(db: Connection) -> None:
    """Have the counters of this session counted."""
    execute(db, "select pg_stat_force_next_flush()")
    execute(db, "select")


@pytest.mark.parametrize("who", ["monitor", "owner of an odd table"])
def test_every_view_can_be_read_without_the_right_to_monitor(
    role: Callable[[str], str], db: Connection, who: str
) -> None:
    user = role("user")
    execute(db, f"select maintenance.grant_monitor('{user}')")
    if who != "monitor":
        execute(
            db,
            f'create schema "Odd ""Schema" authorization {user}; set role {user};'
            f' create table {ODD} ("Id" integer primary key, "A b" text);'
            f" insert into {ODD} select n, md5(n::text) from generate_series(1, 6000) as n;"
            f' create materialized view "Odd ""Schema"."View 1" as select from {ODD};'
            f' delete from {ODD} where "Id" % 2 = 0; reset role',
        )
        flush(db)
    with psycopg.connect(db.info.dsn, user=user, autocommit=True) as session:
        for view in VIEWS:
            execute(session, f"select * from maintenance.{view}")
        execute(session, "select * from maintenance.maintenance_estimate('vacuum')")
        if who != "monitor":
            [statement] = column(
                session,
                "select statement from maintenance.vacuum_needs where table_name = 'Mixed Case'",
            )
            execute(session, statement)
            assert column(
                session,
                "select wasted_percent between 45 and 55 from maintenance.table_bloat"
                " where table_name = 'Mixed Case'",
            ) == [True]
            assert column(session, "select held_by from maintenance.vacuum_needs limit 1") in (
                [],
                ["unknown, needs pg_read_all_stats"],
            )
    execute(db, 'drop schema if exists "Odd ""Schema" cascade')


# unused_indexes


def unused(db: Connection) -> list[str]:
    return column(
        db,
        "select index_name from maintenance.unused_indexes where schema_name = 'app' order by 1",
    )


@pytest.fixture
def app(db: Connection) -> Connection:
    """A schema app with two tables, one of which refers to the other, and indexes of all kinds."""
    execute(
        db,
        """
        create schema app;
        create table app.users (id integer primary key, email text, constraint e unique (email));
        create table app.logs (
            id integer primary key, user_id integer references app.users, shard integer not null,
            at timestamptz, note text, exclude (shard with =) where (shard < 0)
        );
        create index "Not Used" on app.logs (at);
        create index for_the_key on app.logs (user_id, at);
        create index behind_another on app.logs (at, user_id);
        create unique index unique_one on app.logs (id, shard);
        create index of_a_function on app.logs (lower(note));
        create index used on app.logs (note);
        insert into app.logs
        select n, null, n, now(), 'note ' || n from generate_series(1, 50) as n;
        set enable_seqscan = off;
        select from app.logs where note = 'note 7';
        """,
    )
    flush(db)
    return db


def test_what_nothing_uses_and_nothing_needs_is_listed(app: Connection) -> None:
    assert unused(app) == ["Not Used", "behind_another"]
    assert column(
        app, "select statement from maintenance.unused_indexes where index_name = 'Not Used'"
    ) == ['drop index concurrently app."Not Used"']
    execute(app, "alter table app.logs replica identity using index unique_one")
    execute(
        app,
        "update pg_index set indisvalid = false where indexrelid = 'app.\"Not Used\"'::regclass",
    )
    assert unused(app) == ["behind_another"]
    execute(app, "select from app.logs where at = now() and user_id = 1")
    flush(app)
    assert unused(app) == []


def test_an_index_of_parts_is_unused_if_all_of_them_are(db: Connection) -> None:
    execute(
        db,
        """
        create schema app;
        create table app.parts (id integer, at integer) partition by range (id);
        create index whole on app.parts (at);
        create table app.part1 partition of app.parts for values from (0) to (10);
        create table app.part2 partition of app.parts for values from (10) to (20);
        """,
    )
    assert rows(
        db,
        "select index_name, index_bytes, statement from maintenance.unused_indexes"
        " where schema_name = 'app'",
    ) == [("whole", 16384, "drop index app.whole")]
    execute(db, "set enable_seqscan = off; select from app.part2 where at = 1")
    flush(db)
    assert unused(db) == []


@pytest.mark.parametrize(("age", "is_known"), [("6 d 23 h", False), ("7 d 1 h", True)])
def test_young_statistics_do_not_tell(app: Connection, age: str, is_known: bool) -> None:
    """The moment of a reset cannot be set: time goes on in a copy of the view instead."""
    execute(app, "select pg_stat_reset()")
    flush(app)
    text = scalar(app, "select pg_get_viewdef('maintenance.unused_indexes')")
    execute(app, "create view app.later as " + text.replace("now()", f"(now() + '{age}')"))
    states = {*column(app, "select state from app.later where schema_name = 'app'")}
    assert states == (
        {"unused"} if is_known else {"too early to tell: statistics may be younger than 7 days"}
    )


# duplicate_indexes


def test_what_another_index_does_as_well_can_go(app: Connection) -> None:
    execute(
        app,
        """
        create index at_again on app.logs (at asc nulls last);
        create index email on app.users (email);
        create index down on app.logs (at desc);
        create index with_condition on app.logs (at) where shard > 0;
        create index carrying on app.logs (at) include (note);
        create index long on app.logs (note, shard);
        create index hashed on app.logs using hash (note);
        create index "C" on app.logs (note collate "C");
        create index lower_again on app.logs (lower(note));
        create index lower_and_id on app.logs (lower(note), id);
        """,
    )
    assert rows(
        app,
        "select index_name, covered_by, reason from maintenance.duplicate_indexes"
        " where schema_name = 'app' order by 1, 2",
    ) == [
        ("Not Used", "behind_another", "its keys are the first ones of behind_another"),
        ("at_again", "Not Used", 'it is the same as "Not Used"'),
        ("at_again", "behind_another", "its keys are the first ones of behind_another"),
        ("email", "e", "it is the same as e"),
        ("lower_again", "lower_and_id", "its keys are the first ones of lower_and_id"),
        ("lower_again", "of_a_function", "it is the same as of_a_function"),
        ("of_a_function", "lower_and_id", "its keys are the first ones of lower_and_id"),
        ("used", "long", "its keys are the first ones of long"),
    ]


def test_dropping_all_that_are_listed_leaves_what_covers_them(app: Connection) -> None:
    execute(app, "create index a on app.logs (at); create index b on app.logs (at)")
    execute(app, "create unique index c on app.logs (at, id)")
    statements = {
        *column(
            app, "select statement from maintenance.duplicate_indexes where schema_name = 'app'"
        )
    }
    for statement in statements:
        execute(app, statement)
    assert "drop index concurrently app.c" not in statements
    assert column(
        app,
        "select indexrelid::regclass::text from pg_index where indrelid = 'app.logs'::regclass"
        " and indkey[0] = 4 order by 1",
    ) == ["app.behind_another", "app.c"]


# long_running_queries, blocking_locks, connections


def test_statements_and_open_transactions_are_listed_once_they_are_old_enough(
    db: Connection, another: Callable[[], Connection]
) -> None:
    busy, idle, resting, ours = another(), another(), another(), another()
    execute(ours, "set application_name = 'runner run'; begin; select 1")
    execute(idle, "begin")
    execute(idle, f"select 1 as {'x' * 60}, '{'y' * 300}'")
    execute(resting, "select 1")
    query = "select pid, state, query from maintenance.running_queries(%s) order by pid"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(execute, busy, "select pg_sleep(30)")
        found: dict[int, tuple[str, str]] = {}
        for _ in range(500):
            found = {pid: (state, text) for pid, state, text in rows(db, query, "0 s")}
            if busy.info.backend_pid in found:
                break
        assert found == {
            busy.info.backend_pid: ("active", "select pg_sleep(30)"),
            idle.info.backend_pid: (
                "idle in transaction", f"select 1 as {'x' * 60}, '{'y' * 300}'"[:200]
            ),
        }  # fmt: skip
        assert rows(db, query, "1 min") == []
        assert rows(db, "select from maintenance.long_running_queries") == []
        execute(db, "select pg_cancel_backend(%s)", busy.info.backend_pid)
        with pytest.raises(errors.QueryCanceled):
            running.result()


def test_other_databases_are_looked_at_when_asked(
    db: Connection, new_database: Callable[..., str]
) -> None:
    with psycopg.connect(new_database("other")) as other:
        execute(other, "select 1")
        query = "select count(*) from maintenance.running_queries('0 s', everywhere => {})"
        pid = f" where pid = {other.info.backend_pid}"
        assert scalar(db, query.format("false") + pid) == 0
        assert scalar(db, query.format("true") + pid) == 1


def test_what_is_hidden_is_said_to_be_hidden(
    role: Callable[[str], str], db: Connection, another: Callable[[], Connection]
) -> None:
    user = role("monitor")
    execute(db, f"select maintenance.grant_monitor('{user}')")
    other = another()
    execute(other, "begin; select 'secret'")
    pid = other.info.backend_pid
    with psycopg.connect(db.info.dsn, user=user, autocommit=True) as session:
        found = "select state, query from maintenance.long_running_queries where pid = %s"
        hidden = "hidden, needs pg_read_all_stats"
        assert rows(session, found, pid) == [(hidden, None)]
        assert hidden in column(session, "select state from maintenance.connections")
        execute(db, f"grant pg_read_all_stats to {user}")
        assert rows(session, found, pid) == []
        assert hidden not in column(session, "select state from maintenance.connections")


def test_a_chain_of_waiting_sessions_leads_to_its_root(
    app: Connection, another: Callable[[], Connection]
) -> None:
    root, second, third = another(), another(), another()
    execute(root, "begin; update app.logs set shard = 100 where id = 1")
    execute(second, "begin; lock table app.users in share mode")
    pids = [session.info.backend_pid for session in (root, second, third)]
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(execute, second, "update app.logs set shard = 101 where id = 1")]
        until_blocked(app, second)
        waiting.append(pool.submit(execute, third, "insert into app.users values (1, 'a')"))
        until_blocked(app, third)
        found = rows(
            app,
            "select pid, blocked_by, chain, root, root_state, lock_mode, relation,"
            " waiting_seconds >= 0 from maintenance.blocking_locks where root = %s"
            " order by cardinality(chain)",
            pids[0],
        )
        execute(root, "rollback")
        waiting[0].result()
        execute(second, "rollback")
        waiting[1].result()
    where = "idle in transaction"
    assert found == [
        (pids[1], pids[0], pids[1::-1], pids[0], where, "ShareLock", None, True),
        (pids[2], pids[1], pids[::-1], pids[0], where, "RowExclusiveLock", "app.users", True),
    ]
    assert rows(app, "select from maintenance.blocking_locks where root = %s", pids[0]) == []


def test_sessions_are_counted_by_what_they_do(
    db: Connection, another: Callable[[], Connection]
) -> None:
    for number in range(3):
        session = another()
        execute(session, "set application_name = 'counted'")
        if number:
            execute(session, "begin")
    name = db.info.dbname
    counted = "select state, connections from maintenance.connections where database = %s"
    found = rows(db, counted + " and application = 'counted' order by 1", name)
    assert found == [("idle", 1), ("idle in transaction", 2)]
    assert rows(
        db,
        "select distinct all_connections >= 4, max_connections, reserved"
        " from maintenance.connections",
    ) == [
        (
            True,
            int(scalar(db, "show max_connections")),
            int(scalar(db, "show superuser_reserved_connections")),
        )
    ]


# vacuum_needs, analyze_needs


@pytest.fixture
def logs(db: Connection) -> Connection:
    """app.logs with 1,000 rows, vacuumed and analyzed."""
    execute(
        db,
        "create schema app; create table app.logs (id integer primary key, at timestamptz);"
        " create index on app.logs (at);"
        " insert into app.logs select n, '2020-01-01' from generate_series(1, 1000) as n",
    )
    flush(db)
    execute(db, "vacuum (analyze) app.logs")
    return db


def needs(db: Connection, what: str) -> list[tuple[Any, ...]]:
    return rows(
        db, f"select reason, statement from maintenance.{what}_needs where schema_name = 'app'"
    )


@pytest.mark.parametrize(("updated", "is_listed"), [(250, False), (251, True)])
def test_dead_rows_beyond_50_and_a_fifth_want_a_vacuum(
    logs: Connection, updated: int, is_listed: bool
) -> None:
    execute(logs, "update app.logs set at = now() where id <= %s", updated)
    flush(logs)
    expected = [("251 dead rows beside 1000 live ones", "vacuum (analyze) app.logs")]
    assert needs(logs, "vacuum") == (expected if is_listed else [])
    execute(logs, "vacuum app.logs")
    assert needs(logs, "vacuum") == []


@pytest.mark.parametrize(("updated", "is_listed"), [(150, False), (151, True)])
def test_changed_rows_beyond_50_and_a_tenth_want_an_analyze(
    logs: Connection, updated: int, is_listed: bool
) -> None:
    execute(logs, "update app.logs set at = now() where id <= %s", updated)
    flush(logs)
    expected = [("151 rows changed since the last ANALYZE, of 1000", "analyze app.logs")]
    assert needs(logs, "analyze") == (expected if is_listed else [])
    execute(logs, "analyze app.logs")
    assert needs(logs, "analyze") == []


@pytest.mark.parametrize(
    ("removed", "vacuum", "analyze"), [(150, 0, 0), (151, 0, 1), (250, 0, 1), (251, 1, 1)]
)
def test_what_runs_removed_counts_when_the_counters_are_lost(
    logs: Connection, removed: int, vacuum: int, analyze: int
) -> None:
    execute(logs, "update app.logs set at = 'infinity' where id > %s", removed)
    execute(logs, "vacuum (analyze) app.logs")
    register(logs, "p", "app.logs", column="at", guard_share=1)
    run(logs, "p")
    flush(logs)
    execute(logs, "select pg_stat_reset()")
    flush(logs)
    assert (len(needs(logs, "vacuum")), len(needs(logs, "analyze"))) == (vacuum, analyze)
    for reason, _ in needs(logs, "vacuum"):
        assert reason == "runs removed or changed 251 rows since the last VACUUM"
    execute(logs, "vacuum (analyze) app.logs")
    assert needs(logs, "vacuum") == needs(logs, "analyze") == []


def test_the_rows_of_partitions_are_shared_out(db: Connection) -> None:
    execute(
        db,
        """
        create schema app;
        create table app.logs (id integer, at timestamptz) partition by range (id);
        create table app.part1 partition of app.logs for values from (0) to (500);
        create table app.part2 partition of app.logs for values from (500) to (2000);
        create index on app.logs (at);
        insert into app.logs select n, '2020-01-01' from generate_series(1, 1000) as n;
        """,
    )
    flush(db)
    execute(db, "vacuum (analyze) app.part1, app.part2")
    assert needs(db, "analyze") == [("it was never analyzed", "analyze app.logs")]
    register(db, "p", "app.logs", column="at", guard_share=1)
    run(db, "p")
    flush(db)
    execute(db, "select pg_stat_reset()")
    flush(db)
    assert sorted(needs(db, "vacuum")) == [
        ("runs removed or changed 500 rows since the last VACUUM", f"vacuum (analyze) app.part{n}")
        for n in (1, 2)
    ]


def test_a_standby_keeps_the_end_of_tables(logs: Connection) -> None:
    execute(logs, "delete from app.logs")
    flush(logs)
    slot = f"standby_{logs.info.backend_pid}"
    execute(logs, f"select pg_create_physical_replication_slot('{slot}')")
    try:
        [(_, statement)] = needs(logs, "vacuum")
        every = "select statement from maintenance.every_vacuum where object = 'app.logs'"
        assert column(logs, every) == [statement]
    finally:
        execute(logs, f"select pg_drop_replication_slot('{slot}')")
    assert statement == "vacuum (analyze, truncate off) app.logs"
    execute(logs, statement)


def test_who_holds_dead_rows_is_named(logs: Connection, another: Callable[[], Connection]) -> None:
    holder = another()
    execute(holder, "begin isolation level repeatable read")
    execute(holder, "select")
    execute(logs, "delete from app.logs")
    flush(logs)
    assert f"session {holder.info.backend_pid}" in scalar(
        logs, "select held_by from maintenance.vacuum_needs where table_name = 'logs'"
    )


def test_a_table_is_frozen_from_half_the_age_on(logs: Connection) -> None:
    """The settings are the server's, so that the table gets older instead."""
    current = scalar(logs, "select pg_current_xact_id()::text")
    found = "select priority, statement from maintenance.vacuum_needs where table_name = 'logs'"
    for age, expected in (
        (99_999_000, []),
        (100_001_000, [(2, "vacuum (freeze, analyze) app.logs")]),
        (200_001_000, [(1, "vacuum (freeze, analyze) app.logs")]),
    ):
        old = (int(current) - age) % 2**32
        execute(
            logs,
            f"begin; update pg_class set relfrozenxid = '{old}'::xid"
            " where oid = 'app.logs'::regclass",
        )
        assert rows(logs, found) == expected
        execute(logs, "rollback")


def test_a_table_that_was_never_analyzed_wants_it_once_it_has_rows(db: Connection) -> None:
    execute(db, "create schema app; create table app.a (id integer)")
    assert needs(db, "analyze") == []
    execute(db, "insert into app.a values (1)")
    assert needs(db, "analyze") == [("it was never analyzed", "analyze app.a")]
    execute(db, "analyze app.a")
    assert needs(db, "analyze") == []


# reindex_needs


def test_leftovers_are_dropped_and_what_is_invalid_is_rebuilt(logs: Connection) -> None:
    for name in ("i", "i_ccnew", "i_ccnew2", "i_ccold", "i_ccolder", "Odd_ccold1"):
        execute(logs, f'create index "{name}" on app.logs (at)')
    execute(logs, "create index valid_ccnew on app.logs (at)")
    listed = "select index_name, statement from maintenance.reindex_needs"
    assert rows(logs, listed) == []
    execute(
        logs,
        "update pg_index set indisvalid = false where indrelid = 'app.logs'::regclass"
        " and indexrelid::regclass::text ~ 'i(_cc.*)?$|Odd'"
        " and indexrelid::regclass::text !~ 'valid|pkey'",
    )
    assert sorted(rows(logs, listed)) == [
        ("Odd_ccold1", 'drop index concurrently app."Odd_ccold1"'),
        ("i", "reindex index concurrently app.i"),
        ("i_ccnew", "drop index concurrently app.i_ccnew"),
        ("i_ccnew2", "drop index concurrently app.i_ccnew2"),
        ("i_ccold", "drop index concurrently app.i_ccold"),
        ("i_ccolder", "reindex index concurrently app.i_ccolder"),
    ]
    for _, statement in rows(logs, listed):
        execute(logs, statement)
    assert rows(logs, listed) == []


def test_an_index_is_rebuilt_above_30_percent_and_a_megabyte(db: Connection) -> None:
    execute(
        db,
        "create schema app; create table app.big (id integer primary key, small integer);"
        " insert into app.big select n, n from generate_series(1, 120000) as n;"
        " create table app.small (id integer primary key);"
        " insert into app.small select n from generate_series(1, 30000) as n;"
        " delete from app.big where id % 10 > 5; delete from app.small where id % 10 > 5",
    )
    flush(db)
    execute(db, "vacuum (analyze)")
    [(name, statement, gives, needed)] = rows(
        db,
        "select index_name, statement, gives_back_bytes, needs_bytes"
        " from maintenance.reindex_needs",
    )
    assert (name, statement) == ("big_pkey", "reindex index concurrently app.big_pkey")
    before = scalar(db, "select pg_relation_size('app.big_pkey')")
    execute(db, statement)
    after = scalar(db, "select pg_relation_size('app.big_pkey')")
    assert needed == pytest.approx(after, rel=0.05)
    assert gives == pytest.approx(before - after, rel=0.05)
    assert rows(db, "select from maintenance.reindex_needs") == []


# refresh_order


def test_views_come_after_those_that_they_read(db: Connection) -> None:
    execute(
        db,
        """
        create schema app;
        create table app.t as select n as id, n % 3 as kind from generate_series(1, 9) as n;
        create materialized view app.z_base as select id, kind from app.t;
        create unique index on app.z_base (id);
        create view app.between as select kind from app.z_base;
        create materialized view app."Y top" as
            select kind, count(*) from app.between group by kind;
        create materialized view app.a_last as
            select kind, z.id from app."Y top" join app.z_base as z using (kind);
        create materialized view app.b_alone as select id from app.t with no data;
        create unique index on app.b_alone (id);
        create unique index on app."Y top" ((kind + 0));
        create unique index on app."Y top" (kind) where kind > 0;
        """,
    )
    listed = "select stage, statement from maintenance.refresh_order order by place"
    assert rows(db, listed) == [
        (1, "refresh materialized view app.b_alone"),
        (1, "refresh materialized view concurrently app.z_base"),
        (2, 'refresh materialized view app."Y top"'),
        (3, "refresh materialized view app.a_last"),
    ]
    execute(db, "insert into app.t values (10, 7)")
    for _, statement in rows(db, listed):
        execute(db, statement)
    assert scalar(db, "select count(*) from app.a_last where kind = 7") == 1
    execute(db, "analyze")
    proposed = (
        "select view_name, is_concurrent, proposed_index, lock from maintenance.refresh_order"
    )
    exclusive, shared = (
        "ACCESS EXCLUSIVE: it cannot be read meanwhile", "EXCLUSIVE: it can be read meanwhile"
    )  # fmt: skip
    assert rows(db, proposed + " order by place") == [
        ("b_alone", True, None, shared),
        ("z_base", True, None, shared),
        ("Y top", False, 'create unique index on app."Y top" (kind)', exclusive),
        ("a_last", False, "create unique index on app.a_last (id)", exclusive),
    ]
    for statement in column(
        db, "select proposed_index from maintenance.refresh_order where proposed_index is not null"
    ):
        execute(db, statement)
    assert {*column(db, "select is_concurrent from maintenance.refresh_order")} == {True}


# settings_advice


def advice(db: Connection, subject: str) -> list[tuple[str, str]]:
    return rows(
        db,
        "select name, statement from maintenance.settings_advice where subject = %s"
        " and name like 'app.%%'",
        subject,
    )


def test_settings_that_keep_autovacuum_away_are_named(logs: Connection) -> None:
    assert advice(logs, "table") == []
    execute(logs, "alter table app.logs set (autovacuum_enabled = off)")
    assert advice(logs, "table") == [
        ("app.logs", "alter table app.logs reset (autovacuum_enabled)")
    ]
    execute(logs, advice(logs, "table")[0][1])
    assert advice(logs, "table") == []
    is_off = not scalar(logs, "select current_setting('autovacuum')::boolean")
    server = "select name from maintenance.settings_advice where subject = 'server'"
    assert ("autovacuum" in column(logs, server)) is is_off


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (10_000_000, set[str]()),
        (11_000_000, {"scale"}),
        (100_000_000, {"scale"}),
        (101_000_000, {"scale", "partitions"}),
    ],
)
def test_large_tables_get_advice(logs: Connection, number: int, expected: set[str]) -> None:
    execute(logs, f"update pg_class set reltuples = {number} where oid = 'app.logs'::regclass")
    found = {
        "scale" if "scale_factor" in statement else "partitions"
        for _, statement in advice(logs, "table")
    }
    assert found == expected
    for _, statement in advice(logs, "table"):
        if "scale_factor" in statement:
            execute(logs, statement)
    assert not any("scale_factor" in statement for _, statement in advice(logs, "table"))


@pytest.mark.parametrize(("memory", "is_enough"), [("20MB", False), ("24MB", True)])
def test_memory_for_vacuum_is_measured_by_the_largest_table(
    logs: Connection, memory: str, is_enough: bool
) -> None:
    execute(logs, "update pg_class set reltuples = 20000000 where oid = 'app.logs'::regclass")
    execute(logs, f"set maintenance_work_mem = '{memory}'")
    found = column(logs, "select name from maintenance.settings_advice where subject = 'server'")
    is_compact = logs.info.server_version >= 170000
    assert ("maintenance_work_mem" not in found) is (is_enough or is_compact)


# note_sizes and table_growth


def test_sizes_are_noted_once_a_day_and_for_400_days(logs: Connection) -> None:
    note = "select maintenance.note_sizes(%s::timestamptz)"
    tables = scalar(logs, "select count(*) from maintenance.table_sizes")
    assert scalar(logs, note, "2024-03-01 23:59+00") == tables
    assert scalar(logs, note, "2024-03-01 00:00+00") == 0
    assert scalar(logs, note, "2024-03-02 00:00+00") == tables
    days = "select distinct day::text from maintenance.size_history order by 1"
    execute(logs, "set timezone = 'Asia/Tokyo'")
    execute(logs, note, "2025-04-05 00:00+00")  # 400 days after the first
    assert column(logs, days) == ["2024-03-01", "2024-03-02", "2025-04-05"]
    execute(logs, note, "2025-04-06 00:00+00")
    assert column(logs, days) == ["2024-03-02", "2025-04-05", "2025-04-06"]


def test_growth_is_what_came_since_the_last_note_before(logs: Connection) -> None:
    size = scalar(logs, "select pg_total_relation_size('app.logs')")
    for days, smaller in ((0, 1), (1, 10), (3, 20), (8, 300), (40, 4000)):
        execute(
            logs,
            "insert into maintenance.size_history values"
            " ((now() at time zone 'UTC')::date - %s, 'app', 'logs', %s, null)",
            days, size - smaller,
        )  # fmt: skip
    growth = (
        "select day_bytes, week_bytes, month_bytes from maintenance.table_growth"
        " where schema_name = 'app'"
    )
    assert rows(logs, growth) == [(10, 300, 4000)]
    execute(logs, "delete from maintenance.size_history where total_bytes < %s", size - 20)
    assert rows(logs, growth) == [(10, None, None)]


def test_an_operator_notes_sizes_and_nobody_writes_them(
    role: Callable[[str], str], db: Connection
) -> None:
    user = role("operator")
    execute(db, f"select maintenance.grant_operator('{user}')")
    with psycopg.connect(db.info.dsn, user=user, autocommit=True) as session:
        assert scalar(session, "select maintenance.note_sizes()") > 0
        with pytest.raises(errors.InsufficientPrivilege):
            execute(session, "delete from maintenance.size_history")


# maintenance_estimate


@pytest.mark.parametrize(
    ("operation", "base", "per_gigabyte", "per_connection"),
    [("vacuum", 60, 300, 10), ("reindex", 30, 150, 5), ("analyze", 30, 100, 2)],
)
def test_without_a_history_a_rule_of_thumb_is_used(
    db: Connection, another: Callable[[], Connection],
    operation: str, base: float, per_gigabyte: float, per_connection: float,
) -> None:  # fmt: skip
    busy = another()
    estimate = "select seconds, is_measured, explanation from maintenance.maintenance_estimate(%s)"
    [(seconds, is_measured, explanation)] = rows(db, estimate, operation)
    idle_seconds = seconds
    size = scalar(db, "select pg_database_size(current_database())") / 2**30
    assert idle_seconds == pytest.approx(base + per_gigabyte * size, rel=0.01)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(execute, busy, "select pg_sleep(30)")
        for _ in range(500):
            [(seconds, is_measured, explanation)] = rows(db, estimate, operation)
            if seconds > idle_seconds + 1:
                break
        execute(db, "select pg_cancel_backend(%s)", busy.info.backend_pid)
        with pytest.raises(errors.QueryCanceled):
            running.result()
    assert seconds - idle_seconds == pytest.approx(per_connection, abs=0.5)
    assert not is_measured
    assert explanation.startswith("a rule of thumb, it has never run here: ")


def test_with_a_history_its_median_is_used(logs: Connection) -> None:
    register(logs, "p", "app.logs", column="at", guard_share=1, operation="logs")
    for _ in range(7):
        run(logs, "p")
    for number, seconds in enumerate((900, 900, 10, 20, 30, 40, 100), start=1):
        execute(
            logs,
            f"update maintenance.run_step set started_at = now() + interval '{number} h',"
            f" ended_at = now() + interval '{number} h {seconds} s' where run = {number}",
        )
    estimate = "select seconds, is_measured, explanation from maintenance.maintenance_estimate(%s)"
    assert rows(logs, estimate, "logs") == [(30, True, "the median of the last 5 runs")]
    with pytest.raises(errors.InvalidParameterValue, match="no estimate for operation 'files'"):
        rows(logs, estimate, "files")
