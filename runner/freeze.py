"""Freezes migrations for a release: ``python -m runner.freeze``, or ``make freeze``."""

from __future__ import annotations

import sys

from runner.errors import Exit, RunnerError
from runner.resources import home
from runner.screen import Output, Screen
from runner.scripts import chains, released, scripts


def freeze() -> list[str]:
    """Append the checksums of migrations that have none to checksums.txt; return their ids.

    Raises RunnerError, and writes nothing, when a migration that was released before has changed.
    """
    known = released()
    everything = scripts(chains())
    for one in everything:
        if known.get(one.id, one.checksum) != one.checksum:
            raise RunnerError(
                f"{one.id} is no longer what was released",
                detail="Databases have the old text, and would refuse this one.",
                hint="Put the old definition into sql/<chain>/past/, as CONTRIBUTING.md shows.",
                code=Exit.REFUSED,
            )
    new = [one for one in everything if one.id not in known]
    with (home() / "migrations" / "checksums.txt").open("a", encoding="utf-8") as checksums:
        checksums.writelines(f"{one.checksum}  {one.id}\n" for one in new)
    return [one.id for one in new]


if __name__ == "__main__":
    screen = Screen(Output.TEXT)
    try:
        for migration_id in freeze():
            screen.say(f"froze {migration_id}")
    except RunnerError as error:
        screen.error(error)
        sys.exit(int(error.code))
