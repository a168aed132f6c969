"""Which rounds are played: those of `make slow`, or those that the environment asks for."""

from __future__ import annotations

import os

SEED = int(os.environ.get("CAMPAIGN_SEED", "1"))
ROUNDS = int(os.environ.get("CAMPAIGN_ROUNDS", "520"))
TIMES_EACH = int(os.environ.get("CAMPAIGN_TIMES", "1"))
CHUNK = 26
"""Rounds of one test, on a server of its own."""
CHUNKS = [
    range(first, min(first + CHUNK, SEED + ROUNDS)) for first in range(SEED, SEED + ROUNDS, CHUNK)
]
