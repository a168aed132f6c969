"""What THE_BOT's own tests asked of its command, asked of ``runner run``.

CONTRIBUTING.md says which of its tests each one stands for.
"""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import errors

from runner.errors import Exit
from tests.conftest import scalar
from tests.runner.test_documents import faults
from tests.runner.test_run import Answer, ask, occupy
from tests.statements import column, execute, rows
from tests.thebot.records import count, history, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

ROOT = Path(__file__).parents[2]
TABLES = ("django_session", "core_audit_log", "core_task_execution_log", "core_failed_task",
          "core_failed_task_archive")  # fmt: skip
OPERATIONS = ["cleanup", "logs", "sessions"]


def overdue(db: Connection) -> dict[str, int]:
    """Put in some of each kind that is overdue, and one that is not; return how many there are."""
    put(db, "django_session", "1 s", 3)
    put(db, "core_audit_log", "91 days", 4)
    put(db, "core_task_execution_log", "31 days", 5)
    put(db, "core_failed_task", "366 days", 6)
    for kind in ("django_session", "core_audit_log", "core_task_execution_log", "core_failed_task"):
        put(db, kind, "-1 hour")
    return amounts(db)


def amounts(db: Connection) -> dict[str, int]:
    """Return how many rows each table has, without the lines on runs."""
    return {
        table: count(
            db,
            table,
            "task_name <> 'database_maintenance'" if table == "core_task_execution_log" else "true",
        )
        for table in TABLES
    }


def simulated(answer: Answer, operation: str, eligible: int) -> bool:
    """Say whether a dry run simulated an operation, and would have removed so many rows."""
    document = answer.document
    one = document[operation]
    return (
        answer.code == Exit.DONE
        and faults(document) == []
        and document["metadata"]["dry_run"]
        and (one["status"], one["operation"]) == ("simulated", operation)
        and (one["rows_processed"], one["rows_deleted"]) == (eligible, 0)
    )


def dead_rows(db: Connection) -> None:
    """Leave more dead rows in the audit log than a table may have."""
    put(db, "core_audit_log", "1 day")
    execute(
        db,
        "insert into core_audit_log (action, target_type, ip_address, user_agent, metadata,"
        ' "timestamp") select action, target_type, ip_address, user_agent, metadata, "timestamp"'
        " from core_audit_log, generate_series(1, 2000)",
    )
    execute(db, "delete from core_audit_log where id % 2 = 0")
    execute(db, "select pg_stat_force_next_flush()")


def a_broken_index(db: Connection) -> None:
    """Leave an index that could not be built."""
    put(db, "core_task_execution_log", "1 day", 2)
    with suppress(errors.UniqueViolation):
        execute(
            db, "create unique index concurrently broken on core_task_execution_log (task_name)"
        )


def broken_indexes(db: Connection) -> list[str]:
    """Return the names of indexes that are not valid."""
    return column(db, "select indexrelid::regclass::text from pg_index where not indisvalid")


# The command


def test_without_an_operation_it_lists_them_and_does_nothing(db: Connection, url: str) -> None:
    before = overdue(db)
    answer = ask("run", url=url)
    assert answer.code == Exit.DONE
    assert set(OPERATIONS) <= {row[0] for row in answer.table}
    assert amounts(db) == before
    assert count(db, "maintenance.run") == 0


def test_the_list_has_every_operation(db: Connection, url: str) -> None:
    shown = {row[0] for row in ask("run", url=url).table}
    assert shown >= {
        "vacuum", "reindex", "cleanup", "logs", "sessions", "views", "stats", "bloat", "backup",
    }  # fmt: skip


def test_vacuum_can_be_tried(db: Connection, url: str) -> None:
    dead_rows(db)
    answer = ask("run", "--operation", "vacuum", "--dry-run", "--json", url=url)
    assert simulated(answer, "vacuum", 0)
    statements = answer.document["vacuum"]["details"]["statements"]
    assert [one["object"] for one in statements] == ["public.core_audit_log"]
    execute(db, "select pg_stat_force_next_flush()")
    assert rows(
        db, "select vacuum_count from pg_stat_user_tables where relname = 'core_audit_log'"
    ) == [(0,)]


def test_reindex_can_be_tried(db: Connection, url: str) -> None:
    a_broken_index(db)
    answer = ask("run", "--operation", "reindex", "--dry-run", "--json", url=url)
    assert simulated(answer, "reindex", 0)
    [one] = answer.document["reindex"]["details"]["statements"]
    assert "public.broken" in one["statement"]
    assert broken_indexes(db) == ["broken"]


def test_views_can_be_tried(db: Connection, url: str) -> None:
    execute(db, "create materialized view seen as select clock_timestamp() as at")
    before = rows(db, "select at from seen")
    answer = ask("run", "--operation", "views", "--dry-run", "--json", url=url)
    assert simulated(answer, "views", 0)
    assert answer.document["views"]["refreshed_views"] == []
    assert rows(db, "select at from seen") == before


def test_stats_name_the_largest_tables(db: Connection, url: str) -> None:
    dead_rows(db)
    answer = ask("run", "--operation", "stats", "--json", url=url)
    assert faults(answer.document) == []
    tables = answer.document["stats"]["top_tables"]
    assert 0 < len(tables) <= 20
    assert "core_audit_log" in json.dumps(tables[0])


def test_bloat_is_reported_and_nothing_changed(db: Connection, url: str) -> None:
    answer = ask("run", "--operation", "bloat", "--dry-run", "--json", url=url)
    assert (answer.code, faults(answer.document)) == (Exit.DONE, [])
    assert answer.document["bloat"]["bloated_tables"] == []
    assert count(db, "maintenance.run") == 0


def test_cleanup_can_be_tried(db: Connection, url: str) -> None:
    before = overdue(db)
    put(db, "core_failed_task", "731 days")
    answer = ask("run", "--operation", "cleanup", "--dry-run", "--json", url=url)
    assert simulated(answer, "cleanup", 7)
    assert answer.document["cleanup"]["details"]["FailedTask"]["eligible"] == 7
    assert amounts(db)["core_failed_task"] == before["core_failed_task"] + 1


def test_logs_can_be_tried(db: Connection, url: str) -> None:
    before = overdue(db)
    answer = ask("run", "--operation", "logs", "--dry-run", "--json", url=url)
    assert simulated(answer, "logs", 9)
    details = answer.document["logs"]["details"]
    assert {
        name: (one["deleted"], one["days"], one["eligible"]) for name, one in details.items()
    } == {"Audit Logs": (0, 90, 4), "Task Logs": (0, 30, 5), "Maintenance Logs": (0, 365, 0)}
    assert amounts(db) == before


def test_old_logs_go(db: Connection, url: str) -> None:
    overdue(db)
    logs = ask("run", "--operation", "logs", "--json", url=url).document["logs"]
    assert (logs["status"], logs["rows_deleted"]) == ("completed", 9)
    assert {name: (one["deleted"], one["days"]) for name, one in logs["details"].items()} == {
        "Audit Logs": (4, 90), "Task Logs": (5, 30), "Maintenance Logs": (0, 365),
    }  # fmt: skip
    assert amounts(db) | {"core_audit_log": 1, "core_task_execution_log": 1} == amounts(db)


def test_sessions_can_be_tried(db: Connection, url: str) -> None:
    before = overdue(db)
    answer = ask("run", "--operation", "sessions", "--dry-run", "--json", url=url)
    assert simulated(answer, "sessions", 3)
    assert answer.document["sessions"]["expired_sessions"] == 3
    assert answer.document["sessions"]["message"] == "3 rows would be removed"
    assert amounts(db) == before


def test_expired_sessions_go_and_live_ones_stay(db: Connection, url: str) -> None:
    overdue(db)
    sessions = ask("run", "--operation", "sessions", "--json", url=url).document["sessions"]
    assert (sessions["status"], sessions["rows_deleted"]) == ("completed", 3)
    assert rows(db, "select expire_date > now() from django_session") == [(True,)]


def test_the_answer_for_machines_is_one_document(db: Connection, url: str) -> None:
    overdue(db)
    answer = ask("run", *OPERATIONS, "--output", "json", url=url)
    assert json.loads(answer.out) == answer.document
    assert faults(answer.document) == []
    assert answer.document.keys() == {*OPERATIONS, "metadata"}
    assert answer.document["logs"].keys() >= {"status", "operation", "rows_deleted", "details"}
    assert answer.document["cleanup"].keys() >= {"status", "operation", "rows_processed", "errors"}


def test_all_runs_everything_that_there_is(db: Connection, url: str) -> None:
    overdue(db)
    answer = ask("run", "--all", "--json", url=url)
    assert answer.code == Exit.DONE
    assert answer.document.keys() >= {*OPERATIONS, "metadata"}
    assert amounts(db) == dict.fromkeys(TABLES, 1) | {"core_failed_task_archive": 6}


def test_failed_tasks_are_archived_and_old_ones_removed(db: Connection, url: str) -> None:
    for age, number in (("364 days", 1), ("366 days", 2), ("731 days", 3)):
        put(db, "core_failed_task", age, number)
    document = ask("run", "--operation", "cleanup", "--json", url=url).document["cleanup"]
    assert (document["status"], document["errors"]) == ("completed", [])
    assert document["FailedTask"] == {"rows_cleaned": 5, "status": "completed"}
    assert document["details"]["Archived FailedTask"]["deleted"] == 3
    assert (count(db, "core_failed_task"), count(db, "core_failed_task_archive")) == (1, 2)


def test_another_kind_of_database_is_refused_in_a_sentence() -> None:
    answer = ask("run", "--all", url="sqlite:///db.sqlite3")
    assert answer.code == Exit.USAGE
    assert answer.errors == ["error: sqlite:// is not a PostgreSQL database"]


def test_the_document_says_when_where_and_for_how_long(db: Connection, url: str) -> None:
    before = datetime.now().astimezone()
    metadata = ask("run", "logs", "--json", url=url).document["metadata"]
    assert before <= datetime.fromisoformat(metadata["timestamp"]) <= datetime.now().astimezone()
    assert datetime.fromisoformat(metadata["timestamp"]).utcoffset() == timedelta(0)
    assert round(metadata["duration_seconds"], 2) == metadata["duration_seconds"]
    assert (metadata["dry_run"], metadata["database"]) == (False, db.info.dbname)


def test_several_operations_run_one_after_the_other(db: Connection, url: str) -> None:
    overdue(db)
    answer = ask("run", "--operation", "sessions", "--operation", "logs", "cleanup", url=url)
    assert answer.code == Exit.DONE
    assert (
        column(
            db,
            "select distinct on (operation) operation from maintenance.run_step order by operation",
        )
        == OPERATIONS
    )
    assert amounts(db)["core_audit_log"] == amounts(db)["django_session"] == 1


# Its edges


def test_an_operation_that_there_is_not_is_refused(db: Connection, url: str) -> None:
    before = overdue(db)
    answer = ask("run", "--operation", "session", url=url)
    assert answer.code == Exit.USAGE
    assert answer.errors == ["error: there is no operation or policy session"]
    assert "Did you mean sessions?" in answer.err
    assert amounts(db) == before


def test_cleanup_commits_batch_after_batch(db: Connection, url: str) -> None:
    put(db, "core_failed_task", "366 days", 25)
    ask("run", "cleanup", "--batch-size", "10", url=url)
    assert rows(
        db, "select removed, batches from maintenance.run_step where policy = 'failed_tasks'"
    ) == [(25, 3)]
    assert scalar(
        db, "select count(distinct xmin::text) from core_failed_task_archive"
    ) == 3  # fmt: skip


def test_a_dry_run_changes_nothing(db: Connection, url: str) -> None:
    before = overdue(db)
    put(db, "core_failed_task", "731 days")
    before["core_failed_task"] += 1
    assert ask("run", "--all", "--dry-run", url=url).code == Exit.DONE
    assert amounts(db) == before
    assert history(db, "id") == []
    assert count(db, "maintenance.run") == 0


def test_the_same_operation_runs_once_at_a_time(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    overdue(db)
    occupy(another(), "audit_logs")
    answer = ask("run", "logs", "sessions", url=url)
    assert answer.code == Exit.BUSY
    assert amounts(db) | {"core_audit_log": 5, "django_session": 1} == amounts(db)


def test_each_log_has_an_age_of_its_own(db: Connection, url: str) -> None:
    for age in ("29 days", "31 days", "89 days", "91 days"):
        put(db, "core_audit_log", age)
        put(db, "core_task_execution_log", age)
    ask("run", "logs", url=url)
    assert (count(db, "core_audit_log"), amounts(db)["core_task_execution_log"]) == (3, 1)


def test_recent_logs_stay(db: Connection, url: str) -> None:
    put(db, "core_audit_log", "1 day", 3)
    put(db, "core_task_execution_log", "1 day", 4)
    logs = ask("run", "logs", "--json", url=url).document["logs"]
    assert (logs["status"], logs["exit_reason"], logs["rows_deleted"]) == (
        "skipped", "nothing_to_do", 0,
    )  # fmt: skip
    assert (count(db, "core_audit_log"), amounts(db)["core_task_execution_log"]) == (3, 4)


# Its record


def test_a_run_is_recorded(db: Connection, url: str) -> None:
    ask("run", "logs", url=url)
    assert history(db, "task_id, task_name, retry_count") == [
        ("maintenance_task", "database_maintenance", 0)
    ]


def test_the_record_says_that_it_succeeded(db: Connection, url: str) -> None:
    ask("run", "logs", url=url)
    assert history(
        db, "status, error_message, completed_at >= started_at, duration_seconds >= 0"
    ) == [("success", "", True, True)]


def test_the_record_has_the_whole_result(db: Connection, url: str) -> None:
    overdue(db)
    printed = ask("run", "cleanup", "logs", "--json", url=url).document
    [(result,)] = history(db, "result")
    assert result == printed
    assert result["cleanup"]["rows_processed"] == 6


# All of it


def test_every_operation_ends_without_an_error(db: Connection, url: str) -> None:
    overdue(db)
    for _ in range(2):
        answer = ask("run", "--all", url=url)
        assert (answer.code, answer.errors) == (Exit.DONE, [])


def test_every_operation_answers_in_every_form(db: Connection, url: str) -> None:
    overdue(db)
    for operation in OPERATIONS:
        for more in (["--dry-run"], []):
            for output in ("text", "json"):
                answer = ask("run", "--operation", operation, "--output", output, *more, url=url)
                assert (answer.code, answer.err) == (Exit.DONE, "")
                assert answer.out.startswith("{") is (output == "json")


def test_what_only_postgresql_has_is_done(db: Connection, url: str) -> None:
    dead_rows(db)
    a_broken_index(db)
    execute(db, "create materialized view seen as select clock_timestamp() as at")
    before = rows(db, "select at from seen")
    answer = ask("run", "vacuum", "views", "bloat", "--json", url=url)
    assert (answer.code, faults(answer.document)) == (Exit.DONE, [])
    assert {name: answer.document[name]["status"] for name in ("vacuum", "views", "bloat")} == {
        "vacuum": "completed", "views": "completed", "bloat": "completed",
    }  # fmt: skip
    assert rows(db, "select at from seen") != before
    [(result,)] = history(db, "result")
    assert result == answer.document


# The table of CONTRIBUTING.md


def test_each_test_of_the_original_has_its_counterpart() -> None:
    table = re.findall(
        r"^\| `(test_\w+)` \| `(\w+)` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
    ours = {
        node.name
        for node in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert not [name for _, name in table if name not in ours]
    assert len({name for name, _ in table}) == len(table) == 30
