"""What the scripts made in a database, as fingerprints: recorded when they run, compared later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from runner.connection import literal
from runner.resources import query
from runner.scripts import CORE, Created, Script

if TYPE_CHECKING:
    from psycopg import Connection

HOME = "maintenance."
"""How the name of an object in our own schema begins."""


class Object(NamedTuple):
    """An object of a database, as the ledger names it: routines with their argument types."""

    kind: str
    name: str

    @property
    def created(self) -> Created:
        """The object as the text of a script names it: without argument types."""
        return Created(self.kind, self.name.partition("(")[0])

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


Definitions = dict[Object, str | None]
"""Fingerprints; None where only that the object exists is of interest."""


@dataclass(frozen=True)
class Recorded:
    """An object as the ledger has it."""

    kind: str
    name: str
    migration_id: str
    fingerprint: str | None
    server_major: int

    @property
    def object(self) -> Object:
        return Object(self.kind, self.name)


@dataclass(frozen=True)
class Drift:
    """An object that a migration made, and that somebody has changed or dropped since."""

    kind: str
    name: str
    state: str
    """changed, or gone."""
    migration_id: str | None
    """The migration that made it; None for the application's own that a migration relies on."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def read(
    connection: Connection,
    elsewhere: Iterable[Created | Object] = (),
    *,
    before: Definitions | None = None,
) -> Definitions:
    """Return what is in schema maintenance, and which of the objects ``elsewhere`` there are.

    ``before`` is what was there before the transaction in hand, if that is known: it spares reading
    again what the transaction has not written.
    """
    named = {Object(one.kind, one.name).created for one in elsewhere}
    rows = connection.execute(
        literal(query("definitions")),
        {
            "kinds": [one.kind for one in named],
            "names": [one.name for one in named],
            "touched_only": before is not None,
        },
    )
    return {
        Object(kind, name): fingerprint if is_read else (before or {}).get(Object(kind, name))
        for kind, name, is_read, fingerprint in rows
    }


def made_elsewhere(known: Iterable[Script]) -> list[Created]:
    """Return what scripts create outside schema maintenance."""
    return [
        made
        for one in known
        for made in one.creates
        if made.kind != "schema" and not made.name.startswith(HOME)
    ]


def record(
    connection: Connection,
    before: Definitions,
    after: Definitions,
    maker: Callable[[Object], str | None],
) -> None:
    """Write the difference that a script has made into the ledger.

    ``maker`` names the migration that an object is to be recorded for, or None if for none.
    """
    differing = [one for one in after if one not in before or before[one] != after[one]]
    made = {one: made_by for one in differing if (made_by := maker(one)) is not None}
    gone = [one for one in before if one not in after]
    gone += [one for one in differing if one not in made]
    connection.execute(
        literal(query("record_objects")),
        {
            "gone_kinds": [one.kind for one in gone],
            "gone_names": [one.name for one in gone],
            "kinds": [one.kind for one in made],
            "names": [one.name for one in made],
            "migration_ids": list(made.values()),
            "fingerprints": [after[one] for one in made],
        },
    )


def last_maker(made: Object, applied: list[Script]) -> str | None:
    """Return the last of the applied scripts that creates an object.

    None for one outside schema maintenance that none of them creates: it is the application's own.
    """
    makers = [one.id for one in applied if made.created in one.creates]
    if not makers and made.name.startswith(HOME):
        makers = [one.id for one in applied if one.chain == CORE]
    return makers[-1] if makers else None


def recorded(connection: Connection) -> list[Recorded]:
    """Return the objects of the ledger, by kind and name."""
    return (
        connection.cursor(row_factory=class_row(Recorded))
        .execute("select * from maintenance.applied_object order by kind, name")
        .fetchall()
    )


def owned(connection: Connection) -> dict[Object, str]:
    """Return what applications' scripts took over outside schema maintenance, and how.

    Nothing where the database is older than the list of it.
    """
    row = connection.execute("select to_regclass('maintenance.owned_object') is null").fetchone()
    if row == (True,):
        return {}
    rows = connection.execute(literal(query("owned_objects")))
    return {Object(kind, name): origin for kind, name, origin in rows}


def drift(connection: Connection, known: list[Recorded]) -> list[Drift]:
    """Return what of the ledger's objects, and of what migrations rely on, is not as it was left.

    A view is compared only under the version of PostgreSQL that wrote it out: another may write it
    otherwise.
    """
    relied_on = {one for one, origin in owned(connection).items() if origin != "removed"}
    major = connection.info.server_version // 10000
    found = read(connection, [*(one.object for one in known), *relied_on])
    drifts: list[Drift] = []
    for one in known:
        if one.object not in found:
            drifts.append(Drift(one.kind, one.name, "gone", one.migration_id))
        elif found[one.object] != one.fingerprint and not (
            "view" in one.kind and one.server_major != major
        ):
            drifts.append(Drift(one.kind, one.name, "changed", one.migration_id))
    gone = relied_on - found.keys() - {one.object for one in known}
    drifts += [Drift(one.kind, one.name, "gone", None) for one in sorted(gone)]
    return drifts
