"""Books scripts that psql ran: those whose work is found in the database just as they do it.

What a script makes is not written down anywhere but in its text, and PostgreSQL writes a definition
out in its own way. So the scripts are run on the very server, in a transaction that is rolled back,
where schemas maintenance and public stand aside under other names; what they make there is what has
to be found. Renaming a schema locks no table, and no session but this one sees it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from runner.connection import SESSION, connect, literal, refuse_pooler, refuse_pooler_url
from runner.database import Facts, read_facts, refuse_bare
from runner.definitions import HOME, Definitions, Object, made_elsewhere, owned, read, record
from runner.errors import Exit, RunnerError
from runner.ledger import SCHEMA, Ledger, ordered
from runner.locks import Terms, migration_lock, with_retries
from runner.migrate import run_script
from runner.resources import query
from runner.scripts import CORE, Script, chains, scripts

if TYPE_CHECKING:
    from psycopg import Connection

ROWS = {
    "installation": (
        "identity of",
        "select current_database()::text from maintenance.installation",
    ),
    "policy": ("policy", "select name from maintenance.policy where chain is not null"),
    "required_index": (
        "declared index",
        "select format('%s.%I', relation, name) from maintenance.required_index",
    ),
    "watched_token": ("watched token", "select token_type from maintenance.watched_token"),
    "insert_sweep": ("sweep of policy", "select policy from maintenance.insert_sweep"),
}
"""What scripts write into tables of ours: what it is, and how to list it by name."""
OWN_WAY = ("adopted", "removed")
"""Origins of what stands for what a script makes: the application's own, or nothing."""


@dataclass(frozen=True)
class Incomplete:
    """A script whose work is not all there, so that it was not booked."""

    id: str
    missing: list[str]
    different: list[str]
    """What is there, and not as the script makes it."""
    line: int | None
    """Where in the text that ``runner show`` prints the first of the missing things is made."""


@dataclass(frozen=True)
class Marked:
    """What ``migrate --mark`` booked, or in a dry run would book."""

    database: str
    booked: list[str]
    pending: list[str]
    """Scripts of the chains found of which nothing is there."""
    incomplete: list[Incomplete]
    dry_run: bool


@dataclass
class _Work:
    """What one script does in a database that has only the scripts before it."""

    script: Script
    before: Definitions
    after: Definitions
    rows: set[Object]
    later: list[Definitions] = field(default_factory=list[Definitions])
    """What is there after this script, and after each that follows."""

    @property
    def changed(self) -> list[Object]:
        names = [*self.after, *(one for one in self.before if one not in self.after)]
        return [
            one
            for one in names
            if (one in self.before) != (one in self.after)
            or self.before.get(one) != self.after.get(one)
        ]


@dataclass(frozen=True)
class _Verdict:
    missing: list[Object]
    different: list[Object]
    is_begun: bool
    """Whether anything is there that this script makes."""

    @property
    def is_complete(self) -> bool:
        return not (self.missing or self.different)


def mark(
    url: str,
    *,
    applications: Sequence[str] = (),
    dry_run: bool = False,
    terms: Terms = Terms(),
) -> Marked:
    """Book the scripts that psql has run: those of which everything is there, as they make it.

    ``applications`` are the chains to look for beside core; empty means every one of the package.
    Of each chain the scripts up to the first that is not complete are booked. Nothing but the
    ledger is written. Raises RunnerError (refused) where nothing of ours is there, or where the
    role lacks a right.
    """
    refuse_pooler_url(url)
    with connect(url, program="runner migrate") as connection:
        refuse_pooler(connection, url)
        facts = read_facts(connection)
        known = ordered(scripts(applications or chains()))
        _refuse(facts, with_public=any(one.chain != CORE for one in known))
        with migration_lock(connection, terms):
            refuse_bare(connection)
            connection.execute(literal(SESSION))

            def try_out() -> list[_Work]:
                with connection.transaction(force_rollback=True):
                    return _run_aside(connection, known)

            works = with_retries(connection, url, "trying the scripts", try_out, terms)

            def book() -> Marked:
                return _book(connection, facts.database, works, dry_run=dry_run)

            return with_retries(connection, url, "the ledger", book, terms)


def _refuse(facts: Facts, *, with_public: bool) -> None:
    if not facts.has_schema:
        raise RunnerError(
            f"database {facts.database} has nothing of pg-maintenance to mark",
            hint="Install it: `runner migrate`.",
            code=Exit.REFUSED,
        )
    if facts.is_standby:
        raise RunnerError(
            f"database {facts.database} is a standby and takes no changes",
            hint="Connect to the primary server.",
        )
    for missing, right, hint in (
        (not facts.owns_schema, "change schema maintenance", ""),
        (not facts.may_create_schema, "create a schema", ""),
        (
            with_public and not facts.owns_public,
            "set schema public aside, which belongs to another role,",
            " Where there is nothing but the core, say --app none.",
        ),
    ):
        if missing:
            raise RunnerError(
                f"role {facts.role} may not {right} in database {facts.database}",
                detail="To compare, the scripts are run beside what is there, and rolled back.",
                hint=f"Connect as the owner of the database, or as a superuser.{hint}",
            )


def _run_aside(connection: Connection, known: list[Script]) -> list[_Work]:
    """Run the scripts beside what is there; return what each of them does."""
    connection.execute("select set_config('maintenance.clean_room', 'on', true)")
    aside = f"aside_{secrets.token_hex(8)}"
    schemas = [SCHEMA] if all(one.chain == CORE for one in known) else [SCHEMA, "public"]
    for schema in schemas:
        row = connection.execute("select to_regnamespace(%s) is not null", (schema,)).fetchone()
        if row == (True,):
            connection.execute(
                sql.SQL("alter schema {} rename to {}").format(
                    sql.Identifier(schema), sql.Identifier(f"{aside}_{schema}")
                )
            )
        if schema != SCHEMA:
            connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    works: list[_Work] = []
    before: Definitions = {}
    rows: set[Object] = set()
    for one in known:
        run_script(connection, one.id, one.sql)
        made = (
            [Object(*row) for row in connection.execute(literal(query("clean_room")))]
            if len(schemas) > 1
            else []
        )
        after, written = read(connection, made), _rows(connection)
        works.append(_Work(one, before, after, written - rows))
        before, rows = after, written
    for position, work in enumerate(works):
        work.later = [later.after for later in works[position:]]
    return works


def _rows(connection: Connection) -> set[Object]:
    """Return the rows that scripts write, as far as the tables for them exist."""
    found: set[Object] = set()
    for table, (kind, statement) in ROWS.items():
        exists = connection.execute("select to_regclass(%s) is not null", (HOME + table,))
        if exists.fetchone() == (True,):
            found |= {Object(kind, name) for (name,) in connection.execute(literal(statement))}
    return found


def _book(connection: Connection, database: str, works: list[_Work], *, dry_run: bool) -> Marked:
    """Compare what is there with what the scripts do, and book those that have been run."""
    taken_over = owned(connection)
    found = read(connection, {one for work in works for one in work.changed})
    rows = _rows(connection)
    booked_before = _booked(connection)
    verdicts = {work.script.id: _judge(work, found, rows, taken_over) for work in works}
    _refuse_nothing(database, works, verdicts, booked_before)

    complete: list[_Work] = []
    incomplete: list[Incomplete] = []
    ended: set[str] = set()
    for position, work in enumerate(works):
        one, verdict = work.script, verdicts[work.script.id]
        if one.id in booked_before or one.chain in ended:
            continue
        if verdict.is_complete:
            complete.append(work)
            continue
        ended.add(one.chain)
        following = [later.script for later in works[position:] if later.script.chain == one.chain]
        if any(verdicts[later.id].is_begun for later in following):
            if one.chain == CORE:  # applications stand on it
                ended.update(chains())
            incomplete.append(
                Incomplete(
                    one.id,
                    [str(missing) for missing in verdict.missing],
                    [str(different) for different in verdict.different],
                    _line(one, verdict.missing),
                )
            )
    booked = [work.script.id for work in complete]
    found_chains = {name.partition("/")[0] for name in [*booked, *booked_before]}
    if not dry_run and booked:
        elsewhere = set(made_elsewhere([work.script for work in works]))
        chosen = [chain for chain in chains() if chain in found_chains]
        for work in complete:
            Ledger(connection).book(work.script, chosen)
            record(
                connection,
                {},
                {
                    one: found[one]
                    for one in work.changed
                    if one in found
                    and (one.name.startswith(HOME) or one.created in elsewhere)
                    and taken_over.get(one) not in OWN_WAY
                },
                lambda _, work=work: work.script.id,
            )
    return Marked(
        database,
        booked,
        [
            work.script.id
            for work in works
            if work.script.chain in found_chains
            and work.script.id not in {*booked, *booked_before}
            and work.script.id not in {one.id for one in incomplete}
        ],
        incomplete,
        dry_run,
    )


def _booked(connection: Connection) -> set[str]:
    """Return the scripts that are in the ledger, if there is one."""
    row = connection.execute(
        "select to_regclass('maintenance.applied_script') is not null"
    ).fetchone()
    if row != (True,):
        return set()
    rows = connection.execute("select migration_id from maintenance.applied_script")
    return {migration_id for (migration_id,) in rows}


def _judge(
    work: _Work, found: Definitions, rows: set[Object], taken_over: dict[Object, str]
) -> _Verdict:
    """Compare what a script does with what is found; what a later script makes of it counts.

    Tables of an application are no sign that our script has run: they may be the application's own.
    """
    missing = [
        one for one in sorted(work.rows) if one not in rows and not _is_of_adopted(one, taken_over)
    ]
    different: list[Object] = []
    is_begun = any(one in rows for one in work.rows)
    for one in work.changed:
        if taken_over.get(one) in OWN_WAY or _is_of_adopted(one, taken_over):
            continue
        if one in found:
            is_right = any(one in later and later[one] == found[one] for later in work.later)
            is_earlier = one in work.before and work.before[one] == found[one]
            is_ours = one.name.startswith(HOME) or (is_right and found[one] is not None)
            is_begun = is_begun or one in taken_over or (is_ours and not is_earlier)
            if not is_right:
                different.append(one)
        elif all(one in later for later in work.later):
            missing.append(one)
    return _Verdict(missing, different, is_begun)


def _is_of_adopted(one: Object, taken_over: dict[Object, str]) -> bool:
    """Whether this is a column of a table that is the application's own, or an index of one.

    A script asks for few of them there.
    """
    table = Object("table", one.name.rpartition(".")[0])
    return (
        one.kind in ("column", "declared index")
        and taken_over.get(table) == "adopted"
        and one not in taken_over
    )


def _refuse_nothing(
    database: str, works: list[_Work], verdicts: dict[str, _Verdict], booked: Iterable[str]
) -> None:
    """Raise RunnerError where nothing of ours is in the schema."""
    core = [work.script for work in works if work.script.chain == CORE]
    if not (booked or any(verdicts[one.id].is_begun for one in core)):
        raise RunnerError(
            f"schema maintenance in database {database} has our comment, and nothing of ours in it",
            hint="Drop it (`drop schema maintenance`), and run `runner migrate`.",
            code=Exit.REFUSED,
        )


def _line(one: Script, missing: list[Object]) -> int | None:
    """Return the number of the first line that makes one of the missing things."""
    places: list[int] = []
    for lost in missing:
        last = re.escape(lost.created.name.rpartition(".")[2])
        made = re.search(
            rf"^create .*\b{last}\b|^ *(?:\w+ => )?'{last}'|\('{last}'|add column {last}\b",
            one.sql,
            re.MULTILINE,
        )
        if made is not None:
            places.append(one.sql.count("\n", 0, made.start()))
    if not places:
        return None
    lines = one.sql.splitlines()
    first = min(places)
    while first and not lines[first][:1].isalpha():
        first -= 1  # to the line that begins the statement
    return first + 1
