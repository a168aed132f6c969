"""What CONTRIBUTING.md says about releases, done in a copy of the project and to a database."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.conftest import scalar
from tests.migrations.dumps import everything
from tests.migrations.projects import Project, copy_to
from tests.statements import execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

CORE = ("core", "pause_reason", "'paused by ", "'resting for ")
APPLICATION = (
    "matcha",
    "cleanup_expired_refresh_tokens",
    "token.expires_at < now()",
    "token.expires_at < now() - interval '1 hour'",
)
SWEEPS = ("core", "sweep_body", "-- Most inserts come no further", "-- Few inserts come further")
WRITTEN_AGAIN = (
    "\nselect maintenance.install_sweep(maintenance.read_policy(sweep.policy))"
    "\nfrom maintenance.insert_sweep as sweep;\n"
)
"""What CONTRIBUTING.md tells to add where a function changes that writes functions."""


@pytest.fixture(scope="module")
def _released(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_to(tmp_path_factory.mktemp("released") / "project")
    project.freeze()
    return project


@pytest.fixture
def project(_released: Project, tmp_path: Path) -> Project:
    """A copy of the project in which everything is released."""
    return Project(Path(shutil.copytree(_released.folder, tmp_path / "project")))


def migrated(project: Project, url: str) -> None:
    """Migrate a database, and do with policies what users do."""
    project.succeed("migrate", "--app", "matcha", url=url)
    with psycopg.connect(url, autocommit=True) as db:
        execute(db, "create table public.note (id bigint primary key, written timestamptz)")
        execute(db, "create index on public.note (written)")
        execute(
            db,
            "select maintenance.register_policy(policy => 'notes', relation => 'public.note',"
            """ definition => '{"operation": "logs", "column": "written", "retention": "9 d"}')""",
        )
        execute(db, "select maintenance.alter_policy('refresh_tokens', '{\"retention\": \"5 d\"}')")
        execute(db, "select maintenance.enable_policy('unverified_users')")


def policies(url: str) -> list[object]:
    """Return what is registered, and what users changed."""
    with psycopg.connect(url) as db:
        return [
            *rows(db, "select * from maintenance.policy order by name"),
            *rows(db, "select * from maintenance.policy_override order by policy"),
        ]


def behaviour(url: str) -> tuple[str, int]:
    """Return what the two functions do, by calling them."""
    with psycopg.connect(url) as db:
        execute(db, "select maintenance.pause_runs('tea')")
        execute(
            db,
            "with owner as (insert into users (username, email, password_hash)"
            " values ('ada', 'ada@example.org', 'x') returning id)"
            " insert into refresh_tokens (user_id, token_hash, expires_at)"
            " select id, 'new', now() + interval '1 hour' from owner;"
            " update refresh_tokens set expires_at = now() - interval '1 minute'",
        )
        word = str(scalar(db, "select split_part(maintenance.pause_reason(), ' ', 1)"))
        removed = int(scalar(db, "select cleanup_expired_refresh_tokens()"))
        db.rollback()
    return word, removed


def test_a_migration_replaces_what_an_earlier_one_installed_and_its_rollback_brings_it_back(
    project: Project, empty: str
) -> None:
    migrated(project, empty)
    assert behaviour(empty) == ("paused", 1)
    project.change(*CORE)
    project.succeed("migrate", url=empty)
    assert behaviour(empty) == ("resting", 1)
    project.succeed("rollback", "--steps", "1", "--yes", url=empty)
    assert behaviour(empty) == ("paused", 1)


@pytest.mark.slow
def test_a_database_goes_from_one_release_to_the_next_and_back(
    project: Project, empty: str, new_database: Callable[..., str]
) -> None:
    migrated(project, empty)
    before, registered = everything(empty), policies(empty)

    changes = [
        project.change(*CORE),
        project.change(*SWEEPS, more=WRITTEN_AGAIN),
        project.change(*APPLICATION),
    ]
    checked = project.check()
    assert checked.returncode == 0, checked.stdout
    status = project.run("status", url=empty)
    assert status.returncode == 5
    assert re.findall(r"(\w+/\d+_change_\w+)\s+pending", status.stdout) == changes
    assert "changed" not in status.stdout

    would = project.succeed("migrate", "--dry-run", url=empty)
    assert [line.rpartition(" ")[2] for line in would.splitlines()] == changes
    project.succeed("migrate", url=empty)
    after = everything(empty)
    assert after != before
    assert after.count(SWEEPS[3]) == 4, "in sweep_body, and in the functions that it wrote"
    assert behaviour(empty) == ("resting", 0)
    assert policies(empty) == registered
    project.succeed("status", url=empty)

    project.succeed("rollback", "--steps", "3", "--yes", url=empty)
    assert everything(empty) == before
    assert behaviour(empty) == ("paused", 1)
    assert policies(empty) == registered

    project.succeed("migrate", url=empty)
    assert everything(empty) == after
    project.freeze()
    project.succeed("status", url=empty)
    anew = new_database("anew")
    migrated(project, anew)
    assert everything(anew) == after, "who comes late has the same database"
    project.succeed("rollback", "--all", "--yes", "--no-backup", url=empty)
    with psycopg.connect(empty) as db:
        assert scalar(db, "select to_regnamespace('maintenance') is null")


@pytest.mark.slow
def test_sweeps_that_a_migration_forgot_to_write_again_are_named(
    project: Project, empty: str
) -> None:
    migrated(project, empty)
    project.change(*SWEEPS)
    project.succeed("migrate", url=empty)
    status = project.run("status", url=empty)
    assert status.returncode == 5
    assert "its function is not what the policy says" in status.stdout


@pytest.mark.parametrize(
    ("forgotten", "test", "remedy"),
    [
        (1, "test_released_migrations_are_frozen", "sql/<chain>/past/<object>@<migration>.sql"),
        (2, "test_released_migrations_are_frozen", "include that file there instead"),
        (4, "test_each_definition_is_installed_by_one_migration", "include it in a new migration"),
        (
            5,
            "test_every_migration_has_its_rollback_and_every_rollback_its_migration",
            "missing: rollback/{}_down.sql",
        ),
    ],
    ids=["past file", "old migration", "new migration", "rollback"],
)
def test_a_forgotten_step_is_named(
    project: Project, forgotten: int, test: str, remedy: str
) -> None:
    change = project.change(*CORE, forgotten=forgotten)
    checked = project.check()
    assert checked.returncode == 1
    assert re.search(rf"^FAILED \S+::{test}\b", checked.stdout, re.MULTILINE)
    assert remedy.format(change) in checked.stdout


def test_a_rollback_that_brings_nothing_back_is_named(project: Project) -> None:
    down = f"rollback/{project.change(*CORE)}_down.sql"
    project.edit(down, "\\ir ../../sql/core/past/pause_reason@0004.sql\n", "select;\n")
    checked = project.check()
    assert checked.returncode == 1
    assert "include ['pause_reason@0004.sql'] in the rollback" in checked.stdout


def test_a_script_that_was_applied_and_edited_is_refused_with_its_way_out(
    project: Project, empty: str
) -> None:
    migrated(project, empty)
    before = everything(empty)
    live = f"sql/core/functions/{CORE[1]}.sql"
    project.edit(live, CORE[2], CORE[3])
    released = project.run("migrate", url=empty)
    assert released.returncode == 4
    assert "is no longer what was applied to database" in released.stderr
    assert "hint: Install pg-maintenance again: a released script never changes." in released.stderr
    assert project.run("status", url=empty).returncode == 5
    checksums = project.folder / "migrations/checksums.txt"
    checksums.write_text("# nothing is released\n")
    unreleased = project.run("migrate", url=empty)
    assert unreleased.returncode == 4
    assert "runner db reset" in unreleased.stderr
    assert everything(empty) == before
