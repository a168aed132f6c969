"""Everything that the command line does, as typed functions for programs.

    from runner import api

    done = api.migrate("postgresql:///shop", applications=["matcha"])
    print([script.id for script in done.applied])

Each function raises runner.errors.RunnerError, whose ``message``, ``detail``, ``hint`` and ``code``
are what the command line prints and exits with.
"""

from __future__ import annotations

from runner.backup import Backup
from runner.demo import Demo, demo
from runner.embedded import Server
from runner.errors import Exit, RunnerError
from runner.locks import MIGRATION_LOCK, Stopped, Terms
from runner.migrate import Done, Migrated, migrate
from runner.rollback import Loss, RollbackPlan, RolledBack, plan_rollback, rollback
from runner.settings import Setting, Settings, load
from runner.status import ScriptStatus, Status, show, show_all, status

__all__ = [
    "MIGRATION_LOCK",
    "Backup",
    "Demo",
    "Done",
    "Exit",
    "Loss",
    "Migrated",
    "RollbackPlan",
    "RolledBack",
    "RunnerError",
    "ScriptStatus",
    "Server",
    "Setting",
    "Settings",
    "Status",
    "Stopped",
    "Terms",
    "demo",
    "embedded_server",
    "load",
    "migrate",
    "plan_rollback",
    "rollback",
    "show",
    "show_all",
    "status",
]


def embedded_server() -> Server:
    """Return the embedded server of the settings; it is not started by this."""
    return Server(load().embedded_folder)
