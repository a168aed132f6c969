"""What goes wrong in a round, and when."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import sleep
from typing import TYPE_CHECKING

import psycopg

from tests.campaign.drivers import until
from tests.campaign.schema import literal
from tests.statements import column, execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from tests.campaign.drivers import Running
    from tests.campaign.relay import Relay
    from tests.campaign.schema import Table
    from tests.campaign.server import Scratch
    from tests.campaign.workload import Writer

SERVER = ["kill backend", "kill backend", "kill postmaster", "restart", "disk full", "disk full"]
SESSIONS = [
    "terminate", "terminate", "cancel", "cut", "cut runner", "kill runner", "kill runner",
    "stop runner",
]  # fmt: skip
OTHERS = [
    "stop run", "break lease", "pause", "change policy", "vacuum full", "reindex", "lock table",
    "vacuum", "checkpoint",
]  # fmt: skip
ANY_SESSION = "application_name <> 'campaign'"
IN_A_BATCH = "state = 'active' and query ~ 'maintenance.(drive_batches|run_|purge_batch)'"
CUES = {
    "runner": f"application_name like 'runner run%' and {IN_A_BATCH}",
    "driver": f"application_name <> 'campaign' and {IN_A_BATCH}",
    "any": ANY_SESSION,
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong, so many seconds after a session was seen that is in the middle of it."""

    kind: str
    cue: str
    delay: float
    seed: int


def draw_faults(random: Random, *, has_commands: bool) -> tuple[Fault, ...]:
    """Draw the faults of a round: none sometimes, and at most one that takes the server down."""
    sessions = [kind for kind in SESSIONS if has_commands or "runner" not in kind]
    kinds = [
        random.choice(random.choice([sessions, sessions, OTHERS]))
        for _ in range(random.choice([0, 1, 2, 3, 4]))
    ]
    if random.random() < 0.4:
        kinds.insert(random.randint(0, len(kinds)), random.choice(SERVER))
    cues = ["runner", "runner", "driver", "any"] if has_commands else ["driver", "any"]
    return tuple(
        Fault(
            kind, "runner" if "runner" in kind else random.choice(cues),
            random.choice([0, 0.01, 0.03, 0.2]) * random.random(), random.getrandbits(32),
        )
        for kind in kinds
    )  # fmt: skip


class Troublemaker:
    """Brings the faults of a round about, one after the other."""

    def __init__(
        self,
        scratch: Scratch,
        connect: Callable[[str], Connection],
        table: Table,
        policies: tuple[str, ...],
        writers: list[Writer],
        commands: list[Running],
        relay: Relay,
    ) -> None:
        """connect opens a session on the round's database."""
        self._scratch = scratch
        self._connect = connect
        self._table = table
        self._policies = policies
        self._writers = writers
        self._commands = commands
        self._relay = relay
        self.done: list[str] = []

    def make(self, faults: tuple[Fault, ...]) -> None:
        """Bring them all about."""
        for fault in faults:
            self._wait_for(fault)
            try:
                said = self._do(fault)
            except psycopg.Error as error:  # it may have hit itself
                said = f"{error.sqlstate}"
            self._scratch.mend()
            self.done.append(f"{fault.kind} ({said})" if said else fault.kind)

    def _wait_for(self, fault: Fault) -> None:
        with suppress(psycopg.OperationalError), self._connect("campaign") as observer:
            until(
                lambda: (
                    self._sessions(observer, CUES[fault.cue])
                    or (fault.cue == "runner" and all(one.is_done for one in self._commands))
                ),
                1.5 if fault.cue == "runner" else 0.5,
            )
        sleep(fault.delay)

    def _sessions(self, observer: Connection, which: str) -> list[int]:
        return column(
            observer,
            f"select pid from pg_stat_activity where ({which}) and datname = current_database()"
            " and backend_type in ('client backend', 'parallel worker') order by pid",
        )

    def _do(self, fault: Fault) -> str | None:
        random = Random(fault.seed)
        if fault.kind == "cut":
            random.choice(self._writers).cut()
        elif fault.kind == "cut runner":
            is_half = random.random() < 0.5
            cut = self._relay.cut(is_half=is_half)
            return f"{cut} lines{' by half' if is_half else ''}"
        elif fault.kind in ("kill runner", "stop runner"):
            return self._signal(random, fault.kind)
        elif fault.kind == "restart":
            self._scratch.restart()
        elif fault.kind == "kill postmaster":
            self._scratch.kill_postmaster()
        elif fault.kind == "disk full":
            self._scratch.disk.fill()
            sleep(random.choice([0.1, 0.25, 0.5]))
            was_up = self._scratch.server.is_running()
            return None if was_up else "the server went down"
        else:
            with self._connect("campaign") as session:
                return self._say(session, random, fault)
        return None

    def _signal(self, random: Random, kind: str) -> str | None:
        running = [command for command in self._commands if not command.is_done]
        if not running:
            return "none runs"
        command = random.choice(running)
        if kind == "kill runner":
            command.signal(signal.SIGKILL)
            return None
        for _ in range(random.choice([1, 1, 2, 3])):
            command.signal(random.choice([signal.SIGTERM, signal.SIGINT]))
            sleep(random.choice([0, 0.02]))
        return None

    def _say(self, session: Connection, random: Random, fault: Fault) -> str | None:
        """Do what takes a session of the database."""
        if fault.kind in ("kill backend", "terminate", "cancel"):
            pids = self._sessions(session, CUES[fault.cue]) or self._sessions(session, ANY_SESSION)
            if not pids:
                return "there is no session"
            pid = random.choice(pids)
            if fault.kind == "kill backend":
                if not self._scratch.kill_backend(pid):
                    return "it was gone"
                # the server takes a moment to notice, and then it ends all sessions, this one too
                until(lambda: _is_lost(session), 10)
                return None
            verb = "terminate" if fault.kind == "terminate" else "cancel"
            execute(session, f"select pg_{verb}_backend({pid})")
            return None
        policy = literal(random.choice(self._policies))
        table = self._table.relation
        execute(session, "set lock_timeout = '300ms'")
        if fault.kind == "lock table":
            mode = random.choice(["share", "share row exclusive", "exclusive", "access exclusive"])
            execute(session, f"begin; lock table {table} in {mode} mode")
            sleep(random.choice([0.03, 0.2]))
            execute(session, "commit")
            return mode
        if fault.kind == "pause":
            execute(session, "select maintenance.pause_runs('a campaign')")
            sleep(0.1)
            execute(session, "select maintenance.resume_runs()")
            return None
        execute(session, {
            "stop run": "select maintenance.stop_run(max(id)) from maintenance.run"
                        " where ended_at is null having count(*) > 0",
            "break lease": f"select maintenance.break_lease({policy})",
            "change policy": f"select maintenance.alter_policy({policy},"
                             f""" '{{"batch_size": {random.choice([2, 30, 500])}}}')""",
            "vacuum full": f"vacuum full {table}",
            "vacuum": f"vacuum (analyze) {table}",
            "reindex": f"reindex table {table}",
            "checkpoint": "checkpoint",
        }[fault.kind])  # fmt: skip
        return None


def _is_lost(session: Connection) -> bool:
    try:
        execute(session, "select")
    except psycopg.OperationalError:
        return True
    return False
