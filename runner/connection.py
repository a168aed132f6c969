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
SECRETS = ("password", "sslpassword")

DEFAULTS = """
    select set_config(wanted.name, wanted.value, false)
    from (values
        ('client_connection_check_interval', '1s'),
        ('client_min_messages', 'warning'),
        ('DateStyle', 'ISO'),
        ('IntervalStyle', 'postgres'),
        ('default_transaction_isolation', 'read committed'),
        ('idle_in_transaction_session_timeout', '0'),
        ('idle_session_timeout', '0'),
        ('lock_timeout', '5s'),
        ('row_security', 'off'),
        ('search_path', 'pg_catalog, pg_temp'),
        ('statement_timeout', '0'),
        ('transaction_timeout', '0')
    ) as wanted (name, value)
    where exists (select from pg_catalog.pg_settings as known where known.name = wanted.name)
"""
"""How a session of ours behaves, whatever the defaults of its role and database are.

A client that was killed is noticed within a second, and its lock freed. Rows that a policy hides
are an error, and never "no rows".
"""

SESSION = """
    set default_transaction_read_only = off;
    set lock_timeout = '200ms'
"""
"""What a session that runs scripts sets besides: DDL gives up a lock that it does not get at once,
so that the application never queues behind it for long."""


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
    url = url.strip()
    if not url:
        raise RunnerError(
            "the database URL is empty",
            hint="Is the shell variable that it comes from set?",
            code=Exit.USAGE,
        )
    scheme, separator, rest = url.partition("://")
    if separator and scheme.lower() in ("postgresql+psycopg", "postgresql+psycopg2"):
        url = f"postgresql://{rest}"
    elif separator and scheme.lower() not in ("postgresql", "postgres") and "=" not in scheme:
        named = f"{scheme}://" if re.fullmatch(r"[a-z][a-z0-9+]*", scheme) else "this"
        raise RunnerError(
            f"{named} is not a PostgreSQL database",
            detail="pg-maintenance is PL/pgSQL: it runs inside PostgreSQL, 15 or newer.",
            hint="Give a postgresql:// URL, or none at all: `runner demo` brings its own server.",
            code=Exit.USAGE,
        )
    try:
        conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeError):
        raise RunnerError(
            "the database URL cannot be read",
            detail="It is not repeated here, because it may hold a password.",
            hint="Write postgresql://user:password@host:5432/database, "
            "with special characters percent-encoded.",
            code=Exit.USAGE,
        ) from None
    return url


def secrets(url: str) -> list[str]:
    """Return the secrets in ``url`` that libpq takes for secrets."""
    given = conninfo_to_dict(url)
    return [str(given[name]) for name in SECRETS if given.get(name)]


def suspicious(url: str) -> bool:
    """Whether a password may have slipped into another part, for want of percent-encoding."""
    given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    port = given.get("port", "").replace(",", "")
    return (
        any("@" in given.get(name, "") for name in ("host", "dbname"))
        or ":" in given.get("dbname", "")
        or (port != "" and not port.isdigit())
    )


def masked(url: str) -> str:
    """Return ``url`` without its secrets, or nothing of it where one may have slipped."""
    if suspicious(url):
        return "*** (a password in it may not be percent-encoded)"
    given = conninfo_to_dict(url)
    hidden = [name for name in SECRETS if given.pop(name, None)]
    if not hidden:
        return url
    return " ".join([make_conninfo("", **given), *(f"{name}=***" for name in hidden)])


def scrubbed(text: str, url: str) -> str:
    """Return a report on ``url`` as one line, and without its secrets."""
    if suspicious(url):
        return "It is not repeated here, because it may hold a password."
    for secret in secrets(url):
        text = text.replace(secret, "***")
    return " ".join(text.split())


def is_pooler_url(url: str) -> bool:
    """Whether the host or port of a URL is that of a connection pooler."""
    parameters = conninfo_to_dict(url)
    hosts = str(parameters.get("host") or "").split(",")
    ports = str(parameters.get("port") or "").split(",")
    return any("-pooler." in host for host in hosts) or "6543" in ports


def refuse_pooler_url(url: str) -> None:
    """Raise RunnerError (usage) for a URL whose host or port is that of a connection pooler."""
    if is_pooler_url(url):
        raise RunnerError(
            "this URL leads to a connection pooler",
            detail="A pooler hands each transaction to another session, and locks with it.",
            hint="Use the direct URL of the database: on Neon, the host without -pooler.",
            code=Exit.USAGE,
        )


def refuse_pooler(connection: psycopg.Connection, url: str) -> None:
    """Raise RunnerError (usage) for a pooler that hides behind an ordinary address."""
    if shares_session(connection, url):
        raise RunnerError(
            "this URL leads to a connection pooler: two connections share one session",
            hint="Use the direct URL of the database.",
            code=Exit.USAGE,
        )


def shares_session(connection: psycopg.Connection, url: str) -> bool:
    """Whether a second connection to ``url`` gets the session of ``connection``: a pooler's.

    Two clients, one server session: comparing the process that a client is told would be wrong,
    since some proxies invent it. ``connection`` has to be in autocommit mode: in a transaction, a
    pooler leaves it its session.
    """
    with connect(url, program="runner (second connection)") as other:
        one, two = (
            session.execute("select pg_backend_pid(), pg_postmaster_start_time()").fetchone()
            for session in (connection, other)
        )
    return one == two


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
            make_conninfo(
                url,
                application_name=program,
                client_encoding="utf8",
                connect_timeout=timeout,
            ),
            autocommit=not read_only,
        )
    except psycopg.OperationalError as error:
        raise RunnerError(
            f"cannot connect to {described(url)}",
            detail=scrubbed(str(error), url),
            hint="Check host, port, database, role and password: `runner config show` tells where "
            "they come from.",
        ) from None
    with connection:
        if read_only:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        version = connection.info.server_version
        if version < OLDEST_SERVER:
            raise RunnerError(
                f"PostgreSQL {version // 10000} is too old",
                hint="pg-maintenance needs PostgreSQL 15 or newer.",
            )
        connection.execute(literal(DEFAULTS))
        yield connection


def described(url: str) -> str:
    """Name the database of ``url`` in words that hold no secret."""
    given = conninfo_to_dict(url)
    if suspicious(url):
        return "the database"

    def named(parameter: str, variable: str) -> str:
        return str(given.get(parameter) or os.environ.get(variable) or "")

    database = named("dbname", "PGDATABASE")
    service = named("service", "PGSERVICE")
    if service and not database:
        return f"service {service}"
    place = named("host", "PGHOST") or named("hostaddr", "PGHOSTADDR") or "the default server"
    port = named("port", "PGPORT")
    return f"{database or 'the default database'} at {place}{f':{port}' if port else ''}"
