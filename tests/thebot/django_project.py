"""A Django project with THE_BOT's tables, in a process of its own: Django has one per process.

    python -m tests.thebot.django_project postgresql:///shop migrate

makes the tables as Django does, and ``history`` prints what its models read of maintenance.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

ROOT = Path(__file__).parents[2]


def django(url: str, command: str) -> str:
    """Let Django do one thing with a database, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, url, command],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(url: str, command: str) -> None:
    settings: Any = import_module("django.conf").settings
    setup: Any = import_module("django")
    management: Any = import_module("django.core.management")
    where = conninfo_to_dict(url)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": where["dbname"],
                "USER": where.get("user"),
                "HOST": where.get("host"),
                "PORT": where.get("port"),
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "tests.thebot.core",
        ],
        SECRET_KEY="-" * 50,
        TIME_ZONE="UTC",
        USE_TZ=True,
    )
    setup.setup()
    if command == "migrate":
        management.call_command("migrate", verbosity=0)  # users come first
        management.call_command("migrate", run_syncdb=True, verbosity=0)
    else:
        _print_history()


def _print_history() -> None:
    """Print what somebody sees who looks at the history as THE_BOT's guide says."""
    log: Any = import_module("tests.thebot.core.models").TaskExecutionLog
    runs = log.objects.filter(task_name="database_maintenance")
    for run in runs.order_by("-started_at")[:10]:
        print(f"{run.status} ({run.duration_seconds >= 0})")  # noqa: T201
    print(json.dumps(runs.latest("started_at").result["cleanup"]["rows_processed"]))  # noqa: T201


if __name__ == "__main__":
    _run(*sys.argv[1:])
