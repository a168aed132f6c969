"""Times whole commands from start to exit, next to what they cannot do without.

That is Python's own start, and the import of typer, of pydantic, which typer uses as soon as a
command has a parameter, and of psycopg.

``status`` and ``migrate`` meet a database that is up to date. Python keeps its compiled modules in
a cache of the benchmark's own, which the turn that does not count fills.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

from benchmarks.measuring import (
    Options,
    heading,
    milliseconds,
    options,
    private_server,
    session,
    table,
    target,
    temporary_folder,
    turns,
)
from runner.migrate import migrate

COMMANDS = {
    "python": ["-c", "pass"],
    "libraries": ["-c", "import typer, psycopg; from pydantic import TypeAdapter"],
    "help": ["-m", "runner", "--help"],
    "status_help": ["-m", "runner", "status", "--help"],
    "status": ["-m", "runner", "status"],
    "migrate": ["-m", "runner", "migrate"],
}
GOALS = {"status": 2, "migrate": 3}


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs = chosen.runs or 9
    with private_server() as server, temporary_folder() as cache:
        migrate(server.url())
        environ = os.environ | {"DATABASE_URL": server.url(), "PYTHONPYCACHEPREFIX": str(cache)}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)

        def run(words: list[str]) -> float:
            return milliseconds(
                lambda: subprocess.run(
                    [sys.executable, *words],
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
            )

        times = turns(
            runs,
            **{name: partial(run, words) for name, words in COMMANDS.items()},
        )
        with session(server) as connection:
            heading("Start of the commands", runs, connection)
        table(
            ("", "time", "to runner --help", "to runner status --help"),
            [
                (
                    " ".join(["python", *words]),
                    times[name].shown("ms"),
                    times[name].over(times["help"]).shown("x"),
                    times[name].over(times["status_help"]).shown("x"),
                )
                for name, words in COMMANDS.items()
            ],
        )
        for name in GOALS:
            print(
                f"{name} to the import of the libraries: "
                f"{times[name].over(times['libraries']).shown('x')}"
            )
        for against, words in (("help", "--help"), ("status_help", "status --help")):
            for name, goal in GOALS.items():
                ratio = times[name].over(times[against]).median
                target(f"{name} at most {goal}x of runner {words}", ratio <= goal)


if __name__ == "__main__":
    measure(options(__doc__))
