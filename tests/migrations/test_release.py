"""What CONTRIBUTING.md says about releases, done in a copy of the project and to a database."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.conftest import FOLDER, run, scalar
from tests.migrations.dumps import everything
from tests.statements import execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("migrations", "rollback", "sql", "runner", "tests", "docs", "pyproject.toml", "Makefile")

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


@dataclass(frozen=True)
class Project:
    """A copy of the project that may be changed, and whose own runner migrates."""

    folder: Path

    def freeze(self) -> None:
        """Release what there is, as CONTRIBUTING.md says."""
        # .venv/ready is older than everything: no environment has to be made
        words = ["make", "-s", "-o", ".venv/ready", "freeze", f"BIN={Path(sys.executable).parent}"]
        subprocess.run(words, cwd=self.folder, check=True, capture_output=True)

    def run(self, *arguments: str, url: str) -> subprocess.CompletedProcess[str]:
        """Run the copy's command ``runner``."""
        environ = {"PYTHONPATH": str(self.folder)}
        return run(*arguments, url=url, environ=environ, folder=self.folder)

    def succeed(self, *arguments: str, url: str) -> str:
        """Run the copy's command ``runner``, which has to succeed; return what it printed."""
        done = self.run(*arguments, url=url)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run the copy's own tests of its layout."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        kept.pop(FOLDER, None)
        return subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
                *("-o", "addopts=", "tests/migrations/test_scripts.py"),
            ],
            cwd=self.folder,
            env=kept | {"PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    def edit(self, path: str | Path, old: str, new: str) -> None:
        """Replace the one place of a file that has this text."""
        text = (self.folder / path).read_text()
        assert text.count(old) == 1
        (self.folder / path).write_text(text.replace(old, new))

    def change(
        self, chain: str, name: str, old: str, new: str, *, forgotten: int = 0, more: str = ""
    ) -> str:
        """Change a released function in the four steps of CONTRIBUTING.md, or forget one of them.

        The fourth step has two files; 5 is the rollback's. ``more`` ends both of them. Returns the
        id of the new migration.
        """
        live = f"sql/{chain}/functions/{name}.sql"
        [migration] = [
            path
            for path in (self.folder / "migrations" / chain).glob("*.sql")
            if f"../../{live}\n" in path.read_text()
        ]
        past = f"sql/{chain}/past/{name}@{migration.stem[:4]}.sql"
        if forgotten != 1:
            (self.folder / past).parent.mkdir(exist_ok=True)
            shutil.copy(self.folder / live, self.folder / past)
        if forgotten not in (1, 2):
            self.edit(migration, f"\\ir ../../{live}\n", f"\\ir ../../{past}\n")
        if forgotten != 3:
            self.edit(live, old, new)
        last = max(int(path.name[:4]) for path in migration.parent.glob("*.sql"))
        stem = f"{last + 1:04}_change_{name}"
        text = f"-- Changes a function.\n\n\\ir ../../{{}}\n{more}"
        if forgotten != 4:
            (migration.parent / f"{stem}.sql").write_text(text.format(live))
        if forgotten != 5:
            down = self.folder / "rollback" / chain / f"{stem}_down.sql"
            down.write_text(text.format(past).replace("Changes", "Restores"))
        return f"{chain}/{stem}"


def copy_to(folder: Path) -> Project:
    """Copy the project, without what a checkout has beside it, and without a past."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "_bundle")
            shutil.copytree(ROOT / part, folder / part, ignore=unwanted)
        else:
            shutil.copy(ROOT / part, folder / part)
    return Project(folder)


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
