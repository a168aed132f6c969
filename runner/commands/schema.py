"""migrate, rollback, status and show: what pg-maintenance has in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runner.commands.options import (
    DatabaseUrl,
    Embedded,
    Format,
    Json,
    LockWait,
    Quiet,
    Verbose,
    Yes,
    answering,
    confirm,
    database,
    settings_for,
)
from runner.errors import Exit, RunnerError
from runner.screen import BuildBar, Output, Screen, new_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.mark import Incomplete, Marked
    from runner.migrate import Found
    from runner.repair import Repaired
    from runner.rollback import RollbackPlan

Applications = Annotated[
    list[str] | None,
    typer.Option(
        "--app",
        metavar="NAME",
        help="Application to install beside the core; may be repeated. 'none': the core alone.",
        show_default=False,
    ),
]


def migrate(
    app: Applications = None,
    to: Annotated[
        str | None, typer.Option(metavar="ID", help="Last migration to apply.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be applied; change nothing.")
    ] = False,
    mark: Annotated[
        bool, typer.Option("--mark", help="Apply nothing: book the scripts that psql has run.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Apply nothing: put back what somebody changed of ours."),
    ] = False,
    lock_wait: LockWait = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Bring a database up to date: apply what is pending, build what is missing.

    Without --app, an empty database gets the core and matcha, and one that was migrated before
    keeps the applications that it has. Without a database, the embedded server is started.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api
        from runner.signals import stop_requests

        if (mark and repair) or (to is not None and (mark or repair)) or (app and repair):
            raise RunnerError(
                "migrate can do one thing at a time",
                hint="Say --mark, perhaps with --app, or --repair, or neither.",
                code=Exit.USAGE,
            )
        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded, may_start=not (mark or repair))
        with (
            stop_requests(screen.note) as stopped,
            BuildBar(screen.note, shown=not (screen.is_json or quiet)) as bar,
        ):
            terms = api.Terms(
                lock_wait=settings.lock_wait if lock_wait is None else lock_wait,
                say=screen.say,
                stopped=stopped,
                watch_build=bar.show,
            )
            if mark:
                _show_marked(
                    screen, api.mark(url, applications=app or (), dry_run=dry_run, terms=terms)
                )
                return
            if repair:
                _show_repaired(screen, api.repair(url, dry_run=dry_run, terms=terms))
                return
            done = api.migrate(url, applications=app or (), to=to, dry_run=dry_run, terms=terms)
        _show_found(screen, done.found)
        if dry_run:
            for one in done.applied:
                screen.say(f"would apply {one.id}")
            for name in done.indexes:
                screen.say(f"would build index {name}")
        if verbose:
            for one in done.applied:
                screen.note(f"{one.id} took {one.seconds:.3f} s")
        chains = " and ".join(done.chains)
        if not (done.applied or done.indexes):
            screen.say(f"{done.database} is up to date: {chains}")
        elif not dry_run:
            screen.say(f"{done.database} has {chains}")
        screen.document(done)


def _show_found(screen: Screen, found: Sequence[Found]) -> None:
    """Say what an application had already, and what becomes of it."""
    for origin, fate in (
        ("adopted", "used as it is"),
        ("replaced", "replaced until a rollback"),
        ("removed", "removed until a rollback"),
    ):
        names: dict[str, list[str]] = {}
        for one in found:
            if one.origin == origin:
                names.setdefault(one.kind, []).append(one.name)
        for kind, group in names.items():
            if len(group) == 1 or origin == "removed":
                screen.say(f"{fate}: {kind} {', '.join(group)}")
            else:
                screen.say(f"{fate}: {len(group)} {kind}s")


def _show_repaired(screen: Screen, done: Repaired) -> None:
    """Say what was put back, and end with a failure where something could not be."""
    if done.dry_run:
        for name in done.repaired:
            screen.say(f"would repair {name}")
        for name in done.indexes:
            screen.say(f"would build index {name}")
    if not (done.repaired or done.unrepaired or done.indexes):
        screen.say(f"{done.database} has nothing to repair")
    screen.document(done)
    if not done.unrepaired:
        return
    for one in done.unrepaired:
        if not screen.is_json:
            screen.error(RunnerError(f"{one.what} was not repaired: {one.reason}", hint=one.hint))
    raise typer.Exit(int(Exit.FAILED))


def _show_marked(screen: Screen, done: Marked) -> None:
    """Say what was booked, and end with a failure where a script is not complete."""
    for migration_id in done.booked:
        screen.say(f"{'would book' if done.dry_run else 'booked'} {migration_id}")
    if not (done.booked or done.incomplete):
        screen.say(f"{done.database} has nothing more to book")
    if done.pending and not done.incomplete:
        screen.say(f"not run yet: {', '.join(done.pending)}")
    screen.document(done)
    if not done.incomplete:
        return
    for one in done.incomplete:
        if not screen.is_json:
            screen.error(_incomplete(one))
    raise typer.Exit(int(Exit.FAILED if done.booked else Exit.REFUSED))


def _incomplete(one: Incomplete) -> RunnerError:
    """Say what a script that was not booked lacks, and how to complete it."""
    details = [
        f"{what}: {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}."
        for what, names in (("Missing", one.missing), ("Not as it makes them", one.different))
        if names
    ]
    place = f", from line {one.line} on" if one.line else ""
    return RunnerError(
        f"{one.id} is not all there, so it was not booked, and nothing after it",
        detail=" ".join(details),
        hint=f"Run what is missing with psql: `runner show {one.id}` has it{place}. "
        "Then mark again."
        if one.missing
        else f"Put them back as `runner show {one.id}` has them. Then mark again.",
    )


def rollback(
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Undo the last N migrations.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="ID", help="Undo what was applied after this migration.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Undo everything; nothing of ours stays.")
    ] = False,
    yes: Yes = False,
    no_backup: Annotated[
        bool, typer.Option("--no-backup", help="Take no dump, even where data is lost.")
    ] = False,
    lock_wait: LockWait = None,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take migrations back, the newest first.

    It says which data would be lost and asks. If there is any, it dumps the database first, to
    backup_{database}_{date}_{time}.dump.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api
        from runner.signals import stop_requests

        settings = settings_for(screen, database_url)
        url = database(screen, settings, embedded=embedded)
        from runner.settings import folder

        plan = api.plan_rollback(url, steps=steps, to=to, everything=everything)
        if not yes:
            _confirm(screen, plan, dumps=not no_backup)
        with stop_requests(screen.note) as stopped:
            done = api.rollback(
                url,
                plan,
                backup_folder=None if no_backup else folder(settings.backup_folder, "backup"),
                terms=api.Terms(
                    lock_wait=settings.lock_wait if lock_wait is None else lock_wait,
                    say=screen.say,
                    stopped=stopped,
                ),
            )
        if verbose:
            for one in done.undone:
                screen.note(f"{one.id} took {one.seconds:.3f} s")
        if everything:
            screen.say(f"{done.database} has nothing of pg-maintenance any more")
        screen.document({"plan": plan, "done": done})


def _confirm(screen: Screen, plan: RollbackPlan, *, dumps: bool) -> None:
    """Show what a rollback undoes and loses, and go on only with a yes."""
    for migration_id in plan.scripts:
        screen.ask(f"would roll back {migration_id}")
    for loss in plan.losses:
        screen.ask(f"would lose {loss.rows:,} rows of {loss.what}")
    if plan.losses:
        screen.ask("a dump is taken first" if dumps else "NO DUMP is taken")
    else:
        screen.ask("no row of the application would be lost")
    confirm(
        screen,
        f"Roll back in database {plan.database}?",
        refusal=f"rolling back {len(plan.scripts)} migrations of {plan.database}",
    )


def status(
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say which migrations a database has; exit with 5 unless it is up to date.

    It connects read-only and writes nothing.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        answer = api.status(database(screen, settings, embedded=embedded))
        table = new_table("migration", "status", "applied at")
        for one in answer.scripts:
            at = f"{one.applied_at:%Y-%m-%d %H:%M:%S %Z}" if one.applied_at else ""
            table.add_row(one.id, one.status, at)
        if answer.scripts:
            screen.table(table)
        for name in answer.missing_indexes:
            screen.say(
                f"index {name} is invalid: its build was broken off"
                if name in answer.invalid_indexes
                else f"index {name} is missing"
            )
        for lost in answer.drift:
            screen.say(
                f"{lost} is gone: somebody dropped it"
                if lost.state == "gone"
                else f"{lost} is not what was migrated: somebody changed it"
            )
        for one in answer.sweeps:
            if one.state != "on":
                screen.say(f"the sweep of {one.policy} is {one.state}: {one.detail}")
            if one.remedy:
                screen.say(f"  {one.remedy};")
        if answer.is_up_to_date:
            screen.say(f"{answer.database} is up to date: {' and '.join(answer.chains)}")
        elif not answer.chains:
            screen.say(f"{answer.database} has nothing of pg-maintenance: run `runner migrate`")
        elif answer.is_migrated:
            screen.say(f"{answer.database} has all migrations, and inserts that do not sweep")
        elif answer.drift:
            screen.say(
                f"{answer.database} is not as it was migrated: run `runner migrate --repair`"
            )
        else:
            screen.say(f"{answer.database} is not up to date: run `runner migrate`")
        screen.document(answer)
        if not answer.is_up_to_date:
            raise typer.Exit(int(Exit.FINDINGS))


def show(
    migration_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A migration, like matcha/0005_refresh_tokens."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Print core and the applications as one text.")
    ] = False,
    app: Applications = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Print the way back instead.")
    ] = False,
    output: Format = Output.TEXT,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print migrations as plain SQL, their includes expanded, for psql or an SQL editor."""
    with answering(output, json, verbose=verbose) as screen:
        from runner import api

        if (migration_id is None) == (not everything):
            raise RunnerError(
                "show has to know what",
                hint="Name a migration, or say --all; `runner status` lists them.",
                code=Exit.USAGE,
            )
        if migration_id is not None:
            text = api.show(migration_id, rollback=rollback)
        else:
            text = api.show_all(app or (), rollback=rollback)
        screen.say(text.rstrip("\n"))
        screen.document({"id": migration_id, "rollback": rollback, "sql": text})
