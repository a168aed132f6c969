"""table_bloat and index_bloat against the truth: what a rewrite gives back indeed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.conftest import scalar
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

POINTS = 5
"""How far from the truth an estimate may be."""

# Tables by name: columns, options, and the values of row n.
TABLES = {
    "plain": ("id bigint, a integer, b text", "", "n, n % 1000, 'value ' || n"),
    "ff70": ("id bigint, a integer, b text", "with (fillfactor = 70)", "n, n, 'value ' || n"),
    "ff50": ("id bigint, b text", "with (fillfactor = 50)", "n, md5(n::text)"),
    "nulls": (
        "a integer, b text, c timestamptz, d uuid, e bigint, f text, g numeric, h date, i integer",
        "",
        "nullif(n % 3, 0), case when n % 5 = 0 then md5(n::text) end,"
        " case when n % 7 = 0 then now() end, case when n % 2 = 0 then gen_random_uuid() end, n,"
        " case when n % 3 = 0 then repeat('x', n % 40) end, n / 100.0, null, n",
    ),
    "no values": (
        "a bigint, b text, c text, d text, e text, f text, g text, h text, i text", "", "n"
    ),
    "toast": ("id integer, a text", "", "n, (select string_agg(md5(n::text || m), '')"
              " from generate_series(1, n % 100) as m)"),
    "wide": ("id integer, a text", "", "n, repeat('y', 950)"),
    "of any width": ("id integer, a text", "", "n, repeat('y', n * 7919 % 1900)"),
    "padded": (
        "a integer, b bigint, c integer, d bigint, e smallint, f bigint, g boolean, h float8",
        "",
        "n, n, n, n, 1, n, true, n",
    ),
    "seven": ("id bigint, a varchar(7)", "", "n, lpad(n::text, 7, '0')"),
    "eight": ("id bigint, a varchar(8)", "", "n, lpad(n::text, 8, '0')"),
    "words": (
        "a text, b bigint, c text, d integer",
        "",
        "(array['a', 'bb', 'active', 'deleted'])[1 + n % 4], n, 'user' || n, n",
    ),
    "numbers": ("a numeric, b numeric, c integer", "", "n * 10000, n * 1.37, n"),
    "small types": (
        "a inet, b integer[], c bytea, d name, e char(3), f date, g jsonb",
        "",
        "'10.0.0.1', array[n, n + 1], sha256(n::text::bytea), 'name' || n, 'EUR', now(),"
        " jsonb_build_object('k', n)",
    ),
    'Mixed "Case': ('"Id" integer, "A b" text', "", "n, md5(n::text)"),
    "sixty columns": (
        ", ".join(
            f"c{n} {('integer', 'text', 'bigint', 'boolean')[n % 4]}" for n in range(60)
        ),
        "",
        ", ".join(
            (
                "n",
                f"case when n * {n} % 7 < 2 then md5(n::text) end",
                f"case when n % {n} = 0 then n end",
                "true",
            )[n % 4]
            for n in range(60)
        ),
    ),
}  # fmt: skip

# Indexes by name: what CREATE INDEX takes after the table, and whether statistics tell their size.
INDEXES = {
    "a bool": ("(a)", True),
    "a few": ("(few)", True),
    "a hundred": ("(hundred)", True),
    "a thousand": ("(thousand)", True),
    "words of a few kinds": ("(word)", True),
    "mostly null": ("(rare)", True),
    "unique numbers": ("(number)", True),
    "same numbers": ("(few_numbers)", True),
    "uuids": ("(u)", True),
    "times": ("(at)", True),
    "codes": ("(code)", True),
    "emails": ("(email)", True),
    "lower": ("(lower(email))", True),
    "names": ("(name)", True),
    "long ones": ("(wide)", True),
    "two": ("(hundred, at)", True),
    "two with few": ("(hundred, word)", True),
    "including": ("(hundred) include (at)", True),
    "partial": ("(at) where word = 'active'", True),
    "partial with few": ("(hundred) where a", True),
    "not null": ("(rare) where rare is not null", True),
    "half full": ("(id) with (fillfactor = 50)", True),
    "without lists": ("(hundred) with (deduplicate_items = off)", True),
    "three thousand twice": ("(third, thousand)", False),
}


def settle(db: Connection) -> None:
    """Make the counters and the statistics what they are a while later."""
    execute(db, "select pg_stat_force_next_flush()")
    execute(db, "vacuum (analyze)")


def build(db: Connection) -> None:
    """Make the tables of both lists, and one with all the indexes."""
    execute(db, "create schema zoo")
    for name, (columns, options, values) in TABLES.items():
        quoted = 'zoo."' + name.replace('"', '""') + '"'
        execute(db, f"create table {quoted} ({columns}) {options}")
        execute(db, f"insert into {quoted} select {values} from generate_series(1, 6000) as n")
    execute(
        db,
        """
        create table zoo.parts (id integer, a text) partition by range (id);
        create table zoo.part1 partition of zoo.parts for values from (0) to (5000);
        create table zoo.part2 partition of zoo.parts for values from (5000) to (maxvalue);
        insert into zoo.parts select n, md5(n::text) from generate_series(1, 12000) as n;
        delete from zoo.part2 where id % 4 <> 0;
        create table zoo.dropped (id integer, x text, a text);
        insert into zoo.dropped select n, md5(n::text), 'a' || n from generate_series(1, 9000) as n;
        alter table zoo.dropped drop column x;
        create table zoo.added (id integer, a text);
        insert into zoo.added select n, 'a' || n from generate_series(1, 9000) as n;
        alter table zoo.added add column b bigint default 7;
        create table zoo.updated (id integer primary key, a text);
        insert into zoo.updated select n, md5(n::text) from generate_series(1, 9000) as n;
        update zoo.updated set a = a || 'x';
        create table zoo.indexed (
            id integer primary key, a boolean, few integer, hundred integer, thousand integer,
            word text, rare integer, number numeric, few_numbers numeric, u uuid, at timestamptz,
            code text, email text, name name, wide text, third integer
        );
        insert into zoo.indexed
        select n, n % 2 = 0, n % 5, n % 100, n % 1000,
            (array['new', 'active', 'deleted'])[1 + n % 3],
            case when n % 10 = 0 then n end, hashint4(n) / 100.0, n % 50, gen_random_uuid(),
            now() - n * interval '1 s', lpad(n::text, 9, '0'), 'user' || n || '@example.com',
            'name' || n % 1000, repeat(md5(n::text), 8 + n % 4), n % 3001
        from generate_series(1, 30000) as n;
        """,
    )
    for name, (definition, _) in INDEXES.items():
        execute(db, f'create index "{name}" on zoo.indexed {definition}')


def estimates(db: Connection, kind: str) -> dict[str, tuple[int, float | None, str]]:
    """Return by name: bytes, share that is wasted, and state."""
    return {
        name: (size, wasted, state)
        for name, size, wasted, state in rows(
            db,
            f"select {kind}_name, {'heap' if kind == 'table' else 'index'}_bytes,"
            f" wasted_percent, state from maintenance.{kind}_bloat where schema_name = 'zoo'",
        )
    }


def given_back(
    db: Connection, before: dict[str, tuple[int, float | None, str]]
) -> dict[str, float]:
    """Return the share of each that a rewrite of all has given back."""
    after = {
        name: scalar(db, "select pg_relation_size(%s)", 'zoo."{}"'.format(name.replace('"', '""')))
        for name in before
    }
    return {
        name: max(100 - 100 * after[name] / size, 0)
        for name, (size, _, _) in before.items()
        if size
    }


def compare(db: Connection, kind: str) -> None:
    """Expect that every estimate is right, once the tables are rewritten."""
    before = estimates(db, kind)
    unknown = {name for name, (_, wasted, _) in before.items() if wasted is None}
    small = {name for name, (size, _, _) in before.items() if 2 * 8192 < size < 20 * 8192}
    assert small <= unknown
    assert unknown - small <= UNKNOWN
    if kind == "table":
        for name in before:
            execute(db, 'vacuum full zoo."{}"'.format(name.replace('"', '""')))
    else:
        execute(db, "reindex schema zoo")
    truth = given_back(db, before)
    off = {
        name: (before[name][1], round(true, 1))
        for name, true in truth.items()
        if name not in unknown and abs((before[name][1] or 0) - true) > POINTS
    }
    assert not off


UNKNOWN = {name for name, (_, is_known) in INDEXES.items() if not is_known}


@pytest.mark.parametrize("share", ["none", "half", "nine tenths"])
def test_no_estimate_is_five_points_off(db: Connection, share: str) -> None:
    build(db)
    if share != "none":
        condition = "ctid::text ~ '[02468]\\)$'" if share == "half" else "ctid::text !~ '3\\)$'"
        for name in column(
            db,
            "select relname from pg_class where relnamespace = 'zoo'::regnamespace"
            " and relkind = 'r'",
        ):
            quoted = 'zoo."' + name.replace('"', '""') + '"'
            execute(db, f"delete from {quoted} where {condition}")
    settle(db)
    compare(db, "index")
    compare(db, "table")


@pytest.mark.check
def test_it_agrees_with_what_pgstattuple_reads(db: Connection) -> None:
    """Of narrow rows, which leave little at the end of a page, and of indexes of unique keys."""
    build(db)
    for name in ("plain", "ff70", "ff50", "padded", "words", "indexed"):
        execute(db, f"delete from zoo.{name} where ctid::text ~ '[02468]\\)$'")
    settle(db)
    execute(db, "create extension pgstattuple")
    tables = estimates(db, "table")
    for name, reserved in (("plain", 0), ("ff70", 30), ("ff50", 50), ("padded", 0), ("words", 0)):
        [(free, dead)] = rows(
            db, f"select free_percent, dead_tuple_percent from pgstattuple('zoo.{name}')"
        )
        # of the free space, what the fillfactor reserves of the pages that are needed is not wasted
        wasted = (free + dead - reserved) / (100 - reserved) * 100
        assert tables[name][1] == pytest.approx(wasted, abs=POINTS), name
    indexes = estimates(db, "index")
    for name in ("uuids", "times", "codes", "emails", "unique numbers", "indexed_pkey"):
        density = scalar(db, f"select avg_leaf_density from pgstatindex('zoo.\"{name}\"')")
        assert indexes[name][1] == pytest.approx(100 - density / 0.9, abs=POINTS), name


def test_keys_of_two_columns_are_known_once_somebody_counts_them(db: Connection) -> None:
    execute(
        db,
        "create schema zoo; create table zoo.pairs (third integer, thousand integer);"
        " insert into zoo.pairs select n % 3001, n % 1000 from generate_series(1, 20000) as n;"
        " create index pairs_idx on zoo.pairs (third, thousand)",
    )
    settle(db)
    told = "unknown, needs CREATE STATISTICS (ndistinct) on the keys of zoo.pairs_idx"
    assert estimates(db, "index")["pairs_idx"][1:] == (None, told)
    execute(db, "create statistics zoo.counted (ndistinct) on third, thousand from zoo.pairs")
    settle(db)
    assert estimates(db, "index")["pairs_idx"][1] == pytest.approx(0, abs=POINTS)


@pytest.fixture
def logs(db: Connection) -> Connection:
    """A table of 5,000 rows in more than 20 pages, analyzed."""
    execute(
        db,
        "create schema zoo; create table zoo.logs (id integer primary key, a text);"
        " insert into zoo.logs select n, md5(n::text) from generate_series(1, 5000) as n",
    )
    settle(db)
    return db


def state(db: Connection) -> tuple[str, str]:
    """The state of the table, and of its index."""
    [table], [index] = (
        column(db, f"select state from maintenance.{kind}_bloat where table_name = 'logs'")
        for kind in ("table", "index")
    )
    return table, index


def test_without_analyze_nothing_is_said(logs: Connection) -> None:
    assert state(logs) == ("estimated", "unknown, smaller than 20 pages")
    execute(logs, "create table zoo.fresh as select * from zoo.logs")
    assert rows(
        logs,
        "select state, wasted_percent, wasted_bytes, rewritten_bytes, estimated_rows"
        " from maintenance.table_bloat where table_name = 'fresh'",
    ) == [("unknown, run ANALYZE", None, None, None, None)]
    execute(logs, "alter table zoo.logs add column b text")
    assert state(logs)[0] == "unknown, run ANALYZE"


@pytest.mark.parametrize(("rows_deleted", "is_known"), [(549, True), (552, False)])
def test_statistics_age_with_a_tenth_of_the_rows_and_fifty(
    logs: Connection, rows_deleted: int, is_known: bool
) -> None:
    execute(logs, "delete from zoo.logs where id <= %s", rows_deleted)
    execute(logs, "select pg_stat_force_next_flush()")
    execute(logs, "select")
    assert (state(logs)[0] == "estimated") is is_known
    assert is_known or state(logs)[0].startswith("unknown, run ANALYZE: much has changed")


def test_vacuum_counts_the_rows_again(logs: Connection) -> None:
    execute(logs, "delete from zoo.logs where id % 2 = 0")
    execute(logs, "select pg_stat_force_next_flush()")
    execute(logs, "vacuum zoo.logs")
    assert rows(
        logs,
        "select wasted_percent between 45 and 55 from maintenance.table_bloat"
        " where schema_name = 'zoo'",
    ) == [(True,)]


def test_a_table_that_is_empty_or_has_one_page_is_known(db: Connection) -> None:
    execute(
        db,
        "create schema zoo; create table zoo.empty (id integer primary key);"
        " create table zoo.one (id integer primary key); insert into zoo.one values (1);"
        " create table zoo.gone as select n, md5(n::text) from generate_series(1, 3000) as n;"
        " delete from zoo.gone where n < 3000",
    )
    execute(db, "select pg_stat_force_next_flush()")
    execute(db, "vacuum zoo.gone")
    execute(db, "delete from zoo.gone")
    execute(db, "analyze")
    assert rows(
        db,
        "select table_name, wasted_percent, state from maintenance.table_bloat"
        " where schema_name = 'zoo' order by 1",
    ) == [("empty", 0, "estimated"), ("gone", 100, "estimated"), ("one", 0, "estimated")]
    assert rows(
        db,
        "select index_name, wasted_percent, state from maintenance.index_bloat"
        " where schema_name = 'zoo' order by 1",
    ) == [("empty_pkey", 0, "estimated"), ("one_pkey", 0, "estimated")]


def test_who_may_not_see_the_statistics_is_told_so(
    role: Callable[[str], str], logs: Connection
) -> None:
    user = role("monitor")
    execute(logs, f"select maintenance.grant_monitor('{user}')")
    execute(
        logs,
        "create table zoo.keyed (id text primary key);"
        " insert into zoo.keyed select md5(n::text) from generate_series(1, 5000) as n",
    )
    settle(logs)
    table = "select state, wasted_percent from maintenance.table_bloat where table_name = 'keyed'"
    index = "select state, wasted_percent from maintenance.index_bloat where table_name = 'keyed'"
    with psycopg.connect(logs.info.dsn, user=user, autocommit=True) as session:
        for query in (table, index):
            assert rows(session, query) == [("unknown, needs SELECT on zoo.keyed", None)]
        execute(logs, f"grant select on zoo.keyed to {user}")
        for query in (table, index):
            assert rows(session, query)[0][0] == "estimated"
        execute(logs, "alter table zoo.keyed enable row level security")
        for query in (table, index):
            assert rows(session, query) == [
                ("unknown, row security hides the statistics of zoo.keyed", None)
            ]
    execute(logs, f"revoke all on zoo.keyed from {user}")


def test_an_index_that_is_invalid_is_not_estimated(logs: Connection) -> None:
    execute(logs, "update pg_index set indisvalid = false where indrelid = 'zoo.logs'::regclass")
    assert state(logs)[1] == "unknown, it is invalid"


def test_tables_of_the_system_and_temporary_ones_are_left_out(db: Connection) -> None:
    execute(db, "create temporary table passing (id integer primary key)")
    for kind in ("table", "index"):
        assert {*column(db, f"select schema_name from maintenance.{kind}_bloat")} == {
            "maintenance",
            "public",
        }


@pytest.mark.parametrize(
    ("sizes", "alignments", "nulls", "expected"),
    [
        ([4, 8, 4, 8], [4, 8, 4, 8], [0, 0, 0, 0], 32),
        ([8, 8, 4, 4], [8, 8, 4, 4], [0, 0, 0, 0], 24),
        ([1, 2, 1], [1, 2, 1], [0, 0, 0], 8),
        ([4, 8], [4, 8], [0.5, 0], 12),
        ([4, 8], [4, 8], [1, 0], 8),
        ([], [], [], 0),
    ],
)
def test_columns_take_what_their_alignment_asks_for(
    tx: Connection, sizes: list[int], alignments: list[int], nulls: list[float], expected: float
) -> None:
    assert scalar(
        tx,
        "select maintenance.aligned_width(%s::float8[], %s::int[], %s::float8[], %s::float8[])",
        sizes, alignments, [float(n) for n in nulls], [[0.0] * 8 for _ in sizes],
    ) == expected  # fmt: skip


def test_lengths_that_vary_are_padded_as_often_as_they_ask_for_it(tx: Connection) -> None:
    """Half of the texts have 8 bytes and half 9: a bigint after them needs 0 or 7 more."""
    assert scalar(
        tx,
        "select maintenance.aligned_width('{8.5, 8}', '{1, 8}', '{0, 0}',"
        " '{{0.5, 0.5, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}}')",
    ) == 20  # fmt: skip


@pytest.mark.parametrize(
    ("size", "variance", "low", "high"),
    [
        (1000, 0, 8, 8),
        (1021, 0, 8, 8),
        (1022, 0, 7, 7),
        (1000, 250000, 7.2, 8.2),
        (20, 9, 407, 408),
    ],
)
def test_a_page_takes_whole_items(
    tx: Connection, size: float, variance: float, low: float, high: float
) -> None:
    fit = scalar(tx, "select maintenance.items_per_page(8168, %s, %s)", size, variance)
    assert low <= fit <= high


@pytest.mark.parametrize(
    ("number", "keys", "items", "size"),
    [
        (100, 100, 100, 20),  # each by itself
        (150, 100, 100, 28),  # half of them with two rows
        (200, 100, 100, 36 - 0.5),
        (13200, 100, 100, 16 + 4 + 792 + 1.5),
    ],
)
def test_equal_keys_share_an_item(
    tx: Connection, number: int, keys: int, items: float, size: float
) -> None:
    assert rows(tx, "select * from maintenance.posting_lists(%s, %s, 16)", number, keys) == [
        (items, items * size)
    ]
