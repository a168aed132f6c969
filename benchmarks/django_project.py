"""A Django project in memory, with its sessions and simplejwt's blacklist of tokens.

It runs one management command of theirs in a process of its own, whose memory is that command's:

    python -m benchmarks.django_project postgresql:///shop clearsessions

and prints what it took. Imports, and opening the connection, are not part of that.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

APPLICATIONS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
]


@dataclass(frozen=True)
class Took:
    """What one command took."""

    ms: float
    memory: int
    """Bytes of memory, at the most."""
    before: int
    """What they were before the command: Python, Django and a connection."""


def versions() -> list[str]:
    """Name what the project is made of."""
    return [
        f"{name} {metadata.version(name)}"
        for name in ("Django", "djangorestframework-simplejwt", "psycopg")
    ]


def command(url: str, name: str) -> Took:
    """Run a management command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, url, name],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
    )
    return Took(**json.loads(done.stdout))


def _run(url: str, name: str) -> Took:
    # Neither Django nor simplejwt has types: what comes from them is Any.
    django: Any = import_module("django")
    conf: Any = import_module("django.conf")
    management: Any = import_module("django.core.management")
    database: Any = import_module("django.db")

    given = conninfo_to_dict(url)
    conf.settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": given["dbname"],
                "USER": given["user"],
                "HOST": given["host"],
                "PORT": given["port"],
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=APPLICATIONS,
        SECRET_KEY="-" * 50,
        TIME_ZONE="UTC",
        USE_TZ=True,
    )
    django.setup()
    database.connection.ensure_connection()

    before = _memory()
    began = time.perf_counter()
    management.call_command(name, verbosity=0)
    return Took((time.perf_counter() - began) * 1000, _memory(), before)


def _memory() -> int:
    """Return the most memory that this process ever had; Linux counts it in kB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    print(json.dumps(asdict(_run(*sys.argv[1:]))))
