"""Databases in which something stands where an application's objects belong: one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api
from runner.errors import Exit
from tests.conftest import run
from tests.matcha import originals
from tests.migrations.dumps import whole
from tests.statements import column, execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

# What somebody did to the application's database, and the sentence that follows.
MISFITS = {
    "a column that is missing": (
        "alter table refresh_tokens rename expires_at to valid_until",
        "matcha/0005_refresh_tokens: public.refresh_tokens has no column expires_at",
    ),
    "a time without its zone": (
        "alter table refresh_tokens alter expires_at type timestamp",
        "matcha/0005_refresh_tokens: column public.refresh_tokens.expires_at is timestamp without"
        " time zone, and timestamp with time zone is needed",
    ),
    "a column of users that the policy needs": (
        "alter table users drop email_verified",
        "matcha/0001_init: public.users has no column email_verified",
    ),
    "keys of another kind": (
        "create table other (id text primary key, created_at timestamptz, email_verified boolean);"
        " drop table users cascade; alter table other rename to users",
        "matcha/0001_init: column public.users.id is text, and uuid is needed",
    ),
    "figures under other names": (
        "alter table user_deck_progress rename cards_due_today to due",
        "matcha/0006_performance_and_cleanup_improvements: public.user_deck_progress has no column"
        " cards_due_today",
    ),
    "a view": (
        "alter table refresh_tokens rename to tokens;"
        " create view refresh_tokens as select * from tokens",
        "matcha/0005_refresh_tokens: public.refresh_tokens is a view, and a table is needed",
    ),
    "a materialized view": (
        "alter table user_stats rename to stats;"
        " create materialized view user_stats as select * from stats",
        "matcha/0001_init: public.user_stats is a materialized view, and a table is needed",
    ),
    "a sequence": (
        "drop table user_activity; create sequence user_activity",
        "matcha/0001_init: public.user_activity is a sequence, and a table is needed",
    ),
    "a type": (
        "drop table user_activity; create type user_activity as (id uuid)",
        "matcha/0001_init: public.user_activity is a composite type, and a table is needed",
    ),
    "an enumeration of other words": (
        "drop table users cascade; drop type auth_provider;"
        " create type auth_provider as enum ('email')",
        "matcha/0001_init: type public.auth_provider is no enumeration of email, google",
    ),
    "a function that returns something else": (
        "drop function cleanup_expired_refresh_tokens();"
        " create function cleanup_expired_refresh_tokens() returns bigint return 1",
        "matcha/0006_performance_and_cleanup_improvements: function"
        " public.cleanup_expired_refresh_tokens() returns bigint, and has to return integer",
    ),
    "a function that returns other columns": (
        "drop function cleanup_all_expired_tokens();"
        " create function cleanup_all_expired_tokens() returns table (total_cleaned integer)"
        " language sql as 'select 1'",
        "matcha/0006_performance_and_cleanup_improvements: function"
        " public.cleanup_all_expired_tokens() returns TABLE(total_cleaned integer), and has to"
        " return TABLE(password_reset_cleaned integer, email_verification_cleaned integer,"
        " refresh_tokens_cleaned integer, total_cleaned integer)",
    ),
    "a procedure of that name": (
        "drop function cleanup_expired_refresh_tokens();"
        " create procedure cleanup_expired_refresh_tokens() language sql as ''",
        "matcha/0006_performance_and_cleanup_improvements: function"
        " public.cleanup_expired_refresh_tokens() returns nothing, and has to return integer",
    ),
    "a trigger of that name": (
        "drop trigger trigger_cleanup_refresh_tokens on refresh_tokens;"
        " create function audit() returns trigger language plpgsql as 'begin return null; end';"
        " create trigger trigger_cleanup_refresh_tokens after insert on refresh_tokens"
        " execute function audit()",
        "matcha/0006_performance_and_cleanup_improvements: trigger trigger_cleanup_refresh_tokens"
        " on public.refresh_tokens calls public.audit(), and is not the one with which application"
        " matcha cleans up",
    ),
    "a table in another schema": (
        "create schema app; alter table refresh_tokens set schema app",
        "matcha/0005_refresh_tokens: there is no table public.refresh_tokens, but there is"
        " app.refresh_tokens",
    ),
    "all tables in another schema": (
        "alter schema public rename to app; create schema public",
        "matcha/0001_init: there is no table public.users, but there is app.users",
    ),
    "a table that was emptied of its policy's sense by a key that refers to it": (
        "create table use (token_id uuid references refresh_tokens (id))",
        "matcha/0006_performance_and_cleanup_improvements: policy refresh_tokens",
    ),
}


@pytest.mark.parametrize(("ddl", "sentence"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_named_and_nothing_is_changed(
    empty: str, ddl: str, sentence: str
) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        originals.build(connection, 6)
        execute(connection, "set search_path = public")
        execute(connection, ddl)
    before = whole(empty)
    for dry_run in (True, False):
        with pytest.raises(api.RunnerError) as refusal:
            api.migrate(empty, applications=["matcha"], dry_run=dry_run)
        assert refusal.value.message.startswith(sentence)
        assert refusal.value.code == Exit.REFUSED
        assert str(refusal.value.detail).endswith("Nothing was changed.")
        assert refusal.value.hint
    assert whole(empty) == before


def test_the_command_prints_it_in_postgresqls_three_parts(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        originals.build(connection, 6)
        execute(
            connection,
            "alter table public.refresh_tokens rename expires_at to valid_until;"
            " alter table public.refresh_tokens drop user_id",
        )
    done = run("migrate", "--app", "matcha", url=empty)
    assert (done.returncode, done.stdout) == (Exit.REFUSED, "")
    assert done.stderr == (
        "error: matcha/0005_refresh_tokens: public.refresh_tokens has no column user_id\n"
        "detail: public.refresh_tokens has no column expires_at\n"
        "Needed are user_id uuid, expires_at timestamptz.\n"
        "Nothing was changed.\n"
        "hint: A table that is there is used as it is, and never altered: change it, or tend it by"
        " policies of your own.\n"
    )


def test_a_role_that_is_no_member_of_the_owner(
    empty: str, admin: Connection, role: Callable[[str], str]
) -> None:
    owner, caller, migrator = role("owner"), role("caller"), role("migrator")
    with psycopg.connect(empty, autocommit=True) as connection:
        originals.build(connection, 6)
        originals.decorate(connection, owner=owner, caller=caller)
    execute(admin, f"alter database {conninfo_to_dict(empty)['dbname']} owner to {migrator}")
    before = whole(empty)
    url = make_conninfo(empty, user=migrator)
    with pytest.raises(api.RunnerError) as refusal:
        api.migrate(url, applications=["matcha"])
    assert refusal.value.message == (
        f"matcha/0001_init: role {migrator} may not tend public.users, which belongs to {owner}"
    )
    assert refusal.value.hint == f"Grant it that role: grant {owner} to {migrator}."
    assert whole(empty) == before


def test_a_function_of_another_role(
    empty: str, admin: Connection, role: Callable[[str], str]
) -> None:
    owner, migrator = role("owner"), role("migrator")
    with psycopg.connect(empty, autocommit=True) as connection:
        execute(
            connection,
            "create function cleanup_expired_refresh_tokens() returns integer return 1;"
            f" alter function cleanup_expired_refresh_tokens() owner to {owner}",
        )
    execute(admin, f"alter database {conninfo_to_dict(empty)['dbname']} owner to {migrator}")
    before = whole(empty)
    with pytest.raises(api.RunnerError) as refusal:
        api.migrate(make_conninfo(empty, user=migrator), applications=["matcha"])
    assert refusal.value.message.endswith(
        f"role {migrator} may not replace function public.cleanup_expired_refresh_tokens(),"
        f" which belongs to {owner}"
    )
    assert whole(empty) == before


def test_a_table_of_that_name_elsewhere_that_would_not_fit_is_none_of_ours(empty: str) -> None:
    """As where a host keeps its own users and tokens in a schema beside the application's."""
    with psycopg.connect(empty, autocommit=True) as connection:
        execute(
            connection,
            "create schema auth;"
            " create table auth.users (id uuid, created_at timestamptz, confirmed_at timestamptz);"
            " create table auth.refresh_tokens (id bigint, user_id varchar(255), token text)",
        )
        before = whole(empty)
        api.migrate(empty, applications=["matcha"])
        origins = column(connection, "select distinct origin from maintenance.owned_object")
        assert origins == ["created"]
        api.rollback(empty, api.plan_rollback(empty, everything=True), backup_folder=None)
    assert whole(empty) == before


def test_a_fitting_database_passes_the_dry_run_unchanged(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        originals.build(connection, 6)
    before = whole(empty)
    plan = api.migrate(empty, applications=["matcha"], dry_run=True)
    assert plan.applied[-1].id.startswith("matcha/")
    assert whole(empty) == before
