"""What ``runner run --output json`` prints is what docs/run.schema.json says."""

from __future__ import annotations

import json
from copy import deepcopy
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from runner.documents import plain
from tests.conftest import scalar
from tests.core.runs import a_table, alter, put, register
from tests.runner.test_run import a_policy, a_trap, ask, occupy
from tests.statements import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/run.schema.json").read_text())


def faults(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a document."""
    jsonschema: Any = import_module("jsonschema")
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(document)]


@pytest.fixture
def url(db: Connection) -> str:
    """The URL of a database with policies whose runs end in every way."""
    a_policy(db, "gone", title="Tokens", retention="1 hour")
    a_policy(db, "none", dead=0)
    a_policy(db, "off", is_enabled=False)
    a_policy(db, "broken", operation="tokens", title="Broken")
    a_trap(db, "broken")
    a_policy(db, "guarded", guard_rows=5, operation="sessions")
    a_table(db, "changed")
    put(db, "dead", 3, table="changed")
    register(db, "changed", action="set", assignments="expires_at = null")
    a_policy(db, "held", operation="logs")
    return db.info.dsn


@pytest.mark.parametrize(
    "asked",
    [["--all"], ["cleanup"], ["gone", "tokens"], ["guarded"], ["changed"], ["off"], ["none"]],
    ids=" ".join,
)
def test_every_document_is_of_that_form(url: str, asked: list[str]) -> None:
    for more in ([], ["--dry-run"], []):
        assert faults(ask("run", *asked, *more, "--json", url=url).document) == []


def test_so_is_that_of_a_run_whose_lease_is_held(
    db: Connection, url: str, another: Callable[[], Connection]
) -> None:
    occupy(another(), "held")
    document = ask("run", "logs", "--json", url=url).document
    assert faults(document) == []
    assert document["logs"]["exit_reason"] == "lease_held"


def test_what_the_log_says_of_a_run_is_the_same(db: Connection, url: str) -> None:
    """But for times, which are taken elsewhere, and names that were asked for."""
    operations = ["cleanup", "tokens", "sessions"]
    printed = ask("run", *operations, "--json", url=url).document
    told = scalar(db, "select maintenance.run_document(1)")
    assert faults(told) == []
    for document in (printed, told):
        metadata = document["metadata"]
        for key in ("timestamp", "duration_seconds"):
            del metadata[key]
        metadata.pop("unknown", None)
        for operation in operations:
            for detail in document[operation]["details"].values():
                del detail["seconds"], detail["longest_batch"]
    assert told == printed
    assert told["cleanup"]["Tokens"] == {"rows_cleaned": 10, "status": "completed"}
    assert told["tokens"]["errors"] == ["broken: error: the auditor says no"]


def test_the_title_of_a_policy_is_what_reports_call_it(db: Connection) -> None:
    url = db.info.dsn
    a_policy(db, "gone", title="Tokens", retention="36 hours")
    execute(db, "update gone set expires_at = expires_at - interval '1 week'")
    document = ask("run", "gone", "--json", url=url).document["gone"]
    assert document["details"].keys() == {"Tokens"}
    assert document["details"]["Tokens"]["days"] == 1.5
    assert document["Tokens"] == {"rows_cleaned": 11, "status": "completed"}
    alter(db, "gone", title="Others")
    document = ask("run", "gone", "--dry-run", "--json", url=url).document["gone"]
    assert document["details"].keys() == {"Others"}
    assert (document["details"]["Others"]["deleted"], document["details"]["Others"]["days"]) == (
        0, 1.5,
    )  # fmt: skip


def test_numbers_of_reports_are_numbers() -> None:
    numbers = {"share": Decimal("12.5"), "bytes": Decimal(8192), "none": None}
    assert json.dumps(numbers, default=plain) == '{"share": 12.5, "bytes": 8192, "none": null}'


def test_no_other_policy_of_an_operation_has_the_same_title(db: Connection) -> None:
    """One of them would be missing in the document."""
    a_policy(db, "gone", title="Tokens")
    a_policy(db, "other", title="Tokens", operation="others")
    with pytest.raises(errors.CheckViolation, match="title must not be that of another policy"):
        alter(db, "other", operation="cleanup")
    a_policy(db, "third")
    with pytest.raises(errors.CheckViolation, match="policy third: title must not be that of"):
        alter(db, "third", title="Tokens")


def test_what_is_not_of_that_form_is_found(url: str) -> None:
    document = ask("run", "gone", "--json", url=url).document
    assert faults(document) == []
    for place, value in (
        (("gone", "status"), "done"),
        (("gone", "status"), "simulated"),
        (("gone", "rows_processed"), -1),
        (("gone", "exit_reason"), None),
        (("gone", "errors"), ["an error of none"]),
        (("gone", "details", "Tokens"), {"deleted": 1}),
        (("gone", "more"), 1),
        (("metadata", "timestamp"), "2026-01-01T00:00:00"),
        (("metadata", "dry_run"), True),
        (("metadata", "more"), 1),
        (("Gone",), {}),
    ):
        spoilt = deepcopy(document)
        inner = spoilt
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        assert faults(spoilt), place
