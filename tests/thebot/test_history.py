"""Each run is a line in the application's own task log, and what keeps it out is said."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner import api
from runner.errors import Exit
from tests.conftest import run, scalar
from tests.core.runs import a_table, register
from tests.core.runs import put as put_tokens
from tests.runner.test_documents import faults
from tests.runner.test_run import a_policy, a_trap, ask
from tests.statements import column, execute, rows
from tests.thebot.django_project import django
from tests.thebot.records import count, history, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

LINE = "task_id, status, retry_count, error_message"
IN_NO_RECORD = "is not in the record of thebot: "


def test_a_run_is_a_line_with_its_whole_document(db: Connection, url: str) -> None:
    put(db, "core_audit_log", "91 days", 3)
    put(db, "core_task_execution_log", "31 days", 2)
    put(db, "core_failed_task", "366 days")
    printed = ask("run", "--all", "--json", url=url).document
    assert history(db, LINE) == [("maintenance_task", "success", 0, "")]
    [(result,)] = history(db, "result")
    assert result == printed
    assert result["cleanup"]["rows_processed"] == 1
    assert rows(
        db,
        "select result->'logs'->'details'->'Audit Logs'->>'deleted',"
        " result->'logs'->'details'->'Task Logs'->>'deleted',"
        " result->'logs'->'details'->'Audit Logs'->>'days'"
        " from core_task_execution_log where task_name = 'database_maintenance'",
    ) == [("3", "2", "90")]
    assert rows(
        db,
        "select log.started_at = run.started_at, log.completed_at = run.ended_at,"
        " log.duration_seconds = (log.result #>> '{metadata,duration_seconds}')::float8,"
        " log.duration_seconds > 0"
        " from core_task_execution_log as log, maintenance.run",
    ) == [(True, True, True, True)]


def test_the_history_is_what_the_guide_of_the_application_reads(db: Connection, url: str) -> None:
    put(db, "core_failed_task", "366 days", 4)
    api.run(url, ["cleanup"])
    api.run(url, ["sessions", "cleanup"])
    assert django(url, "history").splitlines() == ["success (True)", "success (True)", "0"]
    execute(db, "delete from core_task_execution_log where id = 2")
    assert django(url, "history").splitlines() == ["success (True)", "4"]


@pytest.mark.parametrize("style", ["ISO, MDY", "German", "SQL, DMY"])
def test_moments_are_written_whatever_the_sessions_style(
    db: Connection, url: str, style: str
) -> None:
    execute(db, f"alter database {db.info.dbname} set datestyle = {style}")
    execute(db, f"alter database {db.info.dbname} set timezone = 'Asia/Tokyo'")
    with psycopg.connect(url, autocommit=True) as session:
        execute(session, "call maintenance.run_policy('audit_logs')")
    assert rows(
        db,
        "select log.started_at = run.started_at, log.completed_at = run.ended_at"
        " from core_task_execution_log as log, maintenance.run",
    ) == [(True, True)]


def test_a_dry_run_is_no_line(db: Connection, url: str) -> None:
    ask("run", "--all", "--dry-run", "--json", url=url)
    assert history(db, LINE) == []


def test_a_failed_run_is_a_failed_line_with_the_reasons(db: Connection, url: str) -> None:
    a_policy(db, "login")
    a_trap(db, "login")
    a_policy(db, "guarded", operation="tokens", guard_rows=5)
    assert ask("run", "cleanup", "tokens", "sessions", url=url).code == Exit.FAILED
    assert history(db, "status, error_message") == [
        (
            "failed",
            "login: error: the auditor says no\n"
            "guarded: guard: more than 5 rows would go: guard_rows",
        )
    ]


# From SQL


def test_the_procedures_write_the_same_line(db: Connection) -> None:
    put(db, "core_audit_log", "91 days", 3)
    execute(db, "call maintenance.run_operations(array['logs', 'sessions'])")
    execute(db, "call maintenance.run_policy('failed_tasks')")
    assert history(db, LINE) == [("maintenance_task", "success", 0, "")] * 2
    first, second = column(db, "select result from core_task_execution_log order by id")
    assert first.keys() == {"logs", "sessions", "metadata"}
    assert second.keys() == {"cleanup", "metadata"}
    assert first["logs"]["details"]["Audit Logs"]["deleted"] == 3
    assert faults(first) == faults(second) == []


def test_a_procedure_that_fails_writes_so(db: Connection) -> None:
    a_policy(db, "login")
    a_trap(db, "login")
    with pytest.raises(psycopg.errors.RaiseException):
        execute(db, "call maintenance.run_operations(array['cleanup'])")
    with pytest.raises(psycopg.errors.RaiseException):
        execute(db, "call maintenance.run_policy('login')")
    assert (
        history(db, "status, error_message")
        == [("failed", "login: error: the auditor says no")] * 2
    )


def test_what_the_log_of_runs_does_not_have_is_written_too(db: Connection) -> None:
    """A step that cannot even be opened: its policy cannot be read any more."""
    execute(
        db,
        "create function refuse() returns trigger language plpgsql as $$ begin"
        " raise exception 'the log is full'; end $$;"
        " create trigger refuse before insert on maintenance.run_step"
        " for each row execute function refuse()",
    )
    with pytest.raises(psycopg.errors.RaiseException):
        execute(db, "call maintenance.run_operations(array['sessions'])")
    with pytest.raises(psycopg.errors.RaiseException):
        execute(db, "call maintenance.run_policy('django_sessions')")
    said = "django_sessions: error: the log is full"
    assert history(db, "status, error_message") == [("failed", said)] * 2
    assert api.run(db.info.dsn, ["sessions"]).code == Exit.FAILED
    assert history(db, "status, error_message")[2:] == [("failed", said)]


# What keeps a line out


def test_a_line_that_cannot_be_written_is_a_finding_and_no_failure(
    db: Connection, url: str
) -> None:
    execute(db, "alter table core_task_execution_log add worker text not null default 'x'")
    execute(db, "alter table core_task_execution_log alter worker drop default")
    put(db, "core_audit_log", "91 days", 3)
    done = run("run", "logs", url=url)
    assert done.returncode == Exit.DONE
    assert f"warning: run 1 {IN_NO_RECORD}null value in column" in done.stderr
    assert count(db, "core_audit_log") == 0
    done = run("run", "logs", "--json", url=url)
    document = json.loads(done.stdout)
    assert document["metadata"]["unreported"].startswith("thebot: null value in column")
    assert faults(document) == []
    said: list[str] = []
    db.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
    execute(db, "call maintenance.run_operations(array['logs'])")
    execute(db, "call maintenance.run_policy('audit_logs')")
    assert [line.partition(": ")[0] for line in said] == [
        f"run {number} is not in the record of thebot" for number in (3, 4)
    ]
    problem = (
        "select name, message from maintenance.diagnose() where subject = 'run'"
        " and state = 'problem'"
    )
    [(number, message)] = rows(db, problem)
    assert number == "4"
    assert message.startswith("it is not in the record of thebot: null value in column")
    execute(db, "alter table core_task_execution_log drop worker")
    execute(db, "call maintenance.run_policy('audit_logs')")
    assert rows(db, problem) == []
    assert len(history(db, LINE)) == 1


def test_a_function_that_is_gone_is_a_finding_too(db: Connection, url: str) -> None:
    execute(db, "drop function maintenance.log_task_execution")
    ran = api.run(url, ["logs"])
    assert ran.code == Exit.DONE
    assert ran.unreported == (
        "thebot: there is no function maintenance.log_task_execution(bigint,jsonb)"
    )


def test_a_line_waits_for_a_table_that_is_locked_for_a_moment(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    holder = another()
    execute(holder, "begin; lock table core_task_execution_log in share mode")
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "sessions", "--database-url", url]
    )
    try:
        while not scalar(
            db, "select exists (select from maintenance.run where ended_at > '-infinity')"
        ):
            pass
        execute(holder, "select pg_sleep(0.3); commit")
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert history(db, LINE) == [("maintenance_task", "success", 0, "")]


# Runs that others left


def test_a_run_that_was_killed_is_told_by_the_next(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    session = another()
    number = scalar(session, "select maintenance.open_run('a driver')")
    execute(session, "select maintenance.open_step(%s, 'audit_logs')", number)
    undoing = another()
    put(db, "core_failed_task", "366 days")
    archived = api.run(url, ["failed_tasks"]).run
    idle = scalar(undoing, "select maintenance.open_run('undo_run')")
    step = scalar(db, "select id from maintenance.run_step where run = %s", archived)
    execute(undoing, "select maintenance.open_undo(%s, %s)", idle, step)
    execute(db, "delete from core_task_execution_log")
    session.close()
    undoing.close()
    api.run(url, ["sessions"])
    assert history(db, "status, error_message, (result #>> '{metadata,run}')::bigint") == [
        ("failed", "audit_logs: interrupted: its session ended without a word", number),
        ("success", "", idle + 1),
    ]


def test_a_run_that_could_not_go_on_is_told_with_the_reason(
    db: Connection, url: str, role: Callable[[str], str]
) -> None:
    operator = role("operator")
    execute(db, f"select maintenance.grant_operator('{operator}')")
    execute(db, f"revoke execute on function maintenance.close_step from {operator}")
    put(db, "core_audit_log", "91 days", 3)
    with pytest.raises(api.RunnerError, match="permission denied for function close_step"):
        api.run(make_conninfo(url, user=operator), ["logs"])
    [(status, message, result)] = history(db, "status, error_message, result")
    assert (status, message) == ("failed", "permission denied for function close_step")
    assert result["logs"]["details"]["Audit Logs"]["deleted"] == 3
    execute(db, f"select maintenance.revoke_access('{operator}')")


def test_a_run_is_told_once_and_only_when_it_is_over(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    number = scalar(db, "select maintenance.open_run('a driver')")
    execute(db, "select maintenance.report_run(%s)", number)
    assert history(db, LINE) == []
    execute(db, "select maintenance.close_run(%s)", number)
    execute(another(), "select maintenance.report_run(%s)", number)
    assert history(db, LINE) == [], "it is for the session whose run it is"
    execute(db, "select maintenance.report_run(%s)", number)
    execute(db, "select maintenance.report_run(%s)", number)
    assert history(db, LINE) == [("maintenance_task", "success", 0, "")]


def test_undoing_is_no_run_of_operations(db: Connection, url: str) -> None:
    put(db, "core_failed_task", "366 days")
    api.undo(url, api.run(url, ["cleanup"]).run)
    execute(db, "call maintenance.undo_run(%s)", api.run(url, ["cleanup"]).run)
    assert len(history(db, LINE)) == 2


def test_where_no_application_listens_nothing_is_written(db: Connection, url: str) -> None:
    execute(db, "delete from maintenance.run_listener")
    a_table(db)
    put_tokens(db, "dead")
    register(db)
    assert api.run(url, ["token"]).unreported is None
    assert history(db, LINE) == []
    assert scalar(db, "select reported_at >= ended_at from maintenance.run")
