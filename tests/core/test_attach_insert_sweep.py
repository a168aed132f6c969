"""maintenance.attach_insert_sweep: what it makes, mends and refuses, how that follows the policy,
how it goes without a trace, whom it lets do it, and how it waits for a table in use.
"""

from __future__ import annotations

from threading import Timer
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from runner import api
from tests.conftest import scalar
from tests.core.runs import DEAD, LIVE, a_table, alter, calling, names, put, register, until
from tests.core.sweeps import (
    a_swept_table,
    attach,
    end_rests,
    footprint,
    put_quietly,
    refused,
    state,
)
from tests.migrations.dumps import structure
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from tests.conftest import TestServer

TRIGGER = "trigger_cleanup_token"
LONGEST = "a2345678901234567890123456789012345678901234567_50"
DEFINITION = (
    "CREATE TRIGGER {name} AFTER INSERT ON {table}{inserted}"
    " FOR EACH STATEMENT EXECUTE FUNCTION maintenance.{function}()"
)
INSERTED = " REFERENCING NEW TABLE AS inserted"
SETTINGS = "select trigger, at_once, enabled, batch_size, rest::text from maintenance.insert_sweep"


def triggers(db: Connection, table: str = "token") -> list[str]:
    """Return the triggers of a table as they would be created."""
    return column(
        db,
        "select pg_get_triggerdef(oid) from pg_catalog.pg_trigger"
        " where tgrelid = %s::regclass order by tgname",
        table,
    )


def definition(name: str = TRIGGER, *, at_once: bool = True) -> str:
    """Return how the trigger of the policy token is created."""
    return DEFINITION.format(
        name=name,
        table="public.token",
        inserted=INSERTED if at_once else "",
        function="sweep_token",
    )


def made(db: Connection) -> list[tuple[Any, ...]]:
    """Return which function and trigger sweep the table token, and when they were last written."""
    return rows(
        db,
        "select trigger.oid, trigger.xmin::text, routine.oid, routine.xmin::text"
        " from pg_catalog.pg_trigger as trigger"
        " join pg_catalog.pg_proc as routine on routine.oid = trigger.tgfoid"
        " where trigger.tgrelid = 'token'::regclass",
    )


def sweeps(db: Connection) -> bool:
    """Tell whether an insert into token removes an old one and a dead one that arrives."""
    end_rests(db)
    execute(db, "delete from token")
    put_quietly(db, "old")
    put(db, "new", expires=LIVE)
    old = names(db)
    execute(db, "select set_config('maintenance.rest_token', '~', false)")  # as in a rest
    put(db, "dead")
    return (old, names(db)) == (["new"], ["new"])


ATTACH = "select * from maintenance.attach_insert_sweep('token')"
CHANGE = "select maintenance.alter_policy('token', %s)"


# What it makes


def carts(db: Connection, owner: str | None = None) -> None:
    """Make a table of mixed case with a key of two columns, and a policy about it."""
    execute(
        db,
        'create schema "Shop";'
        ' create table "Shop"."Carts" ('
        '"Tenant" integer, "No" bigint, "expiresAt" timestamptz not null,'
        ' primary key ("No", "Tenant"));'
        ' create index on "Shop"."Carts" ("expiresAt")',
    )
    if owner is not None:
        execute(db, f'grant usage on schema "Shop" to "{owner}"')
        execute(db, f'alter table "Shop"."Carts" owner to "{owner}"')
    register(db, '"Shop"."Carts"', policy="carts", column="expiresAt")


def test_the_function_belongs_to_the_owner_of_the_table_and_is_pinned(
    role: Callable[[str], str], tx: Connection
) -> None:
    owner = role("Owner")
    carts(tx, owner)
    attach(tx, "carts")
    assert rows(
        tx,
        "select pg_get_userbyid(proowner), prosecdef, proconfig, prorettype::regtype::text,"
        " obj_description(oid, 'pg_proc'), has_function_privilege('public', oid, 'execute')"
        " from pg_catalog.pg_proc where oid = 'maintenance.sweep_carts()'::regprocedure",
    ) == [
        (
            owner,
            True,
            ["search_path=pg_catalog, pg_temp"],
            "trigger",
            'Sweep "Shop"."Carts" by the policy carts when rows are inserted.',
            False,
        )
    ]


def test_the_trigger_comes_after_the_statement_and_says_what_it_is(tx: Connection) -> None:
    carts(tx)
    attach(tx, "carts")
    assert triggers(tx, '"Shop"."Carts"') == [
        DEFINITION.format(
            name="trigger_cleanup_carts",
            table='"Shop"."Carts"',
            inserted=INSERTED,
            function="sweep_carts",
        )
    ]
    assert column(
        tx,
        "select obj_description(oid, 'pg_trigger') from pg_catalog.pg_trigger"
        " where tgname = 'trigger_cleanup_carts'",
    ) == ["Sweeps by the policy carts: see maintenance.insert_sweep_status."]


def test_the_sequence_and_the_row_are_there_and_nobody_elses(tx: Connection) -> None:
    carts(tx)
    attach(tx, "carts")
    assert rows(
        tx,
        "select policy, relation::text, trigger, at_once, pace::text, policy_enabled, enabled,"
        " batch_size, rest::text from maintenance.insert_sweep where policy = 'carts'",
    ) == [
        (
            "carts",
            '"Shop"."Carts"',
            "trigger_cleanup_carts",
            True,
            "maintenance.sweep_carts_pace",
            True,
            True,
            100,
            "00:00:00.05",
        )
    ]
    assert rows(
        tx,
        "select relkind, obj_description(oid, 'pg_class'), pg_sequence_last_value(oid),"
        " pg_get_userbyid(relowner) = (select pg_get_userbyid(nspowner)"
        " from pg_catalog.pg_namespace where nspname = 'maintenance'),"
        " has_sequence_privilege('public', oid, 'usage, select, update')"
        " from pg_catalog.pg_class where oid = 'maintenance.sweep_carts_pace'::regclass",
    ) == [
        (
            "S",
            'Until when "Shop"."Carts" is not swept, in milliseconds since 1970.',
            None,
            True,
            False,
        )
    ]


def test_the_owner_is_granted_what_its_sweep_calls_and_no_more(
    role: Callable[[str], str], tx: Connection
) -> None:
    owner = role("Owner")
    carts(tx, owner)
    before = {row for row in footprint(tx) if row[0] == "right"}
    attach(tx, "carts")
    master = scalar(
        tx, "select nspowner::regrole::text from pg_namespace where nspname = 'maintenance'"
    )
    added = {row[1:] for row in footprint(tx) if row[0] == "right"} - {row[1:] for row in before}
    assert added == {
        ("schema maintenance", f'"{owner}" USAGE f'),
        (
            "function maintenance.open_sweep(text,oid,oid,name,boolean)",
            f'"{owner}" EXECUTE f',
        ),
        (
            "function maintenance.close_sweep(text,integer,bigint,interval,jsonb)",
            f'"{owner}" EXECUTE f',
        ),
        ("function maintenance.sweep_carts()", f'"{owner}" EXECUTE f'),
        ("function maintenance.sweep_carts()", f"{master} EXECUTE f"),
        *(
            ("relation maintenance.sweep_carts_pace", f"{master} {right} f")
            for right in ("SELECT", "UPDATE", "USAGE")
        ),
    }


def test_an_insert_into_a_table_of_mixed_case_sweeps(
    role: Callable[[str], str], tx: Connection
) -> None:
    carts(tx, role("Owner"))
    execute(
        tx,
        f'insert into "Shop"."Carts" values (1, 1, {DEAD}), (1, 2, {LIVE}), (2, 1, {DEAD})',
    )
    assert attach(tx, "carts") == [
        (
            "reused_key",
            'an insert with the "No", "Tenant" of a row that has just been swept waits for that'
            ' transaction: index "Carts_pkey" is unique, and its values are neither generated nor'
            " random",
        )
    ]
    execute(tx, f'insert into "Shop"."Carts" values (1, 3, {LIVE})')
    remaining = 'select "Tenant", "No" from "Shop"."Carts" order by 1, 2'
    assert rows(tx, remaining) == [(1, 2), (1, 3)]


def test_of_rows_that_arrive_dead_the_whole_key_counts(tx: Connection) -> None:
    carts(tx)
    attach(tx, "carts")
    execute(tx, "select set_config('maintenance.rest_carts', '~', true)")
    execute(tx, "set local session_replication_role = replica")
    execute(tx, f'insert into "Shop"."Carts" values (1, 2, {DEAD}), (2, 1, {DEAD})')
    execute(tx, "set local session_replication_role = origin")
    execute(tx, f'insert into "Shop"."Carts" values (1, 1, {DEAD}), (2, 2, {DEAD}), (3, 3, {LIVE})')
    remaining = 'select "Tenant", "No" from "Shop"."Carts" order by 1, 2'
    assert rows(tx, remaining) == [(1, 2), (2, 1), (3, 3)]


def test_a_column_that_a_key_includes_does_not_keep_rows_that_arrive_dead(tx: Connection) -> None:
    execute(
        tx,
        "create table token (id bigint generated by default as identity,"
        " expires_at timestamptz, name text, note text, primary key (id) include (note));"
        " create index on token (expires_at)",
    )
    register(tx)
    attach(tx)
    execute(tx, "select set_config('maintenance.rest_token', '~', true)")
    put(tx, "dead")
    assert names(tx) == []


# The name of the trigger


def test_a_long_name_is_cut_as_postgresql_cuts_it(tx: Connection) -> None:
    a_table(tx)
    execute(tx, "create index on token (expires_at)")
    register(tx, policy=LONGEST)
    attach(tx, LONGEST)
    assert len(LONGEST) == 50
    cut = f"trigger_cleanup_{LONGEST}"[:63]
    assert column(tx, "select tgname from pg_trigger where tgrelid = 'token'::regclass") == [cut]
    assert state(tx, LONGEST) == [("on", None)]
    put_quietly(tx, "old")
    put(tx, "new", expires=LIVE)
    assert names(tx) == ["new"]
    again = footprint(tx)
    attach(tx, LONGEST)
    assert footprint(tx) == again
    execute(tx, "select maintenance.detach_insert_sweep(%s)", LONGEST)
    assert triggers(tx) == []


def test_a_name_of_ones_own_is_taken_as_it_is(tx: Connection) -> None:
    a_table(tx)
    execute(tx, "create index on token (expires_at)")
    register(tx)
    attach(tx, trigger='Sweep "it"')
    assert triggers(tx) == [definition('"Sweep ""it"""')]
    assert sweeps(tx)
    attach(tx)
    assert triggers(tx) == [definition('"Sweep ""it"""')]
    execute(tx, "select maintenance.detach_insert_sweep('token')")
    assert triggers(tx) == []


def test_another_name_takes_the_place_of_the_old_one(tx: Connection) -> None:
    a_swept_table(tx, at_once=False)
    attach(tx, trigger="other")
    assert triggers(tx) == [definition("other", at_once=False)]
    assert rows(tx, f"{SETTINGS} where policy = 'token'") == [
        ("other", False, True, 100, "00:00:00.05")
    ]
    assert state(tx) == [("on", None)]


FOREIGN = (
    "create function bystander() returns trigger language plpgsql as"
    " $$ begin return null; end $$;"
    ' create trigger "Other" after insert on token execute function bystander();'
    f" create trigger {TRIGGER} after insert on token execute function bystander();"
)


@pytest.mark.parametrize("name", [TRIGGER, "Other"], ids=["usual", "own"])
def test_a_trigger_of_that_name_that_is_somebody_elses_is_left_alone(
    tx: Connection, name: str
) -> None:
    a_table(tx)
    execute(tx, "create index on token (expires_at)")
    register(tx)
    execute(tx, FOREIGN)
    quoted = scalar(tx, "select quote_ident(%s)", name)
    expected = (
        f"public.token has a trigger {quoted} already",
        None,
        "Drop it, or give this one another name: trigger => '...'.",
    )
    named = f"select maintenance.attach_insert_sweep('token', '{name}')"
    assert refused(tx, named, error=errors.DuplicateObject) == expected
    if name == TRIGGER:
        assert refused(tx, ATTACH, error=errors.DuplicateObject) == expected
    attach(tx, trigger="mine")
    assert definition("mine") in triggers(tx)
    assert len(triggers(tx)) == 3
    assert refused(tx, named, error=errors.DuplicateObject) == expected
    attach(tx)
    assert definition("mine") in triggers(tx)


def test_the_trigger_of_another_table_may_have_the_same_name(tx: Connection) -> None:
    a_swept_table(tx)
    a_table(tx, "other")
    execute(tx, "create index on other (expires_at)")
    register(tx, "other")
    attach(tx, "other", trigger=TRIGGER)
    put_quietly(tx, "old", table="other")
    put_quietly(tx, "old")
    put(tx, "new", expires=LIVE, table="other")
    assert (names(tx), names(tx, "other")) == (["old"], ["new"])


# What it does when it is there already


@pytest.mark.parametrize("at_once", [True, False])
def test_at_once_can_be_chosen_changed_and_kept(tx: Connection, at_once: bool) -> None:
    a_swept_table(tx, at_once=at_once)
    for wanted in (at_once, not at_once, at_once):
        for again in (False, True):
            if again:
                attach(tx)
            else:
                attach(tx, at_once=wanted)
            assert triggers(tx) == [definition(at_once=wanted)]
            assert rows(tx, f"{SETTINGS} where policy = 'token'")[0][1] is wanted
            assert state(tx) == [("on", None)]
        execute(tx, "delete from token; select set_config('maintenance.rest_token', '~', true)")
        put(tx, "dead")
        assert names(tx) == ([] if wanted else ["dead"])


@pytest.mark.parametrize("at_once", [True, False])
def test_attaching_twice_changes_nothing_and_does_not_touch_the_table(
    db: Connection, another: Callable[[], Connection], at_once: bool
) -> None:
    a_swept_table(db, at_once=at_once)
    execute(
        db,
        "select maintenance.set_insert_sweep('token', false, 7, '2 s');"
        " select setval('maintenance.sweep_token_pace', 42)",
    )
    before = footprint(db), made(db)
    holder = another()
    execute(db, "set statement_timeout = '5 s'")
    with holder.transaction():
        put(holder, "new", expires=LIVE)
        attach(db)
        attach(db, trigger=TRIGGER, at_once=at_once)
    assert (footprint(db), made(db)) == before
    assert rows(db, f"{SETTINGS} where policy = 'token'") == [
        (TRIGGER, at_once, False, 7, "00:00:02")
    ]
    assert scalar(db, "select last_value from maintenance.sweep_token_pace") == 42


def test_a_second_policy_of_the_same_table_is_refused(tx: Connection) -> None:
    a_swept_table(tx)
    register(tx, policy="second")
    assert refused(
        tx, "select maintenance.attach_insert_sweep('second')", error=errors.DuplicateObject
    ) == (
        "public.token sweeps on insert already, by the policy token",
        None,
        "A table has one sweep: give that policy another branch, or detach it first.",
    )
    execute(tx, "select maintenance.detach_insert_sweep('token')")
    attach(tx, "second")
    assert state(tx, "second") == [("on", None)]
    assert refused(tx, ATTACH, error=errors.DuplicateObject)[0] == (
        "public.token sweeps on insert already, by the policy second"
    )


def test_a_policy_that_does_not_exist_is_refused(tx: Connection) -> None:
    assert refused(tx, ATTACH, error=errors.UndefinedObject)[0] == "there is no policy 'token'"


DAMAGE = {
    "nothing": "",
    "no trigger": f"drop trigger {TRIGGER} on token",
    "another name": f"alter trigger {TRIGGER} on token rename to elsewhere",
    "disabled": f"alter table token disable trigger {TRIGGER}",
    "all disabled": "alter table token disable trigger all",
    "only for replication": f"alter table token enable replica trigger {TRIGGER}",
    "for replication as well": f"alter table token enable always trigger {TRIGGER}",
    "once per row": (
        f"create or replace trigger {TRIGGER} after insert on token for each row"
        " execute function maintenance.sweep_token()"
    ),
    "another body": (
        "create or replace function maintenance.sweep_token() returns trigger language plpgsql"
        " security definer set search_path = pg_catalog, pg_temp as"
        " $$ begin return null; end $$"
    ),
    "the rights of the inserter": "alter function maintenance.sweep_token() security invoker",
    "another path": "alter function maintenance.sweep_token() set search_path = public",
    "no path": "alter function maintenance.sweep_token() reset search_path",
    "one more setting": "alter function maintenance.sweep_token() set timezone = 'UTC'",
    "no function": "drop function maintenance.sweep_token() cascade",
    "another owner": "alter table token owner to {owner}",
    "another owner of the function": (
        "grant create on schema maintenance to {owner};"
        " alter function maintenance.sweep_token() owner to {owner};"
        " revoke create on schema maintenance from {owner}"
    ),
    "no rows": "truncate token",
    "another table name": "alter table token rename to other; alter table other rename to token",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_attaching_again_mends_what_somebody_broke_and_keeps_the_settings(
    role: Callable[[str], str], tx: Connection, damage: str
) -> None:
    owner = role("owner")
    a_swept_table(tx)
    execute(tx, "select maintenance.set_insert_sweep('token', true, 7, '2 s')")
    assert sweeps(tx)
    if damage:
        execute(tx, DAMAGE[damage].format(owner=owner))
    attach(tx)
    assert triggers(tx) == [definition()]
    assert state(tx) == [("on", None)]
    assert sweeps(tx)
    assert rows(tx, f"{SETTINGS} where policy = 'token'") == [(TRIGGER, True, True, 7, "00:00:02")]
    assert scalar(
        tx,
        "select proowner = relowner from pg_catalog.pg_proc, pg_catalog.pg_class"
        " where proname = 'sweep_token' and pg_class.oid = 'token'::regclass",
    )


def test_a_former_owner_keeps_no_right_of_the_sweep(
    role: Callable[[str], str], tx: Connection
) -> None:
    former, owner = role("former"), role("owner")
    a_table(tx)
    execute(tx, "create index on token (expires_at)")
    execute(tx, f"alter table token owner to {former}")
    register(tx)
    attach(tx)
    execute(tx, f"alter table token owner to {owner}")
    alter(tx)
    attach(tx)
    assert [row for row in footprint(tx) if former in "".join(row)] == []


def register_for_a_chain(db: Connection, table: str) -> None:
    """Register the policy token about a table as a script of a chain does, again and again."""
    execute(
        db,
        "select maintenance.register_policy('token', %s, %s, 'core')",
        table,
        Jsonb({"column": "expires_at"}),
    )


def test_a_chain_may_move_its_policy_to_another_table(tx: Connection) -> None:
    a_table(tx)
    a_table(tx, "newer")
    execute(tx, "create index on token (expires_at); create index on newer (expires_at)")
    register_for_a_chain(tx, "token")
    attach(tx)
    register_for_a_chain(tx, "newer")
    moved = scalar(tx, "select relation::text from maintenance.insert_sweep where policy = 'token'")
    assert moved == "newer" or state(tx)[0][0] == "broken"
    attach(tx)
    assert triggers(tx) == []
    assert [one.partition(" ON ")[2].partition(" ")[0] for one in triggers(tx, "newer")] == [
        "public.newer"
    ]
    assert state(tx) == [("on", None)]


def test_a_chain_may_build_the_table_anew(tx: Connection) -> None:
    a_table(tx)
    execute(tx, "create index on token (expires_at)")
    register_for_a_chain(tx, "token")
    attach(tx)
    execute(tx, "drop table token")
    a_table(tx)
    execute(tx, "create index on token (expires_at)")
    register_for_a_chain(tx, "token")
    attach(tx)
    assert triggers(tx) == [definition()]
    assert sweeps(tx)


# How it follows the policy

CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, {"old", "dead", "held"}),
    "retention": ({"retention": "1 day"}, {"old"}),
    "grace": ({"grace": "1 day"}, {"old"}),
    "condition": ({"condition": "target.name <> 'dead'"}, {"old", "held"}),
    "hold_column": ({"hold_column": "held"}, {"old", "dead"}),
    "zone": ({"zone": "Asia/Tokyo"}, {"old", "dead", "held", "ahead"}),
    "comparison": (
        {"branches": [{"column": "expires_at", "comparison": "<="}]},
        {"old", "dead", "held", "edge"},
    ),
    "branches": (
        {"branches": [{"column": "used_at"}, {"column": "local_at"}]},
        {"used"},
    ),
    "one more branch": (
        {
            "branches": [
                {"column": "expires_at"},
                {"column": "used_at", "condition": "target.name = 'used'"},
            ]
        },
        {"old", "dead", "held", "used"},
    ),
    "another branch's retention": (
        {"branches": [{"column": "expires_at", "retention": "1 day"}], "retention": "9 days"},
        {"old"},
    ),
    "a key": (
        {"branches": [{"condition": "target.held", "key": "id"}]},
        {"held"},
    ),
}
MORE = ", held boolean not null default false, used_at timestamptz, local_at timestamp"
ROWS = f"""
insert into token (name, expires_at, held, used_at, local_at) values
    ('old', now() - interval '2 days', false, null, null),
    ('dead', now() - interval '1 hour', false, null, null),
    ('held', now() - interval '1 hour', true, null, null),
    ('used', {LIVE}, false, now() - interval '1 hour', null),
    ('edge', now(), false, null, null),
    ('ahead', {LIVE}, false, null, now() at time zone 'UTC' + interval '1 hour')
"""
ALL = {"old", "dead", "held", "used", "edge", "ahead"}


def a_table_of_all(db: Connection, *, at_once: bool) -> None:
    """Make a swept table with a row for each of the CHANGES to tell apart."""
    a_table(db, more=MORE)
    execute(
        db,
        "create index on token (expires_at); create index on token (used_at);"
        " create index on token (local_at)",
    )
    register(db, branches=[{"column": "expires_at"}, {"column": "local_at"}])
    attach(db, at_once=at_once)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["swept", "on arrival"])
def test_a_changed_policy_changes_what_goes_at_once(tx: Connection, change: str, how: str) -> None:
    changes, goes = CHANGES[change]
    a_table_of_all(tx, at_once=how == "on arrival")
    before = made(tx)[0][:3]
    alter(tx, **changes)
    assert made(tx)[0][:3] == before
    assert state(tx) == [("on", None)]
    if how == "swept":
        execute(tx, f"set local session_replication_role = replica; {ROWS}")
        execute(tx, "set local session_replication_role = origin")
        put(tx, "new", expires="'infinity'")
        assert {*names(tx)} == (ALL | {"new"}) - goes
    else:
        execute(tx, "select set_config('maintenance.rest_token', '~', true)")
        execute(tx, ROWS)
        assert {*names(tx)} == ALL - goes


def test_a_change_that_is_taken_back_is_swept_as_before(tx: Connection) -> None:
    a_swept_table(tx)
    body = scalar(tx, "select prosrc from pg_proc where proname = 'sweep_token'")
    alter(tx, retention="2 days")
    assert scalar(tx, "select prosrc from pg_proc where proname = 'sweep_token'") != body
    assert not sweeps(tx)
    alter(tx, retention=None)
    assert scalar(tx, "select prosrc from pg_proc where proname = 'sweep_token'") == body
    assert sweeps(tx)


def test_a_policy_changes_while_the_table_is_in_use(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table_of_all(db, at_once=True)
    holder, user = another(), another()
    execute(db, "set statement_timeout = '5 s'")
    with holder.transaction():
        put_quietly(holder, "held", expires=LIVE)  # without it holding the lock of a sweep
        for change in ("retention", "condition", "hold_column", "branches", "zone"):
            changes, _ = CHANGES[change]
            alter(db, **changes)
            execute(db, CHANGE, Jsonb(dict.fromkeys(changes)))
        execute(db, "select maintenance.enable_policy('token', false)")
        execute(db, "select maintenance.enable_policy('token', true)")
        alter(db, retention="1 day")
        put_quietly(user, "old", expires="now() - interval '25 hours'")
        put_quietly(user, "young", expires="now() - interval '23 hours'")
        put(user, "new", expires=LIVE)
        assert names(user) == ["new", "young"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "archive": (
        {"action": "archive", "archive_table": "public.archive"},
        "its action is archive, and a sweep only deletes",
    ),
    "set": (
        {"action": "set", "assignments": "expires_at = null"},
        "its action is set, and a sweep only deletes",
    ),
    "selector": (
        {"selector": "public.selected", "branches": []},
        "it has a selector, and a sweep walks the rows of its branches",
    ),
    "dependents": (
        {"dependents": [{"relation": "public.part", "columns": ["token"], "references": ["id"]}]},
        "rows of other tables have to go first",
    ),
    "backup_within": (
        {"backup_within": "1 day"},
        "it needs a backup before rows go, which an insert cannot see to",
    ),
    "a query": (
        {"condition": "target.id in (SELECT token from public.part)"},
        "a condition reads other tables, whose locks an insert would wait for",
    ),
    "a query in a branch": (
        {
            "branches": [
                {"column": "expires_at", "condition": "exists (select from public.part)"},
            ]
        },
        "a condition reads other tables, whose locks an insert would wait for",
    ),
    "no way to walk": (
        {"branches": [{"column": "expires_at"}, {"condition": "target.name = 'x'"}]},
        "branch 2 has neither a column nor a key to walk its rows by",
    ),
    "no index": (
        {"branches": [{"column": "expires_at"}, {"column": "usedAt"}]},
        'branch 2 has no index on "usedAt": each sweep would read the whole table',
    ),
}
HINT = "A run of the policy does without; maintenance.detach_insert_sweep removes a sweep."


def the_tables_beside(db: Connection) -> None:
    """Make what the REFUSED settings name."""
    execute(
        db,
        'alter table token add "usedAt" timestamptz;'
        " create table archive (like token); create table part (token bigint);"
        " create view selected as select id from token where name = 'x'",
    )


@pytest.mark.parametrize("setting", REFUSED)
def test_a_change_that_a_sweep_cannot_follow_is_refused_as_a_whole(
    tx: Connection, setting: str
) -> None:
    a_swept_table(tx)
    the_tables_beside(tx)
    changes, reason = REFUSED[setting]
    # What the table lacks does not keep its policy from being switched off.
    enabled = setting == "no index"
    assert refused(
        tx,
        CHANGE,
        Jsonb({**changes, "retention": "9 days", "is_enabled": enabled}),
    ) == (
        f"policy token cannot sweep public.token on insert: {reason}",
        "Nothing was changed.",
        HINT,
    )
    assert rows(tx, "select * from maintenance.policy_override where policy = 'token'") == []
    assert sweeps(tx)


@pytest.mark.parametrize("setting", REFUSED)
def test_a_policy_that_cannot_be_swept_is_not_attached(tx: Connection, setting: str) -> None:
    a_table(tx)
    execute(tx, "create index on token (expires_at)")
    the_tables_beside(tx)
    changes, reason = REFUSED[setting]
    given = {"column": "expires_at", **changes}
    if "branches" in changes:
        del given["column"]
    if "selector" in changes:
        del given["branches"]
    execute(tx, "select maintenance.register_policy('token', 'token', %s)", Jsonb(given))
    assert refused(tx, ATTACH) == (
        f"policy token cannot sweep public.token on insert: {reason}",
        "Nothing was changed.",
        HINT,
    )


def test_a_policy_is_switched_off_and_on_with_its_sweep(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_swept_table(db)
    other, before = another(), made(db)
    execute(db, "select maintenance.enable_policy('token', false)")
    put_quietly(db, "old")
    for session in (db, other):
        put(session, "new", expires=LIVE)
        put(session, "dead")
    assert names(db) == ["dead", "new", "old"]
    execute(db, "select maintenance.enable_policy('token', true)")
    for session in (db, other):
        end_rests(session)
        put(session, "new", expires=LIVE)
    assert names(db) == ["new"]
    assert made(db) == before


def test_a_policy_can_be_switched_off_though_its_sweep_is_broken(tx: Connection) -> None:
    a_swept_table(tx)
    execute(tx, "create table part (token bigint references token)")
    execute(tx, "select maintenance.enable_policy('token', false)")
    assert rows(tx, "select is_enabled from maintenance.policy where name = 'token'") == [(False,)]


def test_a_policy_attached_while_it_is_off_sweeps_once_it_is_on(tx: Connection) -> None:
    a_table(tx)
    execute(tx, "create index on token (expires_at)")
    register(tx, is_enabled=False)
    assert attach(tx) == [("disabled", "nothing is swept until the policy is enabled")]
    assert not sweeps(tx)
    execute(tx, "select maintenance.enable_policy('token', true)")
    assert sweeps(tx)


WHILE_ATTACHING = {
    "altered": ("""select maintenance.alter_policy('token', '{"retention": "9 days"}')""", "on"),
    "removed": ("select maintenance.remove_policy('token')", None),
}


@pytest.mark.parametrize("change", WHILE_ATTACHING)
def test_a_policy_that_changes_while_its_sweep_is_being_attached_counts_as_it_is_then(
    db: Connection, another: Callable[[], Connection], change: str
) -> None:
    statement, outcome = WHILE_ATTACHING[change]
    a_table(db)
    execute(db, "create index on token (expires_at)")
    register(db)
    execute(db, "begin")
    execute(db, statement)
    observer = another()
    with calling(db, ATTACH) as call:
        until(
            lambda: (
                column(observer, "select pg_blocking_pids(%s)", call.pid) == [[db.info.backend_pid]]
            )
        )
        execute(db, "commit")
        call.wait()
    assert state(db) == ([] if outcome is None else [(outcome, None)])
    put_quietly(db, "old")
    put(db, "new", expires=LIVE)
    assert names(db) == ["new", "old"]


@pytest.mark.parametrize("suffix", ["from", "failed", "pace"])
def test_a_policy_whose_name_continues_that_of_another_does_not_disturb_it(
    tx: Connection, suffix: str
) -> None:
    longer = f"token_{suffix}"
    a_swept_table(tx)
    a_swept_table(tx, longer)
    for first, second in (("token", longer), (longer, "token")):
        for table in (first, second):
            end_rests(tx, table)
            execute(tx, f"truncate {table}")
            put_quietly(tx, "old", table=table)
        for table in (first, second):
            put(tx, "new", expires=LIVE, table=table)
        assert (names(tx, first), names(tx, second)) == (["new"], ["new"])


# How it goes


def owned_table(db: Connection, owner: str) -> None:
    """Make a table with a policy that belongs to a role, or to whoever owns the schema."""
    a_table(db)
    execute(db, "create index on token (expires_at)")
    if owner:
        execute(db, f"alter table token owner to {owner}")
    register(db)


DETACH = "select maintenance.detach_insert_sweep('token')"
REMOVE = "select maintenance.remove_policy('token')"


@pytest.mark.parametrize("owned", ["by whoever owns the schema", "by another role"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_sweep_that_is_detached_leaves_no_trace(
    role: Callable[[str], str], tx: Connection, owned: str, at_once: bool
) -> None:
    owned_table(tx, role("owner") if "another" in owned else "")
    before = footprint(tx)
    attach(tx, at_once=at_once)
    put_quietly(tx, "old", 150)
    put(tx, "new", expires=LIVE)
    assert footprint(tx) != before
    execute(tx, DETACH)
    assert footprint(tx) == before
    put(tx, "dead")
    assert names(tx) == ["dead", "new", "old"]


@pytest.mark.parametrize("owned", ["by whoever owns the schema", "by another role"])
def test_a_sweep_goes_with_its_policy(
    role: Callable[[str], str], tx: Connection, owned: str
) -> None:
    owner = role("owner") if "another" in owned else ""
    owned_table(tx, owner)
    execute(tx, REMOVE)
    before = footprint(tx)
    register(tx)
    attach(tx)
    execute(tx, REMOVE)
    assert footprint(tx) == before


def test_a_dump_of_the_database_is_the_same_as_before(
    role: Callable[[str], str], server: TestServer, db: Connection
) -> None:
    owned_table(db, role("owner"))
    url = server.url(db.info.dbname)
    before = structure(url)
    attach(db)
    put_quietly(db, "old")
    put(db, "new", expires=LIVE)
    assert "sweep_token" in structure(url)
    execute(db, DETACH)
    assert structure(url) == before


def test_a_rollback_of_the_scripts_takes_every_sweep_along(
    role: Callable[[str], str], empty: str
) -> None:
    owner = role("owner")
    api.migrate(empty, applications=["none"], to="core/0004_register_policies")
    with psycopg.connect(empty, autocommit=True) as db:
        owned_table(db, owner)
        before = structure(empty)
        api.migrate(empty, applications=["none"])
        a_swept_table(db, "other")
        attach(db)
        put(db, "new", expires=LIVE)
        execute(db, "select maintenance.remove_policy('other'); drop table other")
        plan = api.plan_rollback(empty, to="core/0004_register_policies")
        api.rollback(empty, plan, backup_folder=None)
    assert structure(empty) == before


@pytest.mark.parametrize("kind", ["operator", "monitor"])
def test_an_owner_keeps_what_was_granted_for_something_else(
    role: Callable[[str], str], tx: Connection, kind: str
) -> None:
    owner = role("owner")
    owned_table(tx, owner)
    execute(tx, f"select maintenance.grant_{kind}('{owner}')")
    before = footprint(tx)
    attach(tx)
    execute(tx, DETACH)
    assert footprint(tx) == before
    assert scalar(tx, f"select has_schema_privilege('{owner}', 'maintenance', 'usage')")


def test_an_owner_keeps_what_another_sweep_needs(
    role: Callable[[str], str], tx: Connection
) -> None:
    owner = role("owner")
    owned_table(tx, owner)
    a_table(tx, "other")
    execute(tx, f"create index on other (expires_at); alter table other owner to {owner}")
    register(tx, "other")
    before = footprint(tx)
    attach(tx, "other")
    one = footprint(tx)
    attach(tx)
    execute(tx, DETACH)
    assert footprint(tx) == one
    put_quietly(tx, "old", table="other")
    put(tx, "new", expires=LIVE, table="other")
    assert names(tx, "other") == ["new"]
    execute(tx, "select maintenance.detach_insert_sweep('other')")
    assert footprint(tx) == before


@pytest.mark.parametrize("damage", [*(one for one in DAMAGE if one != "another name"), "no table"])
@pytest.mark.parametrize("owned", ["by whoever owns the schema", "by another role"])
@pytest.mark.parametrize("how", [DETACH, REMOVE], ids=["detached", "removed"])
def test_a_broken_sweep_leaves_no_trace_either(
    role: Callable[[str], str], tx: Connection, damage: str, owned: str, how: str
) -> None:
    former, owner = role("former"), role("owner")
    text = {**DAMAGE, "no table": "drop table token"}[damage].format(owner=owner)
    owned_table(tx, former if "another" in owned else "")
    with tx.transaction(force_rollback=True):
        if "drop table" in text or "alter table token owner" in text:
            execute(tx, text)
        if how == REMOVE:
            execute(tx, REMOVE)
        else:
            execute(tx, "select maintenance.drop_idle_executors()")
            if "table token owner" in text:
                execute(tx, f"select maintenance.install_executor('{owner}')")
        expected = footprint(tx)
    attach(tx)
    if text:
        execute(tx, text)
    execute(tx, how)
    assert footprint(tx) == expected


def test_a_trigger_that_was_renamed_goes_as_well(tx: Connection) -> None:
    owned_table(tx, "")
    before = footprint(tx)
    attach(tx)
    execute(tx, DAMAGE["another name"])
    execute(tx, DETACH)
    assert footprint(tx) == before


@pytest.mark.parametrize("what", ["detach_insert_sweep", "set_insert_sweep"])
def test_what_does_not_sweep_cannot_be_detached_or_set(tx: Connection, what: str) -> None:
    owned_table(tx, "")
    assert refused(tx, f"select maintenance.{what}('token')", error=errors.UndefinedObject)[0] == (
        "the policy token does not sweep on insert"
    )


# How it waits for a table in use


PATIENT = {
    "attach": (False, ATTACH),
    "at_once": (True, "select * from maintenance.attach_insert_sweep('token', at_once => false)"),
    "name": (True, "select * from maintenance.attach_insert_sweep('token', 'other')"),
    "detach": (True, DETACH),
    "remove": (True, REMOVE),
}


@pytest.mark.parametrize("case", PATIENT)
def test_changing_the_trigger_of_a_busy_table_never_holds_up_inserts(
    db: Connection, another: Callable[[], Connection], case: str
) -> None:
    is_attached, statement = PATIENT[case]
    owned_table(db, "")
    if is_attached:
        attach(db)
    before = triggers(db)
    holder, user = another(), another()
    execute(holder, "begin")
    put(holder, "held", expires=LIVE)
    release = Timer(0.4, holder.commit)
    execute(user, "set lock_timeout = '300 ms'")
    with calling(db, statement) as call:
        until(
            lambda: (
                column(
                    db,
                    "select wait_event from pg_stat_activity where pid = %s and"
                    " wait_event in ('PgSleep', 'relation')",
                    call.pid,
                )
                != []
            )
        )
        release.start()
        try:
            while not call.is_done:
                put(user, "new", expires=LIVE)
        finally:
            release.join()
        assert call.error is None
    assert triggers(db) != before


def test_a_table_that_stays_in_use_is_given_up_with_a_hint(
    db: Connection, another: Callable[[], Connection]
) -> None:
    owned_table(db, "")
    impatient = scalar(
        db, "select pg_get_functiondef('maintenance.run_with_patience'::regproc)"
    ).replace("in 1..42 loop", "in 1..2 loop")
    assert "1..2 " in impatient
    execute(db, impatient)
    holder = another()
    with holder.transaction():
        put(holder, "held", expires=LIVE)
        assert refused(db, ATTACH, error=errors.LockNotAvailable) == (
            "public.token is in use, and could not be changed within 5 s",
            "Nothing was changed.",
            "Try again when the transactions that use it have ended.",
        )
        begun = monotonic()
        with pytest.raises(errors.LockNotAvailable):
            execute(db, ATTACH)
        assert monotonic() - begun > 0.2  # two tries, and a pause after each of them


def test_settings_are_changed_while_the_table_is_locked(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_swept_table(db)
    holder = another()
    execute(db, "set statement_timeout = '5 s'")
    with holder.transaction():
        execute(holder, "lock table token in access exclusive mode")
        execute(db, "select maintenance.set_insert_sweep('token', false, 7, '2 s')")
        assert rows(db, f"{SETTINGS} where policy = 'token'") == [
            (TRIGGER, True, False, 7, "00:00:02")
        ]


# Who may


GRANTS = (
    "grant usage on schema maintenance to {user};"
    " grant execute on function maintenance.attach_insert_sweep(text, name, boolean, regprocedure),"
    " maintenance.detach_insert_sweep(text),"
    " maintenance.set_insert_sweep(text, boolean, integer, interval, interval) to {user}"
)
CALLS = (
    "select from maintenance.attach_insert_sweep('token')",
    "select maintenance.set_insert_sweep('token', batch_size => 7)",
    "select from maintenance.attach_insert_sweep('token', 'other', false)",
    "select maintenance.detach_insert_sweep('token')",
)


def call_as(db: Connection, user: str, statement: str) -> None:
    """Execute a statement as a role."""
    execute(db, f"set local role {user}")
    execute(db, statement)
    execute(db, "reset role")


@pytest.mark.parametrize("through", ["the owner", "a member", "a member who inherits nothing"])
def test_members_of_the_owner_attach_set_and_detach(
    role: Callable[[str], str], tx: Connection, through: str
) -> None:
    owner, member = role("owner"), role("member")
    if "nothing" in through:
        execute(tx, f"alter role {member} noinherit")
    owned_table(tx, owner)
    execute(tx, f"grant {owner} to {member}")
    user = owner if through == "the owner" else member
    execute(tx, GRANTS.format(user=user))
    before = footprint(tx)
    for call in CALLS:
        call_as(tx, user, call)
        assert column(
            tx,
            "select proowner::regrole::text from pg_catalog.pg_proc where proname = 'sweep_token'",
        ) == ([] if "detach" in call else [owner])
    assert footprint(tx) == before


@pytest.mark.parametrize("rights", ["on our functions", "on the table as well"])
def test_nobody_else_does(role: Callable[[str], str], tx: Connection, rights: str) -> None:
    owner, stranger = role("Owner"), role("stranger")
    owned_table(tx, f'"{owner}"')
    attach(tx)
    execute(tx, GRANTS.format(user=stranger))
    if "table" in rights:
        execute(tx, f"grant all on token to {stranger} with grant option")
    before = footprint(tx)
    for call in CALLS:
        with pytest.raises(errors.InsufficientPrivilege) as refusal, tx.transaction():
            call_as(tx, stranger, call)
        assert refusal.value.diag.message_primary == "only the owner of public.token may do this"
        assert refusal.value.diag.message_hint == f'Ask a member of role "{owner}".'
    assert footprint(tx) == before


def test_the_functions_are_nobodys_unless_they_are_granted(
    role: Callable[[str], str], tx: Connection
) -> None:
    owner = role("owner")
    owned_table(tx, owner)
    execute(tx, f"grant usage on schema maintenance to {owner}")
    for call in CALLS:
        with (
            pytest.raises(errors.InsufficientPrivilege, match="permission denied for function"),
            tx.transaction(),
        ):
            call_as(tx, owner, call)


def test_the_right_to_insert_is_enough_and_the_owner_sweeps(
    role: Callable[[str], str], db: Connection
) -> None:
    owner, user = role("owner"), role("application")
    execute(
        db,
        "create function fits(name text) returns boolean language plpgsql as"
        " $$ begin raise warning 'asked as %', current_user; return true; end $$",
    )
    owned_table(db, owner)
    alter(db, condition="public.fits(target.name)")
    attach(db)
    execute(
        db,
        "alter table token enable row level security;"
        " create policy arriving on token for insert with check (true);"
        f" grant insert on token to {user}",
    )
    put_quietly(db, "old")
    seen: list[str | None] = []
    with psycopg.connect(db.info.dsn, user=user, autocommit=True) as session:
        session.add_notice_handler(lambda notice: seen.append(notice.message_primary))
        put(session, "new", expires=LIVE)
        put(session, "dead")
    assert names(db) == ["new"]
    assert {*seen} == {f"asked as {owner}"}


@pytest.fixture
def migrated(role: Callable[[str], str], new_database: Callable[..., str]) -> tuple[str, str, str]:
    """A database that an ordinary role has migrated: how to connect, that role, and another one."""
    owner, application = role("owner"), role("application")
    url = new_database("owned", owner=owner)
    api.migrate(make_conninfo(url, user=owner), applications=["none"])
    return url, owner, application


def test_an_ordinary_role_attaches_where_it_is_a_member_of_the_owner(
    migrated: tuple[str, str, str],
) -> None:
    url, owner, application = migrated
    with psycopg.connect(url, autocommit=True) as superuser:
        execute(superuser, f"grant {application} to {owner}")
        execute(superuser, f"grant create, usage on schema public to {application}")
    with (
        psycopg.connect(url, user=owner, autocommit=True) as db,
        psycopg.connect(url, user=application, autocommit=True) as user,
    ):
        a_table(user)
        execute(user, "create index on token (expires_at)")
        register(db)
        before = footprint(db)
        attach(db)
        with psycopg.connect(url, autocommit=True) as superuser:
            put_quietly(superuser, "old")
        put(user, "new", expires=LIVE)
        put(user, "dead")
        assert names(user) == ["new"]
        alter(db, retention="1 day")
        attach(db, at_once=False, trigger="other")
        execute(user, "drop trigger other on token")
        attach(db)
        assert state(db) == [("on", None)]
        alter(db, retention=None)
        execute(db, DETACH)
        assert triggers(db) == []
        assert [row for row in footprint(db) if row[0] != "policy"] == [
            row for row in before if row[0] != "policy"
        ]


def test_an_ordinary_role_does_not_attach_where_it_is_no_member(
    migrated: tuple[str, str, str],
) -> None:
    url, owner, application = migrated
    with psycopg.connect(url, autocommit=True) as superuser:
        execute(superuser, f"grant {application} to {owner}")
        owned_table(superuser, application)
        execute(superuser, f"revoke {application} from {owner}")
    with psycopg.connect(url, user=owner, autocommit=True) as db:
        assert refused(db, ATTACH, error=errors.InsufficientPrivilege) == (
            "only the owner of public.token may do this",
            None,
            f"Ask a member of role {application}.",
        )
