"""THE_BOT's Django application core, as far as maintenance is concerned with it."""

from __future__ import annotations
