"""Archives: how they are made, kept in line with their tables, proved, and dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core import policies
from tests.core.archives import an_archive, archive, archived_tokens, drift, plan, undo
from tests.core.runs import (
    a_table,
    alter,
    at_the_gate,
    calling,
    closed_gate,
    count,
    put,
    register,
    run,
    steps,
    until,
)
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection


def evolve(db: Connection, policy: str = "token") -> list[tuple[str, str, str]]:
    """Bring the archives of a policy into line; return what was changed."""
    return rows(
        db,
        "select archive::text, column_name::text, change from maintenance.evolve_archive(%s)",
        policy,
    )


def known(db: Connection, what: str, table: str = "token_archive") -> Any:
    """Return what is kept about an archive."""
    return scalar(
        db, f"select {what} from maintenance.archive where relation = '{table}'::regclass"
    )


# Made


def test_an_archive_has_the_columns_of_its_table_plain_and_notes_when_and_by_what(
    tx: Connection,
) -> None:
    execute(
        tx,
        "create domain few as integer not null check (value < 9);"
        "create table kept (gone text, id integer generated always as identity primary key,"
        " name varchar(9) collate \"C\" not null default 'x' unique, few few,"
        " twice integer generated always as (few * 2) stored, "
        ' "Odd ""name" numeric(10, 3)[] check (true));'
        "alter table kept drop gone",
    )
    assert scalar(tx, "select maintenance.create_archive('kept')::text") == "kept_archive"
    assert rows(
        tx,
        "select attname::text, format_type(atttypid, atttypmod), attnotnull or atthasdef"
        " or attidentity <> '' or attgenerated <> '',"
        " (select collname from pg_collation where oid = attcollation)"
        " from pg_attribute where attrelid = 'kept_archive'::regclass and attnum > 0"
        " order by attnum",
    ) == [
        ("id", "integer", False, None),
        ("name", "character varying(9)", False, "C"),
        ("few", "few", False, None),
        ("twice", "integer", False, None),
        ('Odd "name', "numeric(10,3)[]", False, None),
        ("_archived_at", "timestamp with time zone", False, None),
        ("_archived_by_step", "bigint", False, None),
    ]
    assert column(tx, "select contype from pg_constraint where conrelid = 'kept_archive'::regclass"
                      " and contype <> 'n'") == []  # fmt: skip
    assert count(tx, "pg_index", "indrelid = 'kept_archive'::regclass") == 0
    assert scalar(tx, "select obj_description('kept_archive'::regclass)") == (
        "Archive of public.kept."
    )
    assert known(tx, "(source::text, is_ours, former, columns - 'few')", "kept_archive") == (
        "kept", "t", "{}", scalar(
            tx,
            """select '{"id": "integer", "name": "character varying(9)", "twice": "integer",
            "Odd \\"name": "numeric(10,3)[]"}'::jsonb::text""",
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "given", "name"),
    [
        ("kept", None, "public.kept_archive"),
        ("kept", "other", "public.other"),
        ("kept", '"Odd.name"', 'public."Odd.name"'),
        ("kept", "away.kept", "away.kept"),
        ('"Kept"', None, 'public."Kept_archive"'),
        ("k" * 55, None, "public." + "k" * 55 + "_archive"),
        ("k" * 56, None, "public." + "k" * 55 + "_archive"),
        ("k" * 63, None, "public." + "k" * 55 + "_archive"),
        ("a" + "é" * 31, None, 'public."a' + "é" * 27 + '_archive"'),
    ],
)
def test_an_archive_is_called_like_its_table_or_as_it_was_told(
    tx: Connection, table: str, given: str | None, name: str
) -> None:
    execute(tx, f"create schema away; create table {table} (id integer, expires_at timestamptz)")
    made = scalar(tx, "select maintenance.create_archive(%s::regclass, %s)::oid", table, given)
    execute(tx, "set local search_path = pg_catalog")
    assert scalar(tx, "select %s::oid::regclass::text", made) == name


@pytest.mark.parametrize(
    ("table", "given", "error", "message"),
    [
        ("kept", "a b", errors.InvalidName, "'a b' is no name for an archive"),
        ("kept", "", errors.InvalidName, "'' is no name for an archive"),
        ("kept", "a.b.c", errors.InvalidName, "'a.b.c' is no name for an archive"),
        ("kept", "maintenance.x", errors.InvalidName, "is no name for an archive"),
        ("kept", "nope.x", errors.InvalidSchemaName, "there is no schema nope"),
        ("kept", "kept", errors.DuplicateTable, "there is a table public.kept already"),
        ("bare", None, errors.InvalidTableDefinition, "public.bare has no columns"),
        ("shown", None, errors.WrongObjectType, "public.shown is not a table of an application"),
        ("passing", None, errors.WrongObjectType, "is not a table of an application"),
        ("maintenance.run", None, errors.WrongObjectType, "is not a table of an application"),
        ("pg_class", None, errors.WrongObjectType, "is not a table of an application"),
        ("noted", None, errors.DuplicateColumn, "has a column _archived_at or _archived_by_step"),
        ("noted_2", None, errors.DuplicateColumn, "has a column _archived_at or _archived_by_ste"),
    ],
)
def test_what_cannot_have_an_archive_is_refused(
    tx: Connection, table: str, given: str | None, error: type[psycopg.Error], message: str
) -> None:
    execute(
        tx,
        "create table kept (id integer); create table bare (); create view shown as select 1 as x;"
        "create temporary table passing (id integer); create table noted (_archived_at integer);"
        "create table noted_2 (_archived_by_step integer)",
    )
    with pytest.raises(error) as refusal:
        execute(tx, "select maintenance.create_archive(%s::regclass, %s)", table, given)
    assert message in str(refusal.value.diag.message_primary)


def test_an_archive_belongs_to_the_owner_of_the_table_and_only_he_may_make_it(
    role: Callable[[str], str], db: Connection
) -> None:
    owner, other = role("owner"), role("other")
    a_table(db)
    execute(
        db,
        f"alter table token owner to {owner}; grant create on schema public to {owner};"
        f" grant usage on schema maintenance to {owner}, {other}; grant execute on all functions"
        f" in schema maintenance to {owner}, {other}",
    )
    with (
        psycopg.connect(db.info.dsn, user=other, autocommit=True) as session,
        pytest.raises(errors.InsufficientPrivilege, match=r"only the owner of public\.token may"),
    ):
        execute(session, "select maintenance.create_archive('token')")
    with psycopg.connect(db.info.dsn, user=owner, autocommit=True) as session:
        execute(session, "select maintenance.create_archive('token')")
    assert column(db, "select tableowner from pg_tables where tablename = 'token_archive'") == [
        owner
    ]


def test_what_was_dropped_is_forgotten_and_can_be_made_again(tx: Connection) -> None:
    archived_tokens(tx)
    execute(tx, "drop table token_archive; select maintenance.create_archive('token')")
    assert known(tx, "is_ours")
    assert count(tx, "maintenance.archive") == 1
    alter(tx)
    put(tx, "dead", 5)
    archive(tx)
    assert count(tx, "token_archive") == 5


# Registered


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("create table a (like token, note text not null)",
         "column note of public.a must not be null, and public.token has nothing for it"),
        ("create table a (id bigint, expires_at timestamptz)",
         "public.a has no column name of type text"),
        ("create view a as select * from token", "public.a is not a table of an application"),
        ("create temporary table a (like token)", "is not a table of an application"),
        ("create table other (like token); create table a (like token);"
         """ select maintenance.register_policy('other', 'other', '{"column": "expires_at","""
         """ "action": "archive", "archive_table": "public.a"}')""",
         "public.a is the archive of public.other"),
    ],
)  # fmt: skip
def test_an_archive_that_cannot_take_the_rows_is_refused(
    tx: Connection, made: str, message: str
) -> None:
    a_table(tx)
    execute(tx, made)
    name = scalar(tx, "select relnamespace::regnamespace::text || '.a' from pg_class"
                      " where oid = 'a'::regclass")  # fmt: skip
    with pytest.raises(errors.InvalidParameterValue) as refusal:
        register(tx, action="archive", archive_table=name)
    assert message in str(refusal.value.diag.message_primary)


@pytest.mark.parametrize("part", ["token", "token_1"])
def test_neither_a_table_nor_its_partition_is_its_own_archive(tx: Connection, part: str) -> None:
    execute(
        tx,
        "create table token (id integer, expires_at timestamptz) partition by range (id);"
        "create table token_1 partition of token default",
    )
    with pytest.raises(errors.InvalidParameterValue, match=f"public.{part} is the table itself"):
        register(tx, action="archive", archive_table=f"public.{part}")


def test_two_tables_of_one_policy_cannot_have_the_same_archive(tx: Connection) -> None:
    a_table(tx)
    execute(tx, "create table part (like token); create table a (like token)")
    with pytest.raises(errors.InvalidParameterValue, match=r"public.a is the archive of public\."):
        register(
            tx, action="archive", archive_table="public.a",
            dependents=[{"relation": "public.part", "columns": ["id"], "references": ["id"],
                         "archive_table": "public.a"}],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ("_archived_at timestamptz not null, _archived_by_step bigint not null", "ready"),
        (
            "_archived_at timestamptz, _archived_by_step bigint, note text not null default 'x',"
            " number bigint generated always as identity,"
            " twice bigint generated always as (id * 2) stored",
            "ready",
        ),
        ("_archived_at timestamptz, _archived_by_step integer", "cannot"),
        ("_archived_at timestamptz not null default now()", "cannot"),
        ("note text not null default 'x'", "cannot"),
    ],
)
def test_an_archive_of_the_users_own_may_have_columns_of_its_own(
    tx: Connection, more: str, verdict: str
) -> None:
    a_table(tx)
    put(tx, "dead", 5)
    execute(tx, f"create table own (like token, {more})")
    risks = policies.register(
        tx, "token", "token", column="expires_at", action="archive", archive_table="public.own"
    )
    assert ("no_undo" in [risk for risk, *_ in risks]) == (verdict == "cannot")
    number = archive(tx)
    assert count(tx, "own") == 5
    assert not known(tx, "is_ours", "own")
    assert plan(tx, number)[0][0] == verdict
    if verdict == "ready":
        assert undo(tx, number).restored == 5
        assert (count(tx), count(tx, "own")) == (5, 0)


def test_what_archives_notes_the_step_and_the_time(tx: Connection) -> None:
    number = archived_tokens(tx, 5)
    assert rows(
        tx,
        "select distinct run, _archived_at = now() from token_archive"
        " join maintenance.run_step as step on step.id = _archived_by_step",
    ) == [(number, True)]
    assert rows(
        tx, f"select archives::text from maintenance.run_step where run = {number}"
    ) == [("{token_archive}",)]  # fmt: skip


# Drift


DRIFT: dict[str, tuple[str, list[tuple[str, str]], str]] = {
    "added": (
        "alter table token add extra text",
        [("extra", "added")],
        "public.token_archive has no column extra of type text: \"runner policy set token"
        " --evolve-archive\", or maintenance.evolve_archive('token'), adds it",
    ),
    "dropped": (
        "alter table token drop name",
        [("name", "dropped")],
        "public.token has no column name any more, and public.token_archive keeps it: \"runner"
        " policy set token --evolve-archive\", or maintenance.evolve_archive('token'), leaves it"
        " empty from now on",
    ),
    "renamed": (
        "alter table token rename name to label",
        [("label", "added"), ("name", "dropped")],
        "public.token_archive has no column label of type text: ",
    ),
    "retyped": (
        "alter table token alter name type varchar(20)",
        [("name", "retyped")],
        "column name is of type character varying(20) in public.token, and of type text in"
        " public.token_archive: alter table public.token_archive alter column name type character"
        " varying(20)",
    ),
    "of another length": (
        "alter table token alter short type varchar(20)",
        [("short", "retyped")],
        "column short is of type character varying(20) in public.token, and of type character"
        " varying(10) in public.token_archive: alter table",
    ),
    "of another scale": (
        "alter table token alter amount type numeric(10, 3)",
        [("amount", "retyped")],
        "column amount is of type numeric(10,3) in public.token, and of type numeric(10,2)",
    ),
    "computed": (
        "alter table token_archive drop name, add name text generated always as ('x') stored",
        [("name", "computed")],
        "column name of public.token_archive is computed, and cannot take what public.token has"
        " in it: alter table public.token_archive rename column name to another name",
    ),
    "always numbered": (
        "alter table token_archive alter id set not null,"
        " alter id add generated always as identity",
        [("id", "computed")],
        "column id of public.token_archive is computed",
    ),
    "required": (
        "alter table token_archive add note text not null",
        [("note", "required")],
        "column note of public.token_archive must not be null, and public.token has nothing for"
        " it: alter table public.token_archive alter column note drop not null",
    ),
    "gone": (
        "drop table token_archive", [],
        "there is no archive of public.token any more: alter_policy('token', ...) names another",
    ),
}  # fmt: skip
CANNOT_EVOLVE = {"retyped", "of another length", "of another scale", "computed",
                 "always numbered", "required", "gone"}  # fmt: skip


@pytest.mark.parametrize("kind", DRIFT)
def test_a_run_is_refused_when_archive_and_table_differ(db: Connection, kind: str) -> None:
    change, differing, message = DRIFT[kind]
    a_table(db, more=", short varchar(10), amount numeric(10, 2)")
    an_archive(db)
    execute(db, change)
    if kind != "gone":
        assert drift(db) == differing
    put(db, "dead", 5) if kind not in ("dropped", "renamed") else execute(
        db, "insert into token (expires_at) select now() - interval '1 day' from"
        " generate_series(1, 5)"
    )  # fmt: skip
    with pytest.raises(errors.ObjectNotInPrerequisiteState) as refusal:
        run(db)
    assert f"guard: {message}" in str(refusal.value.diag.message_primary)
    assert steps(db, "step.exit_reason") == ["guard"]
    assert count(db) == 5
    # doctor and description say the same
    found = rows(db, "select state, message from maintenance.diagnose_policy('token')")
    assert any(state == "problem" and message.split(": ")[0] in said for state, said in found)
    assert message in scalar(
        db, "select maintenance.describe_policy('token') ->> 'archive_problem'"
    )
    if kind not in CANNOT_EVOLVE:
        assert evolve(db) == [("token_archive", name, how) for name, how in differing]
        assert evolve(db) == []
        assert run(db)[:2] == (5, "exhausted")
        assert count(db, "token_archive") == 5


def test_nothing_is_archived_into_what_was_given_away(
    role: Callable[[str], str], db: Connection
) -> None:
    """A trigger of the archive would run with the rights of the table's owner."""
    archived_tokens(db)
    execute(db, f"alter table token_archive owner to {role('other')}")
    put(db, "young", 3)
    with pytest.raises(
        errors.ObjectNotInPrerequisiteState,
        match=r"guard: public\.token and public\.token_archive do not have the same owner",
    ):
        run(db)
    assert count(db) == 3


def test_no_token_lifts_a_difference(db: Connection) -> None:
    archived_tokens(db)
    execute(db, "alter table token add extra text")
    assert rows(
        db,
        "select verdict, bound from maintenance.policy as known"
        " cross join lateral maintenance.judge_run(known) where known.name = 'token'",
    ) == [("archive_differs", None)]
    assert not [
        item for item, value in rows(db, "select item, value from maintenance.preview('token')")
        if item == "token" and value
    ]  # fmt: skip


@pytest.mark.parametrize("kind", sorted(CANNOT_EVOLVE - {"gone"}))
def test_what_has_no_right_answer_is_left_to_the_owner_with_the_statement_that_helps(
    tx: Connection, kind: str
) -> None:
    change, _, message = DRIFT[kind]
    a_table(tx, more=", short varchar(10), amount numeric(10, 2)")
    an_archive(tx)
    execute(tx, change)
    with pytest.raises(errors.DatatypeMismatch) as refusal, tx.transaction():
        evolve(tx)
    assert message.startswith(str(refusal.value.diag.message_primary)[:40])
    assert refusal.value.diag.message_detail == "Nothing was changed."
    hint = str(refusal.value.diag.message_hint)
    if kind not in ("computed", "always numbered"):
        execute(tx, hint.split(" converts")[0].rstrip("."))
        assert evolve(tx) == []


def test_an_archive_that_is_gone_cannot_evolve(tx: Connection) -> None:
    archived_tokens(tx)
    execute(tx, "drop table token_archive")
    with pytest.raises(errors.UndefinedTable):
        evolve(tx)


def test_what_a_table_has_lost_stays_and_may_be_empty_from_now_on(tx: Connection) -> None:
    archived_tokens(tx, 5)
    execute(tx, "alter table token_archive alter name set not null")
    put(tx, "young", 2)
    execute(tx, "alter table token drop name")
    assert evolve(tx) == [("token_archive", "name", "dropped")]
    assert known(tx, "former::text") == "{name}"
    archive(tx)
    assert rows(tx, "select name, count(*) from token_archive group by 1 order by 1") == [
        ("dead", 5), (None, 2)
    ]  # fmt: skip
    execute(tx, "alter table token add name text")
    assert drift(tx) == []
    assert evolve(tx) == []
    assert known(tx, "former::text") == "{}"


def test_what_a_table_lost_long_ago_still_keeps_rows_from_losing_it(tx: Connection) -> None:
    number = archived_tokens(tx, 5)
    execute(tx, "update token_archive set name = null where id > 2;"
                " alter table token drop name")  # fmt: skip
    evolve(tx)
    execute(tx, "alter table token add extra integer")
    evolve(tx)
    assert undo(tx, number).restored == 3
    assert count(tx, "token_archive") == 2


def test_a_column_that_is_added_is_empty_in_what_was_archived_before(tx: Connection) -> None:
    archived_tokens(tx, 5)
    execute(
        tx,
        "create domain odd as text default 'odd';"
        "alter table token add odd odd, add other varchar(5) collate \"C\" default 'x'",
    )
    assert evolve(tx) == [("token_archive", "odd", "added"), ("token_archive", "other", "added")]
    assert rows(tx, "select distinct odd, other from token_archive") == [(None, None)]
    put(tx, "young", 2)
    archive(tx)
    assert rows(tx, "select odd, other from token_archive where name = 'young' limit 1") == [
        ("odd", "x")
    ]
    assert scalar(tx, "select collname from pg_attribute join pg_collation as c"
                      " on c.oid = attcollation where attrelid = 'token_archive'::regclass"
                      " and attname = 'other'") == "C"  # fmt: skip


def test_a_policy_without_an_archive_has_nothing_to_evolve(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    with pytest.raises(errors.InvalidParameterValue, match="policy token has no archive"):
        evolve(tx)


def test_an_archive_in_use_is_not_waited_for_for_ever_and_then_evolves(
    db: Connection, another: Callable[[], Connection]
) -> None:
    archived_tokens(db, 5)
    execute(db, "alter table token add extra text")
    other = another()
    execute(other, "begin; select from token_archive")
    with calling(db, "select maintenance.evolve_archive('token')") as evolving:
        # whoever comes meanwhile does not queue behind it
        for _ in range(3):
            execute(db, "set lock_timeout = '1 s'; select from token_archive; reset lock_timeout")
        execute(other, "commit")
        evolving.wait()
    assert evolving.error is None
    assert drift(db) == []


def test_two_who_evolve_at_once_take_turns(
    db: Connection, another: Callable[[], Connection]
) -> None:
    archived_tokens(db, 5)
    execute(db, "alter table token add extra text")
    other = another()
    execute(other, "begin; select maintenance.evolve_archive('token')")
    with calling(db, "select change from maintenance.evolve_archive('token')") as evolving:
        until(lambda: scalar(db, "select cardinality(pg_blocking_pids(%s)) > 0", evolving.pid))
        execute(other, "commit")
        evolving.wait()
    assert evolving.error is None
    assert drift(db) == []


def test_only_the_owner_evolves(role: Callable[[str], str], db: Connection) -> None:
    archived_tokens(db)
    other = role("other")
    execute(db, f"grant usage on schema maintenance to {other};"
                f" grant execute on all functions in schema maintenance to {other}")  # fmt: skip
    with (
        psycopg.connect(db.info.dsn, user=other, autocommit=True) as session,
        pytest.raises(errors.InsufficientPrivilege, match=r"only the owner of public\.token may"),
    ):
        evolve(session)


def test_a_table_that_was_made_anew_goes_on_with_its_archive(tx: Connection) -> None:
    number = archived_tokens(tx, 5)
    execute(tx, "drop table token; select maintenance.remove_policy('token')")
    a_table(tx, more=", extra text")
    execute(tx, "alter table token_archive add extra text")
    register(tx, action="archive", archive_table="public.token_archive")
    assert known(tx, "(source = 'token'::regclass, is_ours, columns ? 'extra')") == ("t", "t", "t")
    assert undo(tx, number).restored == 5


def test_a_policy_that_comes_back_after_its_table_lost_a_column_can_be_registered(
    tx: Connection,
) -> None:
    archived_tokens(tx, 5)
    execute(tx, "select maintenance.remove_policy('token'); alter table token drop name")
    register(tx, action="archive", archive_table="public.token_archive")
    assert evolve(tx) == [("token_archive", "name", "dropped")]


# Proof


def archiving_at_the_gate(db: Connection) -> None:
    """Make a run that waits within its second batch, before it archives the row named gate."""
    a_table(db)
    put(db, "dead", 30)
    put(db, "gate")
    put(db, "late", 10)
    an_archive(db)
    execute(
        db,
        "create function wait_at_the_gate() returns trigger language plpgsql as $$ begin"
        " perform pg_advisory_xact_lock(1); return new; end $$;"
        " alter function wait_at_the_gate() set lock_timeout = 0;"
        " create trigger gate before insert on token_archive for each row"
        " when (new.name = 'gate') execute function wait_at_the_gate()",
    )


@pytest.mark.parametrize(
    "change",
    [
        "alter table token add extra text default 'x'",
        "alter table token_archive drop expires_at",
        "alter table token alter name type varchar(20)",
        "alter table token add extra text; alter table token_archive add extra text",
    ],
)
def test_what_changes_during_a_run_is_seen_by_the_next_batch(db: Connection, change: str) -> None:
    archiving_at_the_gate(db)
    before = rows(db, "select id from token order by id")
    with closed_gate(db), calling(
        db, "call maintenance.run_policy('token', batch_size => 10)"
    ) as running:  # fmt: skip
        until(lambda: at_the_gate(db))
        with psycopg.connect(db.info.dsn, autocommit=True) as other:
            changing = calling(db, change)
            with changing as altering:
                until(lambda: column(other, "select 1 from pg_locks where not granted"
                                            " and locktype = 'relation'"))  # fmt: skip
                execute(db, "select pg_advisory_unlock(1)")
                altering.wait()
                running.wait()
                assert getattr(altering.error, "sqlstate", None) is None
        execute(db, "select pg_advisory_lock(1)")
    ids = rows(db, "select id from token union all select id from token_archive order by id")
    assert ids == before
    if "token_archive add" not in change:
        assert running.error is not None
        assert count(db, where="name = 'late'") > 0
    else:
        assert count(db) == 0


@pytest.mark.parametrize("which", ["token", "part"])
def test_an_archive_that_keeps_rows_out_loses_nothing(tx: Connection, which: str) -> None:
    a_token_with_parts(tx)
    execute(
        tx,
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin return case when new.id % 7 = 0 then null else new end; end $$;"
        f" create trigger refuse before insert on {which}_archive for each row"
        " execute function refuse()",
    )
    with pytest.raises(errors.DataException) as refusal, tx.transaction():
        execute(tx, "select maintenance.purge_batch('token')")
    assert f"rows left public.{which}, and" in str(refusal.value.diag.message_primary)
    assert refusal.value.diag.message_hint == "A trigger or a rule of the archive keeps rows out."
    assert [count(tx, table) for table in ("token", "part")] == [20, 60]


def a_token_with_parts(db: Connection, *, archives: bool = True, **settings: Any) -> None:
    """Make tokens, each with three parts, whose policy archives both."""
    a_table(db)
    put(db, "dead", 20)
    execute(
        db,
        "create table part (id bigint primary key, token bigint references token, name text);"
        "create index on part (token);"
        "insert into part select n, n % 20 + 1, 'part' from generate_series(1, 60) as n;"
        "select maintenance.create_archive(made::regclass) from unnest(array['token', 'part'])"
        " as made",
    )
    dependent = {"relation": "public.part", "columns": ["token"], "references": ["id"]}
    if archives:
        dependent["archive_table"] = "public.part_archive"
    register(
        db, action="archive", archive_table="public.token_archive", dependents=[dependent],
        **settings,
    )  # fmt: skip


@pytest.mark.parametrize("archives", [True, False])
def test_dependents_are_archived_if_the_policy_says_where(tx: Connection, archives: bool) -> None:
    a_token_with_parts(tx, archives=archives)
    number = archive(tx)
    assert [count(tx, name) for name in ("token", "part")] == [0, 0]
    assert count(tx, "part_archive") == (60 if archives else 0)
    assert plan(tx, number) == [
        ("ready", 80, None) if archives
        else ("ready", 20, "of 80 rows that went, 20 are in archives")
    ]  # fmt: skip
    assert rows(tx, "select removed, dependents, archives::text from maintenance.run_step") == [
        (20, 60, "{token_archive,part_archive}" if archives else "{token_archive}")
    ]
    assert scalar(tx, "select count(distinct _archived_by_step) from part_archive") == archives


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("alter table part add extra text",
         "public.part_archive has no column extra of type text: "),
        ("alter table part_archive rename to elsewhere",
         "there is no archive of public.part any more: "),
    ],
)  # fmt: skip
def test_the_archive_of_a_dependent_is_looked_at_as_well(
    tx: Connection, change: str, message: str
) -> None:
    a_token_with_parts(tx)
    execute(tx, change)
    assert str(scalar(tx, "select maintenance.find_archive_drift(known)"
                          " from maintenance.policy as known where name = 'token'")).startswith(
        message
    )  # fmt: skip
    if "extra" in change:
        assert evolve(tx) == [("part_archive", "extra", "added")]


def test_a_column_that_a_dependent_and_its_archive_gain_together_is_not_lost(
    db: Connection, another: Callable[[], Connection]
) -> None:
    """It comes between the writing of the statement and its lock."""
    a_token_with_parts(db)
    other = another()
    execute(
        other,
        "begin; alter table part add extra text default 'kept';"
        " alter table part_archive add extra text",
    )
    with calling(db) as running:
        until(
            lambda: column(
                db, "select 1 from pg_locks where not granted and relation = 'part'::regclass"
            )
        )
        execute(other, "commit")
        running.wait()
    run(db)
    assert column(db, "select distinct extra from part_archive") == ["kept"]
    assert count(db, "part_archive") == 60


def test_a_statement_that_would_be_another_now_proves_nothing(tx: Connection) -> None:
    a_token_with_parts(tx)
    ask = (
        "select maintenance.prove_archived('part', 'part_archive', {},"
        """ '{{"removed": 1, "proof": 1}}')"""
    )
    execute(tx, ask.format("true"))
    with pytest.raises(errors.DataException, match=r"columns of public\.part have just changed"):
        execute(tx, ask.format("false"))


# Risks


def risks(db: Connection, policy: str = "token") -> dict[str, tuple[str, str | None]]:
    """Return the risks of a policy that are about archives."""
    return {
        risk: (message, statement)
        for risk, message, statement in policies.alter(db, policy)
        if risk in ("kept_forever", "no_undo", "lost_dependents")
    }


def notices(db: Connection, policy: str = "token") -> list[str]:
    """Return what the doctor remarks on a policy."""
    return column(
        db, "select message from maintenance.diagnose_policy(%s) where state = 'notice'", policy
    )


def test_an_archive_that_no_policy_tends_is_a_risk_with_the_policy_that_would(
    tx: Connection,
) -> None:
    archived_tokens(tx)
    message, statement = risks(tx)["kept_forever"]
    assert message == "no policy tends public.token_archive: what is archived there stays for ever"
    assert message in notices(tx)
    execute(tx, str(statement))
    assert risks(tx) == {}
    assert message not in notices(tx)
    assert policies.setting(tx, "token_archive", "branches") == [{"column": "_archived_at"}]
    execute(tx, "update token_archive set _archived_at = now() - interval '3 years' where id < 5")
    archive(tx, "token_archive")
    assert count(tx, "token_archive") == 16


def test_an_archive_without_the_notes_is_a_risk_with_the_statement_that_adds_them(
    tx: Connection,
) -> None:
    a_table(tx)
    execute(tx, "create table own (like token, _archived_at timestamptz)")
    register(tx, action="archive", archive_table="public.own")
    message, statement = risks(tx)["no_undo"]
    assert message == "public.own does not note which run archived a row: no run can be undone"
    assert message in notices(tx)
    assert statement == "alter table public.own add column _archived_by_step bigint"
    execute(tx, str(statement))
    assert [*risks(tx)] == ["kept_forever"]
    execute(tx, "alter table own drop _archived_at")
    assert risks(tx)["no_undo"][1] == "alter table public.own add column _archived_at timestamptz"
    assert risks(tx)["kept_forever"][1] is None
    execute(tx, "alter table token add _archived_at text; alter table own add _archived_at text")
    assert risks(tx)["no_undo"][1] is None


@pytest.mark.parametrize("archives", [True, False])
def test_dependents_that_are_deleted_are_a_risk(tx: Connection, archives: bool) -> None:
    a_token_with_parts(tx, archives=archives)
    said = "rows of public.part go with those that are archived, and no undo brings them back"
    assert risks(tx).get("lost_dependents") == (None if archives else (said, None))
    assert (said in notices(tx)) is not archives


@pytest.mark.parametrize("how", ["cascade", "set null", "no action"])
def test_what_foreign_keys_take_along_is_a_risk(tx: Connection, how: str) -> None:
    a_table(tx)
    execute(tx, f"create table part (token bigint references token on delete {how})")
    an_archive(tx, allow_cascade=True)
    assert ("lost_dependents" in risks(tx)) == (how != "no action")


def test_what_only_deletes_has_no_risk_of_archives(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    assert risks(tx) == {}


def test_the_archives_of_a_policy_are_described(tx: Connection) -> None:
    a_token_with_parts(tx)
    execute(tx, str(risks(tx)["kept_forever"][1]).replace("part_archive", "token_archive")
            .replace("token_archive1", "tending"))  # fmt: skip
    described = scalar(tx, "select maintenance.describe_policy('token')")
    assert described["archive_problem"] is None
    assert [one["archive"] for one in described["archives"]] == [
        "public.token_archive", "public.part_archive"
    ]  # fmt: skip
    assert described["archives"][1] == {
        "relation": "public.part", "archive": "public.part_archive", "is_ours": True,
        "records_steps": True, "former_columns": [], "tended_by": [],
    }  # fmt: skip
    assert len(described["archives"][0]["tended_by"]) == 1


# Dropped with us


@pytest.mark.parametrize("held", [1, 5])
def test_a_rollback_refuses_while_an_archive_of_ours_holds_rows(tx: Connection, held: int) -> None:
    archived_tokens(tx, held)
    execute(tx, "create table own (like token)")
    with pytest.raises(errors.ObjectNotInPrerequisiteState) as refusal, tx.transaction():
        execute(tx, "select maintenance.drop_archives()")
    assert refusal.value.diag.message_primary == (
        f"archive public.token_archive holds {held} rows, and would be dropped"
    )
    assert "set maintenance.drop_archives to on" in str(refusal.value.diag.message_hint)
    assert count(tx, "token_archive") == held


@pytest.mark.parametrize("way", ["empty", "confirmed"])
def test_archives_of_ours_go_when_they_are_empty_or_that_was_confirmed(
    tx: Connection, way: str
) -> None:
    archived_tokens(tx, 5)
    a_table(tx, "other")
    execute(tx, "create table own (like other)")
    register(tx, "other", action="archive", archive_table="public.own")
    put(tx, "dead", 3, table="other")
    archive(tx, "other")
    assert rows(tx, "select name::text, held from maintenance.archived_rows()") == [
        ("token_archive", 5)
    ]
    if way == "empty":
        execute(tx, "delete from token_archive")
    else:
        execute(tx, "set local maintenance.drop_archives = 'on'")
    execute(tx, "select maintenance.drop_archives()")
    assert scalar(tx, "select to_regclass('token_archive') is null")
    assert count(tx, "own") == 3
    assert count(tx, "maintenance.archive") == 0


@pytest.mark.parametrize("value", ["off", "", "yes"])
def test_only_the_word_on_confirms(tx: Connection, value: str) -> None:
    archived_tokens(tx, 5)
    execute(tx, f"set local maintenance.drop_archives = '{value}'")
    with pytest.raises(errors.ObjectNotInPrerequisiteState):
        execute(tx, "select maintenance.drop_archives()")


def test_an_archive_that_changed_hands_is_counted_and_dropped_as_its_owner(
    role: Callable[[str], str], db: Connection
) -> None:
    archived_tokens(db, 5)
    owner = role("owner")
    execute(
        db,
        f"alter table token_archive owner to {owner}; grant create on schema public to {owner};"
        f" set role {owner}; create function public.odd(integer) returns integer immutable language"
        " plpgsql as $$ begin raise warning 'evaluated as %', current_user; return $1; end $$;"
        " create index on token_archive (id) where public.odd(1) = 1; reset role",
    )
    seen: set[str] = set()
    db.add_notice_handler(lambda notice: seen.add(str(notice.message_primary)))
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="holds 5 rows"):
        execute(db, "select maintenance.drop_archives()")
    execute(db, "begin; set local maintenance.drop_archives = 'on';"
                " select maintenance.drop_archives(); commit")  # fmt: skip
    assert scalar(db, "select to_regclass('token_archive') is null")
    assert seen <= {f"evaluated as {owner}"}
