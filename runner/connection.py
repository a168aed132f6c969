"""Connections to PostgreSQL: URLs go to libpq as they are, and failures become sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import LiteralString, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner.errors import Exit, RunnerError

OLDEST_SERVER = 150000
CONNECT_TIMEOUT = 10
PASSWORD = re.compile(
    r"(?P<before>://[^:/@\s]*):[^@\s]*@|(?P<key>\b(?:ssl)?password\s*=\s*)(?:'[^']*'|\S+)"
)

SESSION = """
    set client_connection_check_interval = '1s';
    set client_min_messages = warning;
    set default_transaction_isolation = 'read committed';
    set lock_timeout = '200ms';
    set search_path = pg_catalog, pg_temp;
    set statement_timeout = 0
"""
"""How a migrating session behaves, whatever its role's defaults are.

A client that was killed is noticed within a second, and its lock freed. DDL gives up a lock that
it does not get at once, so that the application never queues behind it for long.
"""


def literal(text: str) -> LiteralString:
    """Mark text as SQL of our own: psycopg's types ask for proof that no user wrote it.

    Only for text that comes from a file of this package.
    """
    return cast("LiteralString", text)


def conninfo(url: str) -> str:
    """Return ``url`` as libpq takes it.

    Raises RunnerError for other databases' URLs and for what libpq cannot read. The message never
    repeats the URL, which may hold a password.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme.lower() in ("postgresql+psycopg", "postgresql+psycopg2"):
        url = f"postgresql://{rest}"
    elif separator and scheme.lower() not in ("postgresql", "postgres") and "=" not in scheme:
        raise RunnerError(
            f"{scheme}:// is not a PostgreSQL database",
            detail="pg-maintenance is PL/pgSQL: it runs inside PostgreSQL, 15 or newer.",
            hint="Give a postgresql:// URL, or none at all: `runner demo` brings its own server.",
            code=Exit.USAGE,
        )
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise RunnerError(
            "the database URL cannot be read",
            detail="It is not repeated here, because it may hold a password.",
            hint="Write postgresql://user:password@host:5432/database, "
            "with special characters percent-encoded.",
            code=Exit.USAGE,
        ) from None
    return url


def masked(url: str) -> str:
    """Return ``url`` with *** for its password."""
    return PASSWORD.sub(
        lambda found: f"{found['before']}:***@" if found["before"] else f"{found['key']}***", url
    )


def pooled(url: str) -> bool:
    """Whether ``url`` leads to a connection pooler, as far as its host and port tell."""
    parameters = conninfo_to_dict(url)
    host = str(parameters.get("host") or "")
    return any("-pooler." in name for name in host.split(",")) or "6543" in str(
        parameters.get("port") or ""
    ).split(",")


@contextmanager
def connect(url: str, *, program: str, read_only: bool = False) -> Generator[psycopg.Connection]:
    """Open a connection in autocommit mode, or one read-only transaction; close it at the end.

    ``program`` is shown to others as the application_name. Raises RunnerError when the server
    cannot be reached, refuses us, or is too old.
    """
    parameters = conninfo_to_dict(url)
    timeout = parameters.get("connect_timeout") or CONNECT_TIMEOUT
    try:
        connection = psycopg.connect(
            make_conninfo(url, application_name=program, connect_timeout=timeout),
            autocommit=not read_only,
        )
    except psycopg.OperationalError as error:
        raise RunnerError(
            f"cannot connect to {described(url)}",
            detail=_sentence(str(error)),
            hint="Check host, port, database, role and password: `runner config show` tells where "
            "they come from.",
        ) from None
    with connection:
        connection.read_only = read_only or None
        version = connection.info.server_version
        if version < OLDEST_SERVER:
            raise RunnerError(
                f"PostgreSQL {version // 10000} is too old",
                hint="pg-maintenance needs PostgreSQL 15 or newer.",
            )
        yield connection


def described(url: str) -> str:
    """Name the database of ``url`` in words that hold no secret."""
    given = conninfo_to_dict(url)

    def named(parameter: str, variable: str) -> str:
        return str(given.get(parameter) or os.environ.get(variable) or "")

    database = named("dbname", "PGDATABASE")
    service = named("service", "PGSERVICE")
    if service and not database:
        return f"service {service}"
    place = named("host", "PGHOST") or named("hostaddr", "PGHOSTADDR") or "the default server"
    port = named("port", "PGPORT")
    return f"{database or 'the default database'} at {place}{f':{port}' if port else ''}"


def _sentence(text: str) -> str:
    """Return libpq's report, which may go over several lines, as one line."""
    return " ".join(masked(text).split())
