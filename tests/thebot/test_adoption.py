"""The tables that Django made: adopted, tended, and given back as they were."""

from __future__ import annotations

from subprocess import CalledProcessError
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api
from runner.errors import Exit
from runner.scripts import scripts
from tests.conftest import scalar, settle
from tests.migrations.dumps import everything, shipped_data, structure, whole
from tests.migrations.test_round_trip import build_indexes_with_psql, psql, undo
from tests.statements import column, execute, rows
from tests.thebot.records import INSERTS, count, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from psycopg import Connection

TABLES = ("core_audit_log", "core_failed_task", "core_task_execution_log", "django_session")
CORE, THEBOT = (
    [one for one in scripts(["thebot"]) if (one.chain == "core") is is_core]
    for is_core in (True, False)
)


def fill(url: str) -> None:
    """Put rows of all kinds and ages into a database, and what an operator may have added."""
    with psycopg.connect(url, autocommit=True) as connection:
        for kind in INSERTS:
            for age in ("-1 day", "0 s", "100 days", "3 years"):
                put(connection, kind, age)
        execute(
            connection,
            "comment on table core_audit_log is 'of the auditor';"
            " alter table core_audit_log set (fillfactor = 90);"
            " grant select on core_audit_log to pg_monitor",
        )


def test_nothing_is_left_of_us_and_nothing_is_lost(original: str) -> None:
    fill(original)
    before = whole(original)
    done = api.migrate(original, applications=["thebot"])
    assert done.indexes == ["idx_core_failed_task_archive_failed_at"], "Django made the others"
    assert api.status(original).is_up_to_date
    undo(original, everything=True)
    assert whole(original) == before


def test_what_was_tended_is_given_back_without_what_had_expired(original: str) -> None:
    fill(original)
    before = structure(original)
    api.migrate(original, applications=["thebot"])
    with psycopg.connect(original, autocommit=True) as connection:
        adopted = "select name from maintenance.owned_object where origin = 'adopted' order by 1"
        assert column(connection, adopted) == [f"public.{table}" for table in TABLES]
        assert api.run(original, everything=True).code == Exit.DONE
        assert {table: count(connection, table) for table in TABLES} == {
            "django_session": 1, "core_audit_log": 2, "core_failed_task": 3,
            "core_task_execution_log": 6,
        }  # fmt: skip
    undo(original, everything=True)
    assert structure(original) == before


def test_psql_does_and_undoes_the_same(original: str) -> None:
    fill(original)
    before = whole(original)
    for one in CORE + THEBOT:
        psql(original, "-1", "-f", one.up)
    build_indexes_with_psql(original)
    for one in reversed(CORE + THEBOT):
        psql(original, "-1", "-f", one.down)
    assert whole(original) == before


@pytest.mark.slow
def test_where_there_are_no_tables_they_are_made_step_by_step_and_back(empty: str) -> None:
    api.migrate(empty, to=CORE[-1].id)
    states = [everything(empty)]
    for one in THEBOT:
        api.migrate(empty, to=one.id)
        states.append(everything(empty))
    for state in reversed(states[:-1]):
        undo(empty, steps=1)
        assert everything(empty) == state
    api.migrate(empty, applications=["thebot"])
    assert everything(empty) == states[-1]


def test_psql_makes_the_same_database(empty: str, new_database: Callable[..., str]) -> None:
    for one in CORE + THEBOT:
        psql(empty, "-1", "-f", one.up)
    build_indexes_with_psql(empty)
    migrated = new_database("migrated")
    api.migrate(migrated, applications=["thebot"])
    assert structure(empty) == structure(migrated)
    assert shipped_data(empty) == shipped_data(migrated)


def test_the_tables_that_we_make_are_djangos_but_for_users(empty: str, original: str) -> None:
    """Of those that Django makes: names, types, NOT NULL and identities of the columns."""
    columns = """
        select attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull,
            attidentity
        from pg_attribute
        where attrelid = any (%s::regclass[]) and attnum > 0 and attname <> 'user_id'
        order by 1, 2
    """
    api.migrate(empty, applications=["thebot"])
    found: list[list[tuple[str, ...]]] = []
    for url in (empty, original):
        with psycopg.connect(url) as connection:
            found.append(rows(connection, columns, list(TABLES)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("ddl", "sentence"),
    [
        (
            "alter table django_session rename expire_date to expires_at",
            "thebot/0001_application_tables: public.django_session has no column expire_date",
        ),
        (
            'alter table core_audit_log alter "timestamp" type timestamp',
            "thebot/0001_application_tables: column public.core_audit_log.timestamp is timestamp",
        ),
        (
            "alter table core_task_execution_log alter result type text",
            "thebot/0001_application_tables: column public.core_task_execution_log.result is text",
        ),
        (
            "create table core_failed_task_archive (id bigint)",
            "thebot/0003_archive_failed_tasks: ",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(
    original: str, ddl: str, sentence: str
) -> None:
    with psycopg.connect(original, autocommit=True) as connection:
        execute(connection, ddl)
    before = whole(original)
    with pytest.raises(api.RunnerError) as refusal:
        api.migrate(original, applications=["thebot"])
    assert refusal.value.message.startswith(sentence)
    assert refusal.value.code == Exit.REFUSED
    assert whole(original) == before


def test_an_archive_that_was_there_is_used_and_stays(original: str) -> None:
    with psycopg.connect(original, autocommit=True) as connection:
        execute(
            connection,
            "create table core_failed_task_archive (like core_failed_task);"
            " create index mine on core_failed_task_archive (failed_at)",
        )
        put(connection, "core_failed_task", "366 days")
        before = structure(original)
        api.migrate(original, applications=["thebot"])
        api.run(original, ["cleanup"])
        assert count(connection, "core_failed_task_archive") == 1
        undo(original, everything=True)
        assert count(connection, "core_failed_task_archive") == 1
    assert structure(original) == before


def test_an_archive_with_tasks_in_it_goes_only_after_a_dump(
    db: Connection, url: str, tmp_path: Path
) -> None:
    put(db, "core_failed_task", "366 days", 2)
    api.run(url, ["cleanup"])
    down = next(one.down for one in THEBOT if one.id.startswith("thebot/0003"))
    undo(url, steps=1)
    with pytest.raises(CalledProcessError) as refusal:
        psql(url, "-1", "-f", down)
    assert "core_failed_task_archive holds 2 rows, and would be dropped" in refusal.value.stderr
    plan = api.plan_rollback(url, steps=1)
    assert [(loss.what, loss.rows) for loss in plan.losses] == [
        ("public.core_failed_task_archive", 2)
    ]  # fmt: skip
    done = api.rollback(url, plan, backup_folder=tmp_path)
    assert done.backup is not None
    assert scalar(db, "select to_regclass('core_failed_task_archive') is null")


def test_an_owner_of_the_database_who_is_a_member_of_the_tables_owner_can_do_it(
    original: str, admin: Connection, role: Callable[[str], str]
) -> None:
    owner, migrator, operator = role("owner"), role("migrator"), role("operator")
    fill(original)
    with psycopg.connect(original, autocommit=True) as connection:
        for table in TABLES:
            execute(connection, f"alter table {table} owner to {owner}")
        execute(connection, f"grant create on schema public to {owner}")
    execute(admin, f"grant {owner} to {migrator}")
    execute(admin, f"alter database {conninfo_to_dict(original)['dbname']} owner to {migrator}")
    before = structure(original)
    as_migrator = make_conninfo(original, user=migrator)
    api.migrate(as_migrator, applications=["thebot"])
    with psycopg.connect(as_migrator, autocommit=True) as connection:
        settle(connection)
        execute(connection, f"select maintenance.grant_operator('{operator}')")
    ran = api.run(make_conninfo(original, user=operator), ["logs"])
    assert (ran.code, ran.unreported) == (Exit.DONE, None)
    with psycopg.connect(as_migrator, autocommit=True) as connection:
        execute(connection, f"set role {owner}")
        assert count(connection, "core_task_execution_log", "task_id = 'maintenance_task'") == 4
        execute(connection, "reset role")
        execute(connection, f"select maintenance.revoke_access('{operator}')")
    undo(as_migrator, everything=True)
    assert structure(original) == before
