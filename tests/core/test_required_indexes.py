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
    """Do what \\gexec does."""
    statements = "select create_statement, comment_statement from maintenance.missing_indexes"
    for create, comment in rows(db, statements):
        execute(db, create)
        execute(db, comment)


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
        "select chain, relation::oid = %s::regclass, name, reason, create_statement,"
        " comment_statement from maintenance.missing_indexes",
        ODD,
    )
    assert found == (
        "test",
        True,
        "made",
        "It's needed.",
        f'create index made on {ODD} ("Key")',
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
    declare(odd, "public.b", "i1", "id")
    declare(odd, "public.a", "i3", "id")
    declare(odd, "public.a", "i2", "id")
    declare(odd, "public.b", "i0", "id", chain="a chain before")
    declare(odd, ODD, "i4", "other")
    execute(odd, 'create table "Odd Schema".z (id integer)')
    declare(odd, '"Odd Schema".z', "i5", "id")
    assert missing(odd) == ["i0", "i4", "i5", "i2", "i3", "i1"]


@pytest.mark.parametrize("flag", ["indisvalid", "indisready"])
def test_an_index_that_is_not_usable_is_missing(tx: Connection, flag: str) -> None:
    execute(
        tx,
        f"update pg_index set {flag} = false"
        " where indexrelid = 'public.idx_refresh_tokens_user'::regclass",
    )
    assert missing(tx) == ["idx_refresh_tokens_user"]


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
    for each in ("Made One", "made_two"):
        declare(odd, ODD, each, "other")
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
