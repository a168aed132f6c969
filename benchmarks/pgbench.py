"""pgbench, PostgreSQL's own load, and what it logs of each transaction."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measuring import temporary_folder
from runner import programs
from runner.errors import RunnerError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from runner.embedded import Server

LONGEST = 600
"""Seconds after which a load ends by itself."""


@dataclass(frozen=True)
class Log:
    """What pgbench logged of the transactions that were committed."""

    latencies: tuple[float, ...]
    """Milliseconds, in ascending order."""
    seconds: float
    """From the begin of the first to the end of the last."""
    end: float
    """When the last one ended, in seconds since 1970."""

    @classmethod
    def read(cls, lines: Iterable[str], since: float = 0, until: float = float("inf")) -> Log:
        """Read what ``pgbench --log`` writes, a line for each transaction, of some span of time.

        A transaction counts whose begin or end is within.
        """
        latencies: list[float] = []
        begins: list[float] = []
        ends: list[float] = []
        for line in lines:
            _client, _number, took, _script, seconds, microseconds, *_ = line.split()
            if took == "failed":
                continue
            end = int(seconds) + int(microseconds) / 1e6
            begin = end - int(took) / 1e6
            if begin <= until and end >= since:
                latencies.append(int(took) / 1000)
                begins.append(begin)
                ends.append(end)
        if not latencies:
            raise SystemExit("pgbench committed nothing")
        return cls(tuple(sorted(latencies)), max(ends) - min(begins), max(ends))

    @property
    def rate(self) -> float:
        """Transactions per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the latency that so many per cent, to a tenth, do not exceed."""
        return self.latencies[-(-round(percent * 10) * len(self.latencies) // 1000) - 1]


def run(server: Server, *arguments: str) -> str:
    """Run it to its end and return what it said."""
    try:
        return programs.run(server.bin / "pgbench", *arguments, account=None)
    except RunnerError as error:
        raise SystemExit(f"{error}\n{error.detail}") from error


def logging(folder: Path) -> tuple[str, str]:
    """Return the options with which it logs into a folder."""
    return "--log", f"--log-prefix={folder / 'log'}"


def logged(folder: Path) -> list[str]:
    """Return the lines that it has logged into a folder."""
    return [line for part in folder.glob("log.*") for line in part.read_text().splitlines()]


def failed(said: str) -> int:
    """Return how many transactions failed, and clients gave up, by what it said at its end."""
    count = re.search(r"number of failed transactions: (\d+)", said)
    if count is None:
        raise SystemExit(f"pgbench did not come to its end: {said}")
    return int(count[1]) + len(re.findall(r"client \d+ .*aborted", said))


class Load:
    """pgbench while something else goes on; ``lines`` and ``failed`` are there once it is over."""

    def __init__(self) -> None:
        self.lines: Sequence[str] = ()
        self.failed = 0


@contextmanager
def load(server: Server, database: str, script: str, clients: int) -> Generator[Load]:
    """Run a script over and over, on so many connections, until the block ends."""
    with temporary_folder() as folder:
        file, output = folder / "script.sql", folder / "output"
        file.write_text(script)
        environment = {name: value for name, value in os.environ.items() if name[:2] != "PG"}
        words = ["--no-vacuum", "--protocol=prepared", f"--file={file}", f"--time={LONGEST}"]
        words += [f"--client={clients}", *logging(folder), server.url(database)]
        with output.open("wb") as said:
            process = subprocess.Popen(
                [server.bin / "pgbench", *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment | {"LC_ALL": "C.UTF-8"},
            )
        load = Load()
        try:
            yield load
            process.send_signal(signal.SIGALRM)  # its own sign that the time is over
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
        load.failed = failed(output.read_text())
        load.lines = logged(folder)
