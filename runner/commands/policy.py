"""policy: which rows of which table go, listed, registered, changed, and planned."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from runner.commands.policy_text import (
    print_details,
    print_list,
    print_plan,
    print_risks,
    written,
)
from runner.errors import Exit, RunnerError
from runner.screen import Output, Screen

if TYPE_CHECKING:
    from collections.abc import Sequence

policy = typer.Typer(help="List, register, change and plan policies: which rows of which table go.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a policy.")]


def setting(what: str, metavar: str = "TEXT") -> Any:
    """Return the option for a setting; PostgreSQL reads its text, or refuses it."""
    return typer.Option(metavar=metavar, help=what, show_default=False)


@policy.command("list", short_help="List the policies, and how each of them stands.")
def list_(
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the policies in the order in which they run, and how each of them stands."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        answer = api.list_policies(database(screen, settings, embedded=embedded))
        if answer:
            print_list(screen, answer)
        else:
            screen.say("there are no policies: `runner policy add --help`")
        screen.document(answer)


@policy.command(short_help="Say everything about a policy.")
def show(
    name: Name,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say everything about a policy: settings, what was changed and by whom, and its risks."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        answer = api.show_policy(database(screen, settings, embedded=embedded), name)
        print_details(screen, answer)
        screen.document(answer)


@policy.command(short_help="Register a policy on a table.")
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What to call it: lower-case letters, digits, _.")
    ],
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE", help="""As in SQL: a name with capitals as '"Shop"."Carts"'."""
        ),
    ],
    column: Annotated[str | None, setting("Time after which a row goes.", "NAME")] = None,
    unit: Annotated[str | None, setting("s or ms since 1970, of a number.", "UNIT")] = None,
    comparison: Annotated[str | None, setting("< or <=. Default: <.", "OPERATOR")] = None,
    retention: Annotated[
        str | None, setting("How long rows stay after that time. Default: 0 s.", "INTERVAL")
    ] = None,
    condition: Annotated[
        str | None, setting("Further condition; the table is called target in it.", "SQL")
    ] = None,
    hold_column: Annotated[str | None, setting("Column that keeps a row.", "NAME")] = None,
    zone: Annotated[
        str | None, setting("Time zone of a column without one. Default: UTC.", "ZONE")
    ] = None,
    operation: Annotated[
        str | None, setting("What it is a part of. Default: cleanup.", "NAME")
    ] = None,
    action: Annotated[
        str | None, setting("delete, archive or set. Default: delete.", "ACTION")
    ] = None,
    archive_table: Annotated[
        str | None, setting("Table that rows move into, as in SQL.", "TABLE")
    ] = None,
    create_archive: Annotated[
        bool,
        typer.Option(
            "--create-archive",
            help="Make the archive, and those of dependents. Default name: TABLE_archive.",
        ),
    ] = False,
    assignments: Annotated[str | None, setting("What action set assigns.", "SQL")] = None,
    severity: Annotated[
        str | None, setting("LOW, MEDIUM, HIGH or CRITICAL. Default: LOW.", "LEVEL")
    ] = None,
    batch_size: Annotated[
        str | None, setting("Most rows in one transaction. Default: 10000.", "N")
    ] = None,
    max_rows: Annotated[str | None, setting("Most rows in one run.", "N")] = None,
    max_duration: Annotated[str | None, setting("Longest run.", "INTERVAL")] = None,
    guard_rows: Annotated[
        str | None,
        setting("More rows need a token; none: no limit. Default: 1000000.", "N"),
    ] = None,
    guard_share: Annotated[
        str | None,
        setting("The same as a share of the table; none: no limit. Default: 0.5.", "SHARE"),
    ] = None,
    allow_cascade: Annotated[
        bool, typer.Option("--allow-cascade", help="Foreign keys may delete other rows along.")
    ] = False,
    disabled: Annotated[bool, typer.Option("--disabled", help="Register it switched off.")] = False,
    definition: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE|-",
            help="All settings as JSON, in a file, or on stdin: branches, selector, dependents...",
            show_default=False,
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Register a policy on a table, and name its risks, with what helps.

    It removes nothing until it runs. PostgreSQL reads the values: intervals and conditions are as
    in SQL.
    """
    given = {
        "column": column, "unit": unit, "comparison": comparison, "retention": retention,
        "condition": condition, "hold_column": hold_column, "zone": zone, "operation": operation,
        "action": action, "archive_table": archive_table, "assignments": assignments,
        "severity": severity, "batch_size": batch_size, "max_rows": max_rows,
        "max_duration": max_duration, "guard_rows": guard_rows, "guard_share": guard_share,
        "allow_cascade": "true" if allow_cascade else None,
        "is_enabled": "false" if disabled else None,
    }  # fmt: skip
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api
        from runner.policies import parse_definition, setting_value

        wanted = {} if definition is None else parse_definition(_read(definition))
        for key, text in given.items():
            if text is None:
                continue
            value = setting_value(key, text)
            if wanted.setdefault(key, value) != value:
                raise RunnerError(
                    f"{key} is given twice: in the definition, and as an option",
                    hint="Say it once.",
                    code=Exit.USAGE,
                )
        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        done = api.add_policy(url, name, table, wanted, create_archive=create_archive)
        for archive in done.archives:
            screen.say(f"made {archive}")
        screen.say(f"registered policy {name} on {done.relation}")
        print_risks(screen, done.risks)
        screen.say(f"next: `runner policy plan {name}`, then `runner run {name} --dry-run`")
        screen.document(done)


@policy.command("set", short_help="Change settings of a policy.")
def set_(
    name: Name,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...",
            help="A setting; KEY= or KEY=default takes a change back, KEY=none lifts a limit.",
            show_default=False,
        ),
    ] = None,
    evolve_archive: Annotated[
        bool,
        typer.Option(
            "--evolve-archive",
            help="First add to its archives the columns that their tables have gained.",
        ),
    ] = False,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Change settings of a policy: runner policy set sessions retention='60 days' guard_rows=none

    What was registered stays beside the changes, so that they can be taken back.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        if not assignments and not evolve_archive:
            raise RunnerError(
                "there is nothing to change",
                hint="Give KEY=VALUE, or --evolve-archive; `runner policy show NAME` lists what is "
                "set.",
                code=Exit.USAGE,
            )
        changes = _parse_assignments(assignments or [])
        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        evolved = api.evolve_archive(url, name) if evolve_archive else []
        for one in evolved:
            screen.say(
                f"{one.archive}: added column {one.column}"
                if one.change == "added"
                else f"{one.archive}: column {one.column} stays, and is empty from now on"
            )
        if evolve_archive and not evolved:
            screen.say(f"the archives of {name} are in line with their tables")
        risks = api.alter_policy(url, name, changes) if changes else []
        for key, value in changes.items():
            shown = "as it was registered" if value is None else written(value)
            screen.say(f"{name}: {key} is {shown}")
        print_risks(screen, risks)
        screen.document({"policy": name, "changes": changes, "risks": risks, "evolved": evolved})


@policy.command(short_help="Switch a policy on.")
def enable(
    name: Name,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Switch a policy on, and say whether it was off."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        _switch(screen, database_url, name, embedded=embedded, enabled=True)


@policy.command(short_help="Switch a policy off.")
def disable(
    name: Name,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Switch a policy off, and say whether it was on.

    A run in progress ends with its next batch.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        _switch(screen, database_url, name, embedded=embedded, enabled=False)


@policy.command(short_help="Forget a policy.")
def remove(
    name: Name,
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Forget a policy that was registered by a user; its runs stay in the log.

    No row of its table is touched. Its sweep on insert goes with it. A policy of an application can
    be switched off, and goes with the application.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        if not yes:
            screen.ask("its settings and its sweep on insert go; its runs stay in the log")
            confirm(screen, f"Remove policy {name}?", refusal=f"removing policy {name}")
        api.remove_policy(url, name)
        screen.say(f"removed policy {name}; its runs stay in the log")
        screen.document({"policy": name, "removed": True})


@policy.command(short_help="Say what a run would do now.")
def plan(
    name: Name,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count all rows that would go, however many.")
    ] = False,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say what a run of a policy would do now; exit with 4 when the guard would refuse it.

    It connects read-only and writes nothing.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        answer = api.plan_policy(url, name, exact=exact)
        print_plan(screen, answer)
        screen.document(answer)
        if not answer.may_run:
            raise typer.Exit(int(Exit.REFUSED))


def _read(definition: str) -> str:
    """Return a definition from where it was said to be. Raises RunnerError (usage)."""
    try:
        if definition == "-":
            return "" if sys.stdin is None else sys.stdin.read()
        if definition.startswith("@"):
            return Path(definition[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise RunnerError(
            f"cannot read the definition: {error}",
            hint="Give JSON, @FILE, or - for stdin.",
            code=Exit.USAGE,
        ) from None
    return definition


def _parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Return what was typed as key=value; None takes a change back. Raises RunnerError (usage)."""
    from runner.policies import setting_value

    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        key = key.strip()
        if not separator or not key:
            raise RunnerError(
                f"{assignment} is no KEY=VALUE",
                hint="For example retention='60 days'; retention= takes a change back.",
                code=Exit.USAGE,
            )
        if key in changes:
            raise RunnerError(f"{key} is given twice", hint="Say it once.", code=Exit.USAGE)
        changes[key] = None if text in ("", "default") else setting_value(key, text)
    return changes


def _switch(
    screen: Screen, database_url: str | None, name: str, *, embedded: bool, enabled: bool
) -> None:
    from runner import api

    settings = settings_for(screen, database_url)
    url = database(screen, settings, embedded=embedded)
    done = api.enable_policy(url, name, enabled=enabled)
    state = "enabled" if enabled else "disabled"
    screen.say(f"{state} policy {name}" if done.changed else f"policy {name} was {state} already")
    screen.document(done)
