"""Who may do what with policies, and with whose rights their statements run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.policies import alter, executors, hand_over, preview, purge, register, run
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

    from tests.conftest import TestServer

LONG_AGO = "2020-01-01 00:00+00"
MOMENT = "2024-01-01 00:00+00"
ACT = "(text, bigint, tid[], boolean)"


@pytest.fixture
def login(db: Connection) -> Iterator[Callable[[str], Connection]]:
    """Open sessions of roles on the database of ``db``; they are closed after the test."""
    opened: list[Connection] = []

    def connect(user: str) -> Connection:
        opened.append(psycopg.connect(db.info.dsn, user=user, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def owner(role: Callable[[str], str], db: Connection) -> str:
    """A role that owns app.logs, a table of ten rows, five of them expired, with a policy p."""
    name = role("owner")
    execute(
        db,
        f"create schema app; grant usage, create on schema app to {name};"
        " create table app.logs (id integer primary key, at timestamptz);"
        " create index on app.logs (at);"
        f" insert into app.logs select n, '{LONG_AGO}' from generate_series(1, 5) as n;"
        " insert into app.logs select n, 'infinity' from generate_series(6, 10) as n;"
        " create table app.accounts (like app.logs including all);"
        " insert into app.accounts select * from app.logs",
    )
    hand_over(db, "app.logs", name)
    register(db, "p", "app.logs", column="at", guard_share=1)
    return name


def count(db: Connection, table: str = "app.logs") -> int:
    return scalar(db, f"select count(*) from {table}")


def denied(session: Connection, statement: str) -> str:
    """Expect that a statement is denied, and return what PostgreSQL says."""
    with pytest.raises(errors.InsufficientPrivilege) as refusal:
        execute(session, statement)
    return str(refusal.value.diag.message_primary)


@pytest.mark.parametrize("through", ["the owner", "a member", "a member who inherits nothing"])
def test_members_of_the_owner_register_alter_and_remove(
    role: Callable[[str], str],
    db: Connection,
    owner: str,
    login: Callable[[str], Connection],
    through: str,
) -> None:
    user = owner
    if through != "the owner":
        user = role("member")
        execute(db, f"grant {owner} to {user}")
        hand_over(db, "app.logs", user)
        execute(db, f"alter table app.logs owner to {owner}")
    if "nothing" in through:
        execute(db, f"alter role {user} noinherit")
    session = login(user)
    expected = ["deferring_owner"] if db.info.server_version < 180000 else []
    assert [kind for kind, _, _ in register(session, "q", "app.logs", column="at")] == expected
    alter(session, "q", retention="1 day")
    execute(session, "select maintenance.enable_policy('q', false)")
    execute(session, "select maintenance.remove_policy('q')")
    assert column(
        db, "select changed_by from maintenance.policy_change where policy = 'q'"
    ) == 4 * [user]


@pytest.mark.parametrize(
    "statement",
    [
        """select maintenance.register_policy('q', 'app.accounts', '{"column": "at"}')""",
        """select maintenance.alter_policy('other', '{"retention": "0 s"}')""",
        "select maintenance.enable_policy('other', false)",
        "select maintenance.remove_policy('other')",
    ],
)
@pytest.mark.parametrize("rights", ["none", "all on the table"])
def test_nobody_else_does_whatever_rights_on_the_table(
    db: Connection, owner: str, login: Callable[[str], Connection], rights: str, statement: str
) -> None:
    register(db, "other", "app.accounts", column="at")
    if rights != "none":
        execute(db, f"grant all on app.accounts to {owner} with grant option")
    assert denied(login(owner), statement) == "only the owner of app.accounts may do this"
    assert rows(db, "select version from maintenance.policy where name in ('q', 'other')") == [(1,)]


def test_only_the_owner_of_the_schema_registers_for_a_chain(
    db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    statement = """select maintenance.register_policy('q', 'app.logs', '{"column": "at"}', 'app')"""
    assert denied(login(owner), statement) == "only the owner of schema maintenance may do this"


TABLES = (
    "policy", "policy_override", "policy_change", "lease", "installation", "backup_attestation",
    "run", "run_step",
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("who", ["owner", "operator", "monitor", "stranger"])
def test_nobody_writes_the_tables_directly(
    role: Callable[[str], str],
    db: Connection,
    owner: str,
    login: Callable[[str], Connection],
    who: str,
    table: str,
) -> None:
    user = owner if who == "owner" else role(who)
    execute(db, f"grant usage on schema maintenance to {user}")
    if who in ("operator", "monitor"):
        execute(db, f"select maintenance.grant_{who}('{user}')")
    session = login(user)
    for statement in (
        f"insert into maintenance.{table} default values",
        f"delete from maintenance.{table}",
        f"truncate maintenance.{table}",
        f"update maintenance.{table} set {column(db, LAST, f'maintenance.{table}')[0]} = null",
    ):
        assert denied(session, statement) == f"permission denied for table {table}"
    if who in ("owner", "stranger") or table == "installation":
        assert denied(session, f"select from maintenance.{table}").startswith("permission denied")
    else:
        execute(session, f"select * from maintenance.{table}")


LAST = (
    "select quote_ident(attname) from pg_catalog.pg_attribute"
    " where attrelid = %s::regclass order by attnum desc"
)


def test_an_operator_needs_no_right_on_the_table(
    role: Callable[[str], str], db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    operator = role("operator")
    execute(db, f"select maintenance.grant_operator('{operator}')")
    session = login(operator)
    assert "app.logs" in preview(session, "p")["table"]
    assert preview(session, "p")["eligible rows"] == "5"
    assert rows(session, "select removed from maintenance.purge_batch('p', batch_size => 2)") == [
        (2,)
    ]
    assert run(session, "p") == (3, "exhausted")
    assert column(db, "select id from app.logs order by id") == [6, 7, 8, 9, 10]
    assert rows(
        session, "select started_by, removed from maintenance.run_history where policy = 'p'"
    ) == [(operator, 3)]
    assert denied(session, "select from app.logs") == "permission denied for schema app"


def test_an_operator_stops_what_runs(
    role: Callable[[str], str], db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    operator = role("operator")
    execute(db, f"select maintenance.grant_operator('{operator}')")
    number = scalar(db, "select maintenance.open_run('by hand')")
    step, token = rows(db, f"select step, token from maintenance.open_step({number}, 'p')")[0]
    execute(login(operator), f"select maintenance.stop_run({number})")
    assert rows(db, f"select removed, exit_reason from maintenance.run_batch({step}, {token})") == [
        (0, "stopped")
    ]
    assert count(db) == 10


def test_an_operator_attests_backups_under_its_own_name(
    role: Callable[[str], str], db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    operator = role("operator")
    execute(db, f"select maintenance.grant_operator('{operator}')")
    alter(db, "p", backup_within="1 h")
    session = login(operator)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="no backup of the last"):
        run(session, "p")
    execute(session, "select maintenance.attest_backup('dump', 's3://x', now() - interval '2 h')")
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="no backup of the last"):
        run(session, "p")
    assert count(db) == 10
    execute(session, "select maintenance.attest_backup('dump', 's3://y', now() - interval '1 s')")
    assert run(session, "p") == (5, "exhausted")
    assert column(db, "select attested_by from maintenance.backup_attestation") == 2 * [operator]
    for wrong in ("'', 'x', now()", "'x', '', now()", "'x', null, now()", "'x', 'y', null",
                  "'x', 'y', now() + interval '1 h'", "'x', 'y', 'infinity'"):  # fmt: skip
        with pytest.raises(errors.InvalidParameterValue):
            execute(session, f"select maintenance.attest_backup({wrong})")


MONITORS = {
    "preview", "plan_policy", "describe_policy", "forecast", "is_alive", "pause_reason",
    "load_signals", "plan_undo", "file_columns", "leaves_of", "oldest_archived", "parts_of",
    "policy_archives", "equivalent_indexes", "free_index_name", "index_definition",
    "find_sweep_faults", "find_sweep_risks", "shortest_retention",
    "find_stale_progress", "vacuum_statement",
    "access_rights", "assert_endpoint", "count_tokens", "executor_of", "identify", "is_intact",
    "removable", "diagnose", "diagnose_identity", "diagnose_indexes", "diagnose_policies",
    "diagnose_policy", "diagnose_rights", "diagnose_runs", "diagnose_server", "diagnose_sweeps",
    "aligned_width", "column_widths", "items_per_page", "maintenance_estimate", "posting_lists",
    "running_queries",
}  # fmt: skip
OPERATORS = MONITORS | {
    "run_policy", "run_operations", "drive_step", "drive_batches", "next_transaction",
    "purge_batch", "stop_run", "pause_runs", "resume_runs", "split_step", "join_parts",
    "check_step", "vacuum_command", "open_run", "open_task", "close_task", "bundled",
    "open_step", "run_batch", "close_step", "close_run", "policies_of", "deadline_of_call",
    "assert_outside_transaction", "attest_backup", "assert_undoable", "open_undo",
    "undo_batch", "undo_run", "begin_archive_export", "plan_archive_export",
    "record_archive_file", "return_archived", "stage_archive_file", "take_archived",
    "unrecorded_files", "report_run", "note_sizes",
}  # fmt: skip


@pytest.mark.parametrize(
    ("who", "allowed"), [("operator", OPERATORS), ("monitor", MONITORS), ("stranger", set[str]())]
)
def test_a_role_may_execute_what_it_was_granted_and_nothing_else(
    role: Callable[[str], str], db: Connection, owner: str, who: str, allowed: set[str]
) -> None:
    user = role(who)
    if who != "stranger":
        execute(db, f"select maintenance.grant_{who}('{user}')")
    assert f"act_as_{owner}" in executors(db)
    assert {
        *column(
            db,
            "select proname from pg_catalog.pg_proc"
            " where pronamespace = 'maintenance'::regnamespace"
            " and has_function_privilege(%s, oid, 'execute')",
            user,
        )
    } == allowed
    assert scalar(
        db, f"select has_schema_privilege('{user}', 'maintenance', 'usage')"
    ) is bool(allowed)  # fmt: skip


FORBIDDEN = [
    """select maintenance.register_policy('q', 'app.logs', '{"column": "at"}')""",
    """select maintenance.alter_policy('p', '{"retention": "0 s"}')""",
    "select maintenance.enable_policy('p', false)",
    "select maintenance.remove_policy('p')",
    "select maintenance.adopt_clone()",
    "select maintenance.grant_operator('{user}')",
    "select maintenance.grant_monitor('{user}')",
    "select maintenance.run_as_owner('app.logs', 'delete from app.logs', answers => false)",
    "select maintenance.act_as_{owner}('delete from app.logs', null, null, false)",
    "select maintenance.install_executor('{owner}')",
    "select maintenance.sign_token('p', 'x')",
    "select maintenance.remove_batch(p, now(), null, 1, '1 s', null) from maintenance.policy as p",
    "select maintenance.count_eligible(p, null, null) from maintenance.policy as p",
    "select maintenance.save_policy('p', 'app.logs', null, '{{}}', '{{}}', 'x')",
]
OF_OPERATORS = [
    "call maintenance.run_policy('p')",
    "call maintenance.run_operations()",
    "select maintenance.purge_batch('p')",
    "select maintenance.open_run('x')",
    "select maintenance.open_step(1, 'p')",
    "select maintenance.run_batch(1, 1)",
    "select maintenance.stop_run(1)",
    "select maintenance.attest_backup('x', 'y', now())",
    "select maintenance.open_undo(1, 1)",
    "select maintenance.undo_batch(1, 1)",
    "call maintenance.undo_run(1)",
]
OF_MONITORS = [
    "select maintenance.preview('p')",
    "select maintenance.describe_policy('p')",
    "select maintenance.plan_policy('p')",
    "select from maintenance.run_history",
    "select insert_sweep from maintenance.policy_status",
    "select from maintenance.insert_sweep_status",
    "select from maintenance.policy",
    "select from maintenance.archive",
]


@pytest.mark.parametrize("who", ["operator", "monitor", "stranger"])
def test_what_a_role_may_not_is_denied_and_changes_nothing(
    role: Callable[[str], str],
    db: Connection,
    owner: str,
    login: Callable[[str], Connection],
    who: str,
) -> None:
    user = role(who)
    if who != "stranger":
        execute(db, f"select maintenance.grant_{who}('{user}')")
    session = login(user)
    forbidden = [*FORBIDDEN]
    if who != "operator":
        forbidden += OF_OPERATORS
    if who == "stranger":
        forbidden += OF_MONITORS
    before = rows(db, "select name, version from maintenance.policy order by name")
    for statement in forbidden:
        written = statement.replace("{user}", user).replace("{owner}", owner)
        assert denied(session, written.replace("{{}}", "{}")).startswith("permission denied")
    if who != "stranger":
        for statement in OF_MONITORS:
            execute(session, statement)
    assert rows(db, "select name, version from maintenance.policy order by name") == before
    assert count(db) == 10
    assert count(db, "maintenance.run") == 0


def test_only_the_owner_of_the_schema_grants(
    role: Callable[[str], str], db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    execute(db, f"grant execute on all functions in schema maintenance to {owner}")
    session = login(owner)
    for call in (f"grant_operator('{owner}')", f"grant_monitor('{owner}')", "adopt_clone()"):
        assert denied(session, f"select maintenance.{call}") == (
            "only the owner of schema maintenance may do this"
        )


HOW = {
    "before": "trigger hostile before delete on app.logs",
    "after": "trigger hostile after delete on app.logs",
    "deferred": "constraint trigger hostile after delete on app.logs deferrable initially deferred",
}


def hostile(db: Connection, owner: str, body: str, *, timing: str = "before") -> None:
    """Give app.logs a trigger of its owner, which notes what it could do in app.noted."""
    execute(
        db,
        f"set role {owner}; create table if not exists app.noted (what text);"
        " create function app.hostile() returns trigger language plpgsql as $body$"
        f" begin {body} return coalesce(old, new); end $body$;"
        f" create {HOW[timing]} for each row execute function app.hostile(); reset role",
    )


@pytest.mark.parametrize("timing", HOW)
def test_a_trigger_runs_as_the_owner_even_if_a_superuser_runs_the_policy(
    db: Connection, owner: str, timing: str
) -> None:
    hostile(db, owner, "insert into app.noted select current_user;", timing=timing)
    assert run(db, "p") == (5, "exhausted")
    assert column(db, "select what from app.noted") == 5 * [owner]


def test_what_a_trigger_defers_runs_as_the_owner_since_18_and_as_whoever_commits_before(
    db: Connection, owner: str
) -> None:
    """Before 18 PostgreSQL runs it so; registering the policy says it, and so does the guide."""
    is_safe = db.info.server_version >= 180000
    assert ("deferring_owner" in [risk for risk, *_ in alter(db, "p")]) is not is_safe
    hostile(db, owner, "set constraints all deferred; insert into app.bait values (1);")
    execute(
        db,
        f"set role {owner}; create table app.bait (id integer);"
        " create function app.note() returns trigger language plpgsql as"
        " $$ begin insert into app.noted values (current_user); return null; end $$;"
        " create constraint trigger note after insert on app.bait deferrable initially deferred"
        " for each row execute function app.note(); reset role",
    )
    assert run(db, "p") == (5, "exhausted")
    runs_as = owner if is_safe else scalar(db, "select current_user")
    assert column(db, "select what from app.noted") == 5 * [runs_as]


def test_what_an_operator_deferred_does_not_run_with_our_rights(
    role: Callable[[str], str], db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    operator = role("operator")
    execute(db, f"select maintenance.grant_operator('{operator}')")
    session = login(operator)
    execute(
        session,
        "create temporary table noted (what text); create temporary table bait (id integer);"
        " create function pg_temp.note() returns trigger language plpgsql as"
        " $$ begin insert into pg_temp.noted values (current_user); return null; end $$;"
        " create constraint trigger note after insert on bait deferrable initially deferred"
        " for each row execute function pg_temp.note();"
        " begin; insert into bait values (1); select maintenance.purge_batch('p'); commit",
    )
    assert column(session, "select what from noted") == [operator]
    assert count(db) == 5


ATTEMPTS = [
    "alter role {owner} superuser",
    "create role {owner}_2",
    "grant pg_read_all_data to {owner}",
    "reset role",
    "set role none",
    "set role {master}",
    "set session authorization default",
    "set session authorization {master}",
    "select * from app.accounts",
    "delete from app.accounts",
    "delete from maintenance.policy",
    "update maintenance.policy_override set changes = null",
    "create function maintenance.trap() returns int language sql return 1",
    "create or replace function maintenance.act_as_{owner}(text, bigint, tid[], boolean)"
    " returns jsonb language sql as 'select null::jsonb'",
    "select maintenance.run_as_owner('app.accounts', 'select 1')",
    "select maintenance.adopt_clone()",
]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_hostile_trigger_can_do_what_its_owner_can(
    db: Connection, owner: str, attempt: str
) -> None:
    master = scalar(db, "select current_user")
    written = attempt.format(owner=owner, master=master)
    hostile(
        db,
        owner,
        f"begin execute {db_literal(written)}; insert into app.noted values ('done');"
        " exception when insufficient_privilege or invalid_parameter_value"
        " or feature_not_supported then"
        " insert into app.noted values (sqlerrm); end;",
    )
    assert run(db, "p") == (5, "exhausted")
    noted = column(db, "select distinct what from app.noted")
    assert len(noted) == 1
    assert re.search(
        "permission denied|must be|must have|cannot set parameter|Only roles|only roles", noted[0]
    )
    assert not scalar(db, f"select rolsuper from pg_catalog.pg_roles where rolname = '{owner}'")
    assert count(db, "app.accounts") == 10


def db_literal(text: str) -> str:
    """Write a string constant."""
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize(
    "statement",
    [
        """select maintenance.register_policy('stolen', 'app.accounts', '{"column": "at"}')""",
        """select maintenance.alter_policy('other', '{"retention": "0 s"}')""",
        "select maintenance.remove_policy('other')",
    ],
)
@pytest.mark.parametrize("place", ["trigger", "condition"])
def test_an_owner_cannot_borrow_the_rights_of_whoever_starts_the_run(
    db: Connection, owner: str, place: str, statement: str
) -> None:
    """The functions ask who calls: from within a run that would be the superuser."""
    register(db, "other", "app.accounts", column="at", retention="100 years")
    body = (
        f"begin perform * from ({statement}) as x;"
        " insert into app.noted values ('done'); exception when others then"
        " insert into app.noted values (sqlerrm); end;"
    )
    if place == "trigger":
        hostile(db, owner, body)
    else:
        execute(
            db,
            f"set role {owner}; create table app.noted (what text);"
            " create function app.trap(id integer) returns boolean language plpgsql volatile as"
            f" $body$ begin {body} return true; end $body$; reset role",
        )
        alter(db, "p", condition="app.trap(id)")
    assert run(db, "p") == (5, "exhausted")
    assert {*column(db, "select what from app.noted")} == {
        "policies cannot be changed from within a run"
    }
    assert rows(
        db, "select name, version from maintenance.policy where name in ('stolen', 'other')"
    ) == [("other", 1)]
    assert count(db, "app.accounts") == 10


EVIL = """
set role {owner};
create schema {owner};
create table {owner}.noted (what text);
create function {owner}.note_text(text, text) returns boolean language plpgsql as
    $$ begin insert into {owner}.noted values (current_user); return false; end $$;
create function {owner}.note_bigint(bigint, bigint) returns bigint language plpgsql as
    $$ begin insert into {owner}.noted values (current_user); return $1; end $$;
create function {owner}.note_compare(bigint, bigint) returns boolean language plpgsql as
    $$ begin insert into {owner}.noted values (current_user); return false; end $$;
create function {owner}.note_interval(interval, interval) returns boolean language plpgsql as
    $$ begin insert into {owner}.noted values (current_user); return false; end $$;
create operator {owner}.= (leftarg = text, rightarg = text, function = {owner}.note_text);
create operator {owner}.<> (leftarg = text, rightarg = text, function = {owner}.note_text);
create operator {owner}.+ (leftarg = bigint, rightarg = bigint, function = {owner}.note_bigint);
create operator {owner}.> (leftarg = bigint, rightarg = bigint, function = {owner}.note_compare);
create operator {owner}.< (leftarg = bigint, rightarg = bigint, function = {owner}.note_compare);
create operator {owner}.> (leftarg = interval, rightarg = interval,
    function = {owner}.note_interval);
reset role;
"""


@pytest.mark.parametrize(
    "change",
    [
        "set search_path = {owner}, pg_catalog",
        "set local search_path = {owner}, pg_catalog",
        "set search_path = {owner}, pg_catalog; set local search_path = pg_catalog, pg_temp",
    ],
    ids=["for the session", "for the transaction", "behind another one"],
)
def test_a_path_that_a_trigger_sets_does_not_choose_our_operators(
    db: Connection, owner: str, change: str
) -> None:
    execute(db, f"grant create on database {db.info.dbname} to {owner}")
    execute(db, EVIL.format(owner=owner))
    hostile(db, owner, change.format(owner=owner) + ";")
    execute(db, f"insert into app.logs select n, '{LONG_AGO}' from generate_series(100, 5000) as n")
    alter(db, "p", batch_size=100)
    assert run(db, "p") == (4906, "exhausted")
    execute(db, "reset search_path")
    assert {*column(db, f"select what from {owner}.noted")} <= {owner}


@pytest.mark.parametrize(
    "change",
    [
        "security invoker",
        "set search_path = app, pg_catalog",
        "reset search_path",
        "reset all",
        "set lock_timeout = 0",
        "strict",
        "immutable",
        "stable",
    ],
)
@pytest.mark.parametrize("how", ["run", "purge"])
def test_an_owner_who_alters_the_function_that_acts_as_it_gains_nothing(
    db: Connection, owner: str, login: Callable[[str], Connection], how: str, change: str
) -> None:
    hostile(db, owner, "insert into app.noted select current_user;")
    execute(login(owner), f"alter function maintenance.act_as_{owner}{ACT} {change}")
    with pytest.raises(psycopg.Error, match="cannot be tended with the rights of its owner"):
        _ = run(db, "p") if how == "run" else purge(db, "p", MOMENT)
    assert count(db) == 10
    assert count(db, "app.noted") == 0
    alter(db, "p")
    assert run(db, "p") == (5, "exhausted")
    assert column(db, "select what from app.noted") == 5 * [owner]


def test_an_owner_who_drops_the_function_stops_its_own_policies_until_one_is_altered(
    db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    execute(login(owner), f"drop function maintenance.act_as_{owner}{ACT}")
    with pytest.raises(psycopg.Error, match="cannot be tended with the rights of its owner"):
        run(db, "p")
    alter(db, "p")
    assert run(db, "p") == (5, "exhausted")
    execute(login(owner), f"drop function maintenance.act_as_{owner}{ACT}")
    execute(db, "select maintenance.remove_policy('p')")
    assert f"act_as_{owner}" not in executors(db)


def test_an_owner_cannot_execute_the_function_past_its_own_rights(
    db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    """It is the owner's, who may do with it what it may do without it."""
    session = login(owner)
    call = f"select maintenance.act_as_{owner}(%s, null, null, false)"
    with pytest.raises(errors.InsufficientPrivilege):
        execute(session, call, "delete from app.accounts")
    with pytest.raises(errors.InsufficientPrivilege):
        execute(session, call, "delete from maintenance.policy")


@pytest.mark.parametrize("volatility", ["immutable", "stable", "volatile"])
def test_a_condition_is_evaluated_as_the_owner_at_registration_and_in_runs(
    db: Connection, owner: str, volatility: str
) -> None:
    """What is marked immutable is evaluated by whoever plans a statement."""
    execute(
        db,
        f"set role {owner}; create table app.noted (what text);"
        " create function app.note(what text) returns boolean language plpgsql as"
        " $$ begin insert into app.noted values (current_user); return true; end $$;"
        f" create function app.fits(x integer) returns boolean language plpgsql {volatility} as"
        " $$ begin raise warning 'evaluated as %', current_user; return x > 0; end $$;"
        " reset role",
    )
    seen: set[str] = set()
    db.add_notice_handler(lambda notice: seen.add(str(notice.message_primary)))
    register(db, "q", "app.logs", column="at", condition="app.fits(1) and app.fits(id)")
    if volatility == "immutable":
        assert seen == {f"evaluated as {owner}"}
    preview(db, "q")
    alter(db, "q", retention="1 day")
    assert run(db, "q") == (5, "exhausted")
    assert seen == {f"evaluated as {owner}"}


def test_what_the_owner_may_not_do_a_policy_cannot_either(
    db: Connection, owner: str, login: Callable[[str], Connection]
) -> None:
    with pytest.raises(psycopg.Error, match="permission denied for table accounts"):
        register(
            login(owner), "q", "app.logs", column="at",
            condition="exists (select from app.accounts)",
        )  # fmt: skip
    with pytest.raises(psycopg.Error, match=r"logs and app\.accounts do not have the same owner"):
        register(
            db, "q", "app.logs", column="at", action="archive", archive_table="app.accounts"
        )  # fmt: skip


def test_row_security_of_the_owner_does_not_hide_rows_silently(db: Connection, owner: str) -> None:
    execute(db, "alter table app.logs enable row level security")
    assert run(db, "p") == (5, "exhausted")
    execute(
        db,
        "alter table app.logs force row level security;"
        f" insert into app.logs values (1, '{LONG_AGO}')",
    )
    with pytest.raises(psycopg.Error, match="row-level security policy"):
        run(db, "p")
    assert count(db) == 6


@pytest.mark.parametrize(
    "statement",
    [
        "call maintenance.run_policy('p')",
        "call maintenance.run_operations()",
        "call maintenance.run_operations(array['p'])",
        "select maintenance.purge_batch('p')",
        "select maintenance.open_run('by hand')",
    ],
)
def test_in_a_copied_database_nothing_runs_until_somebody_says_so(
    server: TestServer, new_database: Callable[..., str], statement: str
) -> None:
    url = new_database("copy", template=server.template)
    with psycopg.connect(url, autocommit=True) as copy:
        execute(
            copy,
            "create schema app; create table app.logs (id integer primary key, at timestamptz);"
            f" insert into app.logs values (1, '{LONG_AGO}')",
        )
        register(copy, "p", "app.logs", column="at")
        assert preview(copy, "p")["eligible rows"] == "1"
        with pytest.raises(errors.ObjectNotInPrerequisiteState) as refusal:
            execute(copy, statement)
        assert refusal.value.diag.message_primary == (
            f"database {copy.info.dbname} is a copy of the one that was set up"
        )
        assert refusal.value.diag.message_hint == (
            "select maintenance.adopt_clone() if rows shall be removed here as well."
        )
        assert count(copy) == 1
        assert count(copy, "maintenance.run") == 0
        execute(copy, "select maintenance.adopt_clone()")
        execute(copy, statement)
        assert count(copy) == int("open_run" in statement)


def test_the_same_database_on_another_server_is_a_copy_as_well(db: Connection, owner: str) -> None:
    execute(
        db, "update maintenance.installation set system_identifier = system_identifier + 1"
    )  # fmt: skip
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="is a copy of the one"):
        execute(db, "call maintenance.run_policy('p')")
    execute(db, "select maintenance.adopt_clone()")
    assert run(db, "p") == (5, "exhausted")


def test_a_lease_of_the_original_does_not_hold_in_the_copy(db: Connection, owner: str) -> None:
    number = scalar(db, "select maintenance.open_run('by hand')")
    step, token = rows(db, f"select step, token from maintenance.open_step({number}, 'p')")[0]
    execute(db, "select maintenance.adopt_clone()")
    with pytest.raises(psycopg.Error, match="does not hold its lease any more"):
        execute(db, f"select maintenance.run_batch({step}, {token})")
    assert run(db, "p") == (5, "exhausted")
