"""config: what is set, and where."""

from __future__ import annotations

import typer

from runner.commands.options import (
    DatabaseUrl,
    Format,
    Json,
    Verbose,
    answering,
    settings_for,
)
from runner.screen import Output, new_table

config = typer.Typer(help="Show the settings that are in force.")


@config.command("show", short_help="Print every setting, and where it comes from.")
def show(
    database_url: DatabaseUrl = None,
    output: Format = Output.TEXT,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print every setting, and where it comes from; passwords are masked."""
    with answering(output, json, verbose=verbose) as screen:
        settings = settings_for(screen, database_url).listed()
        table = new_table("setting", "value", "from")
        for setting in settings:
            table.add_row(
                setting.name, "" if setting.value is None else str(setting.value), setting.source
            )
        screen.table(table)
        screen.document(
            {setting.name: {"value": setting.value, "from": setting.source} for setting in settings}
        )
