"""Plots as SVG, drawn without anything but text: bars of sizes, lines over days, runs by day.

Coordinates are those of a phone's screen. Colours are classes, which the page defines for light and
dark. Names are anybody's, so that all text goes through ``safe``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

from runner.screen import CONTROLS, byte_size

WIDTH = 400
LEFT, RIGHT, TOP, HEIGHT = 58, 8, 12, 150
"""The margins of a plot over days, and the height of what is drawn between them."""


@dataclass(frozen=True)
class Bar:
    """A bar of several pieces, one behind the other."""

    name: str
    pieces: Sequence[int]


@dataclass(frozen=True)
class Line:
    """A figure by day."""

    name: str
    points: Sequence[tuple[date, int]]


@dataclass(frozen=True)
class Column:
    """What was done on a day, and how much of it failed."""

    day: date
    rows: int
    failures: int
    runs: int


def safe(text: object) -> str:
    """Return text for a page: what would be a tag, an entity or a control is shown as it is."""
    return escape(str(text).translate(CONTROLS))


def bars(
    name: str, title: str, description: str, kinds: Sequence[str], found: Sequence[Bar]
) -> str:
    """Draw sizes, one bar below the other; ``kinds`` names the pieces of each."""
    widest = max((sum(one.pieces) for one in found), default=0) or 1
    drawn: list[str] = []
    for place, one in enumerate(found):
        y = place * 30
        total = byte_size(sum(one.pieces))
        listed = ", ".join(
            f"{kind} {byte_size(piece)}" for kind, piece in zip(kinds, one.pieces, strict=True)
        )
        drawn.append(
            f"<g><title>{safe(one.name)}: {safe(total)} ({safe(listed)})</title>"
            f'<text x="0" y="{y + 11}">{safe(shortened(one.name, 46))}</text>'
            f'<text x="{WIDTH}" y="{y + 11}" class="end">{safe(total)}</text>'
        )
        x = 0.0
        for kind, piece in enumerate(one.pieces):
            width = WIDTH * piece / widest
            drawn.append(
                f'<rect x="{x:.1f}" y="{y + 15}" width="{width:.1f}" height="9" class="c{kind}"/>'
            )
            x += width
        drawn.append("</g>")
    return _svg(name, title, description, len(found) * 30, drawn)


def lines(name: str, title: str, description: str, found: Sequence[Line]) -> str:
    """Draw sizes by day; a line that has one day only is a dot."""
    days = [day for one in found for day, _ in one.points]
    first, last = min(days), max(days)
    most = max(value for one in found for _, value in one.points)
    ticks = _ticks(most, 1024)
    drawn = _frame(first, last, ticks, byte_size)
    for kind, one in enumerate(found):
        places = [(_across(day, first, last), _up(value, ticks[-1])) for day, value in one.points]
        day, value = one.points[-1]
        drawn.append(
            f'<g class="l{kind}"><title>{safe(one.name)}: {byte_size(value)}, {day}</title>'
        )
        if len(places) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            drawn.append(f'<polyline points="{path}"/>')
        x, y = places[-1]
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/></g>')
    return _svg(name, title, description, TOP + HEIGHT + 22, drawn)


def columns(
    name: str, title: str, description: str, found: Sequence[Column], first: date, last: date
) -> str:
    """Draw what was done from one day to another, with a cross below each day with failures."""
    ticks = _ticks(max((one.rows for one in found), default=0), 1000)
    drawn = _frame(first, last, ticks, _count)
    span = (last - first).days + 1
    width = (WIDTH - LEFT - RIGHT) / span
    bottom = TOP + HEIGHT
    for one in found:
        x = LEFT + width * (one.day - first).days
        y = _up(one.rows, ticks[-1])
        failed = f", {one.failures:,} failures" if one.failures else ""
        drawn.append(
            f"<g><title>{one.day}: {one.rows:,} rows, {one.runs:,} runs{failed}</title>"
            f'<rect x="{x + width * 0.1:.1f}" y="{y:.1f}" width="{width * 0.8:.1f}"'
            f' height="{bottom - y:.1f}" class="c0"/>'
        )
        if one.failures:
            middle = x + width / 2
            drawn.append(
                f'<path d="M{middle - 3.5:.1f} {bottom + 3}l7 7m0 -7l-7 7" class="failed"/>'
            )
        drawn.append("</g>")
    return _svg(name, title, description, bottom + 30, drawn)


def shortened(text: str, most: int) -> str:
    """Return text that is not longer than that: the end of a name is cut off."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(name: str, title: str, description: str, height: int, drawn: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{safe(title)}</title><desc id="{name}-d">{safe(description)}</desc>'
        + "".join(drawn)
        + "</svg>"
    )


def _frame(
    first: date, last: date, ticks: Sequence[int], written: Callable[[int], str]
) -> list[str]:
    """Draw the lines of the ticks with what they stand for, and the first and the last day."""
    drawn: list[str] = []
    for tick in ticks:
        y = _up(tick, ticks[-1])
        drawn.append(
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" class="tick"/>'
            f'<text x="{LEFT - 5}" y="{y + 4:.1f}" class="end">{written(tick)}</text>'
        )
    below = TOP + HEIGHT + (22 if written is _count else 16)
    drawn.append(f'<text x="{LEFT}" y="{below}">{first}</text>')
    if last != first:
        drawn.append(f'<text x="{WIDTH - RIGHT}" y="{below}" class="end">{last}</text>')
    return drawn


def _across(day: date, first: date, last: date) -> float:
    span = (last - first) / timedelta(days=1)
    wide = WIDTH - LEFT - RIGHT - 3
    return LEFT + (wide * ((day - first).days / span) if span else wide)


def _up(value: int, most: int) -> float:
    return TOP + HEIGHT - HEIGHT * value / most


def _count(value: int) -> str:
    """Return a number that is short."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return str(value)


def _ticks(most: int, thousand: int) -> list[int]:
    """Return three to six round numbers from 0 to no less than ``most``, in powers of a unit."""
    unit = 1
    while most / unit >= thousand:
        unit *= thousand
    scaled = most / unit
    step = 1
    for step in (1, 2, 5, 10, 20, 50, 100, 200, 500):
        if step * 5 >= scaled:
            break
    return [unit * step * number for number in range(max(2, -(-most // (unit * step))) + 1)]
