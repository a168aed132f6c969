"""The options that commands share, and the frame in which every command runs."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runner.errors import Exit, RunnerError, reported
from runner.screen import Output, Screen

if TYPE_CHECKING:
    from runner.settings import Settings

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="Database to work on. Default: DATABASE_URL, or libpq's PG* variables.",
        show_default=False,
    ),
]
Embedded = Annotated[bool, typer.Option("--embedded", help="Work on the embedded server.")]
Format = Annotated[Output, typer.Option("--output", help="How to answer.")]
Json = Annotated[bool, typer.Option("--json", help="Short for --output json.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Time each step; show a defect's traceback."),
]
LockWait = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", min=0, help="How long to try for a lock that others hold. Default: 30."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> float:
    """Return the seconds of a duration like 90, 90s, 15m, 2h or 1d. Raises RunnerError (usage)."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", duration.strip())
    if found is None or not float(found[1]):
        raise RunnerError(
            f"a duration is a number of seconds, or one like 90s, 15m, 2h or 1d, not {duration!r}",
            code=Exit.USAGE,
        )
    return float(found[1]) * UNITS[found[2]]


@contextmanager
def answering(
    output: Output, json: bool, *, quiet: bool = False, verbose: bool = False
) -> Generator[Screen]:
    """Run a command: yield its screen, and turn what it raises into a sentence and a status."""
    screen = Screen(Output.JSON if json else output, quiet=quiet)
    try:
        yield screen
    except RunnerError as error:
        _leave(screen, error)
    except KeyboardInterrupt:
        _leave(
            screen,
            RunnerError(
                "interrupted",
                detail="What was in hand was rolled back; what was reported before it is done.",
                hint="Run the command again to go on.",
            ),
        )
    except typer.Abort:
        _leave(
            screen,
            RunnerError("not confirmed", detail="Nothing was changed.", code=Exit.REFUSED),
        )
    except typer.Exit:
        raise
    except Exception as error:
        if verbose:
            traceback.print_exc()
        _leave(screen, _explained(error))


def _leave(screen: Screen, error: RunnerError) -> NoReturn:
    screen.error(error)
    raise typer.Exit(int(error.code))


def _explained(error: Exception) -> RunnerError:
    """Put what PostgreSQL reports into our form; anything else is a defect of ours."""
    if "psycopg" in sys.modules:  # else it is not PostgreSQL that reports
        from psycopg import Error

        if isinstance(error, Error):
            return reported(error)
    if isinstance(error, UnicodeEncodeError):  # bytes in our arguments that psycopg cannot send
        return RunnerError(
            "what was given is not text in UTF-8",
            hint="Set LC_ALL to a UTF-8 locale, or check the name.",
            code=Exit.USAGE,
        )
    return RunnerError(
        f"this is a defect in pg-maintenance: {type(error).__name__}: {error}",
        hint="Run the command again with --verbose, and report what it prints.",
    )


def settings_for(screen: Screen, database_url: str | None) -> Settings:
    """Gather the settings, and warn of a password that the process list shows."""
    from runner.connection import secrets
    from runner.settings import load

    settings = load(database_url)
    if database_url is not None and secrets(settings.database_url or ""):
        screen.warn("other users can see the password in --database-url: use DATABASE_URL instead")
    return settings


def database(screen: Screen, settings: Settings, *, embedded: bool, may_start: bool = False) -> str:
    """Return the URL of the database to work on.

    Without one, commands that may start the embedded server do so; the others refuse: a scheduled
    job that has lost its DATABASE_URL must not tend an empty database and report success.
    """
    if settings.database_url is not None and not embedded:
        return settings.database_url
    if not embedded and not may_start:
        raise RunnerError(
            "no database was named",
            detail="Neither --database-url nor DATABASE_URL nor one of libpq's variables is set.",
            hint="Set DATABASE_URL, or say --embedded to mean the embedded server.",
            code=Exit.USAGE,
        )
    from runner.settings import embedded_server

    server = embedded_server(settings)
    if may_start:
        server.start()
    elif not server.is_running():
        raise RunnerError("the embedded server is not running", hint="Start it: `runner db start`.")
    screen.note(f"using the embedded server in {server.folder}")
    return server.url()


def confirm(screen: Screen, question: str, *, refusal: str) -> None:
    """Go on only with a yes. Off a terminal, and where the answer is JSON, nobody can be asked.

    ``refusal`` says what was not confirmed. Raises RunnerError (refused).
    """
    if screen.is_json or sys.stdin is None or not sys.stdin.isatty():
        raise RunnerError(
            f"{refusal} was not confirmed",
            detail="Nothing was changed.",
            hint="Say --yes.",
            code=Exit.REFUSED,
        )
    if not typer.confirm(question, err=True):
        raise RunnerError("not confirmed", detail="Nothing was changed.", code=Exit.REFUSED)
