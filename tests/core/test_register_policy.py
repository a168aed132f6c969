"""Registering, altering and removing policies: what is refused, what is risky, what is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.policies import alter, executors, hand_over, preview, purge, register, setting
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

SCHEMA = """
create schema app;
create table app.logs (
    id bigint primary key,
    at timestamptz,
    naive timestamp,
    ms bigint,
    note text,
    raw bytea,
    flag boolean,
    number integer
);
create index on app.logs (at);
create view app.view as select * from app.logs;
create materialized view app.copy as select * from app.logs;
create table app.archive (like app.logs);
create table app.no_note (id bigint, at timestamptz);
create table app.other_type (like app.logs);
alter table app.other_type alter column number type bigint;
create table app.generated (like app.logs);
alter table app.generated drop column number, add column number integer generated always as (1) stored;
create table app.parent (id bigint primary key, at timestamptz);
create index on app.parent (at);
create table app.child (
    id bigint primary key,
    parent bigint constraint child_parent_fkey references app.parent on delete cascade
);
create index on app.child (parent);
create table app.log_notes (log_id bigint, note text);
create view app.selected as select id from app.logs where number = 1;
create view app.unselected as select number from app.logs;
create table app.unnamed (at timestamptz);
create temporary table passing (at timestamptz);
create table app.ruled (id integer primary key, at timestamptz);
create rule keep as on delete to app.ruled do instead nothing;
"""  # noqa: E501

UNCHANGED = (
    "select (select jsonb_agg(to_jsonb(p)) from maintenance.policy as p),"
    " (select count(*) from maintenance.policy_change),"
    " (select count(*) from maintenance.policy_override),"
    " (select count(*) from maintenance.lease),"
    " (select array_agg(proname::text order by proname) from pg_catalog.pg_proc"
    " where pronamespace = 'maintenance'::regnamespace),"
    " (select nspacl::text from pg_catalog.pg_namespace where nspname = 'maintenance')"
)


@pytest.fixture
def app(tx: Connection) -> Connection:
    """A database with tables of an application."""
    execute(tx, SCHEMA)
    return tx


def refused(db: Connection, table: str, definition: Any, *, name: str = "p") -> str:
    """Expect that a definition is refused and nothing changed, and return the message."""
    before = rows(db, UNCHANGED)
    with pytest.raises(errors.Error) as refusal, db.transaction():
        execute(
            db,
            "select maintenance.register_policy(%s, %s::regclass, %s)",
            name,
            table,
            json.dumps(definition),
        )
    assert rows(db, UNCHANGED) == before
    return str(refusal.value.diag.message_primary)


def test_every_setting_has_a_usual_value(app: Connection) -> None:
    assert register(app, "p", "app.logs", column="at") == []
    stored = scalar(
        app,
        "select to_jsonb(p) - array['changed_at', 'relation', 'version']"
        " from maintenance.policy as p where name = 'p'",
    )
    assert {what: value for what, value in stored.items() if value is not None} == {
        "name": "p",
        "operation": "cleanup",
        "is_enabled": True,
        "action": "delete",
        "branches": [{"column": "at"}],
        "retention": "00:00:00",
        "grace": "00:00:00",
        "zone": "UTC",
        "dependents": [],
        "allow_cascade": False,
        "batch_size": 10000,
        "guard_rows": 1000000,
        "guard_share": 0.5,
        "severity": "LOW",
        "priority": 100,
        "shipped": {"column": "at"},
        "changed_by": scalar(app, "select current_user"),
    }
    assert scalar(app, "select relation::text from maintenance.policy where name = 'p'") == (
        "app.logs"
    )


BAD: list[tuple[Any, str]] = [
    ({"column": "at", "retension": "1 day"}, "there is no setting retension"),
    ({"column": "at", "name": "q"}, "there is no setting name"),
    *(
        ({"column": "at", given: "x"}, f"there is no setting {given}")
        for given in ("relation", "chain", "shipped", "version", "changed_at", "changed_by")
    ),
    ({"column": "nope"}, "branch 1: app.logs has no column nope"),
    ({"column": "At"}, 'branch 1: app.logs has no column "At"'),
    ({"column": "ctid"}, "branch 1: app.logs has no column ctid"),
    ({"column": None}, "branch 1: app.logs has no column null"),
    ({"column": "note"}, "branch 1: column note is of type text, which tells no time"),
    ({"column": "raw"}, "branch 1: column raw is of type bytea, which tells no time"),
    ({"column": "flag"}, "branch 1: column flag is of type boolean, which tells no time"),
    ({"column": "ms"}, "column ms is a number: say whether its unit is s or ms since 1970"),
    ({"column": "ms", "unit": "us"}, "column ms is a number: say whether its unit is s or ms"),
    ({"column": "at", "unit": "s"}, "column at is of type timestamp with time zone, which has no"),
    ({"column": "naive", "unit": "ms"}, "column naive is of type timestamp without time zone,"),
    ({"column": "at", "comparison": ">"}, "branch 1: comparison must be < or <="),
    ({"column": "at", "comparison": "< now() or true or at <"}, "comparison must be < or <="),
    ({"column": "at", "retention": "-1 microsecond"}, "retention must not be negative"),
    ({"column": "at", "retention": "1 mon -30 days"}, "retention must not be negative"),
    ({"column": "at", "retention": "1 day -24 h"}, "retention must not be negative"),
    ({"column": "at", "retention": "1 year -1 h"}, "retention must not be negative"),
    ({"column": "at", "grace": "-1 s"}, "grace must not be negative"),
    ({"column": "at", "grace": "1 mon -1 day"}, "grace must not be negative"),
    ({"column": "at", "retention": "a while"}, 'invalid input syntax for type interval: "a while"'),
    ({"column": "at", "retention": None}, 'null value in column "retention"'),
    ({"column": "at", "zone": "Europe/Atlantis"}, "there is no time zone 'Europe/Atlantis'"),
    ({"column": "at", "zone": ""}, "there is no time zone ''"),
    ({"column": "at", "condition": "note ="}, "condition: syntax error"),
    ({"column": "at", "condition": "nope is null"}, 'condition: column "nope" does not exist'),
    ({"column": "at", "condition": "number + 1"}, "condition: argument of WHERE must be type bool"),
    ({"column": "at", "condition": "true, true"}, "condition: "),
    ({"column": "at", "condition": "true) or (true"}, "condition: syntax error"),
    ({"column": "at", "condition": "true) or exists (select 1"}, "condition: syntax error"),
    ({"column": "at", "condition": "true) or true in (true"}, "condition: syntax error"),
    ({"column": "at", "condition": "true])[1] or (array[true"}, "condition: syntax error"),
    ({"column": "at", "condition": "true /*"}, "condition: unterminated /* comment"),
    ({"column": "at", "condition": "note = 'x"}, "condition: unterminated quoted string"),
    ({"column": "at", "condition": "true; drop table app.logs"}, "condition: syntax error"),
    ({"column": "at", "condition": ""}, "condition: syntax error"),
    ({"column": "at", "condition": "count(*) > 1"}, "condition: aggregate functions are not"),
    ({"column": "at", "condition": "number / 0 = 1 and 1 / 0 = 1"}, "condition: division by zero"),
    ({"column": "at", "hold_column": "nope"}, "hold_column: app.logs has no column nope"),
    ({"column": "at", "action": "drop"}, "action must be delete, archive or set"),
    ({"column": "at", "action": "set"}, "action set needs them"),
    ({"column": "at", "assignments": "note = null"}, "assignments belong to action set"),
    ({"column": "at", "action": "set", "assignments": "nope = 1"}, 'assignments: column "nope"'),
    ({"column": "at", "action": "set", "assignments": "note = 1 where true --"},
     "assignments: syntax error"),
    ({"column": "at", "action": "archive"}, "action archive needs it"),
    ({"column": "at", "archive_table": "app.archive"}, "archive_table belongs to action archive"),
    ({"column": "at", "action": "archive", "archive_table": "app.nope"}, '"app.nope" does not exi'),
    ({"column": "at", "action": "archive", "archive_table": "nope.nope"}, '" does not exist'),
    ({"column": "at", "action": "archive", "archive_table": "app.no_note"},
     "archive_table: app.no_note has no column "),
    ({"column": "at", "action": "archive", "archive_table": "app.other_type"},
     "archive_table: column number is of type integer in app.logs, and of type bigint in app"),
    ({"column": "at", "action": "archive", "archive_table": "app.generated"},
     "archive_table: column number of app.generated is computed, and cannot take what app.logs"),
    ({"column": "at", "action": "archive", "archive_table": "app.logs"},
     "archive_table: app.logs is the table itself"),
    ({"column": "at", "dependents": [{"relation": "app.nope"}]},
     "dependents: there is no table app.nope"),
    ({"column": "at", "dependents": [{}]}, "dependents: there is no table null"),
    ({"column": "at", "dependents": [{"relation": "app.log_notes"}]},
     "dependents: columns and references must be arrays of the same length"),
    ({"column": "at", "dependents": [
        {"relation": "app.log_notes", "columns": ["log_id", "note"], "references": ["id"]}]},
     "dependents: columns and references must be arrays of the same length"),
    ({"column": "at", "dependents": [
        {"relation": "app.log_notes", "columns": ["nope"], "references": ["id"]}]},
     "dependents: app.log_notes has no column nope"),
    ({"column": "at", "dependents": [
        {"relation": "app.log_notes", "columns": ["log_id"], "references": ["nope"]}]},
     "dependents: app.logs has no column nope"),
    ({"column": "at", "dependents": "app.log_notes"}, "dependents must be an array"),
    ({"column": "at", "selector": "app.selected"}, "either branches (or a column) or a selector"),
    ({}, "either branches (or a column) or a selector"),
    ({"branches": []}, "either branches (or a column) or a selector"),
    ({"branches": "at"}, "branches must be an array"),
    ({"branches": ["at"]}, "branch 1: must be an object"),
    ({"branches": [{"column": "at"}, {}]}, "branch 2: needs a column, a condition, or both"),
    ({"branches": [{"column": "at", "until": 1}]}, "branch 1: there is no setting until"),
    ({"branches": [{"column": "at"}, {"column": "nope"}]}, "branch 2: app.logs has no column nope"),
    ({"branches": [{"column": "at", "retention": "soon"}]},
     'branch 1: retention: invalid input syntax for type interval: "soon"'),
    ({"branches": [{"column": "at", "retention": "-1 s"}]},
     "branch 1: retention must not be negative"),
    ({"branches": [{"column": "at", "retention": "1 mon -30 days"}]},
     "branch 1: retention must not be negative"),
    ({"branches": [{"column": "at", "condition": "true) or (true"}]},
     "branch 1: condition: syntax error"),
    ({"branches": [{"column": "at", "condition": "number"}]},
     "branch 1: condition: argument of WHERE must be type boolean"),
    ({"branches": [{"condition": "flag", "key": "nope"}]}, "branch 1: app.logs has no column nope"),
    ({"branches": [{"condition": "flag", "key": "note"}]},
     "branch 1: key note is of type text, which has no lowest value to begin with"),
    ({"branches": [{"column": "at", "key": "id"}]}, "branch 1: key is for branches without a colu"),
    ({"branches": [{"condition": "flag", "retention": "1 d"}]},
     "branch 1: without a column there is nothing to compare"),
    ({"branches": [{"column": "at"}], "column": "at"}, "unit and comparison belong into a branch"),
    ({"selector": "app.unselected"},
     "selector: app.unselected needs column id, which is in the primary key of the table"),
    ({"selector": "app.nope"}, 'relation "app.nope" does not exist'),
    ({"selector": "app.selected", "action": "set", "assignments": "flag = false"},
     "selector: what is set cannot be proved to be eligible no more; delete or archive can"),
    ({"column": "at", "batch_size": 0}, "batch_size must be between 1 and 100000"),
    ({"column": "at", "batch_size": 100001}, "batch_size must be between 1 and 100000"),
    ({"column": "at", "batch_size": "many"}, 'invalid input syntax for type integer: "many"'),
    ({"column": "at", "batch_size": None}, 'null value in column "batch_size"'),
    ({"column": "at", "guard_share": 0}, "guard_share must be above 0 and at most 1"),
    ({"column": "at", "guard_share": 1.5}, "guard_share must be above 0 and at most 1"),
    ({"column": "at", "guard_rows": -1}, "guard_rows must not be negative"),
    ({"column": "at", "max_rows": 0}, "max_rows must be positive"),
    ({"column": "at", "max_duration": "0 s"}, "max_duration must be positive"),
    ({"column": "at", "backup_within": "0 s"}, "backup_within must be positive"),
    ({"column": "at", "max_silence": "0 s"}, "max_silence must be positive"),
    ({"column": "at", "severity": "SEVERE"}, "severity must be LOW, MEDIUM, HIGH or CRITICAL"),
    ({"column": "at", "operation": "Clean up"}, "operation must be lower-case letters, digits"),
    ({"column": "at", "title": " "}, "title must say something"),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "message"), BAD, ids=[json.dumps(bad) for bad, _ in BAD])
def test_a_wrong_definition_is_refused_with_the_reason_and_changes_nothing(
    app: Connection, definition: Any, message: str
) -> None:
    said = refused(app, "app.logs", definition)
    assert said.startswith("policy p: ")
    assert message in said


@pytest.mark.parametrize("definition", [[], "column", 7, None, True, [{"column": "at"}]])
def test_a_definition_that_is_no_object_is_refused(app: Connection, definition: Any) -> None:
    assert refused(app, "app.logs", definition) == "the definition of a policy must be an object"


@pytest.mark.parametrize("name", ["", "P", "1p", "p-q", "p q", "p" * 51, "p;q", "pé"])
def test_a_bad_name_is_refused(app: Connection, name: str) -> None:
    assert "name must be lower-case letters, digits and underscores, and at most 50" in refused(
        app, "app.logs", {"column": "at"}, name=name
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("app.view", "policy p: app.view is not a table"),
        ("app.copy", "policy p: app.copy is not a table"),
        ("app.logs_at_idx", "policy p: app.logs_at_idx is not a table"),
        ("passing", "policy p: passing is not a table of an application"),
        ("pg_catalog.pg_class", "policy p: pg_class is not a table of an application"),
        ("maintenance.run", "policy p: maintenance.run is not a table of an application"),
        ("app.ruled", "policy p: app.ruled has a rule on DELETE"),
        ("app.nope", 'relation "app.nope" does not exist'),
        ("99999999", "there is no table with oid 99999999"),
    ],
)
def test_what_is_no_table_of_an_application_is_refused(
    app: Connection, table: str, message: str
) -> None:
    assert refused(app, table, {"column": "at"}) == message


def test_a_selector_needs_a_primary_key(app: Connection) -> None:
    assert refused(app, "app.unnamed", {"selector": "app.selected"}) == (
        "policy p: selector: app.selected needs app.unnamed to have a primary key"
    )


def test_a_cascade_has_to_be_allowed(app: Connection) -> None:
    assert refused(app, "app.parent", {"column": "at"}) == (
        "policy p: foreign key child_parent_fkey deletes or changes rows of app.child along: "
        "set allow_cascade if that is meant"
    )
    assert register(app, "p", "app.parent", column="at", allow_cascade=True) == []


def test_dependents_that_another_role_owns_are_refused(
    role: Callable[[str], str], app: Connection
) -> None:
    execute(app, f"alter table app.log_notes owner to {role('other')}")
    dependents = [{"relation": "app.log_notes", "columns": ["log_id"], "references": ["id"]}]
    assert refused(app, "app.logs", {"column": "at", "dependents": dependents}) == (
        "policy p: dependents: app.log_notes and app.logs do not have the same owner"
    )


def test_all_that_is_wrong_is_said_at_once(app: Connection) -> None:
    with pytest.raises(errors.Error) as refusal, app.transaction():
        register(
            app, "p", "app.logs", branches=[{"column": "nope"}, {"column": "note"}],
            hold_column="never",
        )  # fmt: skip
    assert "nope" in str(refusal.value.diag.message_primary)
    assert str(refusal.value.diag.message_detail).splitlines() == [
        "branch 2: column note is of type text, which tells no time",
        "hold_column: app.logs has no column never",
        "Nothing was changed.",
    ]


def test_a_name_is_taken_once(app: Connection) -> None:
    register(app, "p", "app.logs", column="at")
    assert refused(app, "app.logs", {"column": "naive"}) == "there is a policy 'p' already"
    assert refused(app, "app.logs", {"column": "at"}, name="refresh_tokens") == (
        "there is a policy 'refresh_tokens' already"
    )
    with pytest.raises(errors.DuplicateObject), app.transaction():
        register(app, "p", "app.logs", chain="matcha", column="at")


@pytest.mark.parametrize(
    "condition",
    ["number = 1 --", "number = 1 -- ) or (true", "/* why */ target.number = 1", "'true' and"
     " number = 1", "number in (select 1)", "note is null or note like '%)%' and number = 1"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["of the policy", "of the branch"])
def test_a_condition_is_taken_as_a_whole(app: Connection, place: str, condition: str) -> None:
    execute(
        app,
        "insert into app.logs (id, at, number, note) values (1, '2020-01-01', 1, ')'),"
        " (2, '2020-01-01', 2, 'x'), (3, 'infinity', 1, ')'), (4, null, 1, ')')",
    )
    branch: dict[str, Any] = {"column": "at"}
    if place == "of the branch":
        register(app, "p", "app.logs", branches=[branch | {"condition": condition}])
    else:
        register(app, "p", "app.logs", condition=condition, **branch)
    assert purge(app, "p", "2024-01-01 00:00+00") == 1
    assert column(app, "select id from app.logs order by id") == [2, 3, 4]


def kinds(risks: list[tuple[str, str, str | None]]) -> list[str]:
    """Return which risks there are."""
    return [kind for kind, _, _ in risks]


INDEXES: list[tuple[dict[str, Any], str]] = [
    ({"column": "naive"}, "create index concurrently on app.logs (naive)"),
    ({"column": "ms", "unit": "ms"}, "create index concurrently on app.logs (ms)"),
    ({"column": "naive", "condition": "note is null"},
     "create index concurrently on app.logs (naive) where note is null"),
    ({"key": "number", "condition": "flag"},
     "create index concurrently on app.logs (number) where flag"),
    ({"column": "naive", "condition": "target.note is null"},
     "create index concurrently on app.logs (naive)"),
    ({"column": "naive", "condition": "note is null -- yet"},
     "create index concurrently on app.logs (naive)"),
    ({"column": "naive", "condition": "at < now()"},
     "create index concurrently on app.logs (naive)"),
    ({"column": "naive", "condition": "at < current_timestamp"},
     "create index concurrently on app.logs (naive)"),
]  # fmt: skip


@pytest.mark.parametrize(("branch", "statement"), INDEXES, ids=[str(b) for b, _ in INDEXES])
def test_a_missing_index_is_a_risk_until_the_statement_was_executed(
    app: Connection, branch: dict[str, Any], statement: str
) -> None:
    assert register(app, "p", "app.logs", branches=[{"column": "at"}, branch]) == [
        ("missing_index", "branch 2 has no index: every run reads the whole table", statement)
    ]
    execute(app, statement.replace(" concurrently", ""))
    assert alter(app, "p") == []


@pytest.mark.parametrize("column", ["At", "50 %s", "%I"])
def test_the_statement_quotes_names_and_runs_as_it_is(db: Connection, column: str) -> None:
    execute(
        db,
        f'create schema "My App"; create table "My App"."T" (id int primary key, "{column}" date)',
    )
    (risk,) = register(db, "p", '"My App"."T"', column=column)
    assert risk[2] == f'create index concurrently on "My App"."T" ("{column}")'
    execute(db, str(risk[2]))
    assert alter(db, "p") == []


def test_an_index_of_a_partitioned_table_is_not_made_concurrently(app: Connection) -> None:
    execute(
        app,
        "create table app.p (id bigint, at timestamptz, primary key (id)) partition by range (id);"
        " create table app.p1 partition of app.p for values from (0) to (9)",
    )
    (risk,) = register(app, "p", "app.p", column="at")
    assert risk[2] == "create index on app.p (at)"
    execute(app, risk[2])
    assert alter(app, "p") == []


def test_a_branch_that_nothing_can_walk_is_a_risk_without_a_remedy(app: Connection) -> None:
    assert register(app, "p", "app.logs", branches=[{"condition": "flag"}]) == [
        ("missing_index", "branch 1 has no index: every run reads the whole table", None)
    ]


@pytest.mark.parametrize(
    ("prepare", "kind", "message", "statement", "cure"),
    [
        (
            "drop index app.child_parent_idx",
            "unindexed_foreign_key",
            "foreign key child_parent_fkey of app.child has no index: each row that goes reads"
            " that table whole",
            "create index concurrently on app.child (parent)",
            "create index on app.child (parent)",
        ),
        (
            "alter table app.child drop constraint child_parent_fkey,"
            " add constraint child_parent_fkey foreign key (parent) references app.parent",
            "referenced",
            "foreign key child_parent_fkey of app.child holds rows that are referred to: a run"
            " fails on them",
            None,
            "alter table app.child drop constraint child_parent_fkey",
        ),
        (
            "alter table app.child alter constraint child_parent_fkey deferrable",
            "deferrable_constraint",
            "foreign key child_parent_fkey of app.child is deferrable: a run checks it in each"
            " batch",
            None,
            "alter table app.child alter constraint child_parent_fkey not deferrable",
        ),
        (
            "alter table app.parent enable row level security",
            "row_security",
            "row-level security is on: the owner of the table is exempt, and so are runs",
            None,
            "alter table app.parent disable row level security",
        ),
        (
            "alter table app.parent enable row level security, force row level security",
            "row_security",
            "row-level security is forced on the owner as well: a run fails where it hides rows",
            None,
            "alter table app.parent disable row level security",
        ),
        (
            "create function app.noop() returns trigger language plpgsql"
            " as 'begin return old; end';"
            ' create trigger "On Delete" before delete on app.parent for each row'
            " execute function app.noop();"
            " create trigger on_insert before insert on app.parent for each row"
            " execute function app.noop()",
            "trigger",
            'trigger "On Delete" runs for each row or batch that goes, as the owner',
            None,
            'alter table app.parent disable trigger "On Delete"',
        ),
        (
            "alter table app.parent replica identity nothing;"
            " create publication changes for table app.parent",
            "replica_identity",
            "publication changes sends deletes, and app.parent has no replica identity: they fail",
            "alter table app.parent replica identity full",
            "alter table app.parent replica identity full",
        ),
        (
            "create table app.heir () inherits (app.parent)",
            "inheritance",
            "rows of app.heir, which inherits from the table, stay",
            None,
            "drop table app.heir",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)  # fmt: skip
def test_a_risk_is_named_until_it_is_gone(
    app: Connection, prepare: str, kind: str, message: str, statement: str | None, cure: str
) -> None:
    execute(app, prepare)
    risks = register(app, "p", "app.parent", column="at", allow_cascade=True)
    assert risks == [(kind, message, statement)]
    execute(app, cure)
    assert alter(app, "p") == []


def test_a_partial_index_does_not_serve_a_foreign_key(app: Connection) -> None:
    execute(
        app,
        "drop index app.child_parent_idx; create index on app.child (parent) where id > 7",
    )
    assert kinds(register(app, "p", "app.parent", column="at", allow_cascade=True)) == [
        "unindexed_foreign_key"
    ]


def test_the_index_of_a_foreign_key_may_have_its_columns_in_any_order_but_first(
    app: Connection,
) -> None:
    execute(
        app,
        "create table app.pair (a int, b int, at timestamptz, primary key (a, b));"
        " create index on app.pair (at);"
        ' create table app.of_pair ("B" int, a int, c int,'
        ' constraint fk foreign key (a, "B") references app.pair on delete cascade);'
        ' create index on app.of_pair (c, a, "B")',
    )
    (risk,) = register(app, "p", "app.pair", column="at", allow_cascade=True)
    assert risk[2] == 'create index concurrently on app.of_pair (a, "B")'
    execute(app, 'create index on app.of_pair ("B", a, c)')
    assert alter(app, "p") == []


def test_a_table_without_a_primary_key_is_a_risk(app: Connection) -> None:
    execute(app, "create index on app.unnamed (at); create publication changes for all tables")
    assert sorted(kinds(register(app, "p", "app.unnamed", column="at"))) == [
        "no_primary_key",
        "replica_identity",
    ]


def test_changes_lie_over_what_was_registered_and_null_takes_one_back(app: Connection) -> None:
    register(app, "p", "app.logs", column="at", retention="30 days", batch_size=500)
    assert setting(app, "p", "version") == 1
    alter(app, "p", retention="60 days", zone="Asia/Tokyo")
    alter(app, "p", batch_size=7)
    assert [setting(app, "p", what) for what in ("retention", "zone", "batch_size")] == [
        "60 days", "Asia/Tokyo", 7
    ]  # fmt: skip
    assert setting(app, "p", "shipped") == {
        "column": "at", "retention": "30 days", "batch_size": 500
    }  # fmt: skip
    assert rows(app, "select changes from maintenance.policy_override where policy = 'p'") == [
        ({"retention": "60 days", "zone": "Asia/Tokyo", "batch_size": 7},)
    ]
    alter(app, "p", retention=None, zone=None)
    assert [setting(app, "p", what) for what in ("retention", "zone", "batch_size")] == [
        "30 days", "UTC", 7
    ]  # fmt: skip
    alter(app, "p", batch_size=None)
    assert setting(app, "p", "batch_size") == 500
    assert rows(app, "select from maintenance.policy_override where policy = 'p'") == []
    assert setting(app, "p", "version") == 5


def test_a_change_may_replace_the_column_by_branches_and_the_other_way_round(
    app: Connection,
) -> None:
    register(app, "p", "app.logs", column="at", comparison="<=")
    alter(app, "p", comparison="<")
    assert setting(app, "p", "branches") == [{"column": "at", "comparison": "<"}]
    alter(app, "p", comparison=None, branches=[{"column": "naive"}])
    assert setting(app, "p", "branches") == [{"column": "naive"}]
    alter(app, "p", branches=None)
    assert setting(app, "p", "branches") == [{"column": "at", "comparison": "<="}]
    register(app, "q", "app.logs", branches=[{"column": "at"}, {"column": "naive"}])
    alter(app, "q", column="naive")
    assert setting(app, "q", "branches") == [{"column": "naive"}]
    alter(app, "q", column=None)
    assert setting(app, "q", "branches") == [{"column": "at"}, {"column": "naive"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "policy p: batch_size must be between 1 and 100000"),
        ({"column": "nope"}, "policy p: branch 1: app.logs has no column nope"),
        ({"retention": "-1 day"}, "policy p: retention must not be negative"),
        ({"name": "q"}, "policy p: there is no setting name"),
        ([], "the changes of a policy must be an object"),
        (None, "the changes of a policy must be an object"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(
    app: Connection, changes: Any, message: str
) -> None:
    register(app, "p", "app.logs", column="at")
    before = rows(app, UNCHANGED)
    with pytest.raises(errors.Error) as refusal, app.transaction():
        execute(app, "select maintenance.alter_policy('p', %s)", json.dumps(changes))
    assert str(refusal.value.diag.message_primary).startswith(message)
    assert rows(app, UNCHANGED) == before


LIMITS: dict[str, Any] = {
    "max_rows": 5,
    "max_duration": "00:05:00",
    "guard_rows": 7,
    "guard_share": 0.25,
    "backup_within": "1 day",
    "max_silence": "2 days",
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_lifted_with_the_word_none_and_null_takes_that_back(
    app: Connection, limit: str
) -> None:
    register(app, "p", "app.logs", column="at", **{limit: LIMITS[limit]})
    alter(app, "p", **{limit: "none"})
    alter(app, "p", priority=3)
    assert setting(app, "p", limit) is None
    assert setting(app, "p", "shipped")[limit] == LIMITS[limit]
    alter(app, "p", **{limit: None})
    assert setting(app, "p", limit) == LIMITS[limit]


@pytest.mark.parametrize("limit", LIMITS)
def test_none_is_no_limit_in_a_definition_as_well(app: Connection, limit: str) -> None:
    register(app, "p", "app.logs", column="at", **{limit: "none"})
    assert setting(app, "p", limit) is None


def test_a_lifted_limit_does_not_hold(app: Connection) -> None:
    execute(app, "insert into app.logs (id, at) values (1, '2020-01-01'), (2, '2020-01-01')")
    register(app, "p", "app.logs", column="at", guard_rows=1)
    assert preview(app, "p")["guard"] == "refused: more than 1 rows would go: guard_rows"
    alter(app, "p", guard_rows="none")
    assert preview(app, "p")["guard"] == "pass"


@pytest.mark.parametrize(
    ("what", "word"),
    [("batch_size", "none"), ("retention", "none"), ("guard_rows", "None"), ("max_rows", "no")],
)
def test_nothing_but_a_limit_is_lifted_and_with_no_other_word(
    app: Connection, what: str, word: str
) -> None:
    register(app, "p", "app.logs", column="at")
    with pytest.raises(errors.InvalidParameterValue, match="policy p: invalid input syntax"):
        alter(app, "p", **{what: word})


def test_a_column_may_be_called_none(app: Connection) -> None:
    execute(app, "alter table app.logs add column none boolean")
    register(app, "p", "app.logs", column="at")
    alter(app, "p", hold_column="none")
    assert setting(app, "p", "hold_column") == "none"


def test_who_names_an_unknown_setting_is_told_all_of_them(app: Connection) -> None:
    with pytest.raises(errors.InvalidParameterValue) as refusal:
        register(app, "p", "app.logs", column="at", retain="1 day")
    hint = str(refusal.value.diag.message_hint)
    listed = hint.removeprefix("The settings are ").partition(";")[0].split(", ")
    app.rollback()
    known = column(
        app,
        "select attname from pg_catalog.pg_attribute"
        " where attrelid = 'maintenance.policy'::regclass and attnum > 0",
    )
    assert {*known} - {*listed} == {
        "name", "relation", "chain", "shipped", "version", "changed_at", "changed_by"
    }  # fmt: skip
    assert {*listed} <= {*known}
    assert hint.endswith("of a single branch also column, unit and comparison.")


def test_switching_says_whether_it_changed_anything_and_changes_nothing_else(
    app: Connection,
) -> None:
    register(app, "p", "app.logs", column="at")
    for enabled, changes, version in (
        (True, False, 1), (False, True, 2), (False, False, 2), (True, True, 3)
    ):  # fmt: skip
        assert scalar(app, "select maintenance.enable_policy('p', %s)", enabled) is changes
        assert setting(app, "p", "is_enabled") is enabled
        assert setting(app, "p", "version") == version


@pytest.mark.parametrize("call", ["alter_policy(%s, '{}')", "remove_policy(%s)",
                                  "enable_policy(%s)", "preview(%s)",
                                  "describe_policy(%s)"])  # fmt: skip
@pytest.mark.parametrize(("name", "written"), [("no'body", "'no''body'"), (None, "null")])
def test_a_policy_that_is_not_there_is_named(
    app: Connection, call: str, name: str | None, written: str
) -> None:
    with pytest.raises(errors.UndefinedObject) as refusal, app.transaction():
        execute(app, f"select maintenance.{call}", name)
    assert refusal.value.diag.message_primary == f"there is no policy {written}"


def test_every_change_is_in_the_audit_with_who_made_it(
    role: Callable[[str], str], app: Connection
) -> None:
    owner = role("owner")
    hand_over(app, "app.logs", owner)
    me = scalar(app, "select current_user")
    register(app, "p", "app.logs", column="at")
    execute(app, f"set local role {owner}")
    alter(app, "p", retention="1 day")
    execute(app, "select maintenance.enable_policy('p', false)")
    execute(app, "reset role")
    execute(app, "select maintenance.remove_policy('p')")
    register(app, "p", "app.logs", column="at")
    assert rows(
        app,
        "select event, version, changed_by, settings ->> 'retention', settings ->> 'is_enabled'"
        " from maintenance.policy_change where policy = 'p' order by id",
    ) == [
        ("registered", 1, me, "00:00:00", "true"),
        ("altered", 2, owner, "1 day", "true"),
        ("altered", 3, owner, "1 day", "false"),
        ("removed", 4, me, None, None),
        ("registered", 5, me, "00:00:00", "true"),
    ]
    assert setting(app, "p", "version") == 5


def test_a_policy_that_is_switched_off_removes_nothing(app: Connection) -> None:
    execute(app, "insert into app.logs (id, at) values (1, '2020-01-01')")
    register(app, "p", "app.logs", column="at")
    execute(app, "select maintenance.enable_policy('p', false)")
    with pytest.raises(errors.ObjectNotInPrerequisiteState) as refusal, app.transaction():
        purge(app, "p", "2024-01-01 00:00+00")
    assert refusal.value.diag.message_primary == "policy p is switched off"
    execute(app, str(refusal.value.diag.message_hint))
    assert purge(app, "p", "2024-01-01 00:00+00") == 1


def test_what_users_changed_about_a_chains_policy_outlives_it(app: Connection) -> None:
    register(app, "p", "app.logs", chain="app", column="at", retention="30 days")
    alter(app, "p", retention="60 days", is_enabled=False)
    execute(app, "select maintenance.remove_policy('p', chain => 'app')")
    register(app, "p", "app.logs", chain="app", column="at", retention="10 days", batch_size=5)
    assert [setting(app, "p", what) for what in ("retention", "is_enabled", "batch_size")] == [
        "60 days", False, 5
    ]  # fmt: skip
    register(app, "p", "app.logs", chain="app", column="at", retention="11 days")
    assert [setting(app, "p", what) for what in ("retention", "is_enabled", "batch_size")] == [
        "60 days", False, 10000
    ]  # fmt: skip
    alter(app, "p", retention=None)
    assert setting(app, "p", "retention") == "11 days"
    assert column(
        app, "select version from maintenance.policy_change where policy = 'p' order by id"
    ) == [1, 2, 3, 4, 5, 6]


def test_a_users_policy_does_not_inherit_what_was_changed_about_a_chains(app: Connection) -> None:
    register(app, "p", "app.logs", chain="app", column="at", retention="30 days")
    alter(app, "p", retention="60 days")
    execute(app, "select maintenance.remove_policy('p', chain => 'app')")
    register(app, "p", "app.logs", column="at", retention="10 days")
    assert setting(app, "p", "retention") == "10 days"


def test_what_a_user_registered_takes_its_changes_along(app: Connection) -> None:
    register(app, "p", "app.logs", column="at", retention="30 days")
    alter(app, "p", retention="60 days")
    execute(app, "select maintenance.remove_policy('p')")
    register(app, "p", "app.logs", column="at", retention="10 days")
    assert setting(app, "p", "retention") == "10 days"


@pytest.mark.parametrize("chain", ["null", "'core'"])
def test_a_chains_policy_is_not_removed_by_a_user_or_another_chain(
    app: Connection, chain: str
) -> None:
    before = rows(app, UNCHANGED)
    with pytest.raises(errors.ObjectNotInPrerequisiteState) as refusal, app.transaction():
        execute(app, f"select maintenance.remove_policy('refresh_tokens', {chain})")
    assert refusal.value.diag.message_hint == (
        "Switch it off with maintenance.enable_policy(policy, false)."
    )
    assert rows(app, UNCHANGED) == before


def test_a_policy_of_a_table_that_is_gone_can_be_removed(app: Connection) -> None:
    register(app, "p", "app.log_notes", branches=[{"condition": "note is null"}])
    execute(app, "drop table app.log_notes")
    execute(app, "select maintenance.remove_policy('p')")
    assert rows(app, "select from maintenance.policy where name = 'p'") == []
    assert rows(app, "select from maintenance.lease where policy = 'p'") == []


def test_a_function_acts_as_each_owner_for_as_long_as_there_is_a_policy(
    role: Callable[[str], str], app: Connection
) -> None:
    owner = role("owner")
    before = executors(app)
    hand_over(app, "app.logs", owner)
    hand_over(app, "app.unnamed", owner)
    register(app, "p", "app.logs", column="at")
    register(app, "q", "app.unnamed", column="at")
    assert executors(app) == sorted([*before, f"act_as_{owner}"])
    assert rows(
        app,
        "select pg_get_userbyid(proowner), prosecdef from pg_catalog.pg_proc where proname = %s",
        f"act_as_{owner}",
    ) == [(owner, True)]
    execute(app, "select maintenance.remove_policy('p')")
    assert executors(app) == sorted([*before, f"act_as_{owner}"])
    execute(app, "select maintenance.remove_policy('q')")
    assert executors(app) == before
    assert not scalar(app, f"select has_schema_privilege('{owner}', 'maintenance', 'create')")


def test_long_and_odd_names_of_owners_have_a_function_as_well(app: Connection) -> None:
    names = ["Müller & Söhne", 'quote"d', "o" * 57, "o" * 63]
    for number, name in enumerate(names):
        quoted = '"' + name.replace('"', '""') + '"'
        execute(
            app,
            f"create role {quoted}; create table app.t{number} (id int primary key, at date);"
            f" insert into app.t{number} values (1, '2020-01-01');"
            f" alter table app.t{number} owner to {quoted}; grant usage on schema app to {quoted}",
        )
        register(app, f"p{number}", f"app.t{number}", column="at")
        assert purge(app, f"p{number}", "2024-01-01 00:00+00") == 1
    assert len({*executors(app)}) >= len(names)
    assert "act_as_Müller & Söhne" in executors(app)


def test_after_a_table_changed_hands_its_policy_is_refused_until_altered(
    role: Callable[[str], str], app: Connection
) -> None:
    old, new = role("old"), role("new")
    execute(app, "insert into app.logs (id, at) values (1, '2020-01-01')")
    execute(app, f"grant usage on schema app to {new}")
    hand_over(app, "app.logs", old)
    register(app, "p", "app.logs", column="at")
    execute(app, f"alter table app.logs owner to {new}")
    with pytest.raises(errors.ObjectNotInPrerequisiteState) as refusal, app.transaction():
        purge(app, "p", "2024-01-01 00:00+00")
    assert refusal.value.diag.message_primary == (
        "app.logs cannot be tended with the rights of its owner"
    )
    alter(app, "p")
    assert f"act_as_{old}" not in executors(app)
    assert purge(app, "p", "2024-01-01 00:00+00") == 1
    execute(app, "select maintenance.remove_policy('p')")
    assert f"act_as_{new}" not in executors(app)
