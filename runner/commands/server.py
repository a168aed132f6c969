"""db and psql: the embedded server, and a prompt on any database."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from runner.commands.options import (
    DatabaseUrl,
    Embedded,
    Format,
    Json,
    Quiet,
    Verbose,
    Yes,
    answering,
    confirm,
    settings_for,
)
from runner.screen import Output

db = typer.Typer(help="Start, stop or reset the embedded server.")

DatabaseName = Annotated[
    str, typer.Option("--database", "-d", metavar="NAME", help="Database on the server.")
]


@db.command(short_help="Start the server.")
def start(
    output: Format = Output.TEXT, json: Json = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Start the embedded server; it runs until it is stopped. Prints its URL."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        server = api.embedded_server()
        server.start()
        screen.say(server.url())
        screen.document({"running": True, "url": server.url()})


@db.command(short_help="Stop the server; its data stays.")
def stop(
    output: Format = Output.TEXT, json: Json = False, quiet: Quiet = False, verbose: Verbose = False
) -> None:
    """Stop the embedded server; its data stays."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        stopped = api.embedded_server().stop()
        screen.say("stopped" if stopped else "was not running")
        screen.document({"running": False, "stopped": stopped})


@db.command(short_help="Stop the server and delete its data.")
def reset(
    yes: Yes = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Stop the embedded server and delete its data."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        server = api.embedded_server()
        if not yes:
            confirm(screen, f"Delete {server.data}?", refusal="deleting the embedded server's data")
        server.reset()
        screen.say("deleted")
        screen.document({"running": False, "deleted": str(server.data)})


@db.command(short_help="Print the URL of a database on the server.")
def url(
    name: DatabaseName = "postgres",
    output: Format = Output.TEXT,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Start the embedded server if need be, and print the URL of a database on it."""
    with answering(output, json, verbose=verbose) as screen:
        from runner import api

        server = api.embedded_server()
        server.start()
        screen.say(server.url(name))
        screen.document({"url": server.url(name)})


def psql(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGUMENTS]", help="Arguments for psql.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--database", "-d", metavar="NAME", help="Database on the embedded server."),
    ] = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    verbose: Verbose = False,
) -> None:
    """Open psql on the database; without one, on the embedded server.

    What follows -- goes to psql: runner psql -- -c 'select now()'
    """
    with answering(Output.TEXT, json=False, verbose=verbose) as screen:
        from runner import api
        from runner.clients import command, find

        settings = settings_for(screen, database_url)
        if name is not None or embedded or settings.database_url is None:
            server = api.embedded_server()
            server.start()
            target = server.url(name or "postgres")
            # An older psql fails at \d; elsewhere, one with TLS and history is worth more.
            program = find("psql", server_version=server.version)
        else:
            target = settings.database_url
            program = find("psql")
        words, environ = command(program, target, *(arguments or []))
        os.execve(program, words, environ)  # noqa: S606
