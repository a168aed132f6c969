"""All benchmarks, one after the other: ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import (
    adoption,
    archive,
    cold_start,
    command_start,
    deck_refresh,
    django_rivals,
    foreground,
    insert_sweep,
    inspection,
    logins,
    memory,
    purge,
    seed_queries,
    token_cleanup,
)
from benchmarks.measuring import options

chosen = options(__doc__)
for benchmark in (
    token_cleanup,
    purge,
    archive,
    django_rivals,
    foreground,
    adoption,
    memory,
    insert_sweep,
    logins,
    deck_refresh,
    seed_queries,
    inspection,
    cold_start,
    command_start,
):
    benchmark.measure(chosen)
