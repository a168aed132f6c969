"""doctor and adopt-clone: what is wrong, and which database this is."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

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
    database,
    settings_for,
)
from runner.errors import Exit
from runner.screen import Output, moment

if TYPE_CHECKING:
    from runner.identity import Identity


def doctor(
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Look after everything that housekeeping needs, and say what helps; exit with 5 on a problem.

    It connects read-only and writes nothing. A notice, or what is unknown for want of a right, is
    no problem.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        answer = api.diagnose(database(screen, settings, embedded=embedded))
        told = [one for one in answer.findings if verbose or one.state != "ok"]
        order = {one.subject: place for place, one in reversed([*enumerate(answer.findings)])}
        told.sort(key=lambda one: order[one.subject])
        for subject, findings in groupby(told, key=lambda one: one.subject):
            screen.say(subject)
            for one in findings:
                named = f"{one.name}: " if one.name else ""
                screen.say(f"  {one.state:<8} {named}{one.message}")
                if one.remedy:
                    screen.say(f"           -> {one.remedy}")
        counts = {
            state: sum(one.state == state for one in answer.findings)
            for state in ("problem", "notice", "unknown", "ok")
        }
        screen.say(
            f"{answer.database}: "
            + ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        )
        screen.document(answer)
        if not answer.is_healthy:
            raise typer.Exit(int(Exit.FINDINGS))


def adopt_clone(
    yes: Yes = False,
    alias: Annotated[
        bool,
        typer.Option("--alias", help="This is the same database, reached under another name."),
    ] = False,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Let policies run in this database, though it is a copy of the one that was set up.

    A copy is told by its identity, or, where it has that of the original, as a branch on a managed
    host has, by where it is reached.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        url = database(screen, settings_for(screen, database_url), embedded=embedded)
        identity = api.identify(url)
        if not (yes or alias or identity.is_known):
            for line in _described(identity):
                screen.ask(line)
            confirm(
                screen,
                f"Let policies remove rows in {identity.database}?",
                refusal=f"adopting {identity.database}",
            )
        done = api.adopt_clone(url, alias=alias)
        for line in _described(done.after):
            screen.say(line)
        screen.say(
            {
                "adopted": "adopted: policies run here, and leases and tokens of before are void",
                "remembered": f"remembered that it is reached at {done.after.endpoint}",
                "nothing": "already adopted",
            }[done.done]
        )
        screen.document(done)


def _described(identity: Identity) -> list[str]:
    """Return what tells a copy from the original, in lines."""
    return [
        f"database           {identity.database}",
        f"system identifier  {identity.known_system_identifier} at {moment(identity.adopted_at)}, "
        f"{identity.system_identifier} now",
        f"oid                {identity.known_database_oid} then, {identity.database_oid} now",
        f"reached at         {', '.join(identity.endpoints) or 'nowhere in particular'} then, "
        f"{identity.endpoint} now",
    ]
