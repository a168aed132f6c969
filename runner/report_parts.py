"""A report as people read it: chapters of parts, each a table, statements, or one line.

The terminal and the page show the same parts: what is left out here is left out of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.screen import byte_size, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner.report import Blocking, LongQuery, Report

FEW, MANY = 10, 20
"""Rows of a part that are shown: of what happens, and of what is to be done."""


@dataclass(frozen=True)
class Remedy:
    """A statement that helps, and why."""

    statement: str | None
    """None where nothing can be done just now."""
    reason: str


@dataclass(frozen=True)
class Part:
    """What is said of one subject."""

    name: str
    """The field of the report that it is about."""
    title: str
    nothing: str
    """What is said where there is nothing to show."""
    unknown: str | None = None
    """What is not known of it, and what that needs."""
    columns: Sequence[str] = ()
    numbers: Sequence[str] = ()
    """Columns that are flush right."""
    rows: Sequence[Sequence[object]] = ()
    more: int = 0
    """Rows that are not shown."""
    remedies: Sequence[Remedy] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.rows or self.remedies)


@dataclass(frozen=True)
class Chapter:
    """Parts that belong together."""

    title: str
    parts: Sequence[Part]


def chapters(report: Report) -> list[Chapter]:
    """Arrange a report for reading."""
    return [
        Chapter("Database", [_database(report), _sessions(report)]),
        Chapter("Sizes", [_tables(report), _indexes(report), _growth(report)]),
        Chapter("Right now", [_queries(report), _locks(report), _horizon(report)]),
        Chapter("Bloat above 10 %", [_table_bloat(report), _index_bloat(report)]),
        Chapter("Needs", [*_needs(report), _estimates(report), _advice(report)]),
        Chapter("Indexes", _index_parts(report)),
        Chapter("Policies", [_policies(report), _removable(report), _sweeps(report)]),
        Chapter("Runs of the last 30 days", [_days(report), _failures(report)]),
    ]


def change(size: int | None) -> str:
    """Return by how much something grew, for people; nothing where that is not known."""
    if size is None:
        return ""
    return f"{'-' if size < 0 else '+' if size > 0 else ''}{byte_size(abs(size))}"


def duration(seconds: float | None) -> str:
    """Return a time span for people; nothing for none."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def line(text: str | None) -> str:
    """Return a statement of somebody's as one line."""
    return " ".join((text or "").split())


def _database(report: Report) -> Part:
    link, facts = report.link, report.facts
    rows = [
        ("server", f"PostgreSQL {link.server_version}"),
        ("host", f"{link.host}, port {link.port}"),
        ("user", link.role),
        ("encryption", link.encryption),
        ("session", link.session),
    ]
    if facts is not None:
        hits = facts.cache_hit_ratio
        found = "nothing was read yet" if hits is None else f"{hits:.1%} of blocks"
        rows += [
            ("running since", moment(facts.started_at)),
            ("size", byte_size(facts.size_bytes)),
            ("found in memory", found),
            (
                "oldest transaction",
                f"{facts.transaction_age:,} behind, {facts.wraparound_percent:.1f} % of the way to"
                " where writing stops",
            ),
            ("keeps dead rows", facts.xmin_holder),
        ]
    if report.sessions:
        one = report.sessions[0]
        rows.append(
            (
                "connections",
                f"{one.all_connections} of {one.max_connections}, {one.reserved} of them reserved",
            )
        )
    return Part(
        "facts", "", "", report.unknown.get("facts"), ("database", link.database), rows=rows
    )


def _sessions(report: Report) -> Part:
    sessions = report.sessions or []
    return Part(
        "sessions",
        "Connections",
        "none",
        report.unknown.get("sessions"),
        ("connections", "database", "role", "program", "state"),
        ("connections",),
        [
            (one.connections, one.database, one.role, one.application, one.state)
            for one in sessions[:FEW]
        ],
        len(sessions[FEW:]),
    )


def _tables(report: Report) -> Part:
    return Part(
        "tables",
        "Largest tables",
        "there are none",
        report.unknown.get("tables"),
        ("table", "size", "rows", "indexes", "out of line", "number of rows"),
        ("size", "rows", "indexes", "out of line", "number of rows"),
        [
            (
                f"{one.schema_name}.{one.table_name}",
                byte_size(one.total_bytes),
                byte_size(one.heap_bytes),
                byte_size(one.index_bytes),
                byte_size(one.other_bytes),
                "unknown" if one.estimated_rows is None else one.estimated_rows,
            )
            for one in report.tables or ()
        ],
    )


def _indexes(report: Report) -> Part:
    return Part(
        "indexes",
        "Largest indexes",
        "there are none",
        report.unknown.get("indexes"),
        ("index", "table", "size", "scans"),
        ("size", "scans"),
        [
            (
                one.index_name,
                f"{one.schema_name}.{one.table_name}",
                byte_size(one.index_bytes),
                one.scans,
            )
            for one in report.indexes or ()
        ],
    )


def _growth(report: Report) -> Part:
    numbers = ("size", "in a day", "in a week", "in 30 days")
    return Part(
        "growth",
        "Growth",
        "nothing was noted yet: select maintenance.note_sizes() once a day",
        report.unknown.get("growth"),
        ("table", *numbers, "noted since"),
        numbers,
        [
            (
                f"{one.schema_name}.{one.table_name}",
                byte_size(one.total_bytes),
                change(one.day_bytes),
                change(one.week_bytes),
                change(one.month_bytes),
                str(one.since),
            )
            for one in report.growth or ()
        ],
    )


def _queries(report: Report) -> Part:
    return Part(
        "queries",
        "Running for a minute and more",
        "nothing",
        report.unknown.get("queries"),
        ("process", "role", "state", "for", "query"),
        ("for",),
        [
            (str(one.pid), one.role, _state(one), duration(_longest(one)), line(one.query))
            for one in report.queries or ()
        ],
    )


def _state(one: LongQuery) -> str:
    blocked = ", ".join(map(str, one.blocked_by))
    return (one.state or "") + (f", waits for {blocked}" if blocked else "")


def _longest(one: LongQuery) -> float | None:
    return max(one.query_seconds or 0, one.transaction_seconds or 0) or None


def _locks(report: Report) -> Part:
    return Part(
        "locks",
        "Waiting for locks",
        "nobody",
        report.unknown.get("locks"),
        ("who waits for whom", "for long", "lock", "its query", "at the root", "the query there"),
        ("for long",),
        [_blocking(one) for one in report.locks or ()],
    )


def _blocking(one: Blocking) -> tuple[object, ...]:
    wanted = " ".join(filter(None, (one.lock_mode, one.relation and f"on {one.relation}")))
    return (
        " > ".join(map(str, one.chain)),
        duration(one.waiting_seconds),
        wanted,
        line(one.query),
        ", ".join(filter(None, (str(one.root), one.root_role, one.root_state))),
        line(one.root_query),
    )


def _horizon(report: Report) -> Part:
    return Part(
        "horizon",
        "Keep dead rows",
        "nobody",
        report.unknown.get("horizon"),
        ("what", "name", "process", "role", "transactions", "since"),
        ("transactions",),
        [
            (
                one.kind,
                one.name,
                "" if one.pid is None else str(one.pid),
                one.role,
                one.age,
                moment(one.since),
            )
            for one in (report.horizon or ())[:FEW]
        ],
        len((report.horizon or ())[FEW:]),
    )


def _table_bloat(report: Report) -> Part:
    found = report.table_bloat or []
    return Part(
        "table_bloat",
        "Tables",
        "none",
        report.unknown.get("table_bloat"),
        ("table", "size", "wasted", "share"),
        ("size", "wasted", "share"),
        [
            (
                f"{one.schema_name}.{one.table_name}",
                byte_size(one.heap_bytes),
                byte_size(one.wasted_bytes or 0),
                f"{one.wasted_percent or 0:.0f} %",
            )
            for one in found[:MANY]
        ],
        len(found[MANY:]),
    )


def _index_bloat(report: Report) -> Part:
    found = report.index_bloat or []
    return Part(
        "index_bloat",
        "Indexes",
        "none",
        report.unknown.get("index_bloat"),
        ("index", "table", "size", "wasted", "share"),
        ("size", "wasted", "share"),
        [
            (
                one.index_name,
                f"{one.schema_name}.{one.table_name}",
                byte_size(one.index_bytes),
                byte_size(one.wasted_bytes or 0),
                f"{one.wasted_percent or 0:.0f} %",
            )
            for one in found[:MANY]
        ],
        len(found[MANY:]),
    )


def _needs(report: Report) -> list[Part]:
    return [
        _remedial(
            report,
            "vacuum_needs",
            "VACUUM",
            "no table needs one",
            (
                Remedy(one.statement, "; ".join(filter(None, (one.reason, one.hint))))
                for one in report.vacuum_needs or ()
            ),
        ),
        _remedial(
            report,
            "analyze_needs",
            "ANALYZE",
            "no table needs one",
            (Remedy(one.statement, one.reason) for one in report.analyze_needs or ()),
        ),
        _remedial(
            report,
            "reindex_needs",
            "REINDEX",
            "no index needs one",
            (
                Remedy(
                    one.statement,
                    f"{one.reason}; it gives back {byte_size(one.gives_back_bytes or 0)}",
                )
                for one in report.reindex_needs or ()
            ),
        ),
    ]


def _remedial(
    report: Report, name: str, title: str, nothing: str, remedies: Iterable[Remedy]
) -> Part:
    listed = list(remedies)
    return Part(
        name,
        title,
        nothing,
        report.unknown.get(name),
        more=len(listed[MANY:]),
        remedies=listed[:MANY],
    )


def _estimates(report: Report) -> Part:
    return Part(
        "estimates",
        "How long it would take",
        "unknown",
        report.unknown.get("estimates"),
        ("operation", "about", "known from"),
        ("about",),
        [(one.operation, duration(one.seconds), one.explanation) for one in report.estimates or ()],
    )


def _advice(report: Report) -> Part:
    return _remedial(
        report,
        "advice",
        "Settings",
        "nothing is in the way",
        (
            Remedy(
                one.statement,
                one.message if one.subject == "server" else f"{one.name}: {one.message}",
            )
            for one in report.advice or ()
        ),
    )


def _index_parts(report: Report) -> list[Part]:
    return [
        _remedial(
            report,
            "unused_indexes",
            "Unused",
            "none",
            (
                Remedy(
                    one.statement if one.state == "unused" else None,
                    f"{one.index_name} on {one.schema_name}.{one.table_name},"
                    f" {byte_size(one.index_bytes)}: {one.state}",
                )
                for one in report.unused_indexes or ()
            ),
        ),
        _remedial(
            report,
            "duplicate_indexes",
            "Superfluous",
            "none",
            (
                Remedy(one.statement, f"{one.reason}, {byte_size(one.index_bytes)}")
                for one in report.duplicate_indexes or ()
            ),
        ),
        Part(
            "invalid_indexes",
            "Invalid, or being built",
            "none",
            report.unknown.get("invalid_indexes"),
            ("index", "table", "size"),
            ("size",),
            [
                (
                    one.index_name,
                    f"{one.schema_name}.{one.table_name}",
                    byte_size(one.index_bytes),
                )
                for one in report.invalid_indexes or ()
            ],
        ),
        _remedial(
            report,
            "missing_indexes",
            "Declared and missing",
            "none",
            (
                Remedy(
                    one.create_statement,
                    f"{one.relation}: {one.reason}"
                    if one.create_statement
                    else f"{one.name} on {one.relation} is being built",
                )
                for one in report.missing_indexes or ()
            ),
        ),
    ]


def _policies(report: Report) -> Part:
    return Part(
        "policies",
        "How they stand",
        "there are none",
        report.unknown.get("policies"),
        ("policy", "table", "last run", "ended", "removed", "outlook"),
        ("removed",),
        [
            (
                one.policy,
                one.relation,
                "never" if one.last_run_at is None else f"{one.last_run_at:%Y-%m-%d %H:%M}",
                one.last_exit_reason,
                one.last_removed,
                "; ".join(
                    filter(
                        None,
                        (
                            "" if one.is_enabled else "switched off",
                            "overdue" if one.is_overdue else "",
                            one.outlook,
                        ),
                    )
                ),
            )
            for one in report.policies or ()
        ],
    )


def _removable(report: Report) -> Part:
    return Part(
        "removable",
        "What a run would remove now",
        "nothing",
        report.unknown.get("removable"),
        ("policy", "rows", "about", "oldest", "guard"),
        ("rows", "about"),
        [
            (
                one.policy,
                "unknown"
                if one.eligible is None
                else f"{'' if one.is_counted else 'more than '}{one.eligible:,}",
                "" if one.estimated_bytes is None else byte_size(one.estimated_bytes),
                one.oldest,
                one.error or ": ".join(filter(None, (one.verdict, one.reason))),
            )
            for one in report.removable or ()
            if one.eligible != 0 or one.error
        ],
    )


def _sweeps(report: Report) -> Part:
    return Part(
        "sweeps",
        "Sweeps on insert",
        "there are none",
        report.unknown.get("sweeps"),
        ("policy", "state", "why"),
        (),
        [(one.policy, one.state, one.detail) for one in report.sweeps or ()],
    )


def _days(report: Report) -> Part:
    days = [*reversed(report.days or [])]
    numbers = ("runs", "rows", "failures")
    return Part(
        "days",
        "Rows removed or changed",
        "nothing ran",
        report.unknown.get("days"),
        ("day", *numbers),
        numbers,
        [(str(one.day), one.runs, one.rows, one.failures) for one in days[:FEW]],
        len(days[FEW:]),
    )


def _failures(report: Report) -> Part:
    return Part(
        "failures",
        "Failures",
        "none",
        report.unknown.get("failures"),
        ("run", "began", "what", "ended", "message"),
        (),
        [
            (
                str(one.run),
                f"{one.started_at:%Y-%m-%d %H:%M}",
                one.what,
                one.exit_reason,
                line(": ".join(filter(None, (one.sqlstate, one.message)))),
            )
            for one in report.failures or ()
        ],
    )
