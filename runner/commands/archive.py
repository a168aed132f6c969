"""archive: how archives stand, their old rows into files, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.commands.options import (
    DatabaseUrl,
    Embedded,
    Format,
    Json,
    LockWait,
    Quiet,
    Verbose,
    Yes,
    answering,
    confirm,
    database,
    settings_for,
)
from runner.errors import Exit, RunnerError
from runner.screen import Bar, Output, Screen, byte_size, cells, new_table

if TYPE_CHECKING:
    from runner.archives import Archives
    from runner.exports import Exported, PlannedExport

archive = typer.Typer(help="Show archives, move old rows of them into files, and put them back.")

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Files, or folders of them."),
]


@archive.command("list", short_help="List the archives, and how each of them stands.")
def list_(
    files: Annotated[
        bool, typer.Option("--files", help="List the files that rows are in, and not archives.")
    ] = False,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the archives: what fills them, how large and old they are, and their files."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        answer = api.list_archives(database(screen, settings, embedded=embedded))
        if files:
            _print_files(screen, answer)
        else:
            _print_archives(screen, answer)
        screen.document(answer)


@archive.command(short_help="Move old rows of an archive into files.")
def export(
    name: Annotated[str, typer.Argument(metavar="ARCHIVE", help="An archive, named as in SQL.")],
    older_than: Annotated[
        str,
        typer.Option(
            metavar="INTERVAL", help="Move rows that were archived longer ago, as '90 days'."
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to write the files.", show_default=False),
    ] = None,
    compression: Annotated[
        str, typer.Option("--format", metavar="zstd|gzip", help="How to compress them.")
    ] = "zstd",
    max_rows: Annotated[
        int, typer.Option(metavar="N", help="Most rows in a file, and in a transaction.")
    ] = 1_000_000,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be moved, and write nothing.")
    ] = False,
    yes: Yes = False,
    lock_wait: LockWait = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Move old rows of an archive into compressed CSV files, and delete them.

    A file is read from the disk again, and its rows counted and compared, before they are deleted.
    Ctrl-C and SIGTERM let the file in hand be finished; a second one rolls it back.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api
        from runner.drafts import target_folder
        from runner.signals import stop_requests

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        if compression not in list(api.Compression):
            raise RunnerError(f"a format is zstd or gzip, not {compression}", code=Exit.USAGE)
        if max_rows < 1:
            raise RunnerError(f"a file has at least one row, not {max_rows}", code=Exit.USAGE)
        if dry_run:
            planned = api.plan_export(url, name, older_than)
            screen.say(f"would move {_described(planned)}")
            screen.document({"dry_run": True, **vars(planned)})
            return
        if to is None:
            raise RunnerError("a folder has to be named: --to FOLDER", code=Exit.USAGE)
        folder = target_folder(to)
        if not yes:
            planned = api.plan_export(url, name, older_than)
            screen.ask(f"{_described(planned)}, will be in files in {folder} alone")
            confirm(
                screen,
                f"Move them out of {planned.archive}?",
                refusal=f"moving rows out of {planned.archive}",
            )
        with (
            stop_requests(
                lambda _: screen.note("stopping after this file; once more: at once")
            ) as stopped,
            Bar(shown=not (screen.is_json or quiet)) as bar,
        ):
            done = api.export_archive(
                url,
                name,
                older_than,
                folder,
                compression=api.Compression(compression),
                max_rows=max_rows,
                watch=bar.show,
                terms=api.Terms(
                    lock_wait=settings.lock_wait if lock_wait is None else lock_wait,
                    say=screen.note,
                    stopped=stopped,
                ),
            )
        _print_exported(screen, done)
        screen.document(done)
        if done.code:
            raise typer.Exit(int(done.code))


@archive.command(short_help="Compare files with their manifests.")
def verify(
    files: Files,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Read files again, or all those in a folder, and compare them with their manifests.

    It needs no database, and exits with 5 unless all of them are whole.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        answer = api.verify_files(files)
        table = new_table("file", "archive", "rows", "state", numbers=("rows",))
        for one in answer:
            table.add_row(*cells(one.file, one.archive, one.rows, one.problem or "whole"))
        screen.table(table)
        screen.document(answer)
        if any(one.problem for one in answer):
            raise typer.Exit(int(Exit.FINDINGS))


@archive.command("import", short_help="Put the rows of files back.")
def import_(
    files: Files,
    into: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Another table than their archive.", show_default=False),
    ] = None,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Also files of other databases, and those that are back."),
    ] = False,
    lock_wait: LockWait = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Put the rows of files back into their archive, after comparing them with their manifests.

    The files stay. A file is put back once; runs whose rows it has can be undone then.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api
        from runner.signals import stop_requests

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        with (
            stop_requests(
                lambda _: screen.note("stopping after this file; once more: at once")
            ) as stopped,
            Bar(shown=not (screen.is_json or quiet)) as bar,
        ):
            done = api.import_files(
                url,
                files,
                into=into,
                anyway=anyway,
                watch=bar.show,
                terms=api.Terms(
                    lock_wait=settings.lock_wait if lock_wait is None else lock_wait,
                    say=screen.note,
                    stopped=stopped,
                ),
            )
        named = "1 file" if len(done.files) == 1 else f"{len(done.files)} files"
        screen.say(f"{done.rows:,} rows of {named} are back")
        if done.left:
            screen.say(
                f"stopped; {len(done.left)} files are left: {', '.join(map(str, done.left))}"
            )
        screen.document(done)


def _described(planned: PlannedExport) -> str:
    between = f", archived from {planned.oldest} to {planned.newest}" if planned.rows else ""
    return f"{planned.rows:,} rows of {planned.archive}{between}"


def _print_exported(screen: Screen, done: Exported) -> None:
    if done.files:
        numbers = ("rows", "size", "as CSV")
        table = new_table("file", *numbers, "oldest", "newest", numbers=numbers)
        for one in done.files:
            table.add_row(
                one.file.name,
                f"{one.rows:,}",
                byte_size(one.bytes),
                byte_size(one.csv_bytes),
                one.oldest,
                one.newest,
            )
        screen.table(table)
    screen.say(f"{done.rows:,} rows moved out of {done.archive}: {done.exit_reason}")
    if done.left:
        why = "others hold them" if done.exit_reason == "incomplete" else "run it again"
        screen.say(f"{done.left:,} rows that are old enough are left: {why}")


def _print_archives(screen: Screen, answer: Archives) -> None:
    numbers = ("rows", "size", "files", "rows in files")
    table = new_table(
        "archive", "of", "filled by", "rows", "size", "oldest", "retention", "files",
        "rows in files", numbers=numbers,
    )  # fmt: skip
    for one in answer.archives:
        table.add_row(
            *cells(one.archive, one.source, ", ".join(one.policies) or "none"),
            *("unknown" if one.estimated_rows is None else f"{one.estimated_rows:,}",),
            byte_size(one.bytes),
            *cells(one.oldest, ", ".join(one.retention) or "none", one.files, one.rows_in_files),
        )
    if answer.archives:
        screen.table(table)
    else:
        screen.say("there is no archive: select maintenance.create_archive(table) makes one")


def _print_files(screen: Screen, answer: Archives) -> None:
    table = new_table(
        "file", "archive", "rows", "size", "oldest", "newest", "rows are", "folder",
        numbers=("rows", "size"),
    )  # fmt: skip
    for one in answer.files:
        where = "in the file" if one.imported_at is None else f"back in {one.imported_into}"
        table.add_row(
            *cells(one.file, one.archive, one.rows),
            byte_size(one.bytes),
            *cells(one.oldest, one.newest, where, one.folder),
        )
    if answer.files:
        screen.table(table)
    else:
        screen.say("no rows are in files")
