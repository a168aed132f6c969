"""A dump of the database before something is taken away from it."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg import Connection

from runner.clients import command, find
from runner.connection import scrubbed
from runner.errors import RunnerError


@dataclass(frozen=True)
class Backup:
    """A finished dump in pg_dump's custom format."""

    file: Path
    bytes: int


def dump(connection: Connection, url: str, folder: Path) -> Backup:
    """Dump the database of ``connection`` into ``folder``; ``url`` is what it was opened with.

    The file is ``backup_{database}_{YYYYmmdd_HHMMSS}.dump``, mode 0600; it never replaces another.
    It has a temporary name until pg_dump has succeeded, pg_restore has read in it that it is of
    this database, and it has reached the disk. Raises RunnerError, and leaves no file, when
    anything of that fails.
    """
    version = connection.info.server_version
    pg_dump = find("pg_dump", server_version=version)
    pg_restore = find("pg_restore", server_version=version)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file, descriptor = _reserved(folder, connection.info.dbname)
    except OSError as error:
        raise RunnerError(
            f"cannot write a backup into {folder}",
            detail=f"{error.strerror}.",
            hint="Name a folder in runner.toml, as folder in the section [backup], "
            "or go without one: --no-backup.",
        ) from None
    partial = file.with_suffix(".partial")
    try:
        arguments, environ = command(pg_dump, url, "--format=custom", connection=connection)
        with os.fdopen(descriptor, "wb") as target:
            _run(arguments, environ, url, stdout=target.fileno())
            os.fsync(target.fileno())
        listed = _run([str(pg_restore), "--list", str(partial)], dict(os.environ), url)
        found = re.search(r"^; +dbname: (.*)$", listed, re.MULTILINE)
        if found is None or found[1] != connection.info.dbname:
            raise RunnerError(
                "the dump is not one of this database, so nothing was rolled back",
                hint="Say which server is meant in the URL alone, and report this.",
            )
        os.link(partial, file)  # unlike a rename, this never replaces a file
        _sync(folder)
    finally:
        partial.unlink(missing_ok=True)
    return Backup(file, file.stat().st_size)


def _reserved(folder: Path, database: str) -> tuple[Path, int]:
    """Choose a name that no other dump has, and open its temporary file."""
    safe_name = "".join(c if c.isalnum() or c in "-_." else "_" for c in database)
    name = f"backup_{safe_name}_{datetime.now().astimezone():%Y%m%d_%H%M%S}"
    for suffix in ("", *(f"_{number}" for number in range(2, 100))):
        file = folder / f"{name}{suffix}.dump"
        if file.exists():
            continue
        with suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            return file, os.open(file.with_suffix(".partial"), flags, 0o600)
    raise FileExistsError(errno.EEXIST, "too many dumps within one second")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _run(arguments: list[str], environ: dict[str, str], url: str, stdout: int | None = None) -> str:
    done = subprocess.run(
        arguments,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise RunnerError(
            f"{Path(arguments[0]).name} failed, so nothing was rolled back",
            detail=scrubbed(done.stderr.decode(errors="replace"), url) or None,
            hint="Mend what it says, or go without a backup: --no-backup.",
        )
    return done.stdout.decode(errors="replace") if done.stdout else ""
