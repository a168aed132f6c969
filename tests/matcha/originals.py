"""Databases that Matcha Time's own migrations made, with data, rights and habits of their own.

``build`` makes the schema, ``fill`` puts rows into it, and ``decorate`` adds what an operator may
have added since: what a rollback that looks at definitions only would lose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from tests.conftest import scalar
from tests.statements import column, execute

if TYPE_CHECKING:
    from psycopg import Connection

SCRIPTS = Path(__file__).parent / "original"
LEVELS: tuple[Level, ...] = (6, 12)

Level = Literal[6, 12]


@dataclass(frozen=True)
class Filled:
    """How much ``fill`` put in."""

    users: int = 3
    unverified_users: int = 1
    """Who never proved an address, and registered more than a week ago."""
    decks: int = 5
    cards: int = 20
    card_progress: int = 20
    deck_progress: int = 5
    stale_decks: int = 4
    """Decks of the user ``ada`` that were added up an hour ago or more, or never."""
    live_tokens: int = 3
    """In each of the three tables."""
    expired_tokens: int = 4
    """In each table: over, and not used."""
    used_tokens: int = 2
    """In both tables of tokens that are used once; half of them are over as well."""


FILLED = Filled()


def build(connection: Connection, level: Level) -> None:
    """Make the application's objects in schema public, as whoever the connection is."""
    execute(connection, "set search_path = public")
    for name in ("0006", "0012") if level == 12 else ("0006",):
        execute(connection, (SCRIPTS / f"{name}.sql").read_text())
    execute(connection, "reset search_path")


def fill(connection: Connection) -> Filled:
    """Put rows into a database that ``build`` or ``migrate`` made, and say how many of what.

    Tokens come in live and become what they are afterwards: the triggers of the application would
    remove them at once. At level 12 a trigger keeps updates from setting ``updated_at``.
    """
    execute(
        connection,
        """
        insert into public.users
            (username, email, password_hash, google_id, auth_provider, created_at, email_verified)
        values
            ('ada', 'ada@example.org', 'a', null, 'email', now() - interval '1 year', true),
            ('bob', 'bob@example.org', 'b', null, 'email', now() - interval '8 days', false),
            ('eve', 'eve@example.org', null, 'g-1', 'google', now(), true);

        insert into public.decks (title, language_from, language_to)
        select 'deck ' || number, 'en', 'de' from generate_series(1, 5) as number;

        insert into public.flashcards (term, translation, language_from, language_to)
        select 'term ' || number, 'Wort ' || number, 'en', 'de'
        from generate_series(1, 20) as number;

        insert into public.deck_flashcards (deck_id, flashcard_id)
        select deck.id, card.id
        from public.decks as deck
        join public.flashcards as card
            on ltrim(card.term, 'term ')::integer % 5 + 1 = ltrim(deck.title, 'deck ')::integer;

        insert into public.user_card_progress
            (user_id, flashcard_id, next_review_at, last_review_at, times_correct, times_wrong,
             mastered_at, updated_at)
        select
            learner.id, card.id,
            now() + make_interval(days => number % 3 - 1), now() - interval '2 days',
            number, number % 4,
            case when number > 15 then now() - interval '2 days' end,
            now() - interval '2 days'
        from public.users as learner
        cross join public.flashcards as card
        cross join lateral (select ltrim(card.term, 'term ')::integer) as numbered (number)
        where learner.username = 'ada';

        insert into public.user_deck_progress (user_id, deck_id, total_cards, updated_at)
        select
            learner.id, deck.id, 1,
            case deck.title
                when 'deck 1' then now()
                when 'deck 2' then null
                else now() - interval '61 minutes'
            end
        from public.users as learner
        cross join public.decks as deck
        where learner.username = 'ada';

        insert into public.roadmaps (title, language_from, language_to) values ('A1', 'en', 'de');
        insert into public.roadmap_nodes (roadmap_id, deck_id)
        select roadmap.id, deck.id from public.roadmaps as roadmap cross join public.decks as deck;

        insert into public.user_activity (user_id, activity_date, reviews_count)
        select learner.id, current_date - days, 7
        from public.users as learner
        cross join generate_series(0, 2) as days
        where learner.username = 'ada';
        insert into public.user_stats (user_id, total_reviews)
        select id, 21 from public.users where username = 'ada';
        """,
    )
    for table in ("password_reset_tokens", "email_verification_tokens", "refresh_tokens"):
        _fill_tokens(connection, table, used_once=table != "refresh_tokens")
    if scalar(
        connection,
        "select count(*) from pg_attribute"
        " where attrelid = 'public.users'::regclass and attname = 'native_language'",
    ):
        execute(
            connection,
            "update public.users set native_language = 'en', learning_language = 'de'"
            " where username = 'ada'",
        )
    return FILLED


def _fill_tokens(connection: Connection, table: str, *, used_once: bool) -> None:
    used = FILLED.used_tokens if used_once else 0
    execute(
        connection,
        f"insert into public.{table} (user_id, token_hash, expires_at)"
        " select id, kind || number, now() + interval '1 day'"
        " from public.users"
        f" cross join (values ('live', {FILLED.live_tokens}),"
        f" ('expired', {FILLED.expired_tokens}), ('used', {used})) as kinds (kind, amount)"
        " cross join lateral generate_series(1, amount) as number"
        " where username = 'ada'",
    )
    execute(
        connection,
        f"update public.{table} set expires_at = now() - interval '1 day'"
        " where token_hash like 'expired%' or token_hash = 'used1'",
    )
    if used_once:
        execute(
            connection,
            f"update public.{table} set used_at = now() - interval '2 days'"
            " where token_hash like 'used%'",
        )


def decorate(connection: Connection, *, owner: str, caller: str) -> None:
    """Change what no migration of the application says.

    Tables and functions go to ``owner``; ``caller`` gets grants, some of them WITH GRANT OPTION and
    on columns, and PUBLIC loses some. Comments are added, one trigger is disabled, and one fires on
    replicas only. It needs a superuser.
    """
    execute(connection, "set search_path = public")
    _give_everything_to(connection, owner)
    names = {"owner": sql.Identifier(owner), "caller": sql.Identifier(caller)}
    connection.execute(
        sql.SQL("""
        set role {owner};
        revoke execute on function cleanup_all_expired_tokens() from public;
        grant execute on function cleanup_all_expired_tokens() to {caller} with grant option;
        grant execute on function cleanup_expired_refresh_tokens() to {caller};
        revoke execute on function refresh_stale_deck_progress(uuid) from public;
        grant select, insert, delete on refresh_tokens to {caller};
        grant select (id, user_id, expires_at) on password_reset_tokens to {caller};
        grant select on user_deck_progress to {caller} with grant option;

        comment on function refresh_deck_progress(uuid, uuid) is 'Ask Ada before you change this';
        comment on function trigger_cleanup_expired_tokens() is 'Runs after each INSERT';
        comment on table refresh_tokens is 'Sessions of the apps';
        comment on column refresh_tokens.ip_address is 'As the proxy reports it';
        comment on column user_deck_progress.updated_at is 'Null: never added up';
        comment on trigger trigger_cleanup_refresh_tokens on refresh_tokens is 'Busy table';

        alter table password_reset_tokens
            disable trigger trigger_cleanup_password_reset_tokens;
        alter table email_verification_tokens
            enable replica trigger trigger_cleanup_email_verification_tokens;
        reset role;
        """).format(**names)
    )
    execute(connection, "reset search_path")


def _give_everything_to(connection: Connection, owner: str) -> None:
    """Change the owner of every table, type and function in schema public."""
    execute(connection, f'grant create on schema public to "{owner}"')
    statements = column(
        connection,
        """
        select format('alter table %%s owner to %%I', oid::regclass, owner)
        from pg_class, (select %s::text) as given (owner)
        where relkind = 'r' and relnamespace = 'public'::regnamespace
        union all
        select format('alter routine %%s owner to %%I', oid::regprocedure, owner)
        from pg_proc, (select %s::text) as given (owner)
        where pronamespace = 'public'::regnamespace
        union all
        select format('alter type %%s owner to %%I', oid::regtype, owner)
        from pg_type, (select %s::text) as given (owner)
        where typtype = 'e' and typnamespace = 'public'::regnamespace
        """,
        owner,
        owner,
        owner,
    )
    for statement in statements:
        execute(connection, statement)
