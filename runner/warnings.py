"""Says, before a run begins with something, who may be in its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import class_row

from runner.connection import literal
from runner.resources import query

if TYPE_CHECKING:
    from psycopg import Connection

LONG = 300
"""Seconds after which a statement or a transaction is worth a warning."""


@dataclass(frozen=True)
class InTheWay:
    """A session that holds a table, or has been at something for long."""

    pid: int
    program: str
    role: str
    state: str | None
    query: str | None
    seconds: float
    is_holding: bool

    def describe(self, relation: str | None) -> str:
        """Return a sentence about it."""
        who = f"pid {self.pid} ({self.program}, role {self.role}, {self.state})"
        does = (
            f"holds {relation}" if self.is_holding else f"has been at it for {self.seconds:.0f} s"
        )
        return f"{who} {does}: {self.query}"


class Warnings:
    """Collects warnings of a run: each session is named once."""

    def __init__(self, connection: Connection, say: Callable[[str], None]) -> None:
        self._connection = connection
        self._say = say
        self._named: set[int] = set()
        self.texts: list[str] = []

    def look(self, name: str, relation: str | None) -> None:
        """Look who may be in the way of ``name``, and say it. A missing right is no reason to fail.

        ``relation`` is the table that it tends, if it is one.
        """
        try:
            with self._connection.transaction():
                found = (
                    self._connection.cursor(row_factory=class_row(InTheWay))
                    .execute(literal(query("in_the_way")), {"relation": relation, "seconds": LONG})
                    .fetchall()
                )
        except psycopg.Error:
            return
        for one in found:
            if one.pid not in self._named:
                self._named.add(one.pid)
                self.texts.append(f"{name}: {one.describe(relation)}")
                self._say(f"warning: {self.texts[-1]}")
