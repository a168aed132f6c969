"""Databases with the tables that Django makes: as Django left them, and adopted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from runner import api
from tests.conftest import settle
from tests.thebot.django_project import django

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

    from tests.conftest import TestServer


@pytest.fixture(scope="session")
def templates(server: TestServer, admin: Connection) -> Iterator[dict[str, str]]:
    """Two databases to clone: one that Django made, and one that was adopted after that."""
    names = {kind: f"pgm_{server.worker}_{kind}" for kind in ("django", "thebot")}
    drop = sql.SQL("drop database if exists {} with (force)")
    create = sql.SQL("create database {} template {} strategy file_copy")
    for name in names.values():
        admin.execute(drop.format(sql.Identifier(name)))
    raw, adopted = (sql.Identifier(name) for name in names.values())
    admin.execute(create.format(raw, sql.Identifier("template0")))
    django(server.url(names["django"]), "migrate")
    admin.execute(create.format(adopted, raw))
    api.migrate(server.url(names["thebot"]), applications=["thebot"])
    yield names
    for name in names.values():
        admin.execute(drop.format(sql.Identifier(name)))


@pytest.fixture
def original(templates: dict[str, str], new_database: Callable[..., str]) -> str:
    """The URL of a database as Django made it."""
    return new_database("original", template=templates["django"])


@pytest.fixture
def db(templates: dict[str, str], new_database: Callable[..., str]) -> Iterator[Connection]:
    """A connection to such a database after it was adopted."""
    url = new_database("tended", template=templates["thebot"])
    with psycopg.connect(url, autocommit=True) as connection:
        settle(connection)
        yield connection


@pytest.fixture
def url(db: Connection, server: TestServer) -> str:
    """The URL of the database of ``db``."""
    return server.url(db.info.dbname)
