"""Rows of THE_BOT's tables, by how old they are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.conftest import scalar
from tests.statements import execute, rows

if TYPE_CHECKING:
    from psycopg import Connection

INSERTS = {
    "django_session": "insert into django_session values"
    " (gen_random_uuid()::text, 'x', {moment})",
    "core_audit_log": 'insert into core_audit_log (action, target_type, ip_address, user_agent,'
    " metadata, \"timestamp\") values ('login', 'user', '::1', '', '{{}}', {moment})",
    "core_task_execution_log": "insert into core_task_execution_log (task_id, task_name, status,"
    " started_at, retry_count, result, error_message)"
    " values ('1', 'send_mail', 'success', {moment}, 0, '{{}}', '')",
    "maintenance": "insert into core_task_execution_log (task_id, task_name, status,"
    " started_at, retry_count, result, error_message) values"
    " ('maintenance_task', 'database_maintenance', 'success', {moment}, 0, '{{}}', '')",
    "core_failed_task": "insert into core_failed_task (task_id, task_name, status, error_message,"
    " error_type, traceback, retry_count, is_transient, metadata, failed_at, investigation_notes,"
    " resolution_notes) values (gen_random_uuid()::text, 'send_mail', 'failed', 'refused',"
    " 'OSError', '', 3, false, '{{}}', {moment}, '', '')",
}  # fmt: skip
"""How a row of each kind comes about; those of maintenance are in the log of tasks too."""


def put(db: Connection, kind: str, age: str | timedelta, number: int = 1) -> None:
    """Put rows of a kind that are that old: expired, done, started or failed so long ago."""
    if isinstance(age, timedelta):
        age = f"{age // timedelta(microseconds=1)} microseconds"
    insert = INSERTS[kind].format(moment=f"now() - interval '{age}'")
    for _ in range(number):
        execute(db, insert)


def count(db: Connection, table: str, where: str = "true") -> int:
    """Return how many rows a table has."""
    return scalar(db, f"select count(*) from {table} where {where}")


def history(db: Connection, columns: str) -> list[tuple[Any, ...]]:
    """Return what the application's log has on runs of maintenance, the oldest first."""
    return rows(
        db,
        f"select {columns} from core_task_execution_log"
        " where task_name = 'database_maintenance' order by id",
    )
