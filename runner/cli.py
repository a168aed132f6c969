"""The command ``runner``: what there is, and how it ends."""

from __future__ import annotations

import io
import re
import sys
from typing import Annotated

import typer

from runner import __version__
from runner.commands import (
    access,
    archive,
    config,
    demo,
    doctor,
    lease,
    policy,
    report,
    run,
    schema,
    server,
    stats,
    undo,
)
from runner.errors import Exit, RunnerError
from runner.screen import Output, Screen

app = typer.Typer(
    help="Install, drive and remove housekeeping that lives in PostgreSQL.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(short_help="Show the main job on the embedded server.")(demo.demo)
app.command(short_help="Bring a database up to date.")(schema.migrate)
app.command(short_help="Take migrations back, newest first.")(schema.rollback)
app.command(short_help="Say which migrations a database has.")(schema.status)
app.command(short_help="Print migrations as plain SQL.")(schema.show)
app.command(short_help="Remove what policies say, batch by batch.")(run.run)
app.command(short_help="Say what ran, and why it ended.")(run.history)
app.command(short_help="Put the rows that a run archived back.")(undo.undo)
app.command(short_help="Pause all housekeeping in a database.")(run.pause)
app.command(short_help="Let housekeeping go on.")(run.resume)
app.command(short_help="Show sizes, ages, and what would go now.")(stats.stats)
app.command(short_help="Show all that is known of a database.")(report.report)
app.command(short_help="Say what is wrong, and what helps.")(doctor.doctor)
app.command("adopt-clone", short_help="Let policies run in a copy.")(doctor.adopt_clone)
app.command(short_help="Open psql on the database.")(server.psql)
app.add_typer(policy.policy, name="policy", short_help="List, register and change policies.")
app.add_typer(archive.archive, name="archive", short_help="Move old rows into files, and back.")
app.add_typer(lease.lease, name="lease", short_help="Show who tends what, or take it from them.")
app.add_typer(access.grants, name="grants", short_help="Say who may run and watch housekeeping.")
app.add_typer(server.db, name="db", short_help="Start, stop or reset the embedded server.")
app.add_typer(config.config, name="config", short_help="Show the settings that are in force.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pg-maintenance {__version__}")
        raise typer.Exit


def _list(context: typer.Context) -> None:
    """Without a command, list what there is: that is an answer and no error."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.callback(invoke_without_command=True)
def runner(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Install, drive and remove housekeeping that lives in PostgreSQL."""
    _list(context)


policy.policy.callback(invoke_without_command=True)(_list)
archive.archive.callback(invoke_without_command=True)(_list)
lease.lease.callback(invoke_without_command=True)(_list)
access.grants.callback(invoke_without_command=True)(_list)
server.db.callback(invoke_without_command=True)(_list)
config.config.callback(invoke_without_command=True)(_list)


def main() -> None:
    """Run the command line. Words that it does not know are an error like any other."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show is no error
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        wants_json = re.search(r" (--json|--output[ =]json)\b", " ".join(sys.argv))
        message = error.format_message().rstrip(".")
        Screen(Output.JSON if wants_json else Output.TEXT).error(
            RunnerError(
                message[:1].lower() + message[1:],
                hint="`runner --help` lists the commands, `runner COMMAND --help` their options.",
                code=Exit.USAGE,
            )
        )
        code = Exit.USAGE
    except typer.Abort:
        code = Exit.REFUSED
    sys.exit(code)
