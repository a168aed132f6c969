"""Databases that Matcha Time's own migrations made: adopted, used, and given back as they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api
from runner.scripts import scripts
from tests.conftest import run, scalar, settle
from tests.matcha import originals
from tests.matcha.originals import FILLED, LEVELS
from tests.migrations.dumps import whole
from tests.migrations.test_round_trip import build_indexes_with_psql, psql, undo
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

    from tests.matcha.originals import Level

TABLES = (
    "users", "decks", "flashcards", "deck_flashcards", "roadmaps", "roadmap_nodes",
    "user_card_progress", "user_deck_progress", "user_stats", "user_activity",
    "password_reset_tokens", "email_verification_tokens", "refresh_tokens",
)  # fmt: skip
MATCHA = scripts(["matcha"])
PROGRESS = """
    select deck.title, progress.total_cards, progress.mastered_cards, progress.total_practices,
        progress.last_practiced_at is not null, progress.updated_at > now() - interval '1 minute'
    from user_deck_progress as progress
    join decks as deck on deck.id = progress.deck_id
    order by deck.title
"""
ADA = "(select id from public.users where username = 'ada')"


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> Level:
    """How far the application's own migrations went."""
    return request.param


@pytest.fixture
def owner(role: Callable[[str], str]) -> str:
    """The role that owns the application's tables."""
    return role("owner")


@pytest.fixture
def caller(role: Callable[[str], str]) -> str:
    """The role under which the application works."""
    return role("caller")


@pytest.fixture
def original(empty: str, level: Level, owner: str, caller: str) -> str:
    """The URL of a database of the application, in use for a while."""
    with psycopg.connect(empty, autocommit=True) as connection:
        originals.build(connection, level)
        originals.fill(connection)
        originals.decorate(connection, owner=owner, caller=caller)
    return empty


@pytest.fixture
def adopted(original: str) -> Iterator[Connection]:
    """A connection to such a database after it was migrated."""
    api.migrate(original, applications=["matcha"])
    with psycopg.connect(original, autocommit=True) as connection:
        settle(connection)
        yield connection


def amounts(db: Connection) -> dict[str, int]:
    """Return how many rows each table has."""
    return {table: scalar(db, f"select count(*) from public.{table}") for table in TABLES}


def origins(db: Connection, kind: str) -> dict[str, str]:
    """Return what became of the objects of a kind."""
    return dict(rows(db, "select name, origin from maintenance.owned_object where kind = %s", kind))


# There and back


def test_nothing_is_left_of_us_and_nothing_is_lost(original: str) -> None:
    before = whole(original)
    api.migrate(original, applications=["matcha"])
    assert api.status(original).is_up_to_date
    undo(original, everything=True)
    assert whole(original) == before


@pytest.mark.slow
def test_there_and_back_twice_and_in_steps(original: str) -> None:
    states = [whole(original)]
    for one in MATCHA:
        if one.chain == "matcha":
            api.migrate(original, to=one.id)
            states.append(whole(original))
    undo(original, to=[one.id for one in MATCHA if one.chain == "core"][-1])
    assert origins_are_forgotten(original)
    api.migrate(original, applications=["matcha"])
    undo(original, everything=True)
    assert whole(original) == states[0]


def origins_are_forgotten(url: str) -> bool:
    """Say whether no application's script has left a note."""
    with psycopg.connect(url) as connection:
        return column(connection, "select name from maintenance.owned_object") == []


@pytest.mark.parametrize("level", [pytest.param(6, marks=pytest.mark.slow), 12], indirect=True)
def test_psql_does_and_undoes_the_same(original: str, new_database: Callable[..., str]) -> None:
    before = whole(original)
    for one in MATCHA:
        psql(original, "-1", "-f", one.up)
    build_indexes_with_psql(original)
    with psycopg.connect(original) as connection:
        assert set(origins(connection, "table").values()) == {"adopted"}
    for one in reversed(MATCHA):
        psql(original, "-1", "-f", one.down)
    assert whole(original) == before


def test_a_role_that_owns_the_database_and_is_a_member_of_the_owner_can_do_it(
    original: str, admin: Connection, owner: str, role: Callable[[str], str]
) -> None:
    migrator = role("migrator")
    execute(admin, f"grant {owner} to {migrator}")
    execute(admin, f"alter database {conninfo_to_dict(original)['dbname']} owner to {migrator}")
    before = whole(original)
    url = make_conninfo(original, user=migrator)
    api.migrate(url, applications=["matcha"])
    with psycopg.connect(url) as connection:
        assert scalar(connection, "select total_cleaned from cleanup_all_expired_tokens()") == 16
        connection.rollback()
    undo(url, everything=True)
    assert whole(original) == before


@pytest.mark.parametrize("level", [12], indirect=True)
def test_what_was_removed_comes_back_with_no_more_and_no_less_than_it_had(
    original: str, caller: str, owner: str
) -> None:
    with psycopg.connect(original, autocommit=True) as connection:
        execute(
            connection,
            "create extension hstore schema pg_catalog;"
            f"revoke execute on function public.refresh_deck_progress(uuid, uuid) from {owner};"
            f" grant execute on function public.refresh_deck_progress(uuid, uuid) to {caller}"
            "     with grant option;"
            " alter function public.refresh_deck_progress(uuid, uuid) depends on extension hstore;"
            f" alter default privileges grant execute on functions to {owner}",
        )
        before = whole(original)
        api.migrate(original, applications=["matcha"])
        undo(original, everything=True)
        dependency = (
            "select deptype from pg_depend where deptype = 'x'"
            " and objid = 'public.refresh_deck_progress(uuid, uuid)'::regprocedure"
        )
        assert column(connection, dependency) == ["x"]
    assert whole(original) == before


@pytest.mark.parametrize("level", [12], indirect=True)
def test_a_function_that_the_application_has_made_anew_stays(original: str) -> None:
    again = (
        "create function public.refresh_deck_progress(p_user_id uuid, p_deck_id uuid)"
        " returns void language sql as ''"
    )
    api.migrate(original, applications=["matcha"])
    with psycopg.connect(original, autocommit=True) as connection:
        execute(connection, again)
        undo(original, everything=True)
        body = "select prosrc from pg_proc where oid = %s::regprocedure"
        assert scalar(connection, body, "public.refresh_deck_progress(uuid, uuid)") == ""


@pytest.mark.parametrize("level", [6], indirect=True)
def test_an_application_that_migrates_afterwards_is_adopted_anew(original: str) -> None:
    """Its eighth to twelfth migrations, with ours in place; what it has changed is not undone."""
    api.migrate(original, applications=["matcha"])
    with psycopg.connect(original, autocommit=True) as connection:
        settle(connection)
        execute(
            connection, "select maintenance.alter_policy('refresh_tokens', '{\"batch_size\": 7}')"
        )
        execute(connection, "set search_path = public")
        execute(connection, (originals.SCRIPTS / "0012.sql").read_text())
        execute(connection, "reset search_path")
        changed = [str(one) for one in api.status(original).drift]
        assert changed == ["function public.refresh_deck_progress(uuid,uuid)"]

        said: list[str] = []
        plan = api.plan_rollback(original, to="core/0009_adopt_what_exists")
        api.rollback(original, plan, backup_folder=None, terms=api.Terms(say=said.append))
        assert any("refresh_deck_progress(uuid,uuid) was changed after" in line for line in said)
        body = "select prosrc from pg_proc where oid = %s::regprocedure"
        of_theirs = scalar(connection, body, "public.refresh_deck_progress(uuid, uuid)")
        assert "progress_percentage" in of_theirs

        api.migrate(original, applications=["matcha"])
        assert api.status(original).is_up_to_date
        stale = "select refresh_stale_deck_progress(id) from users where username = 'ada'"
        assert scalar(connection, stale) == FILLED.stale_decks
        size = "select batch_size from maintenance.policy where name = 'refresh_tokens'"
        assert scalar(connection, size) == 7
        undo(original, everything=True)
        assert scalar(connection, body, "public.refresh_deck_progress(uuid, uuid)") == of_theirs


@pytest.mark.parametrize("level", [12], indirect=True)
def test_what_becomes_of_what_is_there_is_said_before_and_when_it_is_done(original: str) -> None:
    said = [
        "used as it is: 13 tables",
        "replaced until a rollback: 5 functions",
        "replaced until a rollback: 3 triggers",
        "removed until a rollback: function public.refresh_deck_progress(uuid,uuid)",
    ]
    planned = run("migrate", "--app", "matcha", "--dry-run", url=original)
    assert [line for line in planned.stdout.splitlines() if "would" not in line] == said
    done = run("migrate", "--app", "matcha", "--json", url=original)
    found = json.loads(done.stdout)["found"]
    assert len(found) == 13 + 5 + 3 + 1
    assert {"kind": "table", "name": "public.users", "origin": "adopted"} in found
    assert json.loads(run("migrate", "--json", url=original).stdout)["found"] == []


# What is documented works


def test_no_row_is_lost(original: str) -> None:
    with psycopg.connect(original) as connection:
        before = amounts(connection)
    api.migrate(original, applications=["matcha"])
    with psycopg.connect(original) as connection:
        assert amounts(connection) == before
    assert before["refresh_tokens"] == FILLED.live_tokens + FILLED.expired_tokens


def test_the_tables_are_used_as_they_are(adopted: Connection) -> None:
    assert origins(adopted, "table") == {f"public.{table}": "adopted" for table in TABLES}
    assert origins(adopted, "column") == {}
    assert origins(adopted, "type") == {}


def test_every_clean_up_can_be_called(adopted: Connection) -> None:
    expired, used = FILLED.expired_tokens, FILLED.used_tokens
    assert rows(adopted, "select * from cleanup_all_expired_tokens()") == [
        (expired + used, expired + used, expired, 3 * expired + 2 * used)
    ]
    for kind in ("password_reset", "email_verification", "refresh"):
        assert scalar(adopted, f"select cleanup_expired_{kind}_tokens()") == 0
    assert amounts(adopted)["refresh_tokens"] == FILLED.live_tokens


def test_stale_decks_are_added_up_and_counted(adopted: Connection) -> None:
    stale = "select refresh_stale_deck_progress(id) from users where username = 'ada'"
    assert scalar(adopted, stale) == FILLED.stale_decks
    assert scalar(adopted, "select refresh_stale_deck_progress(gen_random_uuid())") == 0
    figures = rows(adopted, PROGRESS)
    assert [row[1] for row in figures] == [1, 4, 4, 4, 4], "the first was fresh"
    assert all(row[5] for row in figures)
    assert scalar(adopted, stale) == 0


def test_one_deck_is_added_up(adopted: Connection) -> None:
    execute(
        adopted,
        f"select refresh_deck_progress({ADA}, id) from decks where title = 'deck 1'",
    )
    assert next(row[1] for row in rows(adopted, PROGRESS)) == 4


@pytest.mark.parametrize("level", [12], indirect=True)
def test_the_applications_own_figures_go_on(adopted: Connection) -> None:
    """Percentages, with the threshold that the application may give."""
    execute(adopted, f"select refresh_stale_deck_progress({ADA})")
    ours = rows(adopted, "select deck_id, progress_percentage from user_deck_progress order by 1")
    execute(adopted, "set search_path = public")
    execute(adopted, f"select refresh_deck_progress({ADA}, id, 10) from decks")
    theirs = rows(adopted, "select deck_id, progress_percentage from user_deck_progress order by 1")
    fresh = scalar(adopted, "select id from decks where title = 'deck 1'")
    assert [row for row in ours if row[0] != fresh] == [row for row in theirs if row[0] != fresh]
    assert sum(row[1] for row in theirs) > 0
    assert origins(adopted, "function")["public.refresh_deck_progress(uuid,uuid)"] == "removed"


@pytest.mark.parametrize("level", [12], indirect=True)
def test_a_call_with_two_arguments_is_no_longer_ambiguous(original: str) -> None:
    call = f"select public.refresh_deck_progress({ADA}, id) from public.decks"
    with psycopg.connect(original, autocommit=True) as connection:
        execute(connection, "set search_path = public")
        with pytest.raises(psycopg.errors.AmbiguousFunction):
            execute(connection, call)
        api.migrate(original, applications=["matcha"])
        execute(connection, call)
        undo(original, everything=True)
        with pytest.raises(psycopg.errors.AmbiguousFunction):
            execute(connection, call)


@pytest.mark.parametrize("level", [6], indirect=True)
def test_a_function_that_counts_more_than_ours_stays(original: str) -> None:
    """As after the application's eighth migration, and before its tenth."""
    with psycopg.connect(original, autocommit=True) as connection:
        execute(
            connection,
            "alter table public.user_deck_progress add progress_percentage numeric(5, 2)"
            " not null default 0.00;"
            " create or replace function public.refresh_deck_progress("
            "     p_user_id uuid, p_deck_id uuid) returns void language sql as"
            " $$ update user_deck_progress set progress_percentage = 42, updated_at = now()"
            " where user_id = p_user_id and deck_id = p_deck_id $$",
        )
        before = whole(original)
        api.migrate(original, applications=["matcha"])
        name = "public.refresh_deck_progress(uuid,uuid)"
        assert origins(connection, "function")[name] == "adopted"
        assert scalar(connection, f"select refresh_stale_deck_progress({ADA})") == 4
        percentages = column(connection, "select progress_percentage from user_deck_progress")
        assert sorted(percentages) == [0, 42, 42, 42, 42]
        connection.execute("update user_deck_progress set progress_percentage = 0")
    undo(original, everything=True)
    assert [line for line in before.splitlines() if "42" in line and "update" in line]
    assert "progress_percentage = 42" in whole(original)


@pytest.mark.parametrize("level", [6], indirect=True)
def test_a_column_that_was_dropped_and_a_body_that_finds_its_tables_by_the_path(
    original: str,
) -> None:
    with psycopg.connect(original, autocommit=True) as connection:
        execute(
            connection,
            "alter table public.user_deck_progress add progress_percentage numeric;"
            " alter table public.user_deck_progress drop progress_percentage;"
            " create or replace function public.cleanup_expired_refresh_tokens() returns integer"
            " language sql as $$ with gone as (delete from refresh_tokens where expires_at < now()"
            " returning id) select count(*)::integer from gone $$",
        )
        before = whole(original)
        api.migrate(original, applications=["matcha"])
        replaced = origins(connection, "function")["public.refresh_deck_progress(uuid,uuid)"]
        assert replaced == "replaced", "nothing is counted in a column that is gone"
        with connection.transaction(force_rollback=True):
            stale = f"select refresh_stale_deck_progress({ADA})"
            assert scalar(connection, stale) == FILLED.stale_decks
            assert scalar(connection, stale) == 0
        undo(original, everything=True)
    assert whole(original) == before


# The application goes on as before


def test_the_application_inserts_as_it_did(adopted: Connection, caller: str) -> None:
    """With the rights that it had; the sweep needs none of its own."""
    user = scalar(adopted, f"select {ADA}")
    execute(adopted, f"set role {caller}")
    inserted = rows(
        adopted,
        "insert into public.refresh_tokens (user_id, token_hash, expires_at)"
        " values (%s, 'new', now() + interval '1 day'), (%s, 'dead', now() - interval '1 day')"
        " returning id",
        user, user,
    )  # fmt: skip
    assert len(inserted) == 2
    execute(adopted, "reset role")
    hashes = column(adopted, "select token_hash from public.refresh_tokens order by 1")
    assert hashes == ["live1", "live2", "live3", "new"], "the sweep took those that had expired"


def test_a_trigger_that_was_switched_off_leaves_its_sweep_switched_off(adopted: Connection) -> None:
    assert rows(adopted, "select policy, state from maintenance.insert_sweep_status") == [
        ("email_verification_tokens", "off"),
        ("password_reset_tokens", "off"),
        ("refresh_tokens", "on"),
    ]
    execute(
        adopted,
        "insert into public.password_reset_tokens (user_id, token_hash, expires_at)"
        f" values ({ADA}, 'new', now() + interval '1 day')",
    )
    assert amounts(adopted)["password_reset_tokens"] == 3 + 4 + 2 + 1


def test_whoever_might_not_call_a_function_may_not_call_ours(
    adopted: Connection, caller: str
) -> None:
    may = "select has_function_privilege(%s, %s, 'execute')"
    for who, function, answer in (
        (caller, "public.cleanup_all_expired_tokens()", True),
        ("public", "public.cleanup_all_expired_tokens()", False),
        ("public", "public.cleanup_expired_refresh_tokens()", True),
        (caller, "public.refresh_stale_deck_progress(uuid)", False),
    ):
        assert scalar(adopted, may, who, function) is answer, (who, function)


def test_the_batched_way_removes_the_same(adopted: Connection) -> None:
    execute(adopted, "call maintenance.run_operations(array['tokens'])")
    assert amounts(adopted)["refresh_tokens"] == FILLED.live_tokens
    assert amounts(adopted)["password_reset_tokens"] == FILLED.live_tokens
    assert amounts(adopted)["email_verification_tokens"] == FILLED.live_tokens


def test_only_indexes_that_clean_up_needs_are_built(original: str) -> None:
    done = api.migrate(original, applications=["matcha"])
    assert sorted(done.indexes) == [
        "idx_email_verification_tokens_used_at",
        "idx_password_reset_tokens_used_at",
        "idx_users_unverified_created_at",
    ]


def test_what_is_missing_is_created_and_goes_again(empty: str, owner: str, caller: str) -> None:
    """The application had no refresh tokens yet. They go with the rollback, and rows count."""
    with psycopg.connect(empty, autocommit=True) as connection:
        originals.build(connection, 6)
        execute(connection, "drop table public.refresh_tokens")
        before = whole(empty)
        api.migrate(empty, applications=["matcha"])
        assert origins(connection, "table")["public.refresh_tokens"] == "created"
        execute(
            connection,
            "insert into public.users (username, email, password_hash) values ('a', 'b', 'c');"
            " insert into public.refresh_tokens (user_id, token_hash, expires_at)"
            " select id, 'x', now() + interval '1 day' from public.users",
        )
        plan = api.plan_rollback(empty, everything=True)
        assert [(loss.what, loss.rows) for loss in plan.losses] == [("public.refresh_tokens", 1)]
        undo(empty, everything=True)
        execute(connection, "truncate public.users cascade")
    assert whole(empty) == before
