"""demo: the main job in one command, on a server of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runner.commands.options import Format, Json, Quiet, Verbose, answering
from runner.screen import Output, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from runner.demo import Cleaned, TokenCount


def demo(
    tokens: Annotated[int, typer.Option(metavar="N", help="How many tokens to load.")] = 100_000,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show the main job on the embedded server: load Matcha Time's tables, and clean them up.

    Touches the database "demo" of the embedded server and no other, whatever DATABASE_URL says.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        answer = api.demo(api.embedded_server(), tokens=tokens, terms=api.Terms(say=screen.note))
        screen.say("\nThe token tables: select * from maintenance.token_growth")
        screen.table(_growth(answer.before))
        screen.say("\nWhat would be removed")
        screen.table(_cleaned(answer.would_clean))
        screen.say(f"\nselect * from cleanup_all_expired_tokens()  -- {answer.clean_seconds:.2f} s")
        screen.table(_cleaned(answer.cleaned))
        screen.say("\nAfterwards")
        screen.table(_growth(answer.after))
        screen.say(
            f"\nselect refresh_stale_deck_progress('{answer.learner}')"
            f"  -- {answer.refreshed_decks} of {answer.stale_decks} stale decks"
        )
        left = answer.dead_on_arrival_left
        screen.say(
            "A token that had expired when it was inserted: "
            + ("gone with the INSERT." if left == 0 else f"{left} left.")
        )
        screen.say(f"\nGo on with psql:\n\n  psql '{answer.url}'\n")
        screen.document(answer)


def _growth(counts: list[TokenCount]) -> Table:
    numbers = ("expired", "used", "active")
    table = new_table("token_type", *numbers, numbers=numbers)
    for count in counts:
        used = "" if count.used is None else f"{count.used:,}"
        table.add_row(count.token_type, f"{count.expired:,}", used, f"{count.active:,}")
    return table


def _cleaned(row: Cleaned) -> Table:
    names = (
        "password_reset_cleaned",
        "email_verification_cleaned",
        "refresh_tokens_cleaned",
        "total_cleaned",
    )
    table = new_table(*names, numbers=names)
    table.add_row(*(f"{getattr(row, name):,}" for name in names))
    return table
