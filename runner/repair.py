"""Puts back what somebody has changed or dropped of ours, as far as no rows were lost with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors
from psycopg.rows import class_row

from runner.connection import SESSION, connect, literal, refuse_pooler, refuse_pooler_url
from runner.database import State, read_state, refuse_newer
from runner.definitions import (
    HOME,
    Drift,
    Object,
    Recorded,
    drift,
    last_maker,
    read,
    record,
    recorded,
)
from runner.errors import Exit, RunnerError, sentence
from runner.indexes import build_indexes
from runner.locks import Stopped, Terms, migration_lock, with_retries
from runner.migrate import refuse_edited
from runner.resources import query
from runner.scripts import Created, Script, chains, scripts
from runner.status import read_sweeps

if TYPE_CHECKING:
    from psycopg import Connection, Error

SWEEPERS = ("maintenance.open_sweep(", "maintenance.close_sweep(")
"""What owners of swept tables may call: attaching a sweep grants it."""


@dataclass(frozen=True)
class Unrepaired:
    """What is not as it was made, and stays so, why, and what helps."""

    what: str
    reason: str
    hint: str | None


@dataclass(frozen=True)
class Repaired:
    """What ``migrate --repair`` put back, or in a dry run would try to."""

    database: str
    repaired: list[str]
    unrepaired: list[Unrepaired]
    indexes: list[str]
    """Names of the declared indexes that were missing and were built."""
    dry_run: bool


@dataclass(frozen=True)
class _Rebuilding:
    drop_statement: str
    dependents: list[str]
    grants: list[str]


def repair(url: str, *, dry_run: bool = False, terms: Terms = Terms()) -> Repaired:
    """Make routines, views, triggers, indexes and sweeps of ours what the migrations made them.

    Each in a transaction of its own, so that one that cannot be put back keeps none of the others.
    Who was granted something on them keeps it. Tables are left alone: what was in them is gone.
    """
    refuse_pooler_url(url)
    with connect(url, program="runner migrate", read_only=dry_run) as connection:
        if dry_run:
            state = _ready(connection)
            wrong = drift(connection, recorded(connection))
            known = _applied(state)
            return Repaired(
                state.facts.database,
                [str(one) for one in wrong if _definition(one, known) is not None]
                + [f"sweep of {one}" for one in _broken_sweeps(connection, wrong)],
                [_hopeless(one) for one in wrong if _definition(one, known) is None],
                [index.name for index in state.missing_indexes],
                dry_run=True,
            )
        refuse_pooler(connection, url)
        with migration_lock(connection, terms):
            state = _ready(connection)
            connection.execute(literal(SESSION))
            return _repair(connection, url, state, terms)


def _ready(connection: Connection) -> State:
    state = read_state(connection)
    if not state.applied:
        raise RunnerError(
            f"database {state.facts.database} has nothing of pg-maintenance to repair",
            hint="Install it: `runner migrate`.",
            code=Exit.REFUSED,
        )
    known = {one.id: one for one in scripts(chains())}
    refuse_newer(state, known)
    refuse_edited(state, known)
    if not state.facts.owns_schema:
        raise RunnerError(
            f"role {state.facts.role} may not change schema maintenance "
            f"in database {state.facts.database}",
            hint="Connect as the role that migrated the database, or as a member of it.",
        )
    return state


def _applied(state: State) -> list[Script]:
    """Return the scripts of the ledger in the order in which they were applied."""
    known = {one.id: one for one in scripts(chains())}
    return [known[row.migration_id] for row in state.applied]


def _repair(connection: Connection, url: str, state: State, terms: Terms) -> Repaired:
    applied = _applied(state)
    objects = {one.object: one for one in recorded(connection)}
    wrong = drift(connection, list(objects.values()))
    repaired: list[str] = []
    unrepaired: list[Unrepaired] = []
    anew: set[str] = set()

    def attempt(what: str, work: Callable[[], None], hint: str | None = None) -> None:
        try:
            with_retries(connection, url, what, work, terms)
        except Stopped:
            raise
        except RunnerError as error:
            unrepaired.append(Unrepaired(what, error.message, error.hint or hint))
        except errors.Error as error:
            unrepaired.append(Unrepaired(what, _reason(error), error.diag.message_hint or hint))
        else:
            repaired.append(what)
            terms.say(f"repaired {what}")

    for one in _in_order(wrong, applied):
        text = _definition(one, applied)
        if text is None:
            unrepaired.append(_hopeless(one))
            continue

        def work(one: Drift = one, text: str = text) -> None:
            anew.update(_put_back(connection, one, text, objects, applied))

        attempt(
            str(one), work, "Mend what stands in the way, and run `runner migrate --repair` again."
        )

    for policy in _broken_sweeps(connection, wrong, all_of_them=any(map(_is_sweeper, anew))):

        def attach(policy: str = policy) -> None:
            connection.execute("select maintenance.attach_insert_sweep(%s)", (policy,))

        attempt(f"sweep of {policy}", attach)
    if anew:
        with_retries(connection, url, "rights", lambda: _grant(connection, sorted(anew)), terms)
    indexes = build_indexes(connection, url, state.chosen, terms)
    return Repaired(state.facts.database, repaired, unrepaired, indexes, dry_run=False)


def _in_order(wrong: list[Drift], applied: list[Script]) -> list[Drift]:
    """Return what is wrong as the scripts make it, so that each finds what it is built on."""
    order = {made: place for place, made in enumerate(m for one in applied for m in one.creates)}
    return sorted(wrong, key=lambda one: order.get(_created(one), len(order)))


def _created(one: Drift) -> Created:
    return Object(one.kind, one.name).created


def _definition(one: Drift, applied: list[Script]) -> str | None:
    """Return the statements that make an object anew; None where it cannot be."""
    made_by = [script for script in applied if script.id == one.migration_id]
    return made_by[0].definition(_created(one)) if made_by else None


def _put_back(
    connection: Connection,
    one: Drift,
    text: str,
    objects: dict[Object, Recorded],
    applied: list[Script],
) -> set[str]:
    """Put one object back, and return the names of all that had to be made anew for it."""
    known = Object(one.kind, one.name)
    anew: set[str] = set()
    if one.state == "gone":
        _make_anew(connection, known, text)
        anew.add(known.name)
    elif one.kind == "index":
        _execute(connection, [_rebuilding(connection, known).drop_statement])
        _make_anew(connection, known, text)
    else:
        try:
            with connection.transaction():
                connection.execute(literal(text))
        except (errors.InvalidTableDefinition, errors.InvalidFunctionDefinition):
            anew |= _drop_and_make(connection, known, text, objects, applied)
    elsewhere = [] if known.name.startswith(HOME) else [known]
    found = read(connection, elsewhere)
    expected = objects[known]
    major = connection.info.server_version // 10000
    if known not in found or (
        expected.server_major == major and found[known] != expected.fingerprint
    ):
        raise RunnerError(
            f"{known} is not what was recorded, made from {one.migration_id} once more",
            hint="Drop it, and run `runner migrate --repair` again.",
        )
    remade = {name for name in objects if name.name in anew} | {known}
    record(
        connection,
        {},
        {name: found[name] for name in remade if name in found},
        lambda made: objects[made].migration_id,
    )
    return anew


def _drop_and_make(
    connection: Connection,
    known: Object,
    text: str,
    objects: dict[Object, Recorded],
    applied: list[Script],
) -> set[str]:
    """Drop an object, with the views of ours that stand on it, and make all of them anew."""
    first = _rebuilding(connection, known)
    views = [Object("view", name) for name in first.dependents]
    if strangers := [str(view) for view in views if view not in objects]:
        raise RunnerError(
            f"{strangers[0]} stands on it, and is not ours",
            hint=f"Drop {', '.join(strangers)}, run `runner migrate --repair` again, "
            "and make it anew.",
        )
    texts = {known: text}
    rebuildings = {known: first}
    for view in views:
        rebuildings[view] = _rebuilding(connection, view)
        made_by = last_maker(view, applied)
        definition = [one.definition(view.created) for one in applied if one.id == made_by]
        texts[view] = definition[0] if definition and definition[0] else ""
    for one in [*views, known]:
        _execute(connection, [rebuildings[one].drop_statement])
    for one in [known, *reversed(views)]:
        _make_anew(connection, one, texts[one])
        _execute(connection, rebuildings[one].grants)
    return {one.name for one in texts}


def _make_anew(connection: Connection, known: Object, text: str) -> None:
    """Make an object that does not exist: what is in our schema, for the owner of the schema.

    A superuser who repairs must not become the owner of functions that run with their owner's
    rights.
    """
    with connection.transaction():
        if known.name.startswith(HOME):
            connection.execute(
                "select set_config('role', pg_get_userbyid(nspowner), true)"
                " from pg_namespace where nspname = 'maintenance'"
            )
        connection.execute(literal(text))
        connection.execute("reset role")


def _rebuilding(connection: Connection, known: Object) -> _Rebuilding:
    row = (
        connection.cursor(row_factory=class_row(_Rebuilding))
        .execute(literal(query("rebuilding")), {"kind": known.kind, "name": known.name})
        .fetchone()
    )
    if row is None:
        raise RunnerError(
            f"something else is called {known.name}", hint="Rename it, and repair again."
        )
    return row


def _execute(connection: Connection, statements: list[str]) -> None:
    """Execute statements that a query of ours has written."""
    for statement in statements:
        connection.execute(literal(statement))


def _grant(connection: Connection, names: list[str]) -> None:
    """Give operators and monitors their rights on what was made anew."""
    row = connection.execute("select to_regclass('maintenance.access') is not null").fetchone()
    if row == (True,):
        rows = connection.execute(literal(query("lacking_grants")), {"names": names})
        _execute(connection, [statement for (statement,) in rows.fetchall()])


def _is_sweeper(name: str) -> bool:
    return name.startswith(SWEEPERS)


def _broken_sweeps(
    connection: Connection, wrong: list[Drift], *, all_of_them: bool = False
) -> list[str]:
    """Return the policies whose sweep is to be attached again."""
    return [
        one.policy for one in read_sweeps(connection, wrong) if one.state == "broken" or all_of_them
    ]


def _reason(error: Error) -> str:
    detail = " ".join((error.diag.message_detail or "").split())
    return sentence(error) + (f": {detail}" if detail else "")


def _hopeless(one: Drift) -> Unrepaired:
    """Say why something cannot be made again, and what helps."""
    if one.migration_id is None or not one.name.startswith(HOME):
        return Unrepaired(
            str(one),
            "it is the application's",
            "Bring it back from a backup, or with the application's own migrations.",
        )
    if one.state == "gone":
        return Unrepaired(
            str(one),
            "what was in it is gone with it",
            f"Restore it from a backup; `runner show {one.migration_id}` has how it is made.",
        )
    return Unrepaired(
        str(one),
        "its definition was altered",
        f"Alter it back: `runner show {one.migration_id}` has how it was made.",
    )
