"""What the user has set, and where: the command line, the environment, runner.toml, or nowhere."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from runner.connection import conninfo, masked
from runner.embedded import Server, default_folder
from runner.errors import Exit, RunnerError

LIBPQ = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
"""Variables of libpq that name a server or a database, and thus choose one."""

TEXTS = ("backup.folder", "embedded.folder")
NUMBERS = ("migrate.lock_wait",)
COUNTS = ("run.jobs",)
CHOICES = {"run.pace": ("full", "polite", "lag")}
"""Every setting of runner.toml: section and key."""

NAMES = (*TEXTS, *NUMBERS, *COUNTS, *CHOICES)


@dataclass(frozen=True)
class Setting:
    """A setting that is in force, and where it comes from."""

    name: str
    value: str | float | None
    source: str


@dataclass(frozen=True)
class Settings:
    """Every setting that is in force."""

    database_url: str | None
    """None when nobody named a database; "" when libpq's own variables do."""
    backup_folder: Path | None
    embedded_folder: Path | None
    """None where neither a setting nor a home says where; see ``folder``."""
    lock_wait: float
    """Seconds for which migrate and rollback try again while others hold a lock they need."""
    jobs: int
    """Sessions of a run."""
    pace: str | None
    """Pace of a run. None: full, but polite for what had to be accepted."""
    sources: Mapping[str, str]

    def listed(self) -> list[Setting]:
        """Return the settings for showing: no secret in them."""
        url = self.database_url
        shown: dict[str, str | float | None] = {
            "database_url": None if url is None else masked(url) or "chosen by libpq",
            "migrate.lock_wait": self.lock_wait,
            "run.jobs": self.jobs,
            "run.pace": self.pace,
            "backup.folder": _shown(self.backup_folder),
            "embedded.folder": _shown(self.embedded_folder),
        }
        return [Setting(name, value, self.sources[name]) for name, value in shown.items()]


def load(database_url: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Gather the settings: the argument first, then the environment, then runner.toml.

    The file is ``runner.toml`` in the current folder, or the one that RUNNER_CONFIG names. Raises
    RunnerError (usage) for a file that cannot be read, an unknown key or a wrong value.
    """
    environ = os.environ if environ is None else environ
    file = Path(environ.get("RUNNER_CONFIG") or "runner.toml")
    given = _read(file) if environ.get("RUNNER_CONFIG") or file.exists() else {}
    sources = {name: str(file) if name in given else "default" for name in NAMES}
    if environ.get("RUNNER_PG_DIR"):
        given["embedded.folder"] = environ["RUNNER_PG_DIR"]
        sources["embedded.folder"] = "RUNNER_PG_DIR"
    url, sources["database_url"] = _database_url(database_url, environ)
    return Settings(
        database_url=url,
        backup_folder=_path(given.get("backup.folder"), "backups"),
        embedded_folder=_path(given.get("embedded.folder"), ""),
        lock_wait=float(given.get("migrate.lock_wait", 30)),
        jobs=int(given.get("run.jobs", 1)),
        pace=str(given["run.pace"]) if "run.pace" in given else None,
        sources=sources,
    )


def _database_url(option: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    if option is not None:
        return conninfo(option), "--database-url"
    if environ.get("DATABASE_URL"):
        return conninfo(environ["DATABASE_URL"]), "DATABASE_URL"
    if named := [name for name in LIBPQ if environ.get(name)]:
        return "", ", ".join(named)
    return None, "not set"


def _read(file: Path) -> dict[str, str | float]:
    """Return the settings of a file as section.key, or raise RunnerError for a wrong one."""
    try:
        sections = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunnerError(
            f"cannot read the settings in {file}", detail=f"{error}.", code=Exit.USAGE
        ) from None
    given = {
        f"{section}.{key}" if isinstance(keys, dict) else section: value
        for section, keys in sections.items()
        for key, value in (
            cast("dict[str, Any]", keys) if isinstance(keys, dict) else {"": keys}
        ).items()
    }
    for name, value in given.items():
        if name in TEXTS:
            wanted, right = "a path", isinstance(value, str) and bool(value.strip("\0 "))
        elif name in NUMBERS:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            wanted, right = "a number, and not negative", is_number and value >= 0
        elif name in COUNTS:
            is_count = isinstance(value, int) and not isinstance(value, bool)
            wanted, right = "a whole number from 1 on", is_count and value >= 1
        elif name in CHOICES:
            wanted, right = f"one of {', '.join(CHOICES[name])}", value in CHOICES[name]
        else:
            raise RunnerError(
                f"{file} has a setting {name}, which does not exist",
                hint=f"The settings are {', '.join(NAMES)}.",
                code=Exit.USAGE,
            )
        if not right:
            raise RunnerError(f"{name} in {file} must be {wanted}, not {value!r}", code=Exit.USAGE)
    return given


def _path(given: str | float | None, below: str) -> Path | None:
    """Return the folder that was given, or one below the default folder, if there is a home."""
    try:
        return Path(str(given)).expanduser() if given is not None else default_folder() / below
    except RuntimeError:  # a user without a name and a home, as in containers
        return None


def _shown(path: Path | None) -> str | None:
    return None if path is None else str(path)


def folder(path: Path | None, section: str) -> Path:
    """Return a folder of the settings, or raise RunnerError where there is none."""
    if path is None:
        raise RunnerError(
            f"there is no folder for {section}, because this user has no home",
            hint=f"Name one in runner.toml, as folder in the section [{section}].",
            code=Exit.USAGE,
        )
    return path


def embedded_server(settings: Settings | None = None) -> Server:
    """Return the embedded server of the settings; this does not start it."""
    return Server(folder((settings or load()).embedded_folder, "embedded"))
