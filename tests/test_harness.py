"""The fixtures that every other test trusts."""

from __future__ import annotations

from psycopg import Connection
from pytest_postgresql import factories

from tests.conftest import scalar

postgresql = factories.postgresql("postgresql_server")


def test_a_clone_has_every_migration(db: Connection) -> None:
    assert scalar(db, "select count(*) from maintenance.applied_script") >= 10


def test_a_transaction_has_every_migration(tx: Connection) -> None:
    assert scalar(tx, "select count(*) from maintenance.applied_script") >= 10


def test_pytest_postgresql_clones_the_same_template(postgresql: Connection) -> None:
    assert scalar(postgresql, "select count(*) from maintenance.applied_script") >= 10
