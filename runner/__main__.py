"""python -m runner: the same as the command."""

from __future__ import annotations

from runner.cli import main

main()
