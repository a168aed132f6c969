"""pg-maintenance: installs, drives and removes housekeeping that lives in PostgreSQL."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
