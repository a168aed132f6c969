"""What the user has set, and where: the command line, the environment, runner.toml, or nowhere."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.connection import conninfo, masked
from runner.embedded import default_folder
from runner.errors import Exit, RunnerError

LIBPQ = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
"""Variables of libpq that name a server or a database, and thus choose one."""

KNOWN: dict[tuple[str, str], type] = {
    ("backup", "folder"): str,
    ("embedded", "folder"): str,
    ("migrate", "lock_wait"): float,
}
"""Every setting of runner.toml, as section and key, with its type."""


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
    backup_folder: Path
    embedded_folder: Path
    lock_wait: float
    """Seconds for which migrate and rollback try again while others hold a lock they need."""
    sources: Mapping[str, str]

    def listed(self) -> list[Setting]:
        """Return the settings for showing: no secret in them."""
        url = self.database_url
        return [
            Setting(
                "database_url",
                None if url is None else masked(url) or "chosen by libpq",
                self.sources["database_url"],
            ),
            Setting("migrate.lock_wait", self.lock_wait, self.sources["migrate.lock_wait"]),
            Setting("backup.folder", str(self.backup_folder), self.sources["backup.folder"]),
            Setting("embedded.folder", str(self.embedded_folder), self.sources["embedded.folder"]),
        ]


def load(
    database_url: str | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Gather the settings: the argument first, then the environment, then runner.toml.

    The file is ``runner.toml`` in the current folder, or the one that RUNNER_CONFIG names. Raises
    RunnerError (usage) for a file that cannot be read, an unknown key or a wrong type.
    """
    environ = os.environ if environ is None else environ
    file, given = _file(environ)
    sources: dict[str, str] = {}

    def choose(name: str, default: str | float) -> str | float:
        section, _, key = name.partition(".")
        if (section, key) in given:
            sources[name] = str(file)
            return given[section, key]
        sources[name] = "default"
        return default

    backup_folder = choose("backup.folder", str(default_folder() / "backups"))
    embedded_folder = choose("embedded.folder", str(default_folder()))
    lock_wait = choose("migrate.lock_wait", 30.0)
    if environ.get("RUNNER_PG_DIR"):
        embedded_folder, sources["embedded.folder"] = environ["RUNNER_PG_DIR"], "RUNNER_PG_DIR"
    if float(lock_wait) < 0:
        raise RunnerError(
            f"{file}: migrate.lock_wait must not be negative",
            hint="It is the number of seconds to keep trying for a lock.",
            code=Exit.USAGE,
        )
    url, sources["database_url"] = _database_url(database_url, environ)
    return Settings(
        url,
        Path(backup_folder).expanduser(),
        Path(embedded_folder).expanduser(),
        float(lock_wait),
        sources,
    )


def _database_url(option: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    if option is not None:
        return conninfo(option), "--database-url"
    if environ.get("DATABASE_URL"):
        return conninfo(environ["DATABASE_URL"]), "DATABASE_URL"
    if named := [name for name in LIBPQ if environ.get(name)]:
        return "", ", ".join(named)
    return None, "not set"


def _file(environ: Mapping[str, str]) -> tuple[Path | None, dict[tuple[str, str], Any]]:
    named = environ.get("RUNNER_CONFIG")
    file = Path(named or "runner.toml")
    if not named and not file.exists():
        return None, {}
    try:
        sections = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunnerError(
            f"cannot read {file}",
            detail=f"{error}.",
            hint="RUNNER_CONFIG names the file." if named else None,
            code=Exit.USAGE,
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise RunnerError(
            f"{file} is not TOML", detail=f"{error}.", hint="See docs/configuration.md.", code=Exit.USAGE
        ) from None
    given: dict[tuple[str, str], Any] = {}
    for section, keys in sections.items():
        for key, value in keys.items() if isinstance(keys, dict) else [("", keys)]:
            expected = KNOWN.get((section, key))
            name = f"{section}.{key}".rstrip(".")
            if expected is None:
                raise RunnerError(
                    f"{file}: there is no setting {name}",
                    hint="The settings are "
                    + ", ".join(f"{known}.{setting}" for known, setting in KNOWN)
                    + ".",
                    code=Exit.USAGE,
                )
            right = (int, float) if expected is float else expected
            if not isinstance(value, right) or isinstance(value, bool):
                raise RunnerError(
                    f"{file}: {name} must be a {'number' if expected is float else 'text'}",
                    code=Exit.USAGE,
                )
            given[section, key] = value
    return file, given
