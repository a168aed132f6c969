"""run, history, pause and resume: carrying out policies, and what somebody does beside that."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
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
    seconds,
    settings_for,
)
from runner.errors import Exit, RunnerError
from runner.pace import Pace
from runner.screen import Bar, Output, Screen, cells, new_table

if TYPE_CHECKING:
    from runner.control import Entry
    from runner.operations import OperationResult
    from runner.policies import PolicyPlan
    from runner.runs import Chosen, Plan, Planned, Ran
    from runner.steps import Order, Policy, StepResult


class Schedule(StrEnum):
    """How often a bundle of operations runs; it has those of every shorter one as well."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


Duration = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="For example 90, 90s, 15m or 2h.", show_default=False),
]


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OPERATION|POLICY]...", help="What to run.", show_default=False),
    ] = None,
    operation: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The same as an argument.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run everything there is.")] = False,
    schedule: Annotated[
        Schedule | None,
        typer.Option(help="Run what runs that often, or more often.", show_default=False),
    ] = None,
    all_tables: Annotated[
        bool, typer.Option("--all-tables", help="With vacuum, analyze: every table.")
    ] = False,
    all_indexes: Annotated[
        bool, typer.Option("--all-indexes", help="With reindex: every index.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="With --dry-run, count all rows, not up to 10,000.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Sessions that work at once. Default: 1.", show_default=False
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Most rows in a transaction.", show_default=False),
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option(metavar="N", help="Most rows in all.", show_default=False)
    ] = None,
    max_duration: Duration = None,
    pace: Annotated[
        Pace | None,
        typer.Option(
            help="polite: pauses as long as its batches; lag: also waits for replicas, "
            "the WAL archiver and old snapshots.",
            show_default=False,
        ),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="Lift the guard for one policy.", show_default=False),
    ] = None,
    yes: Yes = False,
    force: Annotated[
        bool, typer.Option("--force", help="Lift the guard for what would go now. Needs --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for the log.", show_default=False)
    ] = None,
    vacuum: Annotated[
        bool | None,
        typer.Option(
            "--vacuum/--no-vacuum",
            help="VACUUM each table afterwards. Default: those whose guard was lifted.",
            show_default=False,
        ),
    ] = None,
    stop: Annotated[
        int | None,
        typer.Option(metavar="RUN", help="Ask a run to end instead.", show_default=False),
    ] = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Carry out operations: remove what policies say, batch by batch, and tend what is left.

    Without a name, list what there is.

    Ctrl-C and SIGTERM let the batches in hand finish; a second one rolls them back. What severity
    MEDIUM and above asks for is confirmed on a terminal, or with --yes.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api
        from runner.connection import refuse_pooler_url
        from runner.documents import completed, simulated
        from runner.signals import stop_requests

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        chosen = [*(names or []), *(operation or [])]
        if stop is not None:
            api.stop(url, stop)
            screen.say(f"run {stop} was asked to end after its current batch")
            screen.document({"run": stop, "stop_requested": True})
            return
        if not chosen and not everything and schedule is None:
            _list(screen, api.listed(url))
            return
        _check(
            chosen,
            everything=everything,
            schedule=schedule,
            force=force,
            reason=reason,
            accept=accept,
        )
        all_objects = all_tables or all_indexes
        if dry_run:
            planned = api.plan(
                url,
                chosen,
                everything=everything,
                schedule=schedule,
                exact=exact,
                all_objects=all_objects,
            )
            _show_plans(screen, planned)
            screen.document(simulated(planned))
            if planned.code:
                raise typer.Exit(int(planned.code))
            return
        refuse_pooler_url(url)  # before anything is asked or planned
        accepted: dict[str, str] = {}
        if accept is not None:
            accepted[_only_policy(api.listed(url, chosen))] = accept
        elif force:
            planned = api.plan(url, chosen, everything=everything, schedule=schedule)
            accepted = {
                plan.policy.name: plan.token for plan in planned.all if plan.token is not None
            }
        if not yes:
            asked = api.listed(url, chosen, everything=everything, schedule=schedule)
            for policy in asked.distinct:
                accepted |= _confirm(screen, url, policy, accepted)
        order = api.Order(
            jobs=settings.jobs if jobs is None else jobs,
            batch_size=batch_size,
            max_rows=max_rows,
            max_duration=None if max_duration is None else seconds(max_duration),
            pace=Pace(settings.pace) if pace is None and settings.pace else pace,
            accept=accepted,
            reason=reason,
            vacuum=vacuum,
        )

        def carry_out(names: Sequence[str], order: Order) -> Ran:
            with (
                stop_requests(screen.note) as stopped,
                Bar(shown=not (screen.is_json or quiet)) as bar,
            ):
                ran = api.run(
                    url,
                    names,
                    everything=everything and not names,
                    schedule=None if names else schedule,
                    all_objects=all_objects,
                    order=order,
                    watch=bar.show,
                    terms=api.Terms(say=screen.note, stopped=stopped),
                )
            _show_run(screen, ran)
            return ran

        ran = carry_out(chosen, order)
        codes = [ran.code]
        if offered := {} if yes else _offer(screen, url, ran):
            again = carry_out([*offered], replace(order, accept=offered))
            codes = [step.code for step in ran.steps if step.policy not in offered] + [again.code]
        screen.document(completed(ran))
        if code := api.worst(codes):
            raise typer.Exit(int(code))


def _check(
    names: Sequence[str],
    *,
    everything: bool,
    schedule: Schedule | None,
    force: bool,
    reason: str | None,
    accept: str | None,
) -> None:
    """Raise RunnerError (usage) for options that do not go together."""
    if schedule is not None and (names or everything):
        raise RunnerError(
            "--schedule says what to run, and does not go with names or --all", code=Exit.USAGE
        )
    if names and everything:
        raise RunnerError("--all means everything, and does not go with names", code=Exit.USAGE)
    if force and not (reason or "").strip():
        raise RunnerError(
            "--force needs a reason",
            hint="Say why, for the log: --reason 'first run on this table'.",
            code=Exit.USAGE,
        )
    if force and accept is not None:
        raise RunnerError("--accept and --force do not go together", code=Exit.USAGE)


def _only_policy(chosen: Chosen) -> str:
    """Return the one policy that a token can be for."""
    policies = [policy.name for policy in chosen.distinct]
    if len(policies) != 1:
        raise RunnerError(
            "--accept is for one policy",
            detail=f"These are {len(policies)}: {', '.join(policies)}.",
            hint="Run the policy by its own name.",
            code=Exit.USAGE,
        )
    return policies[0]


def _list(screen: Screen, chosen: Chosen) -> None:
    """List operations and their policies: that is an answer and no error."""
    table = new_table("operation", "policy, or what it does", "table", "severity")
    for operation, policies in chosen.policies.items():
        for policy in policies:
            state = "" if policy.is_enabled else " (disabled)"
            table.add_row(operation, policy.name + state, policy.relation, policy.severity)
        if not policies:
            table.add_row(operation, chosen.operations[operation].title, "", "")
    screen.table(table)
    screen.say("\nrunner run NAME... [--dry-run], or runner run --all")
    if not any(chosen.policies.values()):
        screen.say("there is no policy yet: `runner policy add NAME TABLE` makes one")
    screen.document(
        {name: [policy.name for policy in group] for name, group in chosen.policies.items()}
    )


def _confirm(
    screen: Screen, url: str, policy: Policy, accepted: Mapping[str, str]
) -> dict[str, str]:
    """Ask what the severity of a policy asks for: nothing, a yes, a yes to its plan, its name.

    Return the token for it where the plan that was shown and confirmed needs one.
    """
    if policy.severity == "LOW" or not policy.is_enabled:
        return {}
    tokens: dict[str, str] = {}
    if policy.severity != "MEDIUM" and _can_ask(screen):
        from runner import api

        for plan in api.plan(url, [policy.name]).all:
            _show_plan(screen, plan)
            if plan.token is not None and policy.name not in accepted:
                tokens[policy.name] = plan.token
    if policy.severity == "CRITICAL" and _can_ask(screen):
        if typer.prompt(f"Type {policy.name} to run it", default="", err=True) != policy.name:
            raise RunnerError("not confirmed", detail="Nothing was changed.", code=Exit.REFUSED)
        return tokens
    all_the_same = " all the same" if tokens else ""
    confirm(
        screen,
        f"Run {policy.name} on {policy.relation}{all_the_same}?",
        refusal=f"running {policy.name}, of severity {policy.severity},",
    )
    return tokens


def _can_ask(screen: Screen) -> bool:
    return not screen.is_json and sys.stdin is not None and sys.stdin.isatty()


def _offer(screen: Screen, url: str, ran: Ran) -> dict[str, str]:
    """Show the plans of what the guard refused to somebody at a terminal; return what they accept.

    The answer is a token for each policy.
    """
    from runner import api

    refused = [step.policy for step in ran.steps if step.exit_reason == "guard"]
    if not refused or not _can_ask(screen):
        return {}
    accepted: dict[str, str] = {}
    for plan in api.plan(url, refused).all:
        _show_plan(screen, plan)
        if plan.token is not None and typer.confirm("Run it all the same?", err=True):
            accepted[plan.policy.name] = plan.token
    return accepted


def _eligible(plan: PolicyPlan) -> str:
    more = "" if plan.is_counted else "more than "
    return f"{more}{plan.eligible:,}"


def _show_plans(screen: Screen, planned: Planned) -> None:
    """Show what a run would do, a line for each policy and statement, and what lifts a guard."""
    plans = planned.all
    table = new_table(
        "policy", "table", "would remove", "oldest", "how", "guard", numbers=("would remove",)
    )
    for plan in plans:
        name, details = plan.policy.name, plan.details
        if details is None:
            table.add_row(*cells(name, plan.policy.relation, "", "", "", "error"))
            continue
        oldest = [branch.oldest for branch in details.branches if branch.oldest]
        how = {chosen.strategy for chosen in details.strategies}
        table.add_row(
            *cells(
                name,
                details.relation,
                _eligible(details),
                min(oldest, default=""),
                " and ".join(sorted(how)),
                details.verdict,
            )
        )
    if plans:
        screen.table(table)
    for plan in plans:
        _say_refusal(screen, plan)
    for one in planned.operations:
        _show_operation(screen, one)


def _say_refusal(screen: Screen, plan: Plan) -> None:
    """Say why a run would be refused, and the command that it would be accepted with."""
    if plan.error is not None:
        screen.say(f"{plan.policy.name}: {plan.error}")
    elif plan.details is not None and plan.is_refused:
        screen.say(f"{plan.policy.name}: {plan.details.reason}")
    if plan.token is not None:
        screen.say(f"  runner run {shlex.quote(plan.policy.name)} --accept {plan.token}")


def _show_plan(screen: Screen, plan: Plan) -> None:
    """Show one plan to somebody who is asked to confirm it."""
    name, details = plan.policy.name, plan.details
    if details is None:
        screen.ask(f"{name}: {plan.error}")
        return
    screen.ask(f"{name} would remove {_eligible(details)} rows of {details.relation}")
    for branch in details.branches:
        oldest = f", the oldest {branch.oldest}" if branch.oldest else ""
        screen.ask(f"  where {branch.condition}{oldest}")
    for key in details.foreign_keys:
        screen.ask(f"  {key.child} refers to {key.parent}: {key.action}")
    for risk in details.risks:
        screen.ask(f"  risk: {risk.message}")
    if plan.is_refused:
        screen.ask(f"  the guard: {details.reason}")


def _show_run(screen: Screen, ran: Ran) -> None:
    """Show what a run did: a line for each policy, and why it ended."""
    numbers = ("removed", "batches", "longest", "time", "rows/s")
    table = new_table("policy", "table", *numbers, "ended", numbers=numbers)
    for step in ran.steps:
        rate = f"{step.removed / step.seconds:,.0f}" if step.removed and step.seconds else ""
        table.add_row(
            step.policy,
            step.relation,
            f"{step.removed:,}",
            f"{step.batches:,}",
            f"{step.longest_batch * 1000:.0f} ms" if step.batches else "",
            f"{step.seconds:.2f} s",
            rate,
            step.exit_reason,
        )
    if ran.steps:
        screen.table(table)
    for step in ran.steps:
        for line in _remarks(step):
            screen.say(line)
    for one in ran.operations:
        _show_operation(screen, one)
    for signal in ran.unknown:
        screen.say(str(signal))
    for step in ran.steps:
        if step.status == "error" or step.exit_reason == "lease_held":
            screen.ask(f"error: {step.policy}: {step.exit_reason}: {step.message}")
        if step.exit_reason == "guard":
            screen.ask(f"hint: runner run {step.policy} --dry-run shows what would go")
    if ran.unreported is not None:
        screen.warn(f"run {ran.run} is not in the record of {ran.unreported}")


def _show_operation(screen: Screen, done: OperationResult) -> None:
    """Show what an operation without policies did or would do: statements, or the rows of a report.

    What failed is an error of its own.
    """
    screen.say(f"{done.operation}: {done.message}")
    if done.tasks or done.planned:
        table = new_table("statement", "why", "time", "ended", numbers=("time",))
        for task in done.tasks:
            table.add_row(
                *cells(task.statement, task.reason, f"{task.seconds:.2f} s", task.exit_reason)
            )
        for task in done.planned:
            table.add_row(*cells(task.statement, task.reason, "", ""))
        screen.table(table)
    for group in done.report.values():
        if len(group) == 1:
            for name, value in group[0].items():
                screen.say(f"  {name.replace('_', ' ')}: {cells(value)[0]}")
        elif group:
            table = new_table(*group[0])
            for row in group:
                table.add_row(*cells(*row.values()))
            screen.table(table)
    for error in done.errors:
        screen.ask(f"error: {done.operation}: {error}")


def _remarks(step: StepResult) -> list[str]:
    """Say what the table of a run has no column for."""
    lines: list[str] = []
    if step.status != "error" and step.exit_reason != "lease_held" and step.message:
        lines.append(f"{step.policy}: {step.message}")
    for number, what in ((step.dependents, "of dependents"), (step.cascaded, "by foreign keys")):
        if number:
            lines.append(f"{step.policy}: {number:,} more rows went along {what}")
    if step.vacuum is not None:
        done = step.vacuum.problem or f"{step.vacuum.seconds:.1f} s"
        lines.append(f"{step.policy}: {step.vacuum.command}: {done}")
    return lines


def history(
    policy: Annotated[
        str | None, typer.Argument(metavar="[POLICY]", help="Of one policy.", show_default=False)
    ] = None,
    run: Annotated[
        int | None, typer.Option(metavar="RUN", help="Of one run.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most lines.")] = 20,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say what ran, newest first, and why it ended."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        entries = api.history(url, policy=policy, run=run, limit=limit)
        if entries:
            screen.table(_history(entries))
            for entry in entries:
                if entry.restored:
                    screen.say(
                        f"run {entry.run} put {entry.restored:,} rows of run {entry.undoes} back"
                    )
                if entry.message:
                    what = entry.policy or entry.statement
                    screen.say(f"run {entry.run}, {what}: {entry.message}")
        else:
            screen.say("nothing has run yet")
        screen.document(entries)


def _history(entries: Sequence[Entry]) -> Any:
    numbers = ("run", "removed", "batches", "longest", "time")
    what = "policy, or statement"
    table = new_table("run", what, "began", *numbers[1:], "ended", "by", numbers=numbers)
    for entry in entries:
        longest = entry.longest_batch.total_seconds() * 1000 if entry.longest_batch else 0
        table.add_row(
            str(entry.run),
            entry.policy or entry.statement or "",
            f"{entry.started_at:%Y-%m-%d %H:%M:%S %Z}",
            "" if entry.removed is None else f"{entry.removed:,}",
            "" if entry.batches is None else f"{entry.batches:,}",
            f"{longest:.0f} ms" if entry.batches else "",
            "" if entry.duration is None else f"{entry.duration.total_seconds():.2f} s",
            entry.exit_reason or "",
            f"{entry.program} ({entry.started_by})",
        )
    return table


def pause(
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for the others.", show_default=False)
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="How long; else until resume.", show_default=False
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Pause all housekeeping in a database: runs end with their batch, and none begins.

    Inserts do not sweep either. Functions that somebody calls by their name still do what they do.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        said = api.pause(
            url, reason=reason, seconds=None if duration is None else seconds(duration)
        )
        screen.say(f"housekeeping is {said}; `runner resume` ends that")
        screen.document({"paused": True, "reason": said})


def resume(
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Let housekeeping go on after `runner pause`."""
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        was_paused = api.resume(database(screen, settings, embedded=embedded))
        screen.say("housekeeping goes on" if was_paused else "housekeeping was not paused")
        screen.document({"paused": False, "was_paused": was_paused})
