"""What a run answers machines with, and what applications are told of it: docs/run.schema.json."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.operations import OperationResult
    from runner.runs import Plan, Planned, Ran
    from runner.steps import StepResult

STATUSES = ("error", "completed", "skipped")
"""The worst of several speaks for all of them."""


def plain(value: Any) -> Any:
    """Turn what our answers are made of into what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, date):  # or a time
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return _whole(float(value))
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def completed(ran: Ran) -> dict[str, Any]:
    """Return a run as a document: a key for each name that was asked for, and metadata.

    maintenance.run_document says the same of what the log has.
    """
    document: dict[str, Any] = {}
    for name, policies in ran.asked.items():
        steps = [step for step in ran.steps if step.policy in policies]
        worst = min(steps, key=lambda step: STATUSES.index(step.status))
        removed = sum(step.removed for step in steps)
        document[name] = _cleaned(steps) | {
            "status": worst.status,
            "operation": worst.operation,
            "message": worst.message or f"{removed} rows removed",
            "exit_reason": worst.exit_reason,
            "rows_processed": removed,
            "rows_deleted": sum(step.deleted for step in steps),
            "details": {
                step.title: asdict(step) | {"deleted": step.deleted, "days": _whole(step.days)}
                for step in steps
            },
            "errors": [
                f"{step.policy}: {step.exit_reason}: {step.message}"
                for step in steps
                if step.status == "error"
            ],
        }
    document |= {one.operation: _operation(one) for one in ran.operations}
    document["metadata"] = _metadata(ran, dry_run=False) | {
        "run": ran.run,
        "unknown": ran.unknown,
    }
    if ran.warnings:
        document["metadata"]["warnings"] = ran.warnings
    if ran.unreported is not None:
        document["metadata"]["unreported"] = ran.unreported
    return document


def _cleaned(steps: Sequence[StepResult]) -> dict[str, Any]:
    """Return what operation cleanup says of each kind of record beside the sum of all."""
    return {
        step.title: {"rows_cleaned": step.removed, "status": step.status}
        for step in steps
        if step.operation == "cleanup" and step.title != step.policy
    }


def simulated(planned: Planned) -> dict[str, Any]:
    """Return plans as a document, in the form that a run has; nothing of it is deleted."""
    document: dict[str, Any] = {}
    for name, group in planned.plans.items():
        errors = [f"{plan.policy.name}: {plan.error}" for plan in group if plan.error is not None]
        refused = [plan.policy.name for plan in group if plan.is_refused]
        eligible = sum(plan.details.eligible for plan in group if plan.details is not None)
        operation = group[0].policy.operation
        document[name] = {
            "status": "error" if errors else "simulated",
            "operation": operation,
            "message": f"the guard would refuse {', '.join(refused)}"
            if refused
            else f"{eligible} rows would be removed",
            "exit_reason": "error" if errors else "guard" if refused else None,
            "rows_processed": eligible,
            "rows_deleted": 0,
            "details": {plan.policy.title: _planned(plan) for plan in group},
            "errors": errors,
        }
        if operation == "sessions":
            document[name]["expired_sessions"] = eligible
    document |= {one.operation: _operation(one) for one in planned.operations}
    document["metadata"] = _metadata(planned, dry_run=True)
    return document


def _planned(plan: Plan) -> dict[str, Any]:
    details = {} if plan.details is None else asdict(plan.details)
    return details | {"deleted": 0, "days": _whole(plan.policy.days)}


def _whole(number: float | None) -> float | None:
    """Return a whole number as people write it."""
    return int(number) if number is not None and number.is_integer() else number


def _operation(done: OperationResult) -> dict[str, Any]:
    """Return what an operation without policies did, or would do, with its own figures."""
    document: dict[str, Any] = {
        "status": done.status,
        "operation": done.operation,
        "message": done.message,
        "exit_reason": None if done.status == "simulated" else done.exit_reason,
        "rows_processed": sum(task.rows or 0 for task in done.tasks),
        "rows_deleted": 0,
        "details": {
            "statements": [asdict(task) for task in (*done.tasks, *done.planned)],
        },
        "errors": done.errors,
    }
    match done.operation:
        case "views":
            document["refreshed_views"] = [
                task.object for task in done.tasks if task.exit_reason == "exhausted"
            ]
        case "stats":
            document["details"] = done.report
            document["top_tables"] = done.report.get("tables", [])
        case "bloat":
            document["details"] = done.report
            document["bloated_tables"] = done.report.get("tables", [])
        case _:
            pass
    return document


def _metadata(answer: Ran | Planned, *, dry_run: bool) -> dict[str, Any]:
    return {
        "timestamp": answer.started_at,
        "duration_seconds": round(answer.seconds, 2),
        "dry_run": dry_run,
        "database": answer.database,
    }
