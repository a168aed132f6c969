"""A database as pg_dump writes it, for comparing two of them."""

from __future__ import annotations

import re
import subprocess

from psycopg.conninfo import conninfo_to_dict

from runner.clients import command, find
from runner.connection import connect

RECORDS = (
    "maintenance._yoyo_*",
    "maintenance.applied_object",
    "maintenance.applied_script*",
    "maintenance.chain",
    "maintenance.endpoint",
    "maintenance.index_build",
    "maintenance.installation",
    "maintenance.policy_change*",
)
"""What tells who migrated and when, and differs between two databases that are the same."""
CHANGED = re.compile(
    r"^(INSERT INTO maintenance\.policy VALUES .*), \d+, '[^']*', '[^']*'\);$", re.MULTILINE
)
"""A policy, and after it which version of it this is, when it was made and by whom."""
RANDOM = ("\\restrict ", "\\unrestrict ")
"""Lines of a key that pg_dump draws anew each time."""


def structure(url: str) -> str:
    """Return the schema of a database, without yoyo's tables, which psql does not make."""
    return _dump(url, "--schema-only", "--exclude-table=maintenance._yoyo_*")


def shipped_data(url: str) -> str:
    """Return the rows that scripts put into schema maintenance."""
    excluded = [f"--exclude-table-data={table}" for table in RECORDS]
    dumped = _dump(url, "--data-only", "--schema=maintenance", "--inserts", *excluded)
    return CHANGED.sub(r"\1);", dumped)


def everything(url: str) -> str:
    """Return schema and shipped data: what a rollback has to bring back."""
    return structure(url) + (shipped_data(url) if "SCHEMA maintenance" in structure(url) else "")


def whole(url: str) -> str:
    """Return all that there is in a database: what an application has to get back."""
    return _dump(url)


def _dump(url: str, *arguments: str) -> str:
    with connect(url, program="test") as connection:
        server = connection.info.server_version
    program = find("pg_dump", server_version=server)
    assert conninfo_to_dict(url)["dbname"]
    words, environ = command(program, url, *arguments)
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(RANDOM))
