"""Declared indexes: what is missing, the statements that build it, and how a declaration goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from psycopg import Connection

ODD = '"Odd Schema"."It\'s ""Mixed"""'


def declare(
    db: Connection, relation: str, name: str, keys: str, *, chain: str = "test", **options: Any
) -> None:
    """Declare an index."""
    named = {"chain": chain, "relation": relation, "name": name, "keys": keys} | options
    named.setdefault("reason", "Because.")
    arguments = ", ".join(f"{option} => %s" for option in named)
    execute(db, f"select maintenance.require_index({arguments})", *named.values())


def missing(db: Connection) -> list[str]:
    return column(db, "select name from maintenance.missing_indexes")


def build(db: Connection) -> None:
    """Do what \\gexec does, until nothing is listed."""
    statements = (
        "select drop_statement, create_statement, comment_statement"
        " from maintenance.missing_indexes"
    )
    while listed := rows(db, statements):
        for statement in (one for line in listed for one in line if one is not None):
            execute(db, statement)


def definition(db: Connection, name: str) -> tuple[str, str]:
    """Return what PostgreSQL says about an index: its definition and its comment."""
    [found] = rows(
        db,
        "select pg_get_indexdef(oid), obj_description(oid, 'pg_class')"
        " from pg_class where relname = %s",
        name,
    )
    return found[0], found[1]


@pytest.fixture
def odd(tx: Connection) -> Connection:
    """A table whose names all need quotes."""
    execute(
        tx,
        f'create schema "Odd Schema"; create table {ODD} ("Key" integer, other text, third text)',
    )
    return tx


def test_a_migrated_database_lacks_no_index(tx: Connection) -> None:
    assert missing(tx) == []
    assert scalar(tx, "select count(*) from maintenance.required_index") >= 10


def test_a_declared_index_is_missing_until_it_is_built(odd: Connection) -> None:
    declare(odd, ODD, 'Index\'s "Name"', '"Key" desc nulls last', reason="It's \\needed.")
    assert missing(odd) == ['Index\'s "Name"']
    build(odd)
    assert missing(odd) == []
    assert definition(odd, 'Index\'s "Name"') == (
        f'CREATE INDEX "Index\'s ""Name""" ON {ODD} USING btree ("Key" DESC NULLS LAST)',
        "It's \\needed.",
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 'CREATE INDEX made ON {} USING btree ("Key")'),
        ({"is_unique": True}, 'CREATE UNIQUE INDEX made ON {} USING btree ("Key")'),
        (
            {"included": "other, third"},
            'CREATE INDEX made ON {} USING btree ("Key") INCLUDE (other, third)',
        ),
        (
            {"predicate": "other is null or third is null"},
            'CREATE INDEX made ON {} USING btree ("Key")'
            " WHERE ((other IS NULL) OR (third IS NULL))",
        ),
        (
            {"is_unique": True, "included": "other", "predicate": "third like '%x%%'"},
            'CREATE UNIQUE INDEX made ON {} USING btree ("Key") INCLUDE (other)'
            " WHERE (third ~~ '%x%%'::text)",
        ),
    ],
)
def test_every_option_is_built(odd: Connection, options: dict[str, Any], expected: str) -> None:
    declare(odd, ODD, "made", '"Key"', **options)
    build(odd)
    assert missing(odd) == []
    assert definition(odd, "made") == (expected.format(ODD), "Because.")


def test_the_view_says_what_was_declared(odd: Connection) -> None:
    declare(odd, ODD, "made", '"Key"', reason="It's needed.")
    [found] = rows(
        odd,
        "select chain, relation::oid = %s::regclass, name, reason, is_concurrent, built_by,"
        " drop_statement, create_statement, comment_statement from maintenance.missing_indexes",
        ODD,
    )
    assert found == (
        "test",
        True,
        "made",
        "It's needed.",
        False,
        None,
        None,
        f'create index made on {ODD} using btree ("Key")',
        "comment on index \"Odd Schema\".made is 'It''s needed.'",
    )


def test_all_declarations_of_the_chains_can_be_built_anew(tx: Connection) -> None:
    declared = "select name from maintenance.required_index order by name"
    names = column(tx, declared)
    before = [definition(tx, name) for name in names]
    for name in names:
        execute(tx, f"drop index public.{name}")
    assert sorted(missing(tx)) == names
    build(tx)
    assert missing(tx) == []
    assert [definition(tx, name) for name in names] == before
    assert (
        column(
            tx,
            "select index.indexrelid::regclass::text from pg_index as index"
            " where not (indisvalid and indisready)",
        )
        == []
    )


def test_they_are_sorted_by_chain_table_and_name(odd: Connection) -> None:
    execute(odd, "create table public.a (id integer); create table public.b (id integer)")
    declare(odd, "public.b", "i1", "id desc")
    declare(odd, "public.a", "i3", "id desc")
    declare(odd, "public.a", "i2", "id")
    declare(odd, "public.b", "i0", "id", chain="a chain before")
    declare(odd, ODD, "i4", "other")
    execute(odd, 'create table "Odd Schema".z (id integer)')
    declare(odd, '"Odd Schema".z', "i5", "id")
    assert missing(odd) == ["i0", "i4", "i5", "i2", "i3", "i1"]


@pytest.mark.parametrize("flag", ["indisvalid", "indisready", "indislive"])
def test_an_index_that_is_not_usable_is_missing_and_replaced(tx: Connection, flag: str) -> None:
    name = "public.idx_refresh_tokens_user"
    execute(tx, f"update pg_index set {flag} = false where indexrelid = %s::regclass", name)
    execute(tx, f"comment on index {name} is null")
    dropped = column(tx, "select drop_statement from maintenance.missing_indexes")
    assert dropped == [f"drop index {name}"]
    assert missing(tx) == ["idx_refresh_tokens_user"]
    build(tx)
    assert missing(tx) == []
    assert definition(tx, "idx_refresh_tokens_user")[1].startswith("Finds the tokens of a user")


def test_an_index_of_another_table_does_not_count(odd: Connection) -> None:
    execute(odd, "create table public.other (id integer); create index made on public.other (id)")
    declare(odd, ODD, "made", "other")
    assert missing(odd) == ["made"]
    build(odd)
    assert missing(odd) == []


def test_a_declaration_of_a_table_that_was_dropped_is_not_listed(odd: Connection) -> None:
    declare(odd, ODD, "made", "other")
    execute(odd, f"drop table {ODD}")
    assert missing(odd) == []


def test_an_index_is_declared_once(odd: Connection) -> None:
    declare(odd, ODD, "made", "other")
    with pytest.raises(errors.UniqueViolation), odd.transaction():
        declare(odd, ODD, "made", "third")


@pytest.mark.parametrize(("name", "other"), [("Made One", "made_two"), ("made_two", "Made One")])
def test_releasing_drops_the_index_and_the_declaration(
    odd: Connection, name: str, other: str
) -> None:
    declare(odd, ODD, "Made One", "other")
    declare(odd, ODD, "made_two", "third")
    execute(odd, f'create table public.t (id integer); create index "{name}" on public.t (id)')
    build(odd)
    declared = column(odd, "select name from maintenance.required_index order by name")
    execute(odd, "select maintenance.release_index(%s, %s)", ODD, name)
    declared.remove(name)
    assert column(odd, "select name from maintenance.required_index order by name") == declared
    indexes = "select indexname from pg_indexes where schemaname = %s"
    assert column(odd, indexes, "Odd Schema") == [other]
    assert scalar(odd, "select tablename from pg_indexes where indexname = %s", name) == "t"
    assert missing(odd) == []


def test_releasing_works_where_the_index_was_never_built(odd: Connection) -> None:
    declare(odd, ODD, "made", "other")
    execute(odd, "select maintenance.release_index(%s, 'made')", ODD)
    assert missing(odd) == []
    declare(odd, ODD, "made", "other")
    assert missing(odd) == ["made"]


@pytest.mark.parametrize(
    ("relation", "name", "message"),
    [
        ("public.users", "No Index", 'no chain declared index "No Index" on public.users'),
        (
            "public.users",
            "users_email_key",
            "no chain declared index users_email_key on public.users",
        ),
        (
            "public.users",
            "idx_refresh_tokens_user",
            "no chain declared index idx_refresh_tokens_user on public.users",
        ),
    ],
)
def test_releasing_what_nobody_declared_is_refused_with_a_hint(
    tx: Connection, relation: str, name: str, message: str
) -> None:
    with pytest.raises(errors.UndefinedObject) as refusal, tx.transaction():
        execute(tx, "select maintenance.release_index(%s, %s)", relation, name)
    assert refusal.value.diag.message_primary == message
    assert refusal.value.diag.message_hint == (
        "The declared indexes are the rows of maintenance.required_index."
    )
    assert missing(tx) == []
    assert scalar(tx, "select count(*) from pg_class where relname = 'users_email_key'") == 1


# --- What counts as the index that was declared.

UNLIKE = 'create table public.t ("a USING b (" text, b text collate "C", c integer, gone integer)'
DECLARED: dict[str, Any] = {"keys": "b", "included": "c", "predicate": "c > 0"}


@pytest.fixture
def strange(tx: Connection) -> Connection:
    """A table whose columns look like parts of a statement; one is dropped."""
    execute(tx, UNLIKE)
    execute(tx, "alter table public.t drop column gone, add column d varchar(9)")
    return tx


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        (DECLARED, "index x on public.t (b) include (c) where (c > 0)"),
        (DECLARED, "index x on public.t (b) include (c) with (fillfactor = 70) where c > 0"),
        (DECLARED, "index made on public.t using btree (b asc nulls last) include (c) where c > 0"),
        ({"keys": "b"}, "unique index x on public.t (b)"),
        ({"keys": "b"}, "unique index x on public.t (b) nulls not distinct with (fillfactor = 50)"),
        ({"keys": "b"}, 'index " ON t USING btree (b)" on public.t (b)'),
        ({"keys": "b", "is_unique": True}, "unique index x on public.t (b)"),
        ({"keys": '"a USING b ("'}, 'index x on public.t ("a USING b (") with (fillfactor = 70)'),
        (
            {"keys": "c", "included": '"a USING b ("'},
            'index x on public.t (c) include ("a USING b (")',
        ),
        ({"keys": "lower(b), d desc"}, "index x on public.t (lower(b), d desc)"),
        ({"keys": "d varchar_pattern_ops"}, "index x on public.t (d varchar_pattern_ops)"),
    ],
)
def test_an_index_of_the_application_that_does_the_same_is_accepted(
    strange: Connection, options: dict[str, Any], theirs: str
) -> None:
    execute(strange, f"create {theirs}")
    declare(strange, "public.t", "made", **options)
    assert_accepted(strange)


def test_it_is_accepted_when_it_comes_after_the_declaration(strange: Connection) -> None:
    declare(strange, "public.t", "made", **DECLARED)
    execute(strange, "create index x on public.t (b) include (c) where c > 0")
    assert_accepted(strange)


@pytest.mark.parametrize(
    ("keys", "constraint"),
    [("b", "primary key (b)"), ("b, c", "unique (b, c) deferrable initially deferred")],
)
def test_the_index_of_a_constraint_is_accepted(
    strange: Connection, keys: str, constraint: str
) -> None:
    execute(strange, f"alter table public.t add constraint x {constraint}")
    declare(strange, "public.t", "made", keys)
    assert_accepted(strange)


def assert_accepted(db: Connection) -> None:
    """Nothing is missing, and what is there is still there after the declaration has gone."""
    assert missing(db) == []
    before = indexes_of(db, "public.t")
    execute(db, "select maintenance.release_index('public.t', 'made')")
    assert indexes_of(db, "public.t") == before


def indexes_of(db: Connection, relation: str) -> list[tuple[Any, ...]]:
    """Return the indexes of a table with their comments."""
    return rows(
        db,
        "select pg_get_indexdef(indexrelid), obj_description(indexrelid, 'pg_class')"
        " from pg_index where indrelid = %s::regclass order by 1",
        relation,
    )


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        (DECLARED, "index x on public.t (b) where c > 0"),
        (DECLARED, "index x on public.t (b) include (c)"),
        (DECLARED, "index x on public.t (b) include (c) where c > 1"),
        (DECLARED, "index x on public.t (b, c) where c > 0"),
        (DECLARED, "index x on public.t (b desc) include (c) where c > 0"),
        (DECLARED, 'index x on public.t (b collate "POSIX") include (c) where c > 0'),
        (DECLARED, "index x on public.t (b text_pattern_ops) include (c) where c > 0"),
        ({"keys": "b"}, "index x on public.t using hash (b)"),
        ({"keys": "b"}, "index x on public.t (lower(b))"),
        ({"keys": "b", "is_unique": True}, "index x on public.t (b)"),
        ({"keys": "b", "is_unique": True}, "unique index x on public.t (b) nulls not distinct"),
        ({"keys": "b"}, 'index x on public.t ("a USING b (") include (b)'),
    ],
)
def test_an_index_that_differs_is_not_accepted_and_stays(
    strange: Connection, options: dict[str, Any], theirs: str
) -> None:
    execute(strange, f"create {theirs}")
    before = indexes_of(strange, "public.t")
    declare(strange, "public.t", "made", **options)
    assert missing(strange) == ["made"]
    build(strange)
    assert missing(strange) == []
    execute(strange, "select maintenance.release_index('public.t', 'made')")
    assert indexes_of(strange, "public.t") == before


def test_a_unique_constraint_that_waits_for_the_commit_is_not_as_good(strange: Connection) -> None:
    execute(strange, "alter table public.t add constraint x unique (b) deferrable")
    declare(strange, "public.t", "made", "b", is_unique=True)
    assert missing(strange) == ["made"]


def test_settings_of_the_session_make_no_other_index(strange: Connection) -> None:
    execute(strange, "alter table public.t add at timestamptz, add lasts interval")
    execute(strange, "set local timezone = 'Asia/Tokyo'; set local datestyle = 'German'")
    predicate = "at > '2020-02-01 00:00+09'::timestamptz and lasts > '-1 day 02:00'::interval"
    execute(strange, f"create index x on public.t (c) where {predicate}")
    execute(strange, "set local timezone = 'UTC'; set local datestyle = 'SQL, DMY'")
    execute(strange, "set local quote_all_identifiers = on; set local search_path = maintenance")
    execute(strange, "set local intervalstyle = 'iso_8601'")
    declare(strange, "public.t", "made", "c", predicate=predicate)
    assert missing(strange) == []
    execute(strange, "drop index public.x")
    build(strange)
    assert missing(strange) == []


def test_keys_that_do_not_exist_are_refused_when_they_are_declared(odd: Connection) -> None:
    with pytest.raises(errors.UndefinedColumn, match='column "nothing" does not exist'):
        declare(odd, ODD, "made", "nothing")


# --- Whose an index is.


@pytest.mark.parametrize(
    ("name", "taker", "expected"),
    [
        ("made", "index made on public.t (c)", "made1"),
        ("made", "index made on public.t (c); create sequence public.made1", "made2"),
        ("ä" * 31, f"table public.{'ä' * 31} (id integer)", "ä" * 31 + "1"),
        ("ä" * 31 + "b", f"view public.{'ä' * 31}b as select", "ä" * 31 + "1"),
        ("ab" + "ä" * 30, f"view public.ab{'ä' * 30} as select", "ab" + "ä" * 30 + "1"),
    ],
)
def test_a_name_that_is_taken_gets_a_number(
    strange: Connection, name: str, taker: str, expected: str
) -> None:
    execute(strange, f"create {taker}")
    before = indexes_of(strange, "public.t")
    declare(strange, "public.t", name, "b")
    assert missing(strange) == [expected]
    build(strange)
    assert missing(strange) == []
    execute(strange, "select maintenance.release_index('public.t', %s)", name)
    assert indexes_of(strange, "public.t") == before


def test_the_comment_says_whose_an_index_is(strange: Connection) -> None:
    """What was built from our statement and got no comment, is not ours for certain."""
    declare(strange, "public.t", "made", "b")
    execute(strange, "create index made on public.t (b)")
    assert_accepted(strange)


def test_what_was_noted_before_it_was_built_is_ours_without_a_comment(strange: Connection) -> None:
    declare(strange, "public.t", "made", "b")
    execute(strange, "select maintenance.note_index_build('public.t', 'made')")
    execute(strange, "create index made on public.t (b)")
    execute(strange, "select maintenance.release_index('public.t', 'made')")
    assert indexes_of(strange, "public.t") == []
    assert scalar(strange, "select count(*) from maintenance.index_build where name = 'made'") == 0


def test_another_index_under_the_noted_name_is_not_ours(strange: Connection) -> None:
    declare(strange, "public.t", "made", "b")
    execute(strange, "select maintenance.note_index_build('public.t', 'made')")
    execute(strange, "create index made on public.t (c)")
    before = indexes_of(strange, "public.t")
    execute(strange, "select maintenance.release_index('public.t', 'made')")
    assert indexes_of(strange, "public.t") == before


def test_what_was_there_is_not_ours_whatever_its_comment_says(strange: Connection) -> None:
    execute(
        strange, "create index made on public.t (b); comment on index public.made is 'Because.'"
    )
    declare(strange, "public.t", "made", "b")
    assert_accepted(strange)


def test_an_index_of_ours_that_was_renamed_is_still_ours(strange: Connection) -> None:
    declare(strange, "public.t", "made", "b")
    build(strange)
    execute(strange, "alter index public.made rename to other")
    assert missing(strange) == []
    execute(strange, "select maintenance.release_index('public.t', 'made')")
    assert indexes_of(strange, "public.t") == []


def test_ours_counts_also_if_another_server_writes_it_in_other_words(strange: Connection) -> None:
    declare(strange, "public.t", "made", "b")
    build(strange)
    execute(
        strange,
        "update maintenance.required_index set definition = 'btree ((b))' where name = 'made'",
    )
    assert missing(strange) == []
    execute(strange, "select maintenance.release_index('public.t', 'made')")
    assert indexes_of(strange, "public.t") == []


def test_two_chains_share_an_index_until_the_second_lets_it_go(strange: Connection) -> None:
    declare(strange, "public.t", "one", "b", reason="One.")
    declare(strange, "public.t", "two", "b", reason="Two.", chain="other")
    build(strange)
    assert indexes_of(strange, "public.t") == [
        ("CREATE INDEX two ON public.t USING btree (b)", "Two.")
    ]
    execute(strange, "select maintenance.release_index('public.t', 'two')")
    assert indexes_of(strange, "public.t") == [
        ("CREATE INDEX two ON public.t USING btree (b)", "One.")
    ]
    execute(strange, "select maintenance.release_index('public.t', 'one')")
    assert indexes_of(strange, "public.t") == []


# --- Large tables, and partitions.

MEGABYTE = 1_048_576


def fill(db: Connection, relation: str, size: int) -> None:
    """Fill a table until it has so many bytes."""
    while scalar(db, "select pg_relation_size(%s::regclass)", relation) < size:
        execute(db, f"insert into {relation} (b, c) select repeat('x', 800), 1"
                    " from generate_series(1, 9)")  # fmt: skip


def test_above_one_megabyte_it_is_built_concurrently(strange: Connection) -> None:
    declare(strange, "public.t", "made", "c", is_unique=True)
    statement = "select is_concurrent, create_statement from maintenance.missing_indexes"
    plain = (False, "create unique index made on public.t using btree (c)")
    fill(strange, "public.t", MEGABYTE)
    assert scalar(strange, "select pg_relation_size('public.t')") == MEGABYTE
    assert rows(strange, statement) == [plain]
    fill(strange, "public.t", MEGABYTE + 1)
    assert rows(strange, statement) == [
        (True, "create unique index concurrently made on public.t using btree (c)")
    ]


PARTITIONED = """
    create table public.p (b text, c integer) partition by list (c);
    create table public.p1 partition of public.p for values in (1);
    create table public.p2 partition of public.p for values in (2) partition by list (b);
    create table public.p3 partition of public.p2 for values in ('x')
"""


@pytest.mark.parametrize("is_large", [False, True])
def test_of_a_large_partitioned_table_the_partitions_come_first(
    db: Connection, is_large: bool
) -> None:
    execute(db, PARTITIONED)
    if is_large:
        fill(db, "public.p1", MEGABYTE + 1)
    declare(db, "public.p", "made", "b")
    listed = "select relation::text, is_concurrent from maintenance.missing_indexes"
    if is_large:
        assert rows(db, listed) == [("p1", True), ("p3", False)]
        statements = "select create_statement, comment_statement from maintenance.missing_indexes"
        for create, comment in rows(db, statements):
            execute(db, create)
            execute(db, comment)
    assert rows(db, listed) == [("p", False)]
    before = column(db, "select count(*) from pg_index where indrelid = 'public.p1'::regclass")
    build(db)
    after = column(db, "select count(*) from pg_index where indrelid = 'public.p1'::regclass")
    assert missing(db) == []
    assert (before, after) == (([1], [1]) if is_large else ([0], [1]))
    execute(db, "select maintenance.release_index('public.p', 'made')")
    assert [indexes_of(db, f"public.{name}") for name in ("p", "p1", "p2", "p3")] == [[]] * 4


def test_partitions_that_were_built_and_never_taken_over_are_released(db: Connection) -> None:
    execute(db, PARTITIONED)
    fill(db, "public.p1", MEGABYTE + 1)
    declare(db, "public.p", "made", "b")
    for create, comment in rows(
        db, "select create_statement, comment_statement from maintenance.missing_indexes"
    ):
        execute(db, create)
        execute(db, comment)
    execute(db, "select maintenance.release_index('public.p', 'made')")
    assert [indexes_of(db, f"public.{name}") for name in ("p1", "p3")] == [[], []]


def test_an_index_of_a_partition_that_was_taken_over_is_there_again(db: Connection) -> None:
    execute(db, PARTITIONED)
    execute(
        db,
        "create index theirs on public.p1 (b) with (fillfactor = 70);"
        " comment on index theirs is 'It''s theirs.'; create index x on public.p3 (b)",
    )
    names = ("p", "p1", "p2", "p3")
    before = [indexes_of(db, f"public.{name}") for name in names]
    declare(db, "public.p", "made", "b")
    build(db)
    assert len(indexes_of(db, "public.p1")) == 1
    execute(db, "select maintenance.release_index('public.p', 'made')")
    assert [indexes_of(db, f"public.{name}") for name in names] == before


def test_a_unique_index_of_a_partition_would_not_be_taken_over(db: Connection) -> None:
    execute(db, PARTITIONED)
    fill(db, "public.p1", MEGABYTE + 1)
    execute(db, "create unique index x on public.p3 (b)")
    declare(db, "public.p", "made", "b")
    listed = "select relation::text from maintenance.missing_indexes"
    assert column(db, listed) == ["p1", "p3"]
    build(db)
    assert missing(db) == []
    execute(db, "select maintenance.release_index('public.p', 'made')")
    assert [name for name, _ in indexes_of(db, "public.p3")] == [
        "CREATE UNIQUE INDEX x ON public.p3 USING btree (b)"
    ]
