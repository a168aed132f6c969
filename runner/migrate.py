"""Brings a database up to date: what is pending, whether it may run, and running it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from runner.connection import SESSION, connect, literal, refuse_pooler, refuse_pooler_url
from runner.database import State, changed, read_state, refuse_newer
from runner.definitions import Definitions, made_elsewhere, read, record
from runner.errors import Exit, RunnerError
from runner.identity import remember_first
from runner.indexes import build_indexes
from runner.ledger import Ledger, ordered
from runner.locks import Terms, migration_lock, with_retries
from runner.scripts import CORE, NO_APPLICATION, Script, chains, released, script, scripts

if TYPE_CHECKING:
    from psycopg import Connection

DEFAULT_APPLICATION = "matcha"
"""What an empty database gets when nobody says which application it is for."""
GONE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedFunction,
)


@dataclass(frozen=True)
class Done:
    """One script that was applied or rolled back, and how long it took in seconds."""

    id: str
    seconds: float


@dataclass(frozen=True)
class Found:
    """An object of the application's that a script met."""

    kind: str
    name: str
    origin: str
    """adopted: it is used as it is; replaced or removed: until a rollback."""


@dataclass(frozen=True)
class Migrated:
    """What ``migrate`` did, or in a dry run would do."""

    database: str
    chains: list[str]
    applied: list[Done]
    indexes: list[str]
    """Names of the indexes that were built, or in a dry run of those that are missing."""
    found: list[Found]
    """What applications had already, of what the applied scripts are about."""
    dry_run: bool


def migrate(
    url: str,
    *,
    applications: Sequence[str] = (),
    to: str | None = None,
    dry_run: bool = False,
    terms: Terms = Terms(),
) -> Migrated:
    """Apply the pending scripts of core and the chosen applications, and build their indexes.

    ``applications`` are names of chains, or "none" for core alone; empty means those that the
    database has, or the default one where it has nothing yet. ``to`` is the id of the last script
    to apply.

    Each script runs in its own transaction, together with its entry in the ledger. Where an
    application's scripts meet a database that has something of its own, all of them are tried
    first, in a transaction that is rolled back; a dry run does so as well. Raises RunnerError
    (refused), with nothing changed, where the database is not fit for it, and Stopped between two
    scripts when the terms say so.
    """
    refuse_pooler_url(url)
    if dry_run:
        with connect(url, program="runner migrate", read_only=True) as connection:
            state = read_state(connection)
            chosen = _choose(state, applications, to)
            pending = _pending(state, chosen, to)
            _preflight(state, pending)
        found: list[Found] = []
        if _may_clash(state, pending):
            with (
                connect(url, program="runner migrate") as connection,
                migration_lock(connection, terms),
            ):
                connection.execute(literal(SESSION))
                found = _rehearse(connection, url, pending, terms)
        return Migrated(
            state.facts.database,
            chosen,
            [Done(one.id, 0.0) for one in pending],
            [index.name for index in state.missing_indexes],
            found,
            dry_run=True,
        )
    with connect(url, program="runner migrate") as connection:
        refuse_pooler(connection, url)
        with migration_lock(connection, terms):
            state = read_state(connection)
            connection.execute(literal(SESSION))
            chosen = _choose(state, applications, to)
            pending = _pending(state, chosen, to)
            _preflight(state, pending)
            found = _rehearse(connection, url, pending, terms) if _may_clash(state, pending) else []
            if not applications and not state.is_installed:
                terms.say(f"empty database: installing {' and '.join(chosen)}")
            applied = _apply_all(connection, url, state, pending, chosen, terms)
            indexes = build_indexes(connection, url, chosen, terms)
            if state.facts.owns_schema and not state.facts.is_standby:
                remember_first(connection)
    return Migrated(state.facts.database, chosen, applied, indexes, found, dry_run=False)


def _choose(state: State, applications: Sequence[str], to: str | None) -> list[str]:
    """Return the chains to bring up to date, core first."""
    wanted = set(state.chosen) | {CORE}
    scripts(applications)  # refuses names that do not exist
    if NO_APPLICATION in applications and len(set(applications)) > 1:
        raise RunnerError(
            "--app none means the core alone, and does not go with another --app", code=Exit.USAGE
        )
    wanted |= {name for name in applications if name in chains()}
    if to is not None:
        wanted.add(script(to).chain)
    if not applications and not state.is_installed:
        if to is None and state.facts.relations:
            raise _foreign(state)
        if to is None:
            wanted.add(DEFAULT_APPLICATION)
    return [chain for chain in chains() if chain in wanted]


def _foreign(state: State) -> RunnerError:
    others = len(state.facts.relations) - 1
    more = f" and {others} more" if others else ""
    fitting = [
        chain
        for chain in chains()
        if set(state.facts.relations)
        & {made.name for one in scripts([chain]) for made in one.creates if one.chain == chain}
    ]
    return RunnerError(
        f"database {state.facts.database} has tables of its own, so nothing was installed: "
        f"{state.facts.relations[0]}{more}",
        detail=f"Some of them are called like those of application {' and '.join(fitting)}."
        if fitting
        else None,
        hint="`--app none` installs the core alone, which touches no table of yours; "
        f"`--app NAME` adds an application: {', '.join(chains()[1:])}.",
        code=Exit.REFUSED,
    )


def _pending(state: State, chosen: list[str], to: str | None) -> list[Script]:
    """Return the scripts to apply, in order."""
    known = {one.id: one for one in scripts(chains())}
    refuse_newer(state, known)
    refuse_edited(state, known)
    applied = {row.migration_id for row in state.applied}
    plan = ordered(scripts(chosen))
    if to is not None:
        last = script(to)
        plan = [one for one in plan if one.chain in (CORE, last.chain)]
        after = [one.id for one in plan][plan.index(last) + 1 :]
        if later := [migration_id for migration_id in after if migration_id in applied]:
            raise RunnerError(
                f"database {state.facts.database} is beyond {to}: it has {later[-1]}",
                hint=f"To go back, use `runner rollback --to {to}`.",
                code=Exit.USAGE,
            )
        plan = plan[: plan.index(last) + 1]
    return [one for one in plan if one.id not in applied]


def refuse_edited(state: State, known: dict[str, Script]) -> None:
    """Raise RunnerError when a script is no longer what was applied."""
    if edited := changed(state, known):
        was_released = edited[0] in released()
        raise RunnerError(
            f"{edited[0]} is no longer what was applied to database {state.facts.database}",
            detail="Its text, or that of a file which it includes, was changed afterwards.",
            hint="Install pg-maintenance again: a released script never changes."
            if was_released
            else "A script may change until it is released: undo it with `runner rollback`, or "
            "start afresh with `runner db reset` on the embedded server.",
            code=Exit.REFUSED,
        )


def _preflight(state: State, pending: list[Script]) -> None:
    """Refuse, before anything is changed, what would fail or overwrite half-way."""
    facts = state.facts
    if not pending:
        return
    if facts.is_standby:
        raise RunnerError(
            f"database {facts.database} is a standby and takes no changes",
            hint="Connect to the primary server.",
        )
    creates_in_public = any(
        made.name.startswith("public.") for one in pending for made in one.creates
    )
    if creates_in_public and not facts.has_public:
        raise RunnerError(
            f"database {facts.database} has no schema public",
            hint="The application's tables belong there: create schema public.",
        )
    for missing, right in (
        (not facts.has_schema and not facts.may_create_schema, "create a schema"),
        (facts.has_schema and not facts.owns_schema, "change schema maintenance"),
        (creates_in_public and not facts.may_create_in_public, "create tables in schema public"),
    ):
        if missing:
            raise RunnerError(
                f"role {facts.role} may not {right} in database {facts.database}",
                hint="Connect as the owner of the database: no more is needed.",
            )


def _may_clash(state: State, pending: list[Script]) -> bool:
    """Say whether scripts of an application meet a database that has something of its own."""
    return state.facts.has_own_objects and any(one.chain != CORE for one in pending)


def _rehearse(connection: Connection, url: str, pending: list[Script], terms: Terms) -> list[Found]:
    """Run the pending scripts and roll them back, so that a misfit is found before any change.

    Returns what the scripts find that was there before.
    """

    def work() -> list[Found]:
        with connection.transaction(force_rollback=True):
            before = _found(connection)
            for one in pending:
                run_script(connection, one.id, one.sql)
            return [one for one in _found(connection) if one not in before]

    try:
        return with_retries(connection, url, "the rehearsal", work, terms)
    except RunnerError as error:
        if isinstance(error.__cause__, psycopg.Error):  # a script failed; else it never ran
            error.detail = "\n".join(filter(None, (error.detail, "Nothing was changed.")))
            error.code = Exit.REFUSED
        raise


def _found(connection: Connection) -> list[Found]:
    """Return what scripts found so far; nothing where the database is older than the list of it."""
    row = connection.execute("select to_regclass('maintenance.owned_object') is null").fetchone()
    if row == (True,):
        return []
    return (
        connection.cursor(row_factory=class_row(Found))
        .execute(
            "select kind, name, origin from maintenance.owned_object "
            "where origin <> 'created' order by kind, name"
        )
        .fetchall()
    )


def _apply_all(
    connection: Connection,
    url: str,
    state: State,
    pending: list[Script],
    chosen: list[str],
    terms: Terms,
) -> list[Done]:
    """Apply the scripts one after the other, and record what each of them makes."""
    if not pending:
        return []
    applied = {row.migration_id for row in state.applied}
    elsewhere = made_elsewhere([*pending, *(one for one in scripts(chains()) if one.id in applied)])
    definitions = read(connection, elsewhere)
    done: list[Done] = []
    for one in pending:
        began = time.monotonic()

        def work(one: Script = one, before: Definitions = definitions) -> Definitions:
            run_script(connection, one.id, one.sql)
            after = read(connection, elsewhere, before=before)
            Ledger(connection).book(one, chosen)
            record(connection, before, after, lambda _: one.id)
            return after

        definitions = with_retries(connection, url, one.id, work, terms)
        done.append(Done(one.id, time.monotonic() - began))
        terms.say(f"applied {one.id}")
    return done


def run_script(connection: Connection, name: str, text: str) -> None:
    """Execute a whole script as it stands, inside the caller's transaction.

    Raises RunnerError with the line at fault when the script fails, or ends the transaction.
    """
    try:
        connection.execute(literal(text))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        raise
    except psycopg.Error as error:
        raise RunnerError(
            f"{name}: {error.diag.message_primary or error}",
            detail=_at(text, error) or error.diag.message_detail,
            hint="Change or drop what depends on it, then run the command again."
            if isinstance(error, psycopg.errors.DependentObjectsStillExist)
            else "Something that a migration made is gone: put it back (`runner show` has it)."
            if isinstance(error, GONE) and not error.diag.message_hint
            else error.diag.message_hint,
        ) from error
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise RunnerError(
            f"{name} ends the transaction that it runs in",
            hint="Remove COMMIT and ROLLBACK: a script and its entry in the ledger go together.",
        )


def _at(text: str, error: psycopg.Error) -> str | None:
    if not error.diag.statement_position:
        return None
    before = text[: int(error.diag.statement_position) - 1]
    number = before.count("\n")
    return f"Line {number + 1} of `runner show`: {text.splitlines()[number].strip()}"
