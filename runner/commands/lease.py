"""lease: who tends which policy at the moment."""

from __future__ import annotations

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
from runner.errors import RunnerError
from runner.screen import Output, moment, new_table

if TYPE_CHECKING:
    from runner.leases import Lease

lease = typer.Typer(help="Show who tends which policy, or take it from them.")


@lease.command("list", short_help="List the leases that are taken.")
def show(
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the leases that are taken, by whom, and whether the session is still there."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        taken = api.leases(database(screen, settings, embedded=embedded))
        table = new_table(
            *("policy", "run", "process", "session", "role", "program", "from"),
            *("since", "last batch", "removed"),
            numbers=("run", "process", "removed"),
        )
        for one in taken:
            table.add_row(
                one.policy,
                str(one.run or ""),
                str(one.owner_pid or ""),
                one.session,
                one.role,
                one.program,
                one.address,
                moment(one.since),
                moment(one.heartbeat_at),
                f"{one.removed or 0:,}",
            )
        if taken:
            screen.table(table)
        else:
            screen.say("no lease is taken: nothing runs")
        screen.document(taken)


@lease.command("break", short_help="Take a lease from whoever holds it.")
def take(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="Policy whose lease it is.")],
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take the lease of a policy from whoever holds it; the batch in hand is finished first.

    Its run removes nothing more. To end a run that listens, `runner run --stop` is enough, and a
    lease whose session is gone is taken over by the next run.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        url = database(screen, settings_for(screen, database_url), embedded=embedded)
        held = next((one for one in api.leases(url) if one.policy == policy), None)
        if held is None:
            raise RunnerError(
                f"the lease of policy {policy} is free",
                hint="`runner lease list` has those that are taken.",
            )
        if not yes:
            screen.ask(_described(held))
            confirm(
                screen,
                f"Break the lease of {policy}?",
                refusal=f"breaking the lease of {policy}",
            )
        api.break_lease(url, policy, step=held.step)
        screen.say(f"the lease of {policy} is free: step {held.step} removes nothing more")
        screen.document({"broken": held})


def _described(held: Lease) -> str:
    return (
        f"step {held.step} of run {held.run} has it: process {held.owner_pid} ({held.session}), "
        f"{held.program} of {held.role} from {held.address}, since {moment(held.since)}; "
        f"{held.removed or 0:,} rows removed"
    )
