"""report: everything that is known of a database, as tables, JSON or a page with plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.commands.options import (
    DatabaseUrl,
    Embedded,
    Format,
    Json,
    Quiet,
    Verbose,
    answering,
    database,
    settings_for,
)
from runner.screen import Output, Screen, cells, new_table

if TYPE_CHECKING:
    from runner.report_parts import Part


def report(
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write it as a page with plots instead; one that is there goes."
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show everything that is known of a database: sizes, locks, bloat, needs, policies, runs.

    It connects read-only, writes nothing there, and executes none of the statements that it
    proposes. Where a right is missing, it says which. The page needs no network.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        answer = api.report(database(screen, settings, embedded=embedded))
        if html is not None:
            screen.say(f"the report is in {api.write_page(answer, html)}")
        else:
            from runner.report_parts import chapters

            for number, chapter in enumerate(chapters(answer)):
                screen.say(("\n" if number else "") + chapter.title.upper())
                was_empty = True
                for part in chapter.parts:
                    if part.title and not (was_empty and part.is_empty):
                        screen.say("")
                    _part(screen, part)
                    was_empty = part.is_empty
        screen.document(answer)


def _part(screen: Screen, part: Part) -> None:
    if part.is_empty:
        screen.say(f"{part.title}: {part.unknown or part.nothing}")
        return
    if part.title:
        screen.say(part.title)
    if part.unknown:
        screen.say(part.unknown)
    if part.rows:
        table = new_table(*part.columns, numbers=tuple(part.numbers), wraps=True)
        for row in part.rows:
            table.add_row(*cells(*row))
        screen.table(table)
    for one in part.remedies:
        # The reason is a comment, and stays in its line: names in it are anybody's.
        screen.say(f"-- {cells(one.reason)[0]}")
        if one.statement:
            screen.say(f"{one.statement};")
    if part.more:
        screen.say(f"and {part.more:,} more: --json has all of them")
