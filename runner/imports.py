"""Files of archived rows go back into their archive, or into another table.

A file is read twice: once before anything is written, and once while its rows go to the server. The
second time decides, since a file can change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.types.json import Jsonb

from runner.archive_files import (
    Damaged,
    Manifest,
    VerifiedFile,
    files_in,
    read_csv,
    read_manifest,
    verify_file,
)
from runner.archives import commit, explaining, roll_back, with_lock
from runner.connection import refuse_pooler_url
from runner.database import installed
from runner.errors import Exit, RunnerError
from runner.files import PARTIAL
from runner.identity import assert_endpoint
from runner.locks import Terms
from runner.naming import TABLES, resolve
from runner.steps import Progress

if TYPE_CHECKING:
    from psycopg import Connection

PROGRAM = "runner archive import"


@dataclass(frozen=True)
class ImportedFile:
    """A file whose rows are in a table again."""

    file: Path
    table: str
    rows: int


@dataclass(frozen=True)
class Imported:
    """What an import has put back."""

    files: list[ImportedFile]
    rows: int
    left: list[Path]
    """Files that it came not to, since it was asked to stop."""
    seconds: float


def verify_files(paths: Sequence[Path]) -> list[VerifiedFile]:
    """Read files again, or all archive files of folders, and compare them with their manifests.

    No database is needed for that.
    """
    return [verify_file(file) for file in files_in(list(paths))]


def import_files(
    url: str,
    paths: Sequence[Path],
    *,
    into: str | None = None,
    anyway: bool = False,
    watch: Callable[[Progress], None] = lambda _: None,
    terms: Terms = Terms(),
) -> Imported:
    """Put the rows of files back into their archives, or ``into`` a table; each in a transaction.

    All files are read and proved before the first one is put back. ``anyway`` takes files that this
    database did not export, and those whose rows are back already. Raises RunnerError for a file
    that is not what its manifest says, that does not fit, or that is back; nothing of it is put
    back then.
    """
    refuse_pooler_url(url)
    began = monotonic()
    files = files_in(list(paths))
    manifests = {file: _proved(file) for file in files}
    expected = sum(manifest.rows for manifest in manifests.values())
    done: list[ImportedFile] = []
    with installed(url, program=PROGRAM) as connection:
        assert_endpoint(connection)
        for file, manifest in manifests.items():
            if terms.stopped():
                break
            before = sum(one.rows for one in done)

            def tell(rows: int, before: int = before) -> None:
                watch(Progress("import", before + rows, expected, None))

            try:
                done.append(
                    _put_back(connection, url, file, manifest, into, tell, terms, anyway=anyway)
                )
            except RunnerError as error:
                raise _after(error, done) from None
            terms.say(f"{manifest.rows:,} rows of {file} are in {done[-1].table}")
    rows = sum(one.rows for one in done)
    return Imported(done, rows, files[len(done) :], monotonic() - began)


def _proved(file: Path) -> Manifest:
    if file.name.endswith(PARTIAL):
        raise Damaged(file, "was left by an export that did not end")
    manifest = read_manifest(file)
    for _ in read_csv(file, manifest):
        pass
    return manifest


def _put_back(
    connection: Connection,
    url: str,
    file: Path,
    manifest: Manifest,
    into: str | None,
    tell: Callable[[int], None],
    terms: Terms,
    *,
    anyway: bool,
) -> ImportedFile:
    oid, name = resolve(connection, manifest.archive if into is None else into, TABLES)
    document = Jsonb(manifest.document())

    def stage() -> str:
        connection.execute(
            "select maintenance.stage_archive_file(%s::oid::regclass, %s, %s)",
            (oid, document, anyway),
        )
        row = connection.execute(
            "select pg_current_xact_id()::text, system_identifier::text, database_oid::bigint"
            " from maintenance.identify()"
        ).fetchone()
        assert row is not None
        database.update(system_identifier=row[1], oid=row[2])
        return row[0]

    database: dict[str, str | int] = {}
    try:
        with explaining():
            transaction = with_lock(connection, oid, name, stage, terms)
            _copy(connection, file, manifest, tell)
            connection.execute(
                "select maintenance.return_archived(%s::oid::regclass, %s, %s)",
                (oid, document, anyway),
            )
            is_committed = commit(connection, url, transaction, database)
    except BaseException:
        roll_back(connection)
        raise
    if is_committed is None:
        raise RunnerError(
            f"the connection was cut, and whether the rows of {file} are back is unknown",
            hint="`runner archive list --files` says whether they are.",
        )
    if not is_committed or connection.closed:
        state = "back" if is_committed else "not back"
        raise RunnerError(
            "the connection was cut",
            detail=f"The rows of {file} are {state} in {name}.",
            hint="Run the command again for the files that are left.",
        )
    return ImportedFile(file, name, manifest.rows)


def _copy(
    connection: Connection, file: Path, manifest: Manifest, tell: Callable[[int], None]
) -> None:
    """Send the CSV of a file to the server, and prove how many rows it saw in it."""
    statement = sql.SQL(
        "copy pg_temp.returned_rows from stdin (format csv, header match, encoding {})"
    ).format(sql.Literal(manifest.encoding))
    sent = 0
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for piece in read_csv(file, manifest):
                copy.write(piece)
                sent += len(piece)
                tell(manifest.rows * sent // manifest.csv.bytes)
        if cursor.rowcount != manifest.rows:
            raise Damaged(file, f"has {cursor.rowcount} rows for PostgreSQL, not {manifest.rows}")


def _after(error: RunnerError, done: Sequence[ImportedFile]) -> RunnerError:
    """Add to an error what was put back before it."""
    if not done:
        return error
    names = ", ".join(one.file.name for one in done)
    back = f"The rows of {names} were put back before, and stay there."
    code = error.code if error.code is not Exit.REFUSED else Exit.FAILED
    return RunnerError(
        error.message,
        detail=" ".join(part for part in (error.detail, back) if part),
        hint=error.hint,
        code=code,
    )
