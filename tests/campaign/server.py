"""A server of the campaign's own, that may be killed, and whose disk may be full.

Its data lie on a small tmpfs, whose size can be taken down to what is on it for a while: then
PostgreSQL meets a real ENOSPC, in tables as in its WAL. Where nothing may be mounted, the
processes of the server get a limit on the size of files instead. That is EFBIG, which PostgreSQL
takes for as bad; but it hits the WAL first, so that more of these faults end in a crash.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

import psycopg

from runner import programs
from runner.embedded import Server
from runner.errors import RunnerError
from runner.migrate import migrate
from tests.conftest import settle
from tests.statements import execute

if TYPE_CHECKING:
    from psycopg import Connection

TEMPLATE = "campaign_template"
OWNER = "campaign_owner"
"""A role that owns tables, and has no other rights but to make them."""
PREFIX = "campaign-"
SIZE = 640
"""Megabytes of the disk: the programs, the WAL and two databases."""
LARGEST_FILE = 65536
"""Where no disk can be mounted: what the files of a full one may grow to."""


class Disk(Protocol):
    """What a server lies on."""

    def fill(self) -> None:
        """Leave no room."""
        ...

    def free(self) -> None:
        """Leave room again; no harm where there is some."""
        ...

    def remove(self) -> None:
        """Take it away with all that is on it."""
        ...


class Mounted:
    """A tmpfs, whose size is taken down to what lies on it."""

    def __init__(self, folder: Path) -> None:
        """Mount it, or raise OSError or CalledProcessError."""
        self._folder = folder
        self._is_full = False
        self._mount(f"size={SIZE}m,mode=0755")

    def fill(self) -> None:
        """Leave no room; the server writes meanwhile, so that this may take a few tries."""
        self._is_full = True
        for _ in range(50):
            space = os.statvfs(self._folder)
            used = (space.f_blocks - space.f_bfree) * space.f_bsize
            with suppress(subprocess.CalledProcessError):
                self._mount(f"remount,size={used}")
                return

    def free(self) -> None:
        """Give it its size back."""
        if self._is_full:
            self._mount(f"remount,size={SIZE}m")
            self._is_full = False

    def remove(self) -> None:
        """Unmount it; where a process still stands in it, it goes when that is gone."""
        command = [_program("umount"), self._folder]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            subprocess.run([command[0], "--lazy", self._folder], check=True)
        self._folder.rmdir()

    def _mount(self, options: str) -> None:
        subprocess.run(
            [_program("mount"), "-t", "tmpfs", "-o", options, "pgm-campaign", self._folder],
            check=True, capture_output=True,
        )  # fmt: skip


class Limited:
    """An ordinary folder; it is full in that no file of the server's processes may grow."""

    def __init__(self, folder: Path) -> None:
        """Take a folder that is there."""
        self._folder = folder
        self._is_full = False

    def fill(self) -> None:
        """Limit the processes that there are, and those that they will start."""
        self._is_full = True
        self._limit(LARGEST_FILE)

    def free(self) -> None:
        """Lift the limit."""
        if self._is_full:
            self._limit(resource.RLIM_INFINITY)
            self._is_full = False

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _limit(self, size: int) -> None:
        for _ in range(2):  # the postmaster first, and then whom it started meanwhile
            for pid in processes_of(self._folder):
                with suppress(ProcessLookupError, FileNotFoundError):
                    _limit_process(pid, size)


def _limit_process(pid: int, size: int) -> None:
    """Limit the files of a process, as whoever it runs as: not every root may do so for others."""
    owner = Path(f"/proc/{pid}").stat()
    if owner.st_uid == os.geteuid():
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    else:
        wanted = "unlimited" if size == resource.RLIM_INFINITY else size
        subprocess.run(
            [_program("prlimit"), "--pid", str(pid), f"--fsize={wanted}:"],
            user=owner.st_uid, group=owner.st_gid, extra_groups=[],
            capture_output=True, check=False,
        )  # fmt: skip


def _program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if found is None:
        raise FileNotFoundError(name)
    return found


def processes_of(folder: Path) -> list[int]:
    """List a server's processes: the postmaster whose data are in the folder, and its children."""
    found = list(folder.glob("server/data-*/postmaster.pid"))
    if not found:
        return []
    postmaster = int(found[0].read_text().split("\n", 1)[0])
    children = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if _parent_of(path) == postmaster
    ]
    return [postmaster, *children]


def _parent_of(stat: Path) -> int | None:
    with suppress(OSError, IndexError):
        return int(stat.read_text().rpartition(")")[2].split()[1])
    return None


def a_disk(folder: Path, kind: str | None) -> Disk:
    """Make the disk that can be made: a tmpfs, unless that is forbidden or not wanted."""
    if kind != "limit":
        try:
            return Mounted(folder)
        except (OSError, subprocess.CalledProcessError):
            if kind == "mount":
                raise
    return Limited(folder)


def remove_leftovers(folder: Path) -> None:
    """Take away what is left of the servers below a folder: those of a worker that was killed."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(RunnerError):
            Server(left / "server").stop()
        if left.is_mount():
            subprocess.run([_program("umount"), "--lazy", left], check=True)


class Scratch:
    """The server, with a migrated template to make databases from."""

    def __init__(self, folder: Path, disk: str | None = None) -> None:
        """Start it below a folder, on a disk: mount, limit, or (None) whichever works."""
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
        self.folder.chmod(0o755)  # the server of root runs as another user, which has to get there
        self.disk = a_disk(self.folder, disk)
        # Not a throwaway one: what it has committed has to be there after a crash.
        self.server = Server(self.folder / "server")
        try:
            self.server.start()
            with psycopg.connect(self.server.url(), autocommit=True) as admin:
                execute(admin, f"create database {TEMPLATE} template template0")
                migrate(self.server.url(TEMPLATE), applications=["none"])
                execute(admin, f"create role {OWNER}")
                execute(admin, f"alter database {TEMPLATE} allow_connections false")
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Stop the server and take everything away, each of it whatever becomes of the rest."""
        with ExitStack() as steps:
            steps.callback(self.disk.remove)
            steps.callback(shutil.rmtree, self.server.socket_folder, ignore_errors=True)
            steps.callback(self.server.stop)
            steps.callback(self.disk.free)

    def create_database(self, name: str) -> None:
        """Make a database from the template, to be tended."""
        self.mend()
        with self.connect("postgres") as admin:
            execute(admin, f"drop database if exists {name} with (force)")
            execute(admin, f"create database {name} template {TEMPLATE} strategy file_copy")
        with self.connect(name) as db:
            settle(db)
            execute(db, f"grant create on database {name} to {OWNER}")
            execute(db, f"grant create on schema public to {OWNER}")

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is in it."""
        with self.connect("postgres") as admin:
            execute(admin, f"drop database if exists {name} with (force)")

    def connect(self, database: str, name: str = "campaign", seconds: float = 30) -> Connection:
        """Open a session, as soon as the server takes one."""
        deadline = monotonic() + seconds
        while True:
            try:
                return psycopg.connect(
                    self.server.url(database), autocommit=True, application_name=name
                )
            except psycopg.OperationalError:
                if monotonic() > deadline:
                    raise
                sleep(0.02)

    def kill_backend(self, pid: int) -> bool:
        """Kill -9 one of the server's sessions, on which it crashes and recovers."""
        if pid not in processes_of(self.folder)[1:]:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def kill_postmaster(self) -> None:
        """Kill -9 the server itself, and start it again."""
        self._kill()
        self.mend()

    def _kill(self) -> None:
        processes = processes_of(self.folder)
        if not processes or str(self.folder) not in programs.command_line(processes[0]):
            return
        with suppress(ProcessLookupError):
            os.kill(processes[0], signal.SIGKILL)
        deadline = monotonic() + 30
        while any(map(programs.command_line, processes)) and monotonic() < deadline:
            sleep(0.01)  # its sessions have yet to notice

    def restart(self) -> None:
        """Stop the server as its administrator would, and start it again."""
        self.server.stop()
        self.mend()

    def mend(self) -> None:
        """Give the disk room, and see to it that the server takes sessions.

        One that was short of room may give up in the middle of its recovery, after it was seen to
        run; or it stays, without the process that recovers, and never takes a session again. So
        it is asked for one, and where it refuses for long, it is killed and started anew.
        """
        self.disk.free()
        for is_last in (False, False, False, True):
            self.server.start()
            try:
                self.connect("postgres", seconds=5).close()
            except psycopg.OperationalError:
                if is_last:
                    raise
                self._kill()
            else:
                return
