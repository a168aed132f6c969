"""Every migration goes up, down and up to an identical database, with the runner and with psql."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner import api
from runner.clients import command, find
from runner.scripts import script, scripts
from tests.conftest import TestServer, run, scalar
from tests.migrations.dumps import everything, shipped_data, structure

ALL = scripts(["matcha"])


def undo(url: str, **how: int | str | bool) -> api.RolledBack:
    """Roll back without a dump."""
    plan = api.plan_rollback(url, **how)  # pyright: ignore[reportArgumentType]
    return api.rollback(url, plan, backup_folder=None)


def psql(url: str, *arguments: str | Path, stdin: str | None = None) -> None:
    """Run psql on a database, from a folder unlike ours, and stop at the first error."""
    words, environ = command(
        find("psql"), url, "-Xq", "-v", "ON_ERROR_STOP=1", *map(str, arguments)
    )
    subprocess.run(
        words, env=environ, cwd="/", input=stdin, text=True, check=True, capture_output=True
    )


def build_indexes_with_psql(url: str) -> None:
    """Do what the header of the view missing_indexes tells users of psql."""
    columns = "drop_statement, create_statement, comment_statement"
    psql(url, stdin=f"select {columns} from maintenance.missing_indexes \\gexec\n")


@pytest.mark.parametrize("position", range(len(ALL)), ids=[one.id for one in ALL])
def test_a_rollback_undoes_its_migration(empty: str, position: int) -> None:
    if position:
        api.migrate(empty, applications=["matcha"], to=ALL[position - 1].id)
    before = everything(empty)

    api.migrate(empty, applications=["matcha"], to=ALL[position].id)
    after = everything(empty)
    assert after != before, "the migration changes nothing"

    assert [one.id for one in undo(empty, steps=1).undone] == [ALL[position].id]
    assert everything(empty) == before

    api.migrate(empty, applications=["matcha"], to=ALL[position].id)
    assert everything(empty) == after


def test_everything_rolled_back_leaves_nothing(empty: str) -> None:
    before = structure(empty)
    api.migrate(empty)
    undo(empty, everything=True)
    assert structure(empty) == before
    with psycopg.connect(empty) as connection:
        assert scalar(connection, "select to_regnamespace('maintenance') is null")


def test_psql_builds_the_same_database(
    server: TestServer, empty: str, new_database: Callable[..., str]
) -> None:
    for one in ALL:
        psql(empty, "-1", "-f", one.up)
    build_indexes_with_psql(empty)
    migrated = new_database("migrated", template=server.template)
    assert structure(empty) == structure(migrated)
    assert shipped_data(empty) == shipped_data(migrated)


def test_psql_takes_it_down_again(empty: str) -> None:
    before = structure(empty)
    for one in ALL:
        psql(empty, "-1", "-f", one.up)
    for one in reversed(ALL):
        psql(empty, "-1", "-f", one.down)
    assert structure(empty) == before


def test_psql_rollbacks_also_drop_the_built_indexes(empty: str) -> None:
    before = structure(empty)
    for one in ALL:
        psql(empty, "-1", "-f", one.up)
    build_indexes_with_psql(empty)
    for one in reversed(ALL):
        psql(empty, "-1", "-f", one.down)
    assert structure(empty) == before


def test_the_text_for_an_editor_builds_the_same_database(
    server: TestServer, empty: str, new_database: Callable[..., str]
) -> None:
    before = structure(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(api.show_all(["matcha"]).encode())
        migrated = new_database("migrated", template=server.template)
        assert structure(empty) == structure(migrated)
        connection.execute(api.show_all(["matcha"], rollback=True).encode())
    assert structure(empty) == before


def test_an_ordinary_owner_of_the_database_can_do_it_all(
    new_database: Callable[..., str], role: Callable[[str], str], server: TestServer
) -> None:
    owner = role("owner")
    url = new_database("owned", owner=owner)
    as_owner = make_conninfo(url, user=owner)
    before = structure(url)
    api.migrate(as_owner)
    with psycopg.connect(as_owner, autocommit=True) as connection:
        connection.execute("select * from cleanup_all_expired_tokens()")
        connection.execute("select * from maintenance.token_growth")
    assert api.status(as_owner).is_up_to_date
    undo(as_owner, everything=True)
    assert structure(url) == before


def test_chains_can_be_added_later(empty: str) -> None:
    first = api.migrate(empty, applications=["none"])
    assert first.chains == ["core"]
    assert api.status(empty).is_up_to_date
    assert not api.migrate(empty).applied, "core alone was wanted, and stays alone"
    second = api.migrate(empty, applications=["matcha"])
    assert [one.id for one in second.applied] == [
        one.id for one in scripts(["matcha"]) if one.chain == "matcha"
    ]


def test_a_chain_that_was_rolled_back_does_not_come_back(empty: str) -> None:
    api.migrate(empty)
    undo(empty, to=[one.id for one in ALL if one.chain == "core"][-1])
    assert not api.migrate(empty).applied
    assert api.status(empty).chains == ["core"]


def test_the_last_applied_is_the_first_rolled_back(empty: str) -> None:
    """Also where a chain's script was applied after those of another chain."""
    api.migrate(empty, to="core/0002_declare_indexes")
    api.migrate(empty, to="core/0003_monitor_tables")
    api.migrate(empty, applications=["matcha"])
    undone = undo(empty, everything=True).undone
    assert [one.id for one in undone] == [one.id for one in reversed(ALL)]


def test_migrating_to_a_script_stops_after_it(empty: str) -> None:
    done = api.migrate(empty, to="matcha/0003_password_reset_tokens")
    assert done.applied[-1].id == "matcha/0003_password_reset_tokens"
    assert done.indexes, "the indexes of what is there are built"
    rest = api.migrate(empty)
    assert [one.id for one in rest.applied] == [
        "matcha/0004_email_verification",
        "matcha/0005_refresh_tokens",
        "matcha/0006_performance_and_cleanup_improvements",
        "matcha/0007_tend_unverified_users",
    ]


def test_migrating_backwards_is_refused_with_the_way_to_do_it(empty: str) -> None:
    api.migrate(empty)
    with pytest.raises(api.RunnerError, match="beyond matcha/0002_add_profile_picture") as refusal:
        api.migrate(empty, to="matcha/0002_add_profile_picture")
    assert refusal.value.code == api.Exit.USAGE
    assert "rollback --to matcha/0002_add_profile_picture" in str(refusal.value.hint)


def test_a_dry_run_says_what_would_be_applied_and_writes_nothing(empty: str) -> None:
    before = structure(empty)
    plan = api.migrate(empty, dry_run=True)
    assert [one.id for one in plan.applied] == [one.id for one in ALL]
    assert structure(empty) == before


def test_each_script_is_booked_once_with_its_checksum(empty: str) -> None:
    api.migrate(empty)
    api.migrate(empty)
    with psycopg.connect(empty) as connection:
        booked = connection.execute(
            "select migration_id, checksum from maintenance.applied_script order by position"
        ).fetchall()
        yoyo = connection.execute(
            "select migration_id from maintenance._yoyo_migration order by applied_at_utc"
        ).fetchall()
        public = scalar(
            connection, "select count(*) from pg_tables where tablename like '%yoyo%'"
            " and schemaname <> 'maintenance'"
        )  # fmt: skip
    assert booked == [(one.id, one.checksum) for one in ALL]
    assert yoyo == [(one.id,) for one in ALL]
    assert public == 0


def test_the_checksum_is_that_of_what_show_prints() -> None:
    shown = run("show", "matcha/0001_init").stdout
    assert hashlib.sha256(shown.encode()).hexdigest() == script("matcha/0001_init").checksum
