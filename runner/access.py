"""Who may run and watch housekeeping, and for whom it can act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg.rows import class_row

from runner.database import installed

Kind = Literal["operator", "monitor"]


@dataclass(frozen=True)
class RoleAccess:
    """A role, and what it may do: as owner, operator or monitor."""

    role: str
    access: str
    lacks: list[str]
    """What granting once more would add."""
    sees_statistics: bool | None
    """Whether it sees what sessions of other roles do; None: everybody is no one in particular."""


@dataclass(frozen=True)
class TableOwner:
    """A role that owns tables with policies."""

    owner: str
    policies: list[str]
    is_inherited: bool
    """Whether the owner of schema maintenance has its rights."""
    may_be_set: bool
    """Whether the owner of schema maintenance may SET ROLE to it."""
    is_executor_intact: bool
    you_inherit: bool
    you_may_set: bool


@dataclass(frozen=True)
class Grants:
    """Who may do what in a database."""

    database: str
    you: str
    roles: list[RoleAccess]
    owners: list[TableOwner]


def grants(url: str) -> Grants:
    """List the roles that own, run and watch housekeeping, and those it acts for."""
    with installed(url, program="runner grants", read_only=True) as connection:
        return Grants(
            connection.info.dbname,
            connection.info.user,
            connection.cursor(row_factory=class_row(RoleAccess))
            .execute("select * from maintenance.access")
            .fetchall(),
            connection.cursor(row_factory=class_row(TableOwner))
            .execute("select * from maintenance.table_owners")
            .fetchall(),
        )


def grant(url: str, role: str, kind: Kind) -> None:
    """Let a role run policies (operator), or watch only (monitor)."""
    with installed(url, program="runner grants") as connection, connection.transaction():
        if kind == "operator":
            connection.execute("select maintenance.grant_operator(%s)", (role,))
        else:
            connection.execute("select maintenance.grant_monitor(%s)", (role,))


def revoke(url: str, role: str) -> bool:
    """Take back what ``grant`` gave to a role; return whether there was anything."""
    with installed(url, program="runner grants") as connection, connection.transaction():
        held = connection.execute(
            "select access from maintenance.access where role = %s and access <> 'owner'", (role,)
        ).fetchone()
        connection.execute("select maintenance.revoke_access(%s)", (role,))
        return held is not None
