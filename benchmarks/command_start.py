"""Times whole commands from start to exit, next to Python's own start.

``status`` and ``migrate`` meet a database that is up to date.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.measuring import (
    Options,
    heading,
    options,
    private_server,
    seconds,
    session,
    table,
    target,
    turns,
)
from runner.migrate import migrate

COMMANDS = {
    "python": ["-c", "pass"],
    "help": ["-m", "runner", "--help"],
    "status": ["-m", "runner", "status"],
    "migrate": ["-m", "runner", "migrate"],
}
GOALS = {"status": 2, "migrate": 3}


def measure(chosen: Options) -> None:
    """Measure, and print the table."""
    runs = chosen.runs or 9
    with private_server() as server:
        migrate(server.url())
        environ = os.environ | {"DATABASE_URL": server.url()}

        def run(words: list[str]) -> float:
            return 1000 * seconds(
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
            **{name: lambda words=words: run(words) for name, words in COMMANDS.items()},
        )
        ratios = {name: figures.over(times["help"]) for name, figures in times.items()}
        with session(server) as connection:
            heading("Start of the commands", runs, connection)
        table(
            ("", "time", "to runner --help"),
            [
                (" ".join(["python", *words]), times[name].shown("ms"), ratios[name].shown("x"))
                for name, words in COMMANDS.items()
            ],
        )
        for name, goal in GOALS.items():
            target(f"{name} at most {goal}x of --help", ratios[name].median <= goal)


if __name__ == "__main__":
    measure(options(__doc__))
