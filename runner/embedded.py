"""A private PostgreSQL server, for whoever has no database at hand.

It outlives the command that started it: the next command finds it running, and only ``stop`` or
``reset`` ends it. POSIX only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import socket
import stat
import struct
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from runner import programs
from runner.errors import Exit, RunnerError
from runner.programs import binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Server", "binaries", "default_folder"]

PORT = 5432
PATIENCE = 60
"""Seconds that the server may take to start, to recover or to stop."""
LONGEST_SOCKET = 103
"""Bytes in a socket's path: what macOS allows; Linux allows four more."""
NO_PROCESS = 2**31 - 1
"""A pid that no kernel gives out."""
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""The shortest question in PostgreSQL's protocol; the answer is one byte, and nothing is logged."""
MARKER = "made-by-pg-maintenance"
SETTINGS = ["listen_addresses="]
THROWAWAY = [
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "max_connections=100",
]


def default_folder() -> Path:
    """Return where the server lives unless the user says otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/pg-maintenance")
    shared = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".local/share") / "pg-maintenance"


class Server:
    """The server in ``folder``, running or not; ``throwaway`` gives up durability for speed."""

    def __init__(self, folder: Path, *, throwaway: bool = False) -> None:
        self.folder = folder.resolve()
        self.throwaway = throwaway
        self._installed = binaries().resolve()
        for path in (self.folder, self._installed):
            if any(character in str(path) for character in '"$`\\\n'):
                raise RunnerError(
                    f"pg_ctl cannot handle the path {str(path)!r}",
                    detail="It passes paths through a shell.",
                    hint='Choose a path without ", $, `, \\ and line breaks.',
                    code=Exit.USAGE,
                )
        # The next major version cannot open the data of this one.
        major = programs.major_version(self._installed)
        self.version = int(major) * 10000
        self.data = self.folder / f"data-{major}"
        self.log = self.data / "server.log"
        self._account = programs.account_for(self.data)

    @cached_property
    def bin(self) -> Path:
        """PostgreSQL's programs: those installed, or a copy that the server's OS user can read."""
        if programs.barrier(self._installed / "postgres", self._account) is None:
            return self._installed
        return programs.copy_folder(self._installed, self.folder)

    @property
    def socket_folder(self) -> Path:
        """The data directory; a folder in /tmp if libpq could not take that one as its host."""
        fits = len(os.fsencode(self.data / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET
        if fits and "," not in str(self.data):
            return self.data
        tag = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        # Not $TMPDIR: it differs between the shells that have to find the one server.
        return Path(f"/tmp/pg-maintenance-{tag}")  # noqa: S108

    def url(self, database: str = "postgres") -> str:
        """Return what libpq needs; what it does not name, PGHOSTADDR or a service would."""
        folder = quote(os.fsencode(self.socket_folder))
        name = quote(database, safe="")
        return f"postgresql://postgres@/{name}?host={folder}&hostaddr=&port={PORT}"

    def is_running(self) -> bool:
        """Ask the server itself: after ``kill -9`` the pid file stays, and even the pid may."""
        try:
            ready = (self.data / "postmaster.pid").read_bytes().split(b"\n")[7].strip() == b"ready"
            ours = self._socket.stat().st_uid == self.data.stat().st_uid
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(5)
                probe.connect(str(self._socket))
                probe.sendall(SSL_REQUEST)
                answers = probe.recv(1) != b""
        except (OSError, IndexError):
            return False
        return ready and ours and answers

    def start(self) -> None:
        """Start the server unless it runs, and make it first if there is none."""
        if self.is_running():
            return
        self._make_folder()
        with self._locked():
            self._wait_until(lambda: self.is_running() or self._postmaster() is None)
            if self.is_running():
                return
            for left in self.folder.glob("init-*"):
                shutil.rmtree(left, ignore_errors=True)
            if not self.bin.exists():
                with self._scratch() as scratch:
                    programs.copy_wheel(self._installed, scratch)
                    scratch.rename(self.bin.parents[2])
            self._make_socket_folder()
            if not self._exists():
                self._create()
            self._launch()

    def stop(self) -> bool:
        """Stop the server and its sessions; False if it was not running."""
        if not self._exists():
            return False
        with self._locked():
            return self._halt()

    def reset(self) -> None:
        """Stop the server and delete all its data."""
        if not self._exists():
            return
        with self._locked(), self._scratch() as scratch:
            self._halt()
            self.data.rename(scratch / "data")  # at once: a half-deleted one must never be started
            if self.socket_folder != self.data:
                shutil.rmtree(self.socket_folder, ignore_errors=True)

    @property
    def _socket(self) -> Path:
        return self.socket_folder / f".s.PGSQL.{PORT}"

    def _make_folder(self) -> None:
        if self._account and (blocked := programs.barrier(self.folder, self._account)):
            raise RunnerError(
                f'user {self._account.pw_name} cannot enter the folder "{blocked}"',
                detail="PostgreSQL refuses to run as root, so it runs as that user.",
                hint="Set RUNNER_PG_DIR to a folder below those that everybody may enter.",
            )
        with self._explained():
            for path in (*reversed(self.folder.parents), self.folder):
                if not path.exists():
                    path.mkdir(exist_ok=True)
                    path.chmod(0o755)  # whatever the umask; never done to a folder that was there

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise RunnerError(
                f'could not use the folder "{self.folder}"',
                detail=f"{error}.",
                hint="Set RUNNER_PG_DIR to a folder of yours, on a disk with room.",
            ) from error

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Let one process at a time start, stop or delete the server; a kill frees the lock."""
        with self._explained():
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)

    @contextmanager
    def _scratch(self) -> Generator[Path]:
        """Lend a folder for what must appear all at once, by a rename, or not at all."""
        scratch = Path(tempfile.mkdtemp(prefix="init-", dir=self.folder))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _exists(self) -> bool:
        """Tell whether there is a data directory, and accept none that we did not make."""
        with self._explained():
            if not self.data.exists() and not self.data.is_symlink():
                return False
            if not self.data.is_symlink() and (self.data / MARKER).exists():
                return True
        raise RunnerError(
            f'"{self.data}" was not made by pg-maintenance',
            hint="Move it away, or set RUNNER_PG_DIR to another folder.",
            code=Exit.REFUSED,
        )

    def _create(self) -> None:
        with self._scratch() as scratch:
            self._give(scratch)
            # Trust is safe: initdb makes the data directory 0700, a socket folder in /tmp is 0700
            # as well, so only their owner and root reach the socket; and there is no TCP.
            options = ["--username=postgres", "--auth-local=trust", "--auth-host=reject"]
            options += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
            options += ["--no-sync"] if self.throwaway else []
            self._run("initdb", f"--pgdata={scratch}", *options)
            libraries = Path(self._run("pg_config", "--pkglibdir"))
            if any(libraries.glob("pg_stat_statements.*")):
                with (scratch / "postgresql.conf").open("a") as settings:
                    settings.write("shared_preload_libraries = 'pg_stat_statements'\n")
            (scratch / MARKER).touch()
            scratch.rename(self.data)

    def _launch(self) -> None:
        self._disown_postmaster()
        options = ["-k", f'"{self.socket_folder}"', "-p", str(PORT)]
        for setting in SETTINGS + (THROWAWAY if self.throwaway else []):
            options += ["-c", setting]
        words = ["start", "-w", "-t", str(PATIENCE), "-o", shlex.join(options)]
        known = self.log.stat().st_size if self.log.exists() else 0
        failure: RunnerError | None = None
        for _ in range(20):
            try:
                self._run("pg_ctl", "-D", self.data, "-l", self.log, *words)
            except RunnerError as error:
                failure = error
            else:
                return
            if "shared memory block" not in self._log_from(known):
                break
            time.sleep(0.1)  # the sessions of a killed postmaster have yet to notice
        raise RunnerError(
            "could not start the private PostgreSQL server",
            detail=self._log_from(known) or (failure and failure.detail),
            hint=f'Read "{self.log}".',
        ) from failure

    def _disown_postmaster(self) -> None:
        """Replace a dead postmaster's pid, for PostgreSQL refuses to start while it is in use.

        The rest of the file stays: by it PostgreSQL makes sure that no old session writes any more.
        """
        for file in (self.data / "postmaster.pid", Path(f"{self._socket}.lock")):
            if file.exists():
                rest = file.read_bytes().partition(b"\n")[2]
                file.write_bytes(b"%d\n" % NO_PROCESS + rest)

    def _make_socket_folder(self) -> None:
        folder = self.socket_folder
        if folder == self.data:
            return
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self._give(folder)
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
        owner = self._account.pw_uid if self._account else os.geteuid()
        if not private or found.st_uid != owner:
            raise RunnerError(
                f'the socket folder "{folder}" is not private to the server',
                hint="Remove it, or set RUNNER_PG_DIR to a shorter path.",
                code=Exit.REFUSED,
            )

    def _give(self, folder: Path) -> None:
        if self._account:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def _halt(self) -> bool:
        if (postmaster := self._postmaster()) is None:
            return False
        os.kill(postmaster, signal.SIGINT)  # PostgreSQL's fast shutdown
        self._wait_until(lambda: self._postmaster() is None)
        return True

    def _postmaster(self) -> int | None:
        """Return the living postmaster's pid; a number alone may be a zombie's or a stranger's."""
        try:
            pid = int((self.data / "postmaster.pid").read_bytes().partition(b"\n")[0])
        except (OSError, ValueError):
            return None
        return pid if f"-D {self.data} " in programs.command_line(pid) else None

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.02)
        raise RunnerError(
            f"the private PostgreSQL server did not start or stop within {PATIENCE} seconds",
            detail=self._log_from(0),
            hint=f'Read "{self.log}", and try again.',
        )

    def _log_from(self, offset: int) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_bytes()[offset:].decode(errors="replace").splitlines()[-8:])

    def _run(self, program: str, *arguments: str | Path) -> str:
        return programs.run(self.bin / program, *arguments, account=self._account)
