"""Which database it is, by its identity and by where it is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

KNOWN = "select endpoint from maintenance.endpoint order by 1"


def remember(db: Connection, *endpoints: str, if_none: bool = False) -> None:
    """Remember endpoints."""
    execute(db, "select maintenance.remember_endpoints(%s, %s)", list(endpoints), if_none)


def identity(db: Connection) -> dict[str, Any]:
    """Return what the database says of itself."""
    found = execute(db, "select * from maintenance.identify()")
    [row] = found.fetchall()
    return dict(zip([each.name for each in found.description or []], row, strict=True))


def test_a_database_knows_itself_and_not_its_copy(tx: Connection) -> None:
    here = identity(tx)
    assert here["is_adopted"]
    assert here["database"] == scalar(tx, "select current_database()")
    assert here["database_oid"] == here["known_database_oid"]
    assert here["system_identifier"] == here["known_system_identifier"] > 0
    for column_ in ("database_oid", "system_identifier"):
        execute(tx, "savepoint before")
        execute(tx, f"update maintenance.installation set {column_} = 1")
        there = identity(tx)
        assert not there["is_adopted"]
        assert there[f"known_{column_}"] == 1
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="is a copy"):
            execute(tx, "select maintenance.assert_adopted()")
        execute(tx, "rollback to savepoint before")


def test_where_no_endpoint_is_known_none_is_asked_for(tx: Connection) -> None:
    execute(tx, "select maintenance.assert_endpoint('anywhere:1')")


def test_an_endpoint_that_is_not_known_is_refused(tx: Connection) -> None:
    remember(tx, "b.example:5432", "a.example:5432")
    for known in ("a.example:5432", "b.example:5432"):
        execute(tx, "select maintenance.assert_endpoint(%s)", known)
    for other in ("a.example:5433", "c.example:5432", None):
        with (
            pytest.raises(errors.ObjectNotInPrerequisiteState, match="was never reached") as error,
            tx.transaction(),
        ):
            execute(tx, "select maintenance.assert_endpoint(%s)", other)
        assert "a.example:5432, b.example:5432" in (error.value.diag.message_detail or "")
        assert "adopt-clone --alias" in (error.value.diag.message_hint or "")


def test_endpoints_are_added_and_each_is_remembered_once(tx: Connection) -> None:
    remember(tx, "a:1")
    remember(tx, "b:2", "a:1", "b:2")
    assert column(tx, KNOWN) == ["a:1", "b:2"]
    assert identity(tx)["endpoints"] == ["a:1", "b:2"]
    who = scalar(tx, "select current_user")
    assert set(column(tx, "select remembered_by from maintenance.endpoint")) == {who}


def test_who_happens_to_come_by_is_remembered_only_as_the_first(tx: Connection) -> None:
    remember(tx, "a:1", "b:2", if_none=True)
    remember(tx, "c:3", if_none=True)
    assert column(tx, KNOWN) == ["a:1", "b:2"]


def test_who_happens_to_come_by_a_copy_is_not_remembered(tx: Connection) -> None:
    execute(tx, "update maintenance.installation set database_oid = 1")
    remember(tx, "a:1", if_none=True)
    assert column(tx, KNOWN) == []


def test_adopting_a_copy_forgets_where_the_original_was(tx: Connection) -> None:
    remember(tx, "a:1")
    execute(tx, "select maintenance.adopt_clone()")
    assert column(tx, KNOWN) == []


def test_only_the_owner_of_the_schema_may_say_where_it_is(
    role: Callable[[str], str], tx: Connection
) -> None:
    stranger = role("stranger")
    execute(
        tx,
        f"grant usage on schema maintenance to {stranger}; grant execute on function"
        f" maintenance.remember_endpoints(text[], boolean), maintenance.identify() to {stranger}",
    )
    execute(tx, f"set local role {stranger}")
    assert identity(tx)["is_adopted"], "to know is not to say"
    with pytest.raises(errors.InsufficientPrivilege, match="only the owner of schema maintenance"):
        remember(tx, "a:1")


def test_an_empty_endpoint_is_none(tx: Connection) -> None:
    with pytest.raises(errors.CheckViolation):
        remember(tx, "")


def test_a_monitor_may_ask_whether_an_endpoint_is_known(
    role: Callable[[str], str], tx: Connection
) -> None:
    monitor = role("monitor")
    remember(tx, "a:1")
    execute(tx, "select maintenance.grant_monitor(%s)", monitor)
    execute(tx, f"set local role {monitor}")
    execute(tx, "select maintenance.assert_endpoint('a:1')")
    with pytest.raises(errors.ObjectNotInPrerequisiteState):
        execute(tx, "select maintenance.assert_endpoint('b:1')")
    tx.rollback()
    assert rows(tx, KNOWN) == []
