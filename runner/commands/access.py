"""grants: who may run and watch housekeeping."""

from __future__ import annotations

from typing import Annotated

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
from runner.screen import Output, new_table

grants = typer.Typer(help="Say who may run and watch housekeeping, or change that.")

Role = Annotated[str, typer.Argument(metavar="ROLE", help="A role of the server.")]


@grants.command("list", short_help="List who may do what.")
def show(
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List operators and monitors, and whether housekeeping can act for the owners of tables."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        answer = api.grants(database(screen, settings, embedded=embedded))
        table = new_table("role", "access", "sees other sessions", "lacks")
        for one in answer.roles:
            table.add_row(
                one.role, one.access, _yes(one.sees_statistics), f"{len(one.lacks)} rights"
                if one.lacks
                else "",
            )  # fmt: skip
        screen.table(table)
        if any(one.lacks for one in answer.roles):
            screen.say("\nGrant once more to give what is lacking: an upgrade has brought more.")
        if any(one.sees_statistics is False for one in answer.roles):
            screen.say(
                "\nWithout pg_monitor, or pg_read_all_stats, it is unknown to a role whether the"
                " holder of a lease\nis alive, and which session keeps dead rows from being"
                " vacuumed."
            )
        table = new_table(
            "owner of tables",
            "executor",
            "schema's owner inherits",
            "may set role",
            f"{answer.you} inherits",
            "may set role",
            "policies",
        )
        for owner in answer.owners:
            table.add_row(
                owner.owner,
                "intact" if owner.is_executor_intact else "broken",
                _yes(owner.is_inherited),
                _yes(owner.may_be_set),
                _yes(owner.you_inherit),
                _yes(owner.you_may_set),
                ", ".join(owner.policies),
            )
        if answer.owners:
            screen.say("")
            screen.table(table)
        screen.document(answer)


@grants.command(short_help="Let a role run policies.")
def operator(
    role: Role,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Let a role run, preview and stop policies, without any right on their tables."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        api.grant(database(screen, settings, embedded=embedded), role, "operator")
        screen.say(f"{role} is an operator")
        screen.document({"role": role, "access": "operator"})


@grants.command(short_help="Let a role watch.")
def monitor(
    role: Role,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Let a role see policies, previews, runs and findings, and change nothing."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        api.grant(database(screen, settings, embedded=embedded), role, "monitor")
        screen.say(f"{role} is a monitor")
        screen.document({"role": role, "access": "monitor"})


@grants.command(short_help="Take back what was granted to a role.")
def revoke(
    role: Role,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take back what `grants operator` and `grants monitor` gave to a role, and nothing else."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        had = api.revoke(database(screen, settings, embedded=embedded), role)
        screen.say(f"{role} has no access any more" if had else f"{role} had no access")
        screen.document({"role": role, "access": None, "had_access": had})


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[value]
