"""Takes migrations back: which, what would be lost with them, a dump first, and doing it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import sql

from runner.backup import Backup, dump
from runner.connection import SESSION, connect, literal
from runner.database import State, read_state, refuse_newer
from runner.definitions import (
    HOME,
    Drift,
    drift,
    last_maker,
    made_elsewhere,
    read,
    record,
    recorded,
)
from runner.errors import Exit, RunnerError
from runner.ledger import Ledger
from runner.locks import Terms, migration_lock, with_retries
from runner.migrate import Done, run_script
from runner.scripts import CORE, Dropped, Script, chains, script, scripts

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True)
class Loss:
    """Values that a rollback would destroy."""

    what: str
    """A table, or a column of one, qualified."""
    rows: int
    """Rows of the table, or rows that have a value in the column."""


@dataclass(frozen=True)
class RollbackPlan:
    """What a rollback would undo, newest first, and what would be lost."""

    database: str
    scripts: list[str]
    losses: list[Loss]


@dataclass(frozen=True)
class RolledBack:
    """What a rollback did."""

    database: str
    undone: list[Done]
    backup: Backup | None


def plan_rollback(
    url: str, *, steps: int | None = None, to: str | None = None, everything: bool = False
) -> RollbackPlan:
    """Say what a rollback would undo and lose. Writes nothing.

    Exactly one of the three: ``steps`` scripts, or those applied after ``to``, or ``everything``.
    Raises RunnerError for a plan that cannot be, or where there is nothing to undo.
    """
    if sum((steps is not None, to is not None, everything)) != 1:
        raise RunnerError(
            "rollback has to know how far",
            hint="Say one of --steps N, --to ID (the last one to keep) or --all.",
            code=Exit.USAGE,
        )
    with connect(url, program="runner rollback", read_only=True) as connection:
        state = read_state(connection)
        if state.applied and not state.facts.owns_schema:
            raise RunnerError(
                f"role {state.facts.role} may not change schema maintenance "
                f"in database {state.facts.database}",
                hint="Connect as the role that migrated the database, or as a member of it.",
            )
        undone = _to_undo(state, steps, to)
        losses = _losses(connection, undone)
    return RollbackPlan(state.facts.database, [one.id for one in undone], losses)


def rollback(
    url: str,
    plan: RollbackPlan,
    *,
    backup_folder: Path | None,
    terms: Terms = Terms(),
) -> RolledBack:
    """Carry out ``plan``: each script in its own transaction, together with the ledger.

    ``backup_folder`` is where the dump goes that is taken first when the plan loses anything; None
    takes none. After the last script there is no schema, and no ledger. Raises RunnerError when the
    database has changed since the plan, and Stopped between two scripts.
    """
    with (
        connect(url, program="runner rollback") as connection,
        migration_lock(connection, terms),
    ):
        state = read_state(connection)
        connection.execute(literal(SESSION))
        ids = [row.migration_id for row in reversed(state.applied)]
        if ids[: len(plan.scripts)] != plan.scripts:
            raise RunnerError(
                f"database {plan.database} has been migrated since the plan was made",
                detail="Nothing was changed.",
                hint="Run the command again.",
                code=Exit.REFUSED,
            )
        known = {one.id: one for one in scripts(chains())}
        applied = [known[row.migration_id] for row in state.applied]
        going = applied[::-1][: len(plan.scripts)]
        taken = None
        # Counted again: rows may have come since the plan was shown.
        if backup_folder is not None and _losses(connection, going):
            taken = dump(connection, url, backup_folder)
            terms.say(f"backed up to {taken.file}")
        is_covered = backup_folder is None or taken is not None
        try:
            undone = [
                _undo(connection, url, one, applied[: len(applied) - at], terms, is_covered)
                for at, one in enumerate(going, 1)
            ]
        except RunnerError as error:
            if taken is not None:
                error.detail = f"{error.detail or ''} The dump is {taken.file}.".strip()
            raise
    return RolledBack(state.facts.database, undone, taken)


def _to_undo(state: State, steps: int | None, to: str | None) -> list[Script]:
    """Return the scripts to undo, last applied first, so that each state has been before."""
    known = {one.id: one for one in scripts(chains())}
    refuse_newer(state, known)
    ids = [row.migration_id for row in reversed(state.applied)]
    if not ids:
        raise RunnerError(
            f"there is nothing to roll back in database {state.facts.database}",
            detail="pg-maintenance is not installed there.",
            code=Exit.USAGE,
        )
    if steps is not None:
        if not 1 <= steps <= len(ids):
            raise RunnerError(
                f"cannot roll {steps} scripts back: {len(ids)} are applied",
                hint="`runner status` lists them; --all undoes every one.",
                code=Exit.USAGE,
            )
        ids = ids[:steps]
    elif to is not None:
        if script(to).id not in ids:
            raise RunnerError(
                f"{to} is not applied in database {state.facts.database}",
                hint="`runner status` lists what is.",
                code=Exit.USAGE,
            )
        ids = ids[: ids.index(to)]
        if not ids:
            raise RunnerError(
                f"{to} is the last that was applied: there is nothing to undo after it",
                code=Exit.USAGE,
            )
    return [known[migration_id] for migration_id in ids]


def _losses(connection: Connection, undone: list[Script]) -> list[Loss]:
    """Count what is in the tables and columns of applications, and in archives, that would go.

    Tables of schema maintenance hold what the scripts put there, and are not counted; tables that
    were there before the scripts stay.
    """
    dropped = _created(connection, [one for gone in undone for one in gone.drops])
    tables = {one.table for one in dropped if one.column is None}
    losses: list[Loss] = []
    for one in dropped:
        if one.column is not None and one.table in tables:
            continue
        counted = sql.SQL("*") if one.column is None else sql.Identifier(one.column)
        if not _exists(connection, one.table):
            continue  # dropped by hand: there is nothing left to lose
        row = connection.execute(
            sql.SQL("select count({}) from {}").format(
                counted, sql.Identifier(*one.table.split("."))
            )
        ).fetchone()
        rows = row[0] if row else 0
        if rows:
            losses.append(Loss(one.name, rows))
    archives: set[str | None] = {name for gone in undone for name in gone.archives}
    if any(gone.drops_archives for gone in undone):
        archives = {None}  # all of them
    for name in sorted(archives, key=str):
        if name is not None and not _exists(connection, name):
            continue  # dropped by hand
        losses.extend(
            Loss(archive, rows)
            for archive, rows in connection.execute(
                "select name::text, held from maintenance.archived_rows(%s) where held > 0",
                (name,),
            )
        )
    return losses


def _exists(connection: Connection, table: str) -> bool:
    return connection.execute("select to_regclass(%s)", (table,)).fetchone() != (None,)


def _created(connection: Connection, dropped: list[Dropped]) -> list[Dropped]:
    """Return those that a script created here, and did not find."""
    if not dropped:
        return []
    created = connection.execute(
        "select chain, kind, name from maintenance.owned_object where origin = 'created'"
    ).fetchall()
    return [one for one in dropped if (one.chain, one.kind, one.name) in created]


def _undo(
    connection: Connection,
    url: str,
    one: Script,
    left: list[Script],
    terms: Terms,
    is_covered: bool,
) -> Done:
    """Undo one script; what it drops must be covered by a dump, or by the wish to have none.

    ``left`` are the scripts that are applied after that, in their order.
    """
    began = time.monotonic()
    is_last = one == scripts([CORE])[0]
    elsewhere = made_elsewhere([one, *left])
    left_alone: list[Drift] = []

    def work() -> None:
        if not is_covered:
            _refuse_losses(connection, one)
        elif one.drops_archives or one.archives:
            connection.execute("select set_config('maintenance.drop_archives', 'on', true)")
        left_alone[:] = _leave_changed(connection, one)
        ledger = Ledger(connection)
        before = read(connection, elsewhere)
        ledger.unbook(one)
        if is_last:
            ledger.drop()
        run_script(connection, f"rollback of {one.id}", one.rollback_sql)
        if not is_last:
            after = read(connection, elsewhere, before=before)
            record(connection, before, after, lambda found: last_maker(found, left))

    with_retries(connection, url, one.id, work, terms)
    for found in left_alone:
        terms.say(f"{found} was changed after {one.id}, and is left as it is")
    terms.say(f"rolled back {one.id}")
    return Done(one.id, time.monotonic() - began)


def _leave_changed(connection: Connection, one: Script) -> list[Drift]:
    """Note which functions of the application somebody has changed since; they stay as they are."""
    if one.chain == CORE:
        return []
    made = [known for known in recorded(connection) if known.migration_id == one.id]
    changed = [
        found
        for found in drift(connection, made)
        if found.state == "changed" and not found.name.startswith(HOME)
    ]
    for found in changed:
        connection.execute(
            "select maintenance.leave_object(%s, %s, %s)", (one.chain, found.kind, found.name)
        )
    return changed


def _refuse_losses(connection: Connection, one: Script) -> None:
    """Refuse to drop rows that came after the last count; lock the tables, so that no more come."""
    for table in {dropped.table for dropped in _created(connection, one.drops)}:
        if _exists(connection, table):
            name = sql.Identifier(*table.split("."))
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(name))
    if losses := _losses(connection, [one]):
        raise RunnerError(
            f"rows have come into {losses[0].what} since they were counted",
            detail=f"{one.id} was not rolled back.",
            hint="Stop the application, and run the command again: it takes a dump first.",
            code=Exit.REFUSED,
        )
