"""Which database this is: set up here, a copy of that, or the same one under another name.

A dump or a TEMPLATE copy has another oid or another cluster, which SQL sees by itself. A physical
copy, such as a branch on a managed host, has neither; only the address tells it apart, and only the
client knows that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from psycopg import errors
from psycopg.rows import class_row

from runner.connection import refuse_pooler_url
from runner.database import installed
from runner.errors import Exit, RunnerError, reported

if TYPE_CHECKING:
    from psycopg import Connection

DEFAULT_PORT = 5432
LOCAL = "local"
LOCAL_NAMES = ("localhost", "localhost.localdomain")


@dataclass(frozen=True)
class Identity:
    """Which database this is, and which one it was when it was set up or adopted."""

    database: str
    is_adopted: bool
    system_identifier: int
    known_system_identifier: int
    database_oid: int
    known_database_oid: int
    adopted_at: datetime
    endpoints: list[str]
    """Where it is known to be reached; none where nobody has said so."""
    endpoint: str
    """Where it is reached now."""

    @property
    def is_known(self) -> bool:
        """Whether it may be tended: it was adopted, and is reached where it is known."""
        return self.is_adopted and (not self.endpoints or self.endpoint in self.endpoints)


@dataclass(frozen=True)
class Adoption:
    """What ``adopt_clone`` did: adopted, remembered (an endpoint) or nothing."""

    done: str
    before: Identity
    after: Identity


def endpoint(connection: Connection) -> str:
    """Return where a connection has led to, as ``host:port``, or ``local:port`` on this machine.

    The name that was given counts, and not what it resolves to: the address of a managed host
    changes, and its name stays.
    """
    info = connection.info
    return _named(info.host, info.port, info.hostaddr)


def endpoints(connection: Connection) -> list[str]:
    """Return every place that the connection might have led to: its URL may name several hosts.

    Whoever writes such a URL says that all of them are the same database, whoever is primary.
    """
    given = connection.info.get_parameters()
    hosts = (given.get("host") or given.get("hostaddr") or "").split(",")
    ports = given.get("port", "").split(",")
    places = {endpoint(connection)}
    if len(hosts) > 1:
        ports = ports * len(hosts) if len(ports) == 1 else ports
        places |= {
            _named(host, int(port or DEFAULT_PORT)) for host, port in zip(hosts, ports, strict=True)
        }
    return sorted(places)


def _named(host: str, port: int, address: str = "") -> str:
    """Return the same text for what is the same place however it was written."""
    host = host.lower().rstrip(".")
    if not host or host[0] in "/@" or host in LOCAL_NAMES or _is_local(address):
        return f"{LOCAL}:{port}"
    try:
        number = ip_address(host)
    except ValueError:
        return f"{host}:{port}"
    if _is_local(host):
        return f"{LOCAL}:{port}"
    if isinstance(number, IPv6Address):
        return f"[{number.compressed}]:{port}"
    return f"{number}:{port}"


def _is_local(address: str) -> bool:
    try:
        number = ip_address(address)
    except ValueError:
        return False
    if isinstance(number, IPv6Address) and number.ipv4_mapped is not None:
        number = number.ipv4_mapped
    return number.is_loopback or number.is_unspecified


def assert_endpoint(connection: Connection) -> None:
    """Raise RunnerError (refused) where the database is reached as it never was before.

    For drivers, before they remove anything. Where no endpoint is known, none is asked for.
    """
    try:
        connection.execute("select maintenance.assert_endpoint(%s)", (endpoint(connection),))
    except errors.ObjectNotInPrerequisiteState as error:
        raise reported(error, code=Exit.REFUSED) from None


def remember_first(connection: Connection) -> None:
    """Remember where the database is reached, unless that is known, or it is a copy.

    Does nothing in a database that was migrated no further than to the scripts before that.
    """
    row = connection.execute(
        "select to_regprocedure('maintenance.remember_endpoints(text[], boolean)') is not null"
    ).fetchone()
    if row == (True,):
        connection.execute(
            "select maintenance.remember_endpoints(%s, if_none => true)", (endpoints(connection),)
        )


def identify(url: str) -> Identity:
    """Say which database this is. Writes nothing."""
    with installed(url, program="runner adopt-clone", read_only=True) as connection:
        return identified(connection)


def identified(connection: Connection) -> Identity:
    """Say which database a connection has led to."""
    identity = (
        connection.cursor(row_factory=class_row(Identity))
        .execute("select *, %s as endpoint from maintenance.identify()", (endpoint(connection),))
        .fetchone()
    )
    assert identity is not None
    return identity


def adopt_clone(url: str, *, alias: bool = False) -> Adoption:
    """Let policies run in this database, though it is a copy of the one that was set up.

    What the original knew, its leases and its tokens, is void here. ``alias`` says that this is no
    copy, but the same database under another name: it only adds where it is reached.

    Raises RunnerError (usage) for an alias of what is a copy by its identity.
    """
    refuse_pooler_url(url)
    with installed(url, program="runner adopt-clone") as connection, connection.transaction():
        before = identified(connection)
        if alias and not before.is_adopted:
            raise RunnerError(
                f"database {before.database} is a copy, and no other name of the one it was",
                hint="Without --alias, `runner adopt-clone` adopts it.",
                code=Exit.USAGE,
            )
        if before.is_known and before.endpoints:
            return Adoption("nothing", before, before)
        adopts = not (before.is_known or alias)
        if adopts:
            connection.execute("select maintenance.adopt_clone()")
        connection.execute("select maintenance.remember_endpoints(%s)", (endpoints(connection),))
        return Adoption("adopted" if adopts else "remembered", before, identified(connection))
