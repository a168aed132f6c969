"""The application: sessions that write at random, and what each of them knows to be committed.

No other writer touches a writer's rows; only policies do. What a writer believes of a row is what
the database returned when it wrote it, once that was committed. Where the answer to a COMMIT was
lost, a marker row that was written in the same transaction tells how it went.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from threading import Lock
from time import monotonic, sleep, time
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors

from tests.campaign.schema import literal, name
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from psycopg import Connection

    from tests.campaign.policies import Policy
    from tests.campaign.schema import Table

LEVELS = ["read committed", "repeatable read", "serializable"]
LEEWAY = 0.005
"""Seconds by which a row may be due sooner or later than it seems: the rounding of epochs."""

CONFLICTS = (
    errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable,
    errors.QueryCanceled, errors.DiskFull,
)  # fmt: skip
"""What an application has to reckon with, whatever housekeeping does or lets be."""


class GaveUpError(AssertionError):
    """Something happened to the application that must not happen."""


@dataclass(frozen=True)
class Version:
    """A row as it was last written."""

    text: str
    """All its columns."""
    when_set: tuple[str | None, ...]
    """What each policy would make of it: the same, for those of action set."""
    when_orphaned: str | None
    """The same with its parent gone, if it may have one."""
    due: tuple[float, ...]
    """When each policy may take it."""
    parent: str | None = None
    """The tag of the row that it refers to."""


@dataclass
class Model:
    """What is known to be committed: rows by their tags (None: deleted by the application)."""

    rows: dict[str, Version | None] = field(default_factory=dict[str, "Version | None"])
    gone: set[str] = field(default_factory=set[str])
    """Those that were seen to be gone, by a transaction that committed."""
    children: dict[str, tuple[str, str] | None] = field(
        default_factory=dict[str, "tuple[str, str] | None"]
    )
    """Rows that refer to rows, by their own tags: the other's tag, and the note."""

    def update(self, other: Model) -> None:
        """Believe in what a transaction did."""
        self.rows |= other.rows
        self.gone |= other.gone
        self.children |= other.children


class Statements:
    """What the application says to its table."""

    def __init__(self, table: Table, policies: tuple[Policy, ...]) -> None:
        """Write what stays the same of all of it."""
        self.table = table
        self.policies = policies
        returned = [f"target.{name(table.tag)}", table.row()]
        returned += [table.row(policy.changes) if policy.changes else "null" for policy in policies]
        returned.append(
            table.row({table.parent: f"null::{_type_of(table, table.parent)}"})
            if table.parent
            else "null"
        )
        returned += [policy.due for policy in policies]
        self.returned = ", ".join(returned)

    def read(self, row: tuple[str | float | None, ...], parent: str | None = None) -> Version:
        """Take a version from what was returned, the tag aside."""
        count = len(self.policies)
        text, *rest = row[1:]
        if text == rest[count]:
            parent = None  # it had gone before
        return Version(
            text=str(text),
            when_set=tuple(None if one is None else str(one) for one in rest[:count]),
            when_orphaned=None if rest[count] is None else str(rest[count]),
            due=tuple(float(one) for one in rest[count + 1 :] if one is not None),
            parent=parent,
        )

    def insert(self, random: Random, tags: list[str], fate: str, parent: str | None = None) -> str:
        """Write an insert of rows that share a fate."""
        lists = [self._values(random, fate, tag, parent) for tag in tags]
        columns = ", ".join(map(name, lists[0]))
        values = ", ".join(f"({', '.join(one.values())})" for one in lists)
        return (
            f"insert into {self.table.relation} as target ({columns}) values {values}"
            f" returning {self.returned}"
        )

    def _values(self, random: Random, fate: str, tag: str, parent: str | None) -> dict[str, str]:
        values = {self.table.tag: literal(tag)}
        for one in self.table.columns:
            if one.values is not None:
                is_needed = "not null" in one.more
                value = one.values(random) if is_needed or random.random() < 0.8 else "null"
                values[one.name] = value if value == "null" else f"{value}::{one.type}"
        if self.table.parent:
            key = name(self.table.key[0])
            values[self.table.parent] = (
                "null"
                if parent is None
                else f"(select {key} from {self.table.only} where {name(self.table.tag)} ="
                f" {literal(parent)})"
            )
        return values | self.times(random, fate)

    def times(self, random: Random, fate: str) -> dict[str, str]:
        """Choose the times of a row: dead, soon, live or any."""
        values: dict[str, str] = {}
        times = random.sample(self.table.times, len(self.table.times))
        for number, one in enumerate(times):
            mine = random.choice(["dead", "soon", "live", "none"]) if fate == "any" else fate
            if number and fate in ("dead", "soon"):
                mine = random.choice([fate, "live", "none"])
            if mine == "none" or (mine == "live" and random.random() < 0.2):
                values[one.name] = _never(random, one.kind)
            else:
                seconds = {
                    "dead": -random.choice([0.01, 1, 100, 90_000, 10_000_000]),
                    "soon": random.choice([0.02, 0.1, 0.3, 0.7]),
                    "live": random.choice([200_000, 1_000_000, 100_000_000]),
                }[mine]
                values[one.name] = one.put(seconds)
        # in one order: the rows of an insert have it in common
        return {one.name: values[one.name] for one in self.table.times}

    def update(self, tag: str, changes: dict[str, str]) -> str:
        """Write an update of one row."""
        assigned = ", ".join(f"{name(one)} = {value}" for one, value in changes.items())
        return (
            f"update {self.table.only} as target set {assigned} where"
            f" target.{name(self.table.tag)} = {literal(tag)} returning {self.returned}"
        )

    def delete(self, tag: str) -> str:
        """Write a deletion of one row."""
        return (
            f"delete from {self.table.only} as target where target.{name(self.table.tag)} ="
            f" {literal(tag)} returning {self.returned}"
        )

    def look(self, tag: str, lock: str = "") -> str:
        """Write a query for one row."""
        return (
            f"select {self.returned} from {self.table.only} as target where"
            f" target.{name(self.table.tag)} = {literal(tag)} {lock}"
        )

    def bear(self, parent: str, tag: str, note: str) -> str:
        """Write an insert of a row that refers to one."""
        children = self.table.children
        assert children is not None
        mine = ", ".join(map(name, children.columns))
        theirs = ", ".join(f"target.{name(one)}" for one in self.table.key)
        return (
            f"insert into {children.relation} ({mine}, tag, note) select {theirs}, {literal(tag)},"
            f" {literal(note)} from {self.table.only} as target where"
            f" target.{name(self.table.tag)} = {literal(parent)} returning tag"
        )

    def disown(self, parent: str) -> str:
        """Write the deletion of all that refers to a row."""
        children = self.table.children
        assert children is not None
        joined = " and ".join(
            f"child.{name(mine)} = target.{name(theirs)}"
            for mine, theirs in zip(children.columns, self.table.key, strict=True)
        )
        return (
            f"delete from {children.relation} as child using {self.table.only} as target where"
            f" {joined} and target.{name(self.table.tag)} = {literal(parent)} returning child.tag"
        )


def _never(random: Random, kind: str) -> str:
    endless = {
        "timestamptz": "'infinity'", "timestamp": "'infinity'", "date": "'infinity'",
        "numeric seconds": "'NaN'", "double milliseconds": "'Infinity'",
    }  # fmt: skip
    return random.choice(["null", endless.get(kind, "null")])


def _is_loss(error: psycopg.Error) -> bool:
    """Tell whether an error means that the session is lost, or about to be."""
    code = error.sqlstate
    return code is None or code.startswith("08") or (code != "57014" and code.startswith("57"))


def _type_of(table: Table, column: str) -> str:
    [found] = [one.type for one in table.columns if one.name == column]
    return found


class Writer:
    """A session of the application, and the rows that are its own."""

    def __init__(
        self,
        connect: Callable[[str], Connection],
        statements: Statements,
        title: str,
        seed: str,
        level: str,
        *,
        is_clumsy: bool,
    ) -> None:
        """is_clumsy: whether it closes its connection in the middle of things."""
        self.connect = connect
        self.say = statements
        self.title = title
        self.random = Random(seed)
        self.level = level
        self.is_clumsy = is_clumsy
        self.model = Model()
        self.committed = 0
        self.failure: BaseException | None = None
        self.said: dict[str, int] = {}
        self._made = 0
        self._transactions = 0
        self._open: tuple[int, int, Model] | None = None
        """A transaction whose end is not known: number, process, what it did."""
        self._session: Connection | None = None
        self._lock = Lock()

    def work(self, end: Event) -> None:
        """Write to the end."""
        try:
            while not end.is_set():
                with suppress(psycopg.OperationalError):  # its session may be lost at any time
                    self.settle()
                    while not end.is_set():
                        self._transact()
                        sleep(self.random.choice([0, 0.001, 0.003, 0.01]))
                self._end_session()
        except BaseException as failure:
            self.failure = failure

    def cut(self) -> None:
        """Cut its connection, whatever it is doing: nothing more gets through either way."""
        with self._lock:
            if self._session is None or self._session.closed:
                return
            line = socket.socket(fileno=os.dup(self._session.fileno()))
        with line, suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    @property
    def pid(self) -> int | None:
        """The process of its session."""
        with self._lock:
            session = self._session
            return None if session is None or session.closed else session.info.backend_pid

    def _begin_session(self) -> None:
        session = self.connect(f"app {self.title}")
        execute(
            session, f"set default_transaction_isolation = '{self.level}'; set timezone = 'UTC'"
        )
        with self._lock:
            self._session = session

    def _end_session(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()

    def leave(self) -> None:
        """End its session, whatever that was doing."""
        self._end_session()

    def end(self) -> None:
        """Learn how the last transaction ended, and leave."""
        self.settle()
        self._end_session()

    def settle(self) -> None:
        """Learn how the transaction ended whose connection was lost."""
        self._end_session()
        if self._open is None:
            self._begin_session()
            return
        number, pid, done = self._open
        deadline = monotonic() + 30
        while True:
            with suppress(psycopg.OperationalError):
                self._begin_session()
                assert self._session is not None
                alive = column(
                    self._session, f"select 1 from pg_stat_activity where pid = {pid}"
                    f" and pid <> {self._session.info.backend_pid}",
                )  # fmt: skip
                if not alive:
                    break
            if monotonic() > deadline:
                message = f"session {pid} of {self.title} does not end"
                raise GaveUpError(message)
            self._end_session()
            sleep(0.01)
        found = column(
            self._session,
            f"select 1 from campaign.marker where writer = {literal(self.title)}"
            f" and transaction = {number}",
        )
        self._open = None
        if found:
            self._believe(done)

    def _believe(self, done: Model) -> None:
        self.model.update(done)
        self.committed += 1

    def _transact(self) -> None:
        """Do a few things, and believe in them once they are committed."""
        session = self._session
        assert session is not None
        done = Model()
        self._transactions += 1
        self._open = (self._transactions, session.info.backend_pid, done)
        try:
            is_committed = self._try(session, done)
        except psycopg.Error as error:
            self.said[str(error.sqlstate)] = self.said.get(str(error.sqlstate), 0) + 1
            if session.closed or _is_loss(error):
                raise psycopg.OperationalError from error
            is_full = "File too large" in str(error)  # where no disk can be mounted
            if not (isinstance(error, CONFLICTS) or is_full or self._is_orphan(error)):
                message = f"{self.title}, {self.level}: {error.sqlstate}: {error}"
                raise GaveUpError(message) from error
            execute(session, "rollback")
            is_committed = False
        self._open = None
        if is_committed:
            self._believe(done)

    def _is_orphan(self, error: psycopg.Error) -> bool:
        """Tell whether a row was to refer to one that had just gone."""
        refers = self.say.table.children or self.say.table.parent
        return bool(refers) and isinstance(error, errors.ForeignKeyViolation)

    def _try(self, session: Connection, done: Model) -> bool:
        """Carry a transaction out, and return whether it was committed."""
        execute(session, "begin")
        execute(
            session,
            "insert into campaign.marker (writer, transaction) values"
            f" ({literal(self.title)}, {self._transactions})",
        )
        for _ in range(self.random.choice([1, 1, 2, 4])):
            if self.random.random() < 0.05:
                execute(session, "savepoint regretted")
                self._act(session, done, Model())
                execute(session, "rollback to regretted")
            else:
                self._act(session, done, done)
        if self.random.random() < 0.12:
            sleep(self.random.choice([0.02, 0.06, 0.25]))  # longer than a batch waits for it
        is_to_be = self.random.random() > 0.12
        if self.is_clumsy and self.random.random() < 0.03:
            if is_to_be and self.random.random() < 0.7:
                session.pgconn.send_query(b"commit")
            self._end_session()
            raise psycopg.OperationalError
        execute(session, "commit" if is_to_be else "rollback")
        return is_to_be

    def _act(self, session: Connection, sofar: Model, done: Model) -> None:
        """Do one thing; sofar is what the transaction has done, and done is where it is noted."""
        table = self.say.table
        random = self.random
        action = random.choices(
            [
                "insert", "chaff", "extend", "rescue", "expire", "rewrite", "delete", "lock",
                "hold", "move", "bear",
            ],
            [
                30, 5, 10, 12, 10, 10, 6, 9, 5 if table.hold else 0, 6 if table.part else 0,
                12 if table.children else 0,
            ],
        )[0]  # fmt: skip
        tag = self._one_that_is_due(sofar) if action == "rescue" else self._one_of_mine(sofar)
        if tag is None or action in ("insert", "chaff"):
            self._insert(session, sofar, done, 25 if action == "chaff" else random.randint(1, 3))
        elif action == "lock":
            strength = random.choice(["update", "no key update", "share", "key share"])
            lock = random.choice(["", f"for {strength} of target"])
            self._expect_there(session, self.say.look(tag, lock), tag, sofar, done)
        elif action == "delete":
            if table.children:
                for child in column(session, self.say.disown(tag)):
                    done.children[child] = None
            if self._expect_there(session, self.say.delete(tag), tag, sofar, done):
                done.rows[tag] = None
        elif action == "bear":
            self._bear(session, tag, sofar, done)
        else:
            changes = self._changes(action)
            self._expect_there(session, self.say.update(tag, changes), tag, sofar, done)
            if action == "rescue":  # while a batch may be waiting for it
                sleep(random.choice([0, 0.003, 0.01]))

    def _changes(self, action: str) -> dict[str, str]:
        table = self.say.table
        if action in ("extend", "rescue"):
            return self.say.times(self.random, "live")
        if action == "expire":
            return self.say.times(self.random, self.random.choice(["dead", "soon", "any"]))
        if action == "move" and table.part:
            return {table.part: self.random.choice(["0", "1", "2"])}
        if action == "hold" and table.hold:
            chosen = [table.hold]
        else:
            chosen = [table.state, self.random.choice(table.payload).name]
        return {
            one.name: f"{one.values(self.random)}::{one.type}"
            for one in table.columns
            if one.name in chosen and one.values is not None
        }

    def _one_of_mine(self, sofar: Model) -> str | None:
        """Choose a row, rather one that is of use."""
        known = self.model.rows | sofar.rows if sofar.rows else self.model.rows
        gone = self.model.gone | sofar.gone
        there = [(tag, row) for tag, row in known.items() if row is not None and tag not in gone]
        now = time()
        if self.random.random() < 0.75:
            there = [(tag, row) for tag, row in there if min(row.due) > now] or there
        return self.random.choice(there)[0] if there else None

    def _one_that_is_due(self, sofar: Model) -> str | None:
        """Choose a row that may go at this very moment: one of those that were written last."""
        now = time()
        known = self.model.rows | sofar.rows
        gone = self.model.gone | sofar.gone
        due = (
            tag
            for tag, row in reversed(known.items())
            if row is not None and min(row.due) <= now and tag not in gone
        )
        found = list(islice(due, 20))
        return self.random.choice(found) if found else None

    def _insert(self, session: Connection, sofar: Model, done: Model, count: int) -> None:
        tags = [f"{self.title}-{self._made + number}" for number in range(count)]
        self._made += count
        fate = "dead" if count > 3 else self.random.choice(["dead", "soon", "live", "live", "any"])
        parent = None
        if self.say.table.parent and self.random.random() < 0.5:
            parent = self._one_of_mine(sofar)
        for row in rows(session, self.say.insert(self.random, tags, fate, parent)):
            done.rows[str(row[0])] = self.say.read(row, parent)

    def _bear(self, session: Connection, tag: str, sofar: Model, done: Model) -> None:
        self._made += 1
        child = f"{self.title}-{self._made}"
        note = self.random.choice(["", "it's", "x" * 300])
        if column(session, self.say.bear(tag, child, note)):
            done.children[child] = (tag, note)
        else:
            self._expect_gone(tag, sofar, done)

    def _expect_there(
        self, session: Connection, statement: str, tag: str, sofar: Model, done: Model
    ) -> bool:
        """Write to a row and note what it is now, or that it is gone."""
        found = rows(session, statement)
        if not found:
            self._expect_gone(tag, sofar, done)
            return False
        if len(found) > 1:
            message = f"{self.title}: there are {len(found)} rows {tag}"
            raise GaveUpError(message)
        known = sofar.rows.get(tag) or self.model.rows[tag]
        done.rows[tag] = self.say.read(found[0], known.parent if known else None)
        return True

    def _expect_gone(self, tag: str, sofar: Model, done: Model) -> None:
        """See to it that a row which is not there was due."""
        known = sofar.rows.get(tag) or self.model.rows[tag]
        assert known is not None
        if min(known.due) > time() + LEEWAY:
            message = f"{self.title}, {self.level}: {tag} is gone, and was not due: {known}"
            raise GaveUpError(message)
        done.gone.add(tag)
