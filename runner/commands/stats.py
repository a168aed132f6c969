"""stats: how large, how old, and what a run would remove now."""

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
    answering,
    database,
    settings_for,
)
from runner.screen import Output, Screen, byte_size, moment, new_table

if TYPE_CHECKING:
    from runner.stats import DatabaseFacts, Removable, TableFacts, TokenFacts

SHOWN = 20


def stats(
    everything: Annotated[
        bool, typer.Option("--all", help=f"Show all tables, and not the {SHOWN} largest.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count all rows that would go, and not up to 10,000.")
    ] = False,
    database_url: DatabaseUrl = None,
    embedded: Embedded = False,
    output: Format = Output.TEXT,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show the database, its tables and tokens, and what a run would remove now.

    It connects read-only and writes nothing. Where a right is missing, it says which.
    """
    with answering(output, json, quiet=quiet, verbose=verbose) as screen:
        from runner import api

        settings = settings_for(screen, database_url)
        answer = api.stats(database(screen, settings, embedded=embedded), exact=exact)
        if answer.facts is None:
            screen.say(answer.unknown["facts"])
        else:
            _facts(screen, answer.facts)
        screen.say("\nTables")
        if answer.tables is None:
            screen.say(answer.unknown["tables"])
        else:
            shown = answer.tables if everything else answer.tables[:SHOWN]
            _tables(screen, shown)
            if more := len(answer.tables) - len(shown):
                screen.say(f"and {more} more: --all shows them")
        screen.say("\nTokens")
        if answer.tokens is None:
            screen.say(answer.unknown["tokens"])
        else:
            _tokens(screen, answer.tokens)
        screen.say("\nWhat a run would remove now")
        if answer.removable is None:
            screen.say(answer.unknown["removable"])
        else:
            _removable(screen, answer.removable)
        screen.document(answer)


def _facts(screen: Screen, facts: DatabaseFacts) -> None:
    hits = facts.cache_hit_ratio
    table = new_table("database", facts.database)
    for name, value in (
        ("size", byte_size(facts.size_bytes)),
        ("server", f"PostgreSQL {facts.server_version}, since {moment(facts.started_at)}"),
        ("connections", f"{facts.connections} of {facts.max_connections}"),
        ("found in memory", "nothing was read yet" if hits is None else f"{hits:.1%} of blocks"),
        (
            "oldest transaction",
            f"{facts.transaction_age:,} behind, {facts.wraparound_percent:.1f} % of the way to"
            " where writing stops",
        ),
        ("keeps dead rows", facts.xmin_holder),
    ):
        table.add_row(name, value)
    screen.table(table)


def _tables(screen: Screen, tables: list[TableFacts]) -> None:
    numbers = ("size", "rows", "dead rows")
    table = new_table("schema", "table", *numbers, "vacuumed", "analyzed", numbers=numbers)
    for one in tables:
        table.add_row(
            one.schema_name,
            one.table_name,
            byte_size(one.total_bytes),
            "unknown" if one.estimated_rows is None else f"{one.estimated_rows:,}",
            "unknown" if one.dead_rows is None else f"{one.dead_rows:,}",
            moment(one.last_vacuum_at) or "never",
            moment(one.last_analyze_at) or "never",
        )
    screen.table(table)


def _tokens(screen: Screen, tokens: list[TokenFacts]) -> None:
    numbers = ("expired", "used", "active")
    table = new_table("token_type", *numbers, numbers=numbers)
    for one in tokens:
        used = "" if one.used is None else f"{one.used:,}"
        table.add_row(one.token_type, f"{one.expired:,}", used, f"{one.active:,}")
    screen.table(table)


def _removable(screen: Screen, policies: list[Removable]) -> None:
    numbers = ("rows", "about")
    table = new_table("policy", "table", *numbers, "oldest", "guard", numbers=numbers)
    for one in policies:
        more = "" if one.is_counted else "more than "
        size = one.estimated_bytes
        table.add_row(
            one.policy,
            one.relation,
            "unknown" if one.eligible is None else f"{more}{one.eligible:,}",
            "unknown" if size is None else byte_size(size),
            one.oldest,
            one.error
            or ": ".join(part for part in (one.verdict, one.reason) if part)
            + ("" if one.is_enabled else "; it is switched off"),
        )
    screen.table(table)
