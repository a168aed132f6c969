"""A report as one page: HTML that needs no network, no script and no font, with plots in it."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from runner import __version__
from runner.errors import RunnerError
from runner.files import write_whole
from runner.plots import Bar, Column, Line, bars, columns, lines, safe
from runner.report_parts import chapters
from runner.screen import cells, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.report import Report
    from runner.report_parts import Part

DRAWN = 12
"""Tables that are drawn; a table below lists more of them."""

PIECES = ("rows", "indexes", "out of line")

KEYS = {
    "c": '<svg viewBox="0 0 24 12" aria-hidden="true" class="key">'
    '<rect width="24" height="12" class="c{}"/></svg>',
    "l": '<svg viewBox="0 0 24 12" aria-hidden="true" class="key">'
    '<g class="l{}"><polyline points="0,6 24,6"/></g></svg>',
}
"""What stands in a legend for a bar, and for a line."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page may load nothing and execute nothing, whatever is in it."""

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1c1f23; --faint: #5c646d;
  --rule: #d5dae0; --shade: #f4f6f8; --failed: #b3261e;
  --c0: #0068a8; --c1: #c96a00; --c2: #007a5a; --c3: #a8437e; --c4: #5b5bd6; --c5: #6b5a00; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --text: #e4e7ea; --faint: #9aa4ae;
  --rule: #363d44; --shade: #1e2327; --failed: #ff8a80;
  --c0: #5cb3f0; --c1: #f0a04b; --c2: #43c59e; --c3: #e58fc0; --c4: #a9a6ff; --c5: #d3c04f; } }
@media print { :root { color-scheme: light; --ground: #fff; --text: #000; --faint: #444;
  --rule: #bbb; --shade: #f4f4f4; --failed: #b3261e;
  --c0: #0068a8; --c1: #c96a00; --c2: #007a5a; --c3: #a8437e; --c4: #5b5bd6; --c5: #6b5a00; }
  nav { display: none; } figure, tr, li { break-inside: avoid; } h2, h3 { break-after: avoid; }
  * { print-color-adjust: exact; } .wide { overflow: visible; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--ground);
  color: var(--text); font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.6rem; } header p { margin: .2rem 0 .8rem; color: var(--faint); }
h2 { margin: 2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--rule);
  font-size: 1.3rem; }
h3 { margin: 1.2rem 0 .3rem; font-size: 1rem; }
p { margin: .2rem 0; } .part > p { color: var(--faint); }
.part > p.unknown { color: var(--failed); }
nav ul, .legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: 0; padding: 0;
  list-style: none; }
a { color: var(--c0); }
.plots { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.plots > :first-child:nth-last-child(3) { grid-row: span 2; }
figure { margin: 0; max-width: 36rem; } figcaption { margin-bottom: .4rem; font-weight: 600; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--text); font: 11px system-ui, sans-serif; } svg .end { text-anchor: end; }
.legend { font-size: .85rem; } .legend li { display: flex; align-items: center; gap: .4rem; }
.key { flex: none; width: 24px; height: 12px; }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); }
polyline { fill: none; stroke: currentColor; stroke-width: 2; } circle { fill: currentColor; }
.l0 { color: var(--c0); } .l1 { color: var(--c1); stroke-dasharray: 7 3; }
.l2 { color: var(--c2); stroke-dasharray: 2 2; }
.l3 { color: var(--c3); stroke-dasharray: 9 3 2 3; }
.l4 { color: var(--c4); stroke-dasharray: 4 4; } .l5 { color: var(--c5); stroke-dasharray: 12 4; }
.tick { stroke: var(--rule); } .failed { fill: none; stroke: var(--failed); stroke-width: 2; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--rule);
  text-align: left; vertical-align: top; font-weight: 400; overflow-wrap: break-word; }
thead th { color: var(--faint); white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
@media (max-width: 40rem) { td:not(.number) { min-width: 7rem; } }
.remedies { margin: 0; padding-left: 1.2rem; } .remedies li { margin: .3rem 0; }
code { display: block; padding: .3rem .5rem; background: var(--shade); white-space: pre-wrap;
  font: .85rem/1.4 ui-monospace, monospace; }
"""


def write_page(report: Report, file: Path) -> Path:
    """Write a report as a page, mode 0600, and return where it is. A page that is there goes.

    Raises RunnerError where that cannot be: no such folder, no right, or a folder of that name.
    """
    file = file.expanduser().absolute()
    try:
        write_whole(file, page(report))
    except OSError as error:
        raise RunnerError(
            f"cannot write {file}",
            detail=f"{error.strerror}.",
            hint="Name a file, in a folder that is there.",
        ) from None
    return file


def page(report: Report) -> str:
    """Return a report as HTML."""
    arranged = chapters(report)
    title = f"{report.link.database}, {moment(report.taken_at)}"
    contents = "".join(
        f'<li><a href="#chapter-{number}">{safe(one.title)}</a></li>'
        for number, one in enumerate(arranged)
    )
    body: list[str] = []
    for number, chapter in enumerate(arranged):
        body.append(f'<section id="chapter-{number}"><h2>{safe(chapter.title)}</h2>')
        drawn = [plot for part in chapter.parts for plot in _plots(report, part.name)]
        if drawn:
            body.append(f'<div class="plots">{"".join(drawn)}</div>')
        body += [_part(part) for part in chapter.parts]
        body.append("</section>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{safe(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{safe(report.link.database)}</h1>"
        f"<p>{safe(moment(report.taken_at))}, by pg-maintenance {safe(__version__)}</p>"
        f'<nav aria-label="Chapters"><ul>{contents}</ul></nav></header>'
        f"<main>{''.join(body)}</main></body></html>\n"
    )


def _part(part: Part) -> str:
    shown: list[str] = []
    if part.title:
        shown.append(f"<h3>{safe(part.title)}</h3>")
    if part.unknown:
        shown.append(f'<p class="unknown">{safe(part.unknown)}</p>')
    elif part.is_empty:
        shown.append(f"<p>{safe(part.nothing)}</p>")
    if part.rows:
        shown.append(_table(part))
    if part.remedies:
        shown.append('<ul class="remedies">')
        for one in part.remedies:
            statement = f"<code>{safe(one.statement)};</code>" if one.statement else ""
            shown.append(f"<li>{safe(one.reason)}{statement}</li>")
        shown.append("</ul>")
    if part.more:
        shown.append(f"<p>and {part.more:,} more</p>")
    return f'<div class="part" id="{part.name}">{"".join(shown)}</div>'


def _table(part: Part) -> str:
    kinds = [' class="number"' if name in part.numbers else "" for name in part.columns]
    head = "".join(
        f'<th scope="col"{kind}>{safe(name)}</th>'
        for name, kind in zip(part.columns, kinds, strict=True)
    )
    body: list[str] = []
    for row in part.rows:
        first, *others = cells(*row)
        body.append(
            f'<tr><th scope="row"{kinds[0]}>{safe(first)}</th>'
            + "".join(
                f"<td{kind}>{safe(value)}</td>"
                for value, kind in zip(others, kinds[1:], strict=True)
            )
            + "</tr>"
        )
    named = safe(part.title or "Database")
    return (
        f'<div class="wide" role="region" aria-label="{named}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _plots(report: Report, name: str) -> list[str]:
    """Return the plots that stand at the head of a chapter, by the name of a part of it."""
    match name:
        case "tables":
            return _sizes(report)
        case "growth":
            return _history(report)
        case "days":
            return _runs(report)
        case _:
            return []


def _sizes(report: Report) -> list[str]:
    found = (report.tables or [])[:DRAWN]
    if not found:
        return []
    drawn = [
        Bar(
            f"{one.schema_name}.{one.table_name}",
            (one.heap_bytes, one.index_bytes, one.other_bytes),
        )
        for one in found
    ]
    svg = bars(
        "plot-sizes",
        "Largest tables",
        f"Bars of the {len(drawn)} largest tables: their rows, their indexes, and what is stored "
        "out of line. The table below has the figures.",
        PIECES,
        drawn,
    )
    return [_figure("Largest tables", svg, PIECES, "c")]


def _history(report: Report) -> list[str]:
    together: list[tuple[date, int]] = []
    tables: dict[str, list[tuple[date, int]]] = {}
    for one in report.noted or ():
        points = (
            together
            if one.table_name is None
            else tables.setdefault(f"{one.schema_name}.{one.table_name}", [])
        )
        points.append((one.day, one.total_bytes))
    if not together:
        return []
    drawn = [Line("all tables", together)]
    figures = [
        _figure(
            "All tables by day",
            lines(
                "plot-growth",
                "All tables by day",
                "A line of the size of all tables together, as far as it was noted.",
                drawn,
            ),
            (),
            "l",
        )
    ]
    largest = [Line(name, points) for name, points in tables.items()]
    largest.sort(key=lambda one: -one.points[-1][1])
    if largest:
        figures.append(
            _figure(
                "The largest tables by day",
                lines(
                    "plot-tables",
                    "The largest tables by day",
                    f"Lines of the sizes of the {len(largest)} largest tables: see Growth below.",
                    largest,
                ),
                [one.name for one in largest],
                "l",
            )
        )
    return figures


def _runs(report: Report) -> list[str]:
    if not report.days:
        return []
    last = report.taken_at.astimezone(UTC).date()
    failed = sum(one.failures for one in report.days)
    svg = columns(
        "plot-runs",
        "Rows by day",
        f"Columns of the rows that runs removed or changed on each of the last 30 days; {failed:,} "
        "failures, marked by crosses below their days.",
        [Column(one.day, one.rows, one.failures, one.runs) for one in report.days],
        last - timedelta(days=30),
        last,
    )
    return [_figure("Rows removed or changed by day, with failures crossed", svg, (), "c")]


def _figure(title: str, svg: str, legend: Sequence[str], kind: str) -> str:
    keys = "".join(
        f"<li>{KEYS[kind].format(number)}{safe(name)}</li>" for number, name in enumerate(legend)
    )
    listed = f'<ul class="legend">{keys}</ul>' if keys else ""
    return f"<figure><figcaption>{safe(title)}</figcaption>{svg}{listed}</figure>"
