"""A copy of the project that a test may change, release, and migrate databases with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import FOLDER, run

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("migrations", "rollback", "sql", "runner", "tests", "docs", "pyproject.toml", "Makefile")


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
