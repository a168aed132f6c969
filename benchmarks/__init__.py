"""What pg-maintenance costs and saves, each time beside a rival: ``python -m benchmarks``."""

from __future__ import annotations
