"""A dump of the database before something is taken away from it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from runner.clients import environment, find
from runner.errors import RunnerError


@dataclass(frozen=True)
class Backup:
    """A finished dump in pg_dump's custom format."""

    file: Path
    bytes: int


def dump(url: str, *, database: str, server_version: int, folder: Path) -> Backup:
    """Dump a database to ``backup_{database}_{YYYYmmdd_HHMMSS}.dump`` in ``folder``, mode 0600.

    The file has a temporary name until pg_dump has succeeded, pg_restore can list it, and it has
    reached the disk. Raises RunnerError, and leaves no file, when anything of that fails.
    """
    pg_dump = find("pg_dump", server_version=server_version)
    pg_restore = find("pg_restore", server_version=server_version)
    safe_name = "".join(c if c.isalnum() or c in "-_." else "_" for c in database)
    name = f"backup_{safe_name}_{datetime.now().astimezone():%Y%m%d_%H%M%S}"
    partial = folder / f"{name}.partial"
    file = folder / f"{name}.dump"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise RunnerError(
            f"cannot write a backup into {folder}",
            detail=f"{error.strerror}.",
            hint="Name a folder in runner.toml, as folder in the section [backup], "
            "or go without one: --no-backup.",
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as target:
            _run([pg_dump, "--format=custom"], environment(url), stdout=target.fileno())
            os.fsync(target.fileno())
        _run([pg_restore, "--list", partial], dict(os.environ), stdout=subprocess.DEVNULL)
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    return Backup(file, file.stat().st_size)


def _run(command: list[str | Path], env: dict[str, str], *, stdout: int) -> None:
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        report = done.stderr.decode(errors="replace").split("\n")
        raise RunnerError(
            f"{Path(command[0]).name} failed, so nothing was rolled back",
            detail=" ".join(line.strip() for line in report if line.strip()) or None,
            hint="Mend what it says, or go without a backup: --no-backup.",
        )
