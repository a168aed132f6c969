"""Everything that is known of a database, for one reading: its sizes, its needs and its runs.

It reads views and executes nothing of what they propose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar

from psycopg import errors, sql
from psycopg.rows import class_row

from runner.connection import connect, is_pooler_url, literal, shares_session
from runner.database import installed
from runner.errors import RunnerError, sentence
from runner.identity import LOCAL, endpoint
from runner.policies import POLICY_STATUS, PolicyStatus
from runner.resources import query
from runner.stats import DatabaseFacts, Removable
from runner.status import SweepStatus

if TYPE_CHECKING:
    from typing import LiteralString

    from psycopg import Connection

Row = TypeVar("Row")
Bloat = TypeVar("Bloat", "TableBloat", "IndexBloat")

HIDDEN = "unknown, needs pg_read_all_stats: what sessions of other roles do is hidden"
PATIENCE = "set lock_timeout = '200ms'"
"""Sizes cannot be read of a table that is locked exclusively: a report does not wait for it."""
POOLED = "pooled: a pooler hands each transaction to another session"


@dataclass(frozen=True)
class Link:
    """How the report reached its database."""

    server_version: str
    host: str
    port: int
    database: str
    role: str
    encryption: str
    """TLS with its version and cipher; or none, and whether the network is crossed."""
    session: str
    """direct, pooled (through a pooler that shares sessions), or unknown with the reason."""


@dataclass(frozen=True)
class TableSize:
    """What a table takes on disk."""

    schema_name: str
    table_name: str
    total_bytes: int
    heap_bytes: int
    index_bytes: int
    other_bytes: int
    estimated_rows: int | None


@dataclass(frozen=True)
class IndexSize:
    """What an index takes on disk, and how often it was used since statistics began."""

    schema_name: str
    table_name: str
    index_name: str
    index_bytes: int
    scans: int
    is_valid: bool


@dataclass(frozen=True)
class Growth:
    """How much a table has grown; None where nothing was noted by then."""

    schema_name: str
    table_name: str
    total_bytes: int
    day_bytes: int | None
    week_bytes: int | None
    month_bytes: int | None
    since: date


@dataclass(frozen=True)
class NotedSize:
    """What a table took on a day; all tables together, where none is named."""

    day: date
    schema_name: str | None
    table_name: str | None
    total_bytes: int


@dataclass(frozen=True)
class UnusedIndex:
    """An index that no scan has used, or that is too young to tell: see ``state``."""

    schema_name: str
    table_name: str
    index_name: str
    index_bytes: int
    state: str
    statement: str


@dataclass(frozen=True)
class DuplicateIndex:
    """An index that another one makes superfluous."""

    schema_name: str
    table_name: str
    index_name: str
    index_bytes: int
    reason: str
    statement: str


@dataclass(frozen=True)
class DeclaredIndex:
    """An index that housekeeping has declared, and that is yet to be built."""

    relation: str
    name: str
    reason: str
    create_statement: str | None
    """None while somebody builds it."""


@dataclass(frozen=True)
class Sessions:
    """Sessions of a kind, and how many the server takes in all."""

    database: str | None
    role: str | None
    application: str | None
    state: str
    connections: int
    all_connections: int
    max_connections: int
    reserved: int


@dataclass(frozen=True)
class LongQuery:
    """A statement or an open transaction of a minute and more."""

    pid: int
    role: str | None
    application: str | None
    state: str | None
    query_seconds: float | None
    transaction_seconds: float | None
    waits_for: str | None
    blocked_by: list[int]
    query: str | None


@dataclass(frozen=True)
class Blocking:
    """A session that waits for a lock, and who is at the root of it."""

    pid: int
    role: str | None
    lock_mode: str | None
    relation: str | None
    waiting_seconds: float | None
    query: str | None
    chain: list[int]
    root: int
    root_role: str | None
    root_state: str | None
    root_query: str | None


@dataclass(frozen=True)
class Holder:
    """Who keeps vacuum from removing dead rows."""

    kind: str
    name: str | None
    pid: int | None
    role: str | None
    age: int
    since: datetime | None


@dataclass(frozen=True)
class TableBloat:
    """What a rewrite would give back of a table; None where statistics do not tell."""

    schema_name: str
    table_name: str
    heap_bytes: int
    wasted_bytes: int | None
    wasted_percent: float | None
    state: str


@dataclass(frozen=True)
class IndexBloat:
    """What REINDEX would give back of an index; None where statistics do not tell."""

    schema_name: str
    table_name: str
    index_name: str
    index_bytes: int
    wasted_bytes: int | None
    wasted_percent: float | None
    state: str


@dataclass(frozen=True)
class VacuumNeed:
    """A table that wants a VACUUM."""

    schema_name: str
    table_name: str
    priority: int
    reason: str
    statement: str
    hint: str | None
    held_by: str


@dataclass(frozen=True)
class AnalyzeNeed:
    """A table that wants an ANALYZE."""

    schema_name: str
    table_name: str
    reason: str
    statement: str


@dataclass(frozen=True)
class ReindexNeed:
    """An index that wants to be rebuilt, or that a rebuild left behind."""

    schema_name: str
    table_name: str
    index_name: str
    reason: str
    statement: str
    gives_back_bytes: int | None
    needs_bytes: int | None


@dataclass(frozen=True)
class Estimate:
    """How long an operation takes."""

    operation: str
    seconds: float
    is_measured: bool
    """Whether that is what it took here; False: a rule of thumb."""
    explanation: str


@dataclass(frozen=True)
class Advice:
    """A setting of the server or of a table that is in the way."""

    subject: str
    name: str
    message: str
    statement: str


@dataclass(frozen=True)
class Day:
    """What runs did on a day, in UTC."""

    day: date
    runs: int
    rows: int
    """Removed, or changed by action set, with dependents and cascades."""
    failures: int


@dataclass(frozen=True)
class Failure:
    """A policy or statement of a run that failed, was left incomplete, or was refused."""

    run: int
    started_at: datetime
    what: str | None
    exit_reason: str
    sqlstate: str | None
    message: str | None


@dataclass(frozen=True)
class Report:
    """What is known of a database. A part that could not be read is None.

    ``unknown`` says, by the name of the part, what is not known of it, and what that needs.
    """

    taken_at: datetime
    link: Link
    facts: DatabaseFacts | None
    tables: list[TableSize] | None
    indexes: list[IndexSize] | None
    growth: list[Growth] | None
    noted: list[NotedSize] | None
    unused_indexes: list[UnusedIndex] | None
    duplicate_indexes: list[DuplicateIndex] | None
    invalid_indexes: list[IndexSize] | None
    missing_indexes: list[DeclaredIndex] | None
    sessions: list[Sessions] | None
    queries: list[LongQuery] | None
    locks: list[Blocking] | None
    horizon: list[Holder] | None
    table_bloat: list[TableBloat] | None
    index_bloat: list[IndexBloat] | None
    vacuum_needs: list[VacuumNeed] | None
    analyze_needs: list[AnalyzeNeed] | None
    reindex_needs: list[ReindexNeed] | None
    estimates: list[Estimate] | None
    advice: list[Advice] | None
    policies: list[PolicyStatus] | None
    removable: list[Removable] | None
    sweeps: list[SweepStatus] | None
    days: list[Day] | None
    failures: list[Failure] | None
    unknown: dict[str, str]


def report(url: str) -> Report:
    """Read everything; writes nothing. Raises RunnerError where the core is not installed."""
    with installed(url, program="runner report", read_only=True) as connection:
        session = _session(url)
        connection.execute(PATIENCE)
        reader = _Reader(connection)
        read = reader.read
        row = connection.execute("select now(), current_user").fetchone()
        assert row is not None
        facts = read("facts", DatabaseFacts, "database_facts")
        report = Report(
            taken_at=row[0],
            link=_link(connection, row[1], session),
            facts=facts[0] if facts else None,
            tables=read("tables", TableSize, "table_sizes", "limit 20"),
            indexes=read("indexes", IndexSize, "index_usage", "order by index_bytes desc limit 20"),
            growth=read("growth", Growth, "table_growth", "where since is not null limit 20"),
            noted=reader.query("noted", NotedSize, "report_sizes"),
            unused_indexes=read("unused_indexes", UnusedIndex, "unused_indexes"),
            duplicate_indexes=read("duplicate_indexes", DuplicateIndex, "duplicate_indexes"),
            invalid_indexes=read("invalid_indexes", IndexSize, "index_usage", "where not is_valid"),
            missing_indexes=read("missing_indexes", DeclaredIndex, "missing_indexes"),
            sessions=read("sessions", Sessions, "connections"),
            queries=read("queries", LongQuery, "long_running_queries"),
            locks=read("locks", Blocking, "blocking_locks"),
            horizon=read("horizon", Holder, "xmin_horizon"),
            table_bloat=reader.bloat("table_bloat", TableBloat, "heap_bytes"),
            index_bloat=reader.bloat("index_bloat", IndexBloat, "index_bytes"),
            vacuum_needs=read("vacuum_needs", VacuumNeed, "vacuum_needs"),
            analyze_needs=read("analyze_needs", AnalyzeNeed, "analyze_needs"),
            reindex_needs=read("reindex_needs", ReindexNeed, "reindex_needs"),
            estimates=reader.execute(
                "estimates",
                Estimate,
                "select wanted.operation, estimate.* from unnest(array['vacuum', 'reindex',"
                " 'analyze']) as wanted (operation)"
                " cross join maintenance.maintenance_estimate(wanted.operation) as estimate",
            ),
            advice=read("advice", Advice, "settings_advice"),
            policies=reader.execute("policies", PolicyStatus, POLICY_STATUS),
            removable=reader.execute(
                "removable", Removable, "select * from maintenance.removable()"
            ),
            sweeps=read("sweeps", SweepStatus, "insert_sweep_status"),
            days=reader.query("days", Day, "report_days"),
            failures=reader.query("failures", Failure, "report_failures"),
            unknown=reader.unknown,
        )
    if report.facts is not None and report.facts.xmin_holder.startswith("unknown"):
        for part in ("queries", "locks", "horizon"):
            report.unknown.setdefault(part, HIDDEN)
    return report


class _Reader:
    """Reads part by part: what is refused, or fails, does not take the others along."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.unknown: dict[str, str] = {}

    def read(
        self, part: str, kind: type[Row], view: str, more: LiteralString = ""
    ) -> list[Row] | None:
        """Read the columns of a view that ``kind`` has fields for."""
        columns = sql.SQL(", ").join(sql.Identifier(one.name) for one in fields(kind))  # pyright: ignore[reportArgumentType]
        return self.execute(
            part,
            kind,
            sql.SQL("select {} from {} {}").format(
                columns, sql.Identifier("maintenance", view), sql.SQL(more)
            ),
        )

    def query(self, part: str, kind: type[Row], name: str) -> list[Row] | None:
        """Read what a file of runner/queries asks for."""
        return self.execute(part, kind, literal(query(name)))

    def execute(
        self, part: str, kind: type[Row], text: LiteralString | sql.Composed
    ) -> list[Row] | None:
        """Read the rows that a statement returns."""
        try:
            with self._connection.transaction():
                return self._connection.cursor(row_factory=class_row(kind)).execute(text).fetchall()
        except errors.Error as error:
            if self._connection.closed:
                raise
            self.unknown[part] = _needed(error)
            return None

    def bloat(self, part: str, kind: type[Bloat], size: LiteralString) -> list[Bloat] | None:
        """Read what wastes more than a tenth, and say of how many that is not known.

        Of what is smaller than 20 pages, which is of ``size``, nothing could be gained.
        """
        found = self.read(
            part,
            kind,
            part,
            "where wasted_percent > 10 or (wasted_percent is null and " + size + " >= 163840)",
        )
        if found is None:
            return None
        reasons = Counter(
            one.state.removeprefix("unknown, ") for one in found if one.wasted_percent is None
        )
        if reasons:
            listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
            more = "; and more" if len(reasons) > 3 else ""
            self.unknown[part] = f"unknown for {reasons.total():,}: {listed}{more}"
        return [one for one in found if one.wasted_percent is not None]


def _needed(error: errors.Error) -> str:
    """Say why a part is unknown, and what it needs."""
    match error:
        case errors.InsufficientPrivilege():
            needs = ", needs the rights of a monitor (runner grants monitor ROLE)"
        case errors.LockNotAvailable():
            needs = ", needs a lock that somebody holds"
        case errors.UndefinedTable() | errors.UndefinedColumn() | errors.UndefinedFunction():
            needs = ", needs runner migrate"
        case _:
            needs = ""
    return f"unknown{needs}: {sentence(error)}"


def _session(url: str) -> str:
    """Say whether connections are direct; asked with two that are in no transaction."""
    try:
        with connect(url, program="runner report (first of two)") as one:
            is_pooled = is_pooler_url(url) or shares_session(one, url)
    except RunnerError as error:
        return f"unknown: {error.message}"
    return POOLED if is_pooled else "direct"


def _link(connection: Connection, role: str, session: str) -> Link:
    info = connection.info
    if connection.pgconn.ssl_in_use:
        row = connection.execute(
            "select concat_ws(', ', version, cipher) from pg_stat_ssl where pid = pg_backend_pid()"
        ).fetchone()
        # Through a pooler, what the server knows is of another connection than ours.
        encryption = str(row[0]) if row and row[0] else "TLS"
    elif endpoint(connection).startswith(f"{LOCAL}:"):
        encryption = "none, it stays on this machine"
    else:
        encryption = "none, it crosses the network"
    return Link(
        info.parameter_status("server_version") or str(info.server_version),
        info.host,
        info.port,
        info.dbname,
        role,
        encryption,
        session,
    )
