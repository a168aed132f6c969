"""undo: put the rows that a run archived back."""

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
from runner.screen import Bar, Output, Screen, new_table

if TYPE_CHECKING:
    from runner.undo import Undone, UndoPlan

SHOWN = 10
"""Most conflicts of a policy that are printed; the JSON document has more of them."""


def undo(
    run: Annotated[int, typer.Argument(metavar="RUN", help="Number of the run to undo.")],
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only what it did for this policy.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come back, and change nothing.")
    ] = False,
    disable: Annotated[
        bool,
        typer.Option("--disable", help="Switch the policies off first: they take the rows again."),
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Most rows in a transaction.", show_default=False),
    ] = None,
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Put every row that a run archived back into its table. Nothing is overwritten.

    A row that the table refuses, because its key is taken again or what it refers to is gone, stays
    in the archive and is listed. What a run deleted cannot be put back.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api
        from runner.signals import stop_requests

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        plan = api.plan_undo(url, run, policy=policy)
        if dry_run:
            _show_plan(screen, plan)
            screen.document(plan)
            return
        if not yes:
            _show_plan(screen, plan)
            confirm(screen, f"Put {plan.waiting:,} rows back?", refusal=f"undoing run {run}")
        if disable:
            for name in plan.taking:
                api.enable_policy(url, name, enabled=False)
                screen.note(f"disabled policy {name}")
        with stop_requests(screen.note) as stopped, Bar(shown=not (screen.is_json or quiet)) as bar:
            done = api.undo(
                url,
                run,
                policy=policy,
                batch_size=batch_size,
                watch=bar.show,
                terms=api.Terms(say=screen.note, stopped=stopped),
            )
        _show(screen, done)
        if done.restored and not disable:
            for name in plan.taking:
                screen.say(
                    f"policy {name} takes them again with its next run: "
                    f"`runner policy disable {name}` keeps it from that"
                )
        screen.document(done)
        if done.code:
            raise typer.Exit(int(done.code))


def _show_plan(screen: Screen, plan: UndoPlan) -> None:
    numbers = ("removed", "dependents", "can come back")
    table = new_table("policy", "table", "action", *numbers, "remark", numbers=numbers)
    for step in plan.steps:
        table.add_row(
            step.policy,
            step.relation,
            step.action,
            f"{step.removed:,}",
            f"{step.dependents:,}",
            f"{step.waiting:,}",
            step.reason or "",
        )
    screen.table(table)


def _show(screen: Screen, done: Undone) -> None:
    numbers = ("restored", "refused", "time", "rows/s")
    table = new_table("policy", "table", *numbers, "ended", numbers=numbers)
    for step in done.steps:
        rate = f"{step.restored / step.seconds:,.0f}" if step.restored and step.seconds else ""
        table.add_row(
            step.policy,
            step.relation,
            f"{step.restored:,}",
            f"{step.left_over:,}",
            f"{step.seconds:.2f} s",
            rate,
            step.exit_reason,
        )
    screen.table(table)
    for step in done.steps:
        for conflict in step.conflicts[:SHOWN]:
            key = ", ".join(f"{name} = {value}" for name, value in conflict["key"].items())
            screen.say(f"{conflict['relation']}: {key}: {conflict['message']}")
        if step.left_over > SHOWN:
            screen.say(f"{step.relation}: {step.left_over:,} rows were refused in all")
    for step in done.steps:
        if step.code:
            screen.ask(f"error: {step.policy}: {step.exit_reason}: {step.message}")
    for step in done.impossible:
        screen.ask(f"error: {step.policy}: {step.reason}")
