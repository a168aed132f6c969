"""A dump of the database before something is taken away from it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from psycopg import Connection

from runner.clients import command, find
from runner.connection import scrubbed
from runner.errors import RunnerError
from runner.files import partial_of, reserve, sync


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
        file, descriptor = reserve(folder, f"backup_{connection.info.dbname}", ".dump")
    except OSError as error:
        raise RunnerError(
            f"cannot write a backup into {folder}",
            detail=f"{error.strerror}.",
            hint="Name a folder in runner.toml, as folder in the section [backup], "
            "or go without one: --no-backup.",
        ) from None
    partial = partial_of(file)
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
        sync(folder)
    finally:
        partial.unlink(missing_ok=True)
    return Backup(file, file.stat().st_size)


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
