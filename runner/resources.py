"""Where the SQL lies: beside the package in a checkout, inside it when it was installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from runner.errors import RunnerError


@cache
def home() -> Path:
    """Return the folder that holds ``migrations/``, ``rollback/`` and ``sql/``.

    A wheel carries the three folders in ``runner/_bundle``; a checkout never has that folder.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_bundle", package.parent):
        if all((folder / name).is_dir() for name in ("migrations", "rollback", "sql")):
            return folder
    raise RunnerError(
        f"the SQL of pg-maintenance is missing beside {package}",
        hint="Install the package again.",
    )


@cache
def query(name: str) -> str:
    """Return the text of ``runner/queries/<name>.sql``."""
    return (Path(__file__).resolve().parent / "queries" / f"{name}.sql").read_text(encoding="utf-8")
