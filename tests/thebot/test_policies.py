"""The policies of the chain thebot: which rows go, to the microsecond, and which stay."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from runner import api
from tests.conftest import scalar
from tests.core.policies import preview, purge
from tests.statements import column, execute, rows
from tests.thebot.records import INSERTS, count, put

if TYPE_CHECKING:
    from psycopg import Connection

MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
SESSIONS = ("UTC", "Asia/Tokyo", "America/New_York", "Pacific/Kiritimati")
POLICIES = {
    "django_sessions": ("django_session", "django_session", 0),
    "audit_logs": ("core_audit_log", "core_audit_log", 90),
    "task_logs": ("core_task_execution_log", "core_task_execution_log", 30),
    "maintenance_logs": ("maintenance", "core_task_execution_log", 365),
    "failed_tasks": ("core_failed_task", "core_failed_task", 365),
    "archived_failed_tasks": ("core_failed_task", "core_failed_task_archive", 730),
}
"""What each removes, from where, and after how many days."""


@pytest.mark.parametrize("policy", POLICIES)
def test_a_row_goes_a_microsecond_after_its_time_whatever_the_sessions_zone(
    db: Connection, policy: str
) -> None:
    kind, table, days = POLICIES[policy]
    for session in SESSIONS:
        with db.transaction(force_rollback=True):
            execute(db, f"set local time zone '{session}'")
            for beyond in (-HOUR, -MICROSECOND, timedelta(0), MICROSECOND, HOUR):
                put(db, kind, timedelta(days) + beyond)
            if policy == "archived_failed_tasks":
                execute(db, "insert into core_failed_task_archive select * from core_failed_task")
            moment = scalar(db, "select now()").isoformat()
            assert purge(db, policy, moment) == 2, session
            assert count(db, table) == 3, session


def test_each_says_what_it_is_and_how_much_it_takes_at_once(db: Connection) -> None:
    settings = {
        name: tuple(more)
        for name, *more in rows(
            db,
            "select name, title, operation, action, batch_size, is_enabled, severity,"
            " max_silence is not null from maintenance.policy",
        )
    }
    assert settings == {
        "django_sessions": ("Sessions", "sessions", "delete", 10000, True, "LOW", True),
        "audit_logs": ("Audit Logs", "logs", "delete", 10000, True, "LOW", True),
        "task_logs": ("Task Logs", "logs", "delete", 10000, True, "LOW", True),
        "maintenance_logs": ("Maintenance Logs", "logs", "delete", 10000, True, "LOW", True),
        "failed_tasks": ("FailedTask", "cleanup", "archive", 1000, True, "LOW", True),
        "archived_failed_tasks": (
            "Archived FailedTask", "cleanup", "delete", 1000, True, "LOW", True,
        ),
    }  # fmt: skip
    assert settings.keys() == POLICIES.keys()


@pytest.mark.parametrize("policy", POLICIES)
def test_an_index_serves_each(db: Connection, policy: str) -> None:
    assert not {"missing_index"} & {
        *column(
            db,
            "select risk from maintenance.policy as p, maintenance.find_policy_risks(p)"
            " where p.name = %s",
            policy,
        )
    }
    shown = preview(db, policy)
    assert all(
        "; index " in value or value.startswith("index ")
        for item, value in shown.items()
        if item.startswith("branch")
    )


def test_logs_keep_the_record_of_maintenance_and_remove_the_rest(db: Connection) -> None:
    put(db, "core_task_execution_log", "31 days", 3)
    put(db, "maintenance", "364 days", 2)
    put(db, "maintenance", "366 days")
    execute(db, "call maintenance.run_operations(array['logs'])")
    assert rows(
        db, "select task_name, count(*) from core_task_execution_log group by 1 order by 1"
    ) == [("database_maintenance", 3)], "and the run itself"


def test_what_is_two_years_old_is_archived_and_removed_by_the_same_run(db: Connection) -> None:
    for age in ("364 days", "366 days", "729 days", "731 days", "5 years"):
        put(db, "core_failed_task", age)
    ran = api.run(db.info.dsn, ["cleanup"])
    assert [(step.policy, step.removed) for step in ran.steps] == [
        ("failed_tasks", 4), ("archived_failed_tasks", 2),
    ]  # fmt: skip
    assert count(db, "core_failed_task") == 1
    assert count(db, "core_failed_task_archive") == 2


def test_an_archived_task_is_the_same_and_comes_back(db: Connection) -> None:
    put(db, "core_failed_task", "366 days", 3)
    before = rows(db, "select * from core_failed_task order by id")
    ran = api.run(db.info.dsn, ["failed_tasks"])
    columns = ", ".join(
        column(
            db,
            "select attname from pg_attribute"
            " where attrelid = 'core_failed_task'::regclass and attnum > 0 order by attnum",
        )
    )
    assert rows(db, f"select {columns} from core_failed_task_archive order by id") == before
    assert count(db, "core_failed_task") == 0
    api.undo(db.info.dsn, ran.run)
    assert rows(db, "select * from core_failed_task order by id") == before
    assert count(db, "core_failed_task_archive") == 0


def test_every_kind_of_row_has_its_policy() -> None:
    assert {kind for kind, *_ in POLICIES.values()} == INSERTS.keys()
