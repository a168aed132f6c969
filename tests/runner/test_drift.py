"""What somebody has changed of ours is seen, named and put back; what is theirs is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from runner import api
from runner.connection import connect
from runner.definitions import drift, last_maker, made_elsewhere, read, recorded
from runner.errors import Exit
from runner.scripts import chains, scripts
from tests.conftest import TestServer, run
from tests.migrations.dumps import structure

CORE = [one.id for one in scripts(["none"])][-1]


@pytest.fixture
def url(server: TestServer, new_database: Callable[..., str]) -> str:
    """The URL of a migrated database."""
    return new_database("drifting", template=server.template)


@pytest.fixture
def migrated(tx: Connection) -> Connection:
    """A transaction in a database as it was migrated, read as the runner reads."""
    tx.execute("set local search_path = pg_catalog, pg_temp")
    return tx


def change(url: str, *statements: str) -> None:
    """Do to a database what its users might."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def drifts(url: str) -> list[tuple[str, str]]:
    """What status says was changed or is gone."""
    return [(str(one), one.state) for one in api.status(url).drift]


BODY = "language sql stable as $$ select 'nothing' $$"
CHANGES = [
    (
        "create or replace function maintenance.bracketed(condition text) returns text " + BODY,
        [("function maintenance.bracketed(text)", "changed")],
    ),
    (
        "alter function maintenance.bracketed(text) volatile",
        [("function maintenance.bracketed(text)", "changed")],
    ),
    (
        "alter function maintenance.grant_monitor(name) reset search_path",
        [("function maintenance.grant_monitor(name)", "changed")],
    ),
    (
        "alter function maintenance.create_archive(regclass, text) security invoker",
        [("function maintenance.create_archive(regclass,text)", "changed")],
    ),
    (
        "create or replace function maintenance.follow_policy() returns trigger"
        " language plpgsql as $$ begin return null; end $$",
        [("function maintenance.follow_policy()", "changed")],
    ),
    (
        "drop procedure maintenance.next_transaction",
        [("procedure maintenance.next_transaction()", "gone")],
    ),
    (
        "do $$ begin execute 'create or replace view maintenance.table_owners"
        " with (security_invoker = true) as '"
        " || rtrim(pg_get_viewdef('maintenance.table_owners'::regclass), ';') || ' limit 1';"
        " end $$",
        [("view maintenance.table_owners", "changed")],
    ),
    (
        "alter view maintenance.policy_status reset (security_invoker)",
        [("view maintenance.policy_status", "changed")],
    ),
    ("drop view maintenance.token_growth", [("view maintenance.token_growth", "gone")]),
    (
        "alter table maintenance.pause drop column reason cascade",
        [("table maintenance.pause", "changed")],
    ),
    (
        "alter table maintenance.run alter column program drop not null",
        [("table maintenance.run", "changed")],
    ),
    (
        "alter table maintenance.run alter column is_stop_requested set default true",
        [("table maintenance.run", "changed")],
    ),
    (
        "alter table maintenance.run_step drop constraint run_step_run_fkey",
        [("table maintenance.run_step", "changed")],
    ),
    (
        "alter table maintenance.backup_attestation alter column attested_at type timestamp",
        [("table maintenance.backup_attestation", "changed")],
    ),
    ("drop table maintenance.endpoint", [("table maintenance.endpoint", "gone")]),
    ("drop index maintenance.run_step_run_idx", [("index maintenance.run_step_run_idx", "gone")]),
    (
        "alter table maintenance.policy_change disable trigger trigger_follow_policy",
        [("trigger maintenance.policy_change.trigger_follow_policy", "changed")],
    ),
    (
        "drop trigger trigger_follow_policy on maintenance.policy_change",
        [("trigger maintenance.policy_change.trigger_follow_policy", "gone")],
    ),
    (
        "create or replace function public.cleanup_expired_refresh_tokens() returns integer"
        " language sql as 'select 0'",
        [("function public.cleanup_expired_refresh_tokens()", "changed")],
    ),
    ("drop table public.user_activity", [("table public.user_activity", "gone")]),
]


@pytest.mark.parametrize(
    ("statement", "expected"), CHANGES, ids=[" ".join(one.split()[:6]) for one, _ in CHANGES]
)
def test_a_change_to_ours_is_seen(
    migrated: Connection, statement: str, expected: list[tuple[str, str]]
) -> None:
    migrated.execute(statement.encode())
    found = [(str(one), one.state) for one in drift(migrated, recorded(migrated))]
    assert set(expected) <= set(found)
    assert len(found) == len(expected) or "cascade" in statement


LEGITIMATE = [
    "grant select on maintenance.policy to public",
    "grant execute on function maintenance.bracketed(text) to public",
    "comment on function maintenance.bracketed(text) is 'mine'",
    "comment on table maintenance.run is null",
    "alter view maintenance.token_growth owner to pg_monitor",
    "create table public.mine (id integer)",
    "create table maintenance.mine (id integer)",
    "create function public.refresh_deck_progress(text) returns void language sql as ''",
    "alter table public.users add column nickname text",
    "alter table public.users drop constraint users_username_key",
    "create index on maintenance.run (started_at)",
    "alter table maintenance.run_step set (fillfactor = 70)",
    "select maintenance.set_insert_sweep('refresh_tokens', enabled => false)",
    "select maintenance.alter_policy('refresh_tokens', '{\"retention\": \"1 day\"}')",
    "select maintenance.enable_policy('unverified_users', true)",
    "create role pgm_drift_owner; alter table public.refresh_tokens owner to pgm_drift_owner",
    "select maintenance.create_archive('public.refresh_tokens')",
]


@pytest.mark.parametrize("statement", LEGITIMATE)
def test_what_users_may_do_is_no_drift(migrated: Connection, statement: str) -> None:
    migrated.execute(statement.encode())
    assert drift(migrated, recorded(migrated)) == []


def test_a_migrated_database_has_no_drift_and_records_whatever_the_scripts_make(url: str) -> None:
    with connect(url, program="test") as connection:
        known = {one.object: one.fingerprint for one in recorded(connection)}
        assert known == read(connection, made_elsewhere(scripts(chains())))
    assert {"function", "procedure", "view", "table", "index", "trigger"} <= {
        one.kind for one in known
    }
    assert api.status(url).is_up_to_date


def test_no_fingerprint_depends_on_the_settings_of_the_session(migrated: Connection) -> None:
    before = read(migrated)
    migrated.execute("set local datestyle = 'German'")
    migrated.execute("set local timezone = 'Asia/Tokyo'")
    migrated.execute("set local extra_float_digits = 0")
    assert read(migrated) == before


def test_a_view_is_what_it_was_once_it_was_dumped_and_restored(migrated: Connection) -> None:
    """PostgreSQL gives a name to a column that has none, and writes it from then on."""
    before = read(migrated)
    for one in before:
        if one.kind == "view":
            statement = (
                f"do $$ begin execute 'create or replace view {one.name} with"
                f" (security_invoker = true) as ' || pg_get_viewdef('{one.name}'::regclass);"
                " end $$"
            )
            migrated.execute(statement.encode())
    assert read(migrated) == before, "name the columns, in each arm of a union as well"


def test_an_object_is_recorded_for_the_script_that_made_it_last(migrated: Connection) -> None:
    everything = scripts(chains())
    for one in recorded(migrated):
        assert one.migration_id == last_maker(one.object, everything) or one.kind in (
            "index",
            "table",
        ), one


def test_a_rollback_and_a_migrate_leave_the_records_as_they_were(url: str) -> None:
    with psycopg.connect(url) as connection:
        before = recorded(connection)
    plan = api.plan_rollback(url, steps=9)
    api.rollback(url, plan, backup_folder=None)
    with psycopg.connect(url) as connection:
        fewer = recorded(connection)
    assert {one.migration_id for one in fewer} & set(plan.scripts) == set()
    assert set(fewer) < set(before)
    assert api.status(url).drift == []
    api.migrate(url, applications=["matcha"])
    with psycopg.connect(url) as connection:
        assert recorded(connection) == before


def test_a_script_does_not_bless_what_was_changed_before_it(url: str) -> None:
    """Granting rights on a function, as attaching a sweep does, is not making it."""
    api.rollback(url, api.plan_rollback(url, to=CORE), backup_folder=None)
    change(
        url,
        "alter function maintenance.open_sweep(text, oid, oid, name, boolean) parallel restricted",
        "revoke execute on function maintenance.open_sweep(text, oid, oid, name, boolean)"
        " from current_user",
    )
    changed = [("function maintenance.open_sweep(text,oid,oid,name,boolean)", "changed")]
    assert drifts(url) == changed
    api.migrate(url, applications=["matcha"])
    assert drifts(url) == changed


def test_status_names_what_was_changed_and_ends_with_5(url: str) -> None:
    change(url, "drop view maintenance.token_growth", "alter table maintenance.run add extra text")
    done = run("status", url=url)
    assert done.returncode == Exit.FINDINGS
    assert "view maintenance.token_growth is gone: somebody dropped it" in done.stdout
    assert "table maintenance.run is not what was migrated: somebody changed it" in done.stdout
    assert "run `runner migrate --repair`" in done.stdout
    answer = json.loads(run("status", "--json", url=url).stdout)
    assert {"kind", "name", "state", "migration_id"} == answer["drift"][0].keys()
    assert [one["state"] for one in answer["drift"]] == ["changed", "gone"]
    doctor = run("doctor", url=url)
    assert "runner migrate --repair" in doctor.stdout


def repaired(url: str) -> api.Repaired:
    """Repair, and find that nothing is left to do and that the database is as it was migrated."""
    done = api.repair(url)
    assert done.unrepaired == []
    assert drifts(url) == []
    again = api.repair(url)
    assert (again.repaired, again.unrepaired, again.indexes) == ([], [], [])
    return done


def test_repair_puts_back_what_can_be_made_again(url: str) -> None:
    before = structure(url)
    change(
        url,
        "create or replace function maintenance.bracketed(condition text) returns text " + BODY,
        "alter function maintenance.create_archive(regclass, text) security invoker",
        "alter function maintenance.grant_monitor(name) reset search_path",
        "drop procedure maintenance.next_transaction",
        "drop view maintenance.policy_status",
        "drop view maintenance.token_growth",
        "alter view maintenance.table_owners reset (security_invoker)",
        "drop index maintenance.run_step_run_idx",
        "drop index maintenance.run_step_policy_idx;"
        " create index run_step_policy_idx on maintenance.run_step (policy)",
        "drop trigger trigger_follow_policy on maintenance.policy_change",
        "drop function public.cleanup_all_expired_tokens()",
        "create or replace function public.cleanup_expired_refresh_tokens() returns integer"
        " language sql as 'select 0'",
        "drop index public.idx_refresh_tokens_expires_at",
        "drop trigger trigger_cleanup_refresh_tokens on public.refresh_tokens",
    )
    assert structure(url) != before
    done = repaired(url)
    assert structure(url) == before
    assert done.indexes == ["idx_refresh_tokens_expires_at"]
    assert "sweep of refresh_tokens" in done.repaired
    assert len(done.repaired) == 13
    assert api.status(url).is_up_to_date


def test_a_trigger_that_was_disabled_fires_again(url: str) -> None:
    change(url, "alter table maintenance.policy_change disable trigger trigger_follow_policy")
    assert repaired(url).repaired == ["trigger maintenance.policy_change.trigger_follow_policy"]


def test_a_dry_run_of_repair_says_what_it_would_do_and_changes_nothing(url: str) -> None:
    change(
        url,
        "drop view maintenance.token_growth",
        "alter table maintenance.run add column extra text",
        "drop index public.idx_refresh_tokens_expires_at",
        "drop trigger trigger_cleanup_refresh_tokens on public.refresh_tokens",
    )
    before = structure(url)
    done = run("migrate", "--repair", "--dry-run", url=url)
    assert done.returncode == Exit.FAILED
    assert done.stdout.splitlines() == [
        "would repair view maintenance.token_growth",
        "would repair sweep of refresh_tokens",
        "would build index idx_refresh_tokens_expires_at",
    ]
    assert "error: table maintenance.run was not repaired: its definition was altered" in (
        done.stderr
    )
    assert structure(url) == before


def test_the_rest_is_repaired_where_a_table_of_ours_is_gone_or_altered(url: str) -> None:
    change(
        url,
        "drop table maintenance.endpoint",
        "drop table public.user_activity",
        "alter table maintenance.run alter column program drop not null",
        "drop view maintenance.token_growth",
    )
    done = run("migrate", "--repair", url=url)
    assert done.returncode == Exit.FAILED
    assert done.stdout == "repaired view maintenance.token_growth\n"
    for line in (
        "error: table maintenance.endpoint was not repaired: what was in it is gone with it",
        "hint: Restore it from a backup; `runner show core/0004_register_policies` has how it is",
        "error: table maintenance.run was not repaired: its definition was altered",
        "hint: Alter it back: `runner show core/0006_run_policies` has how it was made.",
        "error: table public.user_activity was not repaired: it is the application's",
    ):
        assert line in done.stderr
    answer = json.loads(run("migrate", "--repair", "--json", url=url).stdout)
    assert len(answer["unrepaired"]) == 3

    change(url, "alter table maintenance.run alter column program set not null")
    assert ("table maintenance.run", "changed") not in drifts(url)


EXTRA = (
    "do $$ begin execute 'create or replace view maintenance.run_history as select known.*,"
    " 1 as extra from (' || rtrim(pg_get_viewdef('maintenance.run_history'::regclass), ';')"
    " || ') as known'; end $$"
)
"""Gives the view one column more, which create or replace cannot take away."""
REMADE = (
    "drop view maintenance.policy_status; drop view maintenance.run_history;"
    " create view maintenance.run_history as select 1 as one;"
    " grant select on maintenance.run_history to {granted}"
)


def test_a_view_with_other_columns_is_dropped_and_made_again_with_its_grants(
    url: str, role: Callable[[str], str]
) -> None:
    monitor, reader = role("monitor"), role("reader")
    api.grant(url, monitor, "monitor")
    rights = api.grants(url).roles
    before = structure(url)
    change(url, REMADE.format(granted=reader))
    assert api.grants(url).roles != rights
    assert set(repaired(url).repaired) == {
        "view maintenance.run_history",
        "view maintenance.policy_status",
    }
    granted = f"GRANT SELECT ON TABLE maintenance.run_history TO {reader};"
    assert granted in structure(url)
    change(url, f"revoke all on maintenance.run_history from {reader}")
    assert structure(url) == before
    assert api.grants(url).roles == rights


def test_a_view_of_ours_that_stands_on_one_with_other_columns_is_made_again_too(
    url: str, role: Callable[[str], str]
) -> None:
    reader = role("reader")
    change(url, f"grant select on maintenance.policy_status to {reader}", EXTRA)
    before = structure(url)
    assert repaired(url).repaired == ["view maintenance.run_history"]
    assert f"GRANT SELECT ON TABLE maintenance.policy_status TO {reader};" in structure(url)
    assert before != structure(url)


def test_a_view_of_others_that_stands_in_the_way_is_named(url: str) -> None:
    change(url, EXTRA, "create view public.theirs as select extra from maintenance.run_history")
    done = run("migrate", "--repair", url=url)
    assert done.returncode == Exit.FAILED
    assert "run_history was not repaired: view public.theirs stands on it, and is not ours" in (
        done.stderr
    )
    assert "hint: Drop view public.theirs, run `runner migrate --repair` again" in done.stderr
    change(url, "drop view public.theirs")
    repaired(url)


def test_a_function_that_returns_something_else_is_made_again_with_its_grants(
    url: str, role: Callable[[str], str]
) -> None:
    operator = role("operator")
    api.grant(url, operator, "operator")
    before = structure(url)
    change(
        url,
        "drop function maintenance.vacuum_command(text)",
        "create function maintenance.vacuum_command(policy text) returns integer"
        " language sql as 'select 1'",
    )
    assert repaired(url).repaired == ["function maintenance.vacuum_command(text)"]
    assert structure(url) == before


def test_what_owners_of_swept_tables_may_call_is_granted_to_them_again(
    url: str, role: Callable[[str], str]
) -> None:
    owner = role("owner")
    change(
        url,
        f"alter table public.refresh_tokens owner to {owner}",
        f"grant create on schema public to {owner}",
        "select * from maintenance.attach_insert_sweep('refresh_tokens')",
    )
    before = structure(url)
    change(
        url,
        "drop function maintenance.open_sweep(text, oid, oid, name, boolean)",
        "select * from maintenance.insert_sweep",
    )
    repaired(url)
    assert structure(url) == before


def test_a_superuser_who_repairs_does_not_become_the_owner(
    new_database: Callable[..., str], role: Callable[[str], str]
) -> None:
    owner = role("owner")
    url = new_database("owned", owner=owner)
    api.migrate(make_conninfo(url, user=owner))
    before = structure(url)
    change(
        url,
        "drop function maintenance.adopt_clone()",
        "drop view maintenance.policy_status",
        "create view maintenance.policy_status as select 1 as one",
    )
    repaired(url)
    assert structure(url) == before


def test_repair_is_refused_where_it_makes_no_sense(
    empty: str, url: str, role: Callable[[str], str]
) -> None:
    assert "has nothing of pg-maintenance to repair" in run("migrate", "--repair", url=empty).stderr
    stranger = make_conninfo(url, user=role("stranger"))
    assert run("migrate", "--repair", url=stranger).returncode == Exit.FAILED
    for arguments in (["--mark"], ["--to", "core/0001_create_schema"], ["--app", "matcha"]):
        assert run("migrate", "--repair", *arguments, url=url).returncode == Exit.USAGE


def test_a_sound_database_has_nothing_to_repair(url: str) -> None:
    done = run("migrate", "--repair", url=url)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    assert "has nothing to repair" in done.stdout
