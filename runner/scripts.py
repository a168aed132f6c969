"""The migration scripts: found in chains and pairs, expanded, and fingerprinted.

A script is plain SQL that psql runs as it stands. The one psql command it may use is a line
``\\ir path``, which includes the file under ``sql/`` that defines an object; expanding it here lets
the runner and ``psql -f`` run the same text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runner.errors import Exit, RunnerError
from runner.resources import home

CORE = "core"
NO_APPLICATION = "none"

COMMAND = re.compile(r"[ \t]*\\")
INCLUDE = re.compile(r"\\ir[ \t]+(\S+)")
NUMBERED = "[0-9][0-9][0-9][0-9]_*.sql"
CREATE = re.compile(
    r"^create (?:or replace )?"
    r"(?P<kind>table|type|function|procedure|materialized view|view|trigger|schema)\s+"
    r"(?:if not exists\s+)?"
    r"(?:(?P<schema>\w+)\.)?(?P<name>\w+)"
    r"(?:\nafter insert on (?P<on>[\w.]+))?",
    re.MULTILINE,
)
DROP_ARCHIVES = "select maintenance.drop_archives();"
DROP_ARCHIVE = re.compile(
    r"^select maintenance\.drop_archive\(to_regclass\('(\w+\.\w+)'\)\);", re.MULTILINE
)
GIVE_BACK = re.compile(
    r"^select maintenance\.give_back\(\s*'(?P<chain>\w+)', '(?P<kind>table|column)', "
    r"'(?P<table>\w+\.\w+)(?:\.(?P<column>\w+))?'\s*\);",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Created:
    """An object that a script creates, as its ``create`` line names it."""

    kind: str
    name: str
    """Qualified with its schema; a trigger, with its table."""


@dataclass(frozen=True)
class Dropped:
    """A table, or a column of one, whose values a rollback would lose if a script created it."""

    chain: str
    kind: str
    table: str
    column: str | None

    @property
    def name(self) -> str:
        """What maintenance.owned_object calls it."""
        return f"{self.table}.{self.column}" if self.column else self.table


@dataclass(frozen=True)
class Script:
    """A migration, and the rollback that undoes it."""

    chain: str
    up: Path
    down: Path

    @property
    def id(self) -> str:
        """Chain and file name: what the ledger, the command line and every message call it."""
        return f"{self.chain}/{self.up.stem}"

    @cached_property
    def sql(self) -> str:
        """The migration with its includes expanded."""
        return expand(self.up)

    @cached_property
    def rollback_sql(self) -> str:
        """The rollback with its includes expanded.

        Raises RunnerError when there is no such file.
        """
        if not self.down.is_file():
            raise RunnerError(
                f"{self.id} has no rollback script",
                detail=f"There is no file {_shown(self.down)}.",
                hint="Every migration comes with the script that undoes it: write it.",
            )
        return expand(self.down)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the expanded migration, the same wherever it is installed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def creates(self) -> list[Created]:
        """The objects that the migration creates, read from its text."""
        return _created(self.sql)

    def definition(self, made: Created) -> str | None:
        """Return the statements that define an object which can be made again, or None.

        That is a file that the migration includes, with its revoke and its comment, or an index.
        """
        for number, line in enumerate(_lines(self.up), 1):
            include = INCLUDE.fullmatch(line)
            if include is not None:
                text = "\n".join(_included(self.up, number, include[1]))
                if made in _created(text):
                    return text
        if made.kind != "index":
            return None
        schema, _, name = made.name.partition(".")
        statements = re.findall(
            rf"^create (?:unique )?index {name} on {schema}\.[^;]*;"
            rf"|^comment on index {schema}\.{name} is[^;]*;",
            self.sql,
            re.MULTILINE,
        )
        return "\n".join(statements) or None

    @property
    def drops(self) -> list[Dropped]:
        """What the rollback drops where a script created it, and what may hold values then.

        It is read from the text of the rollback.
        """
        return [
            Dropped(found["chain"], found["kind"], found["table"], found["column"])
            for found in GIVE_BACK.finditer(self.rollback_sql)
        ]

    @property
    def drops_archives(self) -> bool:
        """Whether the rollback drops all archives that policies moved rows into."""
        return DROP_ARCHIVES in self.rollback_sql

    @property
    def archives(self) -> list[str]:
        """The archives that the rollback drops by their names, where a script had them made."""
        return DROP_ARCHIVE.findall(self.rollback_sql)


def _created(text: str) -> list[Created]:
    return [
        Created(
            found["kind"],
            f"{found['on']}.{found['name']}"
            if found["on"]
            else f"{found['schema'] or ''}.{found['name']}".lstrip("."),
        )
        for found in CREATE.finditer(text)
    ]


def chains() -> list[str]:
    """Return every chain of the package: core, and then the applications by name."""
    applications = sorted(
        folder.name
        for folder in (home() / "migrations").iterdir()
        if folder.is_dir() and folder.name != CORE
    )
    return [CORE, *applications]


def scripts(chosen: Iterable[str]) -> list[Script]:
    """Return the scripts of core and of the chosen chains, in the order in which they apply.

    Raises RunnerError when a chain does not exist.
    """
    known = chains()
    wanted = {CORE, *chosen} - {NO_APPLICATION}
    for chain in sorted(wanted - set(known)):
        raise RunnerError(
            f"there is no application {chain!r}",
            hint=f"Choose from {', '.join([*known[1:], NO_APPLICATION])}.",
            code=Exit.USAGE,
        )
    return [
        Script(chain, up, home() / "rollback" / chain / f"{up.stem}_down.sql")
        for chain in known
        if chain in wanted
        for up in sorted((home() / "migrations" / chain).glob(NUMBERED))
    ]


def script(migration_id: str) -> Script:
    """Return the script with this id, or raise RunnerError with the ids that come close."""
    everything = scripts(chains())
    for candidate in everything:
        if candidate.id == migration_id:
            return candidate
    close = [known.id for known in everything if known.id.startswith(migration_id)]
    raise RunnerError(
        f"there is no migration {migration_id!r}",
        hint=f"Did you mean {', '.join(close)}?"
        if close
        else "`runner status` lists the migrations; an id looks like core/0001_create_schema.",
        code=Exit.USAGE,
    )


def released() -> dict[str, str]:
    """Return the checksum of every migration that has been released, by id."""
    lines = (home() / "migrations" / "checksums.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {migration_id: checksum for checksum, migration_id in pairs}


def expand(path: Path) -> str:
    """Return a script's text with each ``\\ir`` line replaced by the file that it names.

    Raises RunnerError, with file and line, for every other backslash command and for an include
    that has one itself: psql would run it, and the runner would not.
    """
    lines: list[str] = []
    for number, line in enumerate(_lines(path), 1):
        if not COMMAND.match(line):
            lines.append(line)
            continue
        include = INCLUDE.fullmatch(line)
        if include is None:
            raise _misplaced(path, number, line)
        lines.extend(_included(path, number, include[1]))
    return "\n".join(lines).strip() + "\n"


def _included(path: Path, number: int, name: str) -> list[str]:
    included = (path.parent / name).resolve()
    if not included.is_file():
        raise RunnerError(
            f"{_shown(path)}:{number}: there is no file {name}",
            hint="The path after \\ir is relative to the folder of the script.",
        )
    lines = _lines(included)
    for at, line in enumerate(lines, 1):
        if COMMAND.match(line):
            raise _misplaced(included, at, line)
    return lines


def _misplaced(path: Path, number: int, line: str) -> RunnerError:
    return RunnerError(
        f"{_shown(path)}:{number}: {line.strip()} is not understood",
        detail="A script may have lines \\ir path; all else, and what they include, is plain SQL.",
        hint="Write it as SQL.",
    )


def _lines(path: Path) -> list[str]:
    """Lines without trailing blanks, so that a checkout's line ends do not change a checksum."""
    return [line.rstrip() for line in path.read_text(encoding="utf-8").strip().splitlines()]


def _shown(path: Path) -> str:
    return str(path.relative_to(home())) if path.is_relative_to(home()) else str(path)
