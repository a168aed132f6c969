"""Old rows of an archive move into files, and are deleted once the files are proved.

A file is a transaction: its rows are deleted, copied out, compressed and written; the file is read
from the disk again and compared; it gets its name and is noted in the database; and only then the
transaction is committed. Whatever fails before that takes the file away and leaves the rows.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from runner.archive_files import (
    CHUNK,
    SUFFIXES,
    Compression,
    Manifest,
    manifest_of,
    read_manifest,
)
from runner.archives import SETTINGS, commit, explaining, roll_back, with_lock
from runner.connection import refuse_pooler_url
from runner.database import installed
from runner.drafts import Draft, abandoned, target_folder
from runner.errors import Exit, RunnerError
from runner.identity import assert_endpoint
from runner.locks import Terms
from runner.naming import TABLES, resolve
from runner.steps import Progress

if TYPE_CHECKING:
    from psycopg import Connection

PROGRAM = "runner archive export"
MAX_ROWS = 1_000_000
FIRST = "(0,0)"
"""The place before all rows of a table."""
PAUSES = (0.25, 0.5, 1.0)
"""Seconds after which rows that others held are tried again."""


@dataclass(frozen=True)
class PlannedExport:
    """What an export would move now."""

    archive: str
    before: str
    rows: int
    oldest: str | None
    newest: str | None


@dataclass(frozen=True)
class ExportedFile:
    """A file whose rows are no longer in the archive."""

    file: Path
    rows: int
    csv_bytes: int
    bytes: int
    oldest: str
    newest: str


@dataclass(frozen=True)
class Exported:
    """What an export has moved, and why it ended."""

    archive: str
    before: str
    rows: int
    files: list[ExportedFile]
    left: int
    """Rows that were old enough and are still there."""
    exit_reason: str
    """exhausted, nothing_to_do, stopped, or incomplete: others held rows to the end."""
    leftovers: list[str]
    """What earlier exports that were cut off have left in the folder."""
    seconds: float

    @property
    def code(self) -> Exit:
        return Exit.FAILED if self.exit_reason == "incomplete" else Exit.DONE


@dataclass(frozen=True)
class _Job:
    """What stays the same from file to file."""

    url: str
    connection: Connection
    oid: int
    archive: str
    before: str
    folder: Path
    compression: Compression
    max_rows: int
    expected: int
    watch: Callable[[Progress], None]
    terms: Terms


@dataclass(frozen=True)
class _Taken:
    """A step through a part of an archive: the file, if there was something to move."""

    file: ExportedFile | None
    after: str
    is_over: bool


def plan_export(url: str, archive: str, older_than: str) -> PlannedExport:
    """Count the rows that an export would move. Writes nothing.

    Raises RunnerError: usage for what is no archive or no interval, refused where its rows could
    not be moved exactly.
    """
    with installed(url, program=PROGRAM) as connection, explaining():
        oid, name = resolve(connection, archive, TABLES)
        connection.execute("begin")
        try:
            return _planned(connection, oid, name, older_than=older_than)
        finally:
            roll_back(connection)


def export_archive(
    url: str,
    archive: str,
    older_than: str,
    folder: Path,
    *,
    compression: Compression = Compression.ZSTD,
    max_rows: int = MAX_ROWS,
    watch: Callable[[Progress], None] = lambda _: None,
    terms: Terms = Terms(),
) -> Exported:
    """Move the rows of an archive that are older than an interval into files in a folder.

    Up to ``max_rows`` rows go into a file, in one transaction each. ``watch`` is told how far it
    is; ``terms.stopped`` ends it after the file in hand. What was moved before an error stays
    moved: the error says so.
    """
    if max_rows < 1:
        raise RunnerError(f"a file has at least one row, not {max_rows}", code=Exit.USAGE)
    folder = target_folder(folder)
    refuse_pooler_url(url)
    began = monotonic()
    with installed(url, program=PROGRAM) as connection:
        assert_endpoint(connection)
        with explaining():
            oid, name = resolve(connection, archive, TABLES)
            plan = _planned(connection, oid, name, older_than=older_than)
            leftovers = _leftovers(connection, folder)
        for leftover in leftovers:
            terms.say(leftover)
        job = _Job(
            url, connection, oid, name, plan.before, folder, compression, max_rows, plan.rows,
            watch, terms,
        )  # fmt: skip
        files: list[ExportedFile] = []
        try:
            for file in _move(job, files):
                files.append(file)  # noqa: PERF402  # those before an error count
        except RunnerError as error:
            raise _after(error, files) from None
        with explaining():
            left = _planned(connection, oid, name, before=plan.before).rows
        moved = sum(file.rows for file in files)
        if left:
            reason = "stopped" if terms.stopped() else "incomplete"
        else:
            reason = "exhausted" if moved else "nothing_to_do"
        return Exported(
            name, plan.before, moved, files, left, reason, leftovers, monotonic() - began
        )


def _planned(
    connection: Connection,
    oid: int,
    name: str,
    *,
    older_than: str | None = None,
    before: str | None = None,
) -> PlannedExport:
    row = connection.execute(
        "select maintenance.plan_archive_export(%s::oid::regclass, %s::interval, %s::timestamptz)",
        (oid, older_than, before),
    ).fetchone()
    assert row is not None
    found: dict[str, Any] = row[0]
    return PlannedExport(name, found["before"], found["rows"], found["oldest"], found["newest"])


def _move(job: _Job, done: Sequence[ExportedFile]) -> Generator[ExportedFile]:
    """Yield file after file: those with the rows that are free, then with those that were held."""
    was_held = False
    for pause in (0.0, *PAUSES):
        if pause:
            with explaining():
                left = _planned(job.connection, job.oid, job.archive, before=job.before).rows
            if not left:
                return
            sleep(pause)
            was_held = True
        with explaining():
            leaves = [
                leaf
                for (leaf,) in job.connection.execute(
                    "select leaf::oid from maintenance.leaves_of(%s::oid::regclass) as leaf",
                    (job.oid,),
                )
            ]
        for leaf in leaves:
            after, is_over = FIRST, False
            while not is_over:
                if job.terms.stopped():
                    return
                try:
                    taken = _one_file(job, leaf, after, done, is_gentle=was_held)
                except errors.LockNotAvailable:
                    was_held = True
                    continue
                after, is_over = taken.after, taken.is_over
                if taken.file is not None:
                    yield taken.file


def _one_file(
    job: _Job, leaf: int, after: str, done: Sequence[ExportedFile], *, is_gentle: bool
) -> _Taken:
    """Move the next rows of a part into a file. Raises LockNotAvailable where others hold some."""
    connection = job.connection

    def describe() -> dict[str, Any]:
        row = connection.execute(
            "select maintenance.begin_archive_export(%s::oid::regclass)", (job.oid,)
        ).fetchone()
        assert row is not None
        return row[0]

    try:
        with explaining():
            described = with_lock(connection, job.oid, job.archive, describe, job.terms)
            try:
                row = connection.execute(
                    "select maintenance.take_archived(%s::oid::regclass, %s::oid::regclass,"
                    " %s::timestamptz, %s::tid, %s, %s)",
                    (job.oid, leaf, job.before, after, job.max_rows, is_gentle),
                ).fetchone()
            except (errors.LockNotAvailable, errors.DeadlockDetected):
                if is_gentle:
                    raise
                raise _Held from None
            assert row is not None
            taken: dict[str, Any] = row[0]
            is_over = taken["seen"] < job.max_rows
            if not taken["rows"]:
                roll_back(connection)
                return _Taken(None, taken["after"] or after, is_over or taken["after"] is None)
            with Draft(job.folder, job.archive, job.compression) as draft:
                manifest = _write(job, draft, described, taken, sum(file.rows for file in done))
                _settle(job, draft, manifest)
    except _Held:
        roll_back(connection)
        raise errors.LockNotAvailable from None
    except BaseException:
        roll_back(connection)
        raise
    file = ExportedFile(
        draft.file, manifest.rows, manifest.csv.bytes, manifest.compressed.bytes,
        manifest.oldest, manifest.newest,
    )  # fmt: skip
    job.terms.say(f"{manifest.rows:,} rows are in {draft.file}")
    return _Taken(file, taken["after"], is_over)


class _Held(Exception):
    """Others hold rows that would go."""


def _write(
    job: _Job, draft: Draft, described: dict[str, Any], taken: dict[str, Any], moved: int
) -> Manifest:
    """Copy the rows that were taken into the file, prove it, and give it its name."""
    with job.connection.cursor() as cursor:
        statement = sql.SQL(
            "copy pg_temp.taken_rows to stdout (format csv, header, encoding {})"
        ).format(sql.Literal(described["encoding"]))
        with cursor.copy(statement) as copy:
            told = monotonic()
            pieces: list[bytes] = []
            size = 0
            for row in copy:
                pieces.append(bytes(row))
                size += len(row)
                if size < CHUNK:
                    continue
                draft.write(b"".join(pieces))
                pieces, size = [], 0
                if monotonic() > told + 0.1:
                    told = monotonic()
                    job.watch(Progress(job.archive, moved + draft.rows, job.expected, None))
            draft.write(b"".join(pieces))
        copied = cursor.rowcount
    draft.finish()
    manifest = Manifest(
        id=str(uuid4()),
        file=draft.file.name,
        compression=job.compression.value,
        archive=described["archive"],
        source=described["source"],
        columns=described["columns"],
        encoding=described["encoding"],
        settings=SETTINGS,
        rows=taken["rows"],
        before=job.before,
        oldest=taken["oldest"],
        newest=taken["newest"],
        steps=taken["steps"],
        csv=draft.csv,
        compressed=draft.compressed,
        database=described["database"],
        server_version=described["server_version"],
        transaction=described["transaction"],
        exported_at=described["exported_at"],
        exported_by=described["exported_by"],
    )
    if not manifest.rows == copied == draft.rows:
        raise RunnerError(
            f"{manifest.rows} rows were deleted, {copied} copied and {draft.rows} written",
            detail="So nothing was changed: they are still in the archive.",
            hint="This is a defect in pg-maintenance: please report it.",
        )
    draft.prove(manifest)
    draft.publish(manifest)
    job.watch(Progress(job.archive, moved + manifest.rows, job.expected, None))
    return manifest


def _settle(job: _Job, draft: Draft, manifest: Manifest) -> None:
    """Note the file in the database and commit; keep the file unless the rows are still there."""
    job.connection.execute(
        "select maintenance.record_archive_file(%s::oid::regclass, %s, %s)",
        (job.oid, f"{socket.gethostname()}:{job.folder}", Jsonb(manifest.document())),
    )
    draft.keep()  # from here on it may have the only copy: nothing but a clear no removes it
    is_committed = commit(job.connection, job.url, manifest.transaction, manifest.database)
    if is_committed is False:
        draft.discard()
        raise RunnerError(
            "the transaction that would have deleted the rows was not committed",
            detail=f"So {draft.file.name} was removed: its rows are still in {job.archive}.",
            hint="Run the command again.",
        )
    if is_committed is None:
        raise RunnerError(
            f"the connection was cut, and whether {manifest.rows} rows were deleted is unknown",
            detail=f"Keep {draft.file}: it is complete, and they may be nowhere else.",
            hint="If `runner archive list --files` has it, they are in the file alone; if not, "
            f"they are still in {job.archive}, and the file can be removed.",
        )
    if job.connection.closed:
        raise RunnerError(
            "the connection was cut after a file was done",
            detail=f"The rows of {draft.file} are in it, and no longer in {job.archive}.",
            hint="Run the command again to go on.",
        )


def _after(error: RunnerError, files: Sequence[ExportedFile]) -> RunnerError:
    """Add to an error what was moved before it."""
    if not files:
        return error
    rows = sum(file.rows for file in files)
    moved = f"{rows:,} rows were moved into {len(files)} files before, and stay there."
    return RunnerError(
        error.message,
        detail=" ".join(part for part in (error.detail, moved) if part),
        hint=error.hint,
        code=error.code,
    )


def _leftovers(connection: Connection, folder: Path) -> list[str]:
    """Say which files in a folder come from exports that were cut off."""
    found = [
        f"{path} was left by an export that did not end: its rows are still in the archive, "
        "remove it"
        for path in abandoned(folder)
    ]
    complete = {
        path: read
        for path in sorted(folder.iterdir())
        if path.name.endswith(SUFFIXES) and (read := _readable(path)) is not None
    }
    if not complete:
        return found
    claims = [
        {"id": one.id, "transaction": one.transaction, **one.database} for one in complete.values()
    ]
    ids = [
        row[0]
        for row in connection.execute("select maintenance.unrecorded_files(%s)", (Jsonb(claims),))
    ]
    return found + [
        f"{path} is complete, but its export was cut off: its rows are still in {one.archive}, "
        f"remove it and {manifest_of(path).name}"
        for path, one in complete.items()
        if one.id in ids
    ]


def _readable(path: Path) -> Manifest | None:
    try:
        return read_manifest(path)
    except RunnerError:
        return None
