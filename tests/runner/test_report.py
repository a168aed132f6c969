"""report: what it finds, what it says it does not know, and the page that it writes."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import make_conninfo

from runner import api, cli
from runner.plots import Bar, Column, Line, bars, columns, lines
from runner.report_page import page
from tests.conftest import scalar
from tests.statements import execute, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from psycopg import Connection

ODD = "<script>alert(1)</script>"
QUOTED = f'public."{ODD}"'
VOID = ("meta", "rect", "circle", "path", "polyline")


def fill(db: Connection) -> None:
    """A table of an odd name, half of it wasted, with an index that nobody uses, and its twin."""
    execute(
        db,
        f'create table {QUOTED} (id integer primary key, "a ""b" text)'
        f" with (autovacuum_enabled = false);"
        f" insert into {QUOTED} select n, md5(n::text) from generate_series(1, 8000) as n;"
        f' create index "unused <b>" on {QUOTED} ("a ""b");'
        f' create index "its twin" on {QUOTED} ("a ""b");'
        f" delete from {QUOTED} where id % 2 = 0",
    )
    execute(db, f"vacuum (analyze, truncate off) {QUOTED}")


def note(db: Connection, days_ago: int, total_bytes: int, table: str = ODD) -> None:
    """Put a size into the history."""
    execute(
        db,
        "insert into maintenance.size_history (day, schema_name, table_name, total_bytes)"
        " values ((now() at time zone 'UTC')::date - %s, 'public', %s, %s)",
        days_ago,
        table,
        total_bytes,
    )


def ran(
    db: Connection,
    days_ago: float,
    exit_reason: str = "exhausted",
    removed: int = 0,
    message: str | None = None,
    action: str = "delete",
) -> None:
    """Put a run of one step, which took a minute, into the log."""
    execute(
        db,
        "with begun as (insert into maintenance.run (program, arguments, started_by, started_from,"
        " owner_pid, started_at, ended_at) select 'a test', '{}', 'me', 'here', 1, at, at"
        " from (select now() - %s * interval '1 d') as begun (at) returning id, started_at)"
        " insert into maintenance.run_step (run, policy, operation, version, relation, action,"
        " moment, started_at, heartbeat_at, ended_at, removed, dependents, cascaded, exit_reason,"
        " message) select id, 'gone', 'tokens', 1, 'public.gone', %s, started_at, started_at,"
        " started_at, started_at + interval '1 min', %s, 10, 1, %s, %s from begun",
        days_ago,
        action,
        removed,
        exit_reason,
        message,
    )


@pytest.fixture
def url(db: Connection) -> str:
    """The URL of the clone."""
    return db.info.dsn


@pytest.fixture
def told(
    url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process; return its exit status, and what it printed."""

    def tell(*words: str) -> tuple[int, str, str]:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setattr("sys.argv", ["runner", "report", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return tell


# what it finds


def test_the_report_names_what_is_large_wasted_unused_and_needed(
    db: Connection, told: Callable[..., tuple[int, str, str]]
) -> None:
    fill(db)
    note(db, 1, 8192)
    code, out, err = told()
    assert (code, err) == (0, "")
    shown = [" ".join(line.split()) for line in out.splitlines()]
    assert f"database {db.info.dbname}" in shown
    assert f"host {db.info.host}, port {db.info.port}" in shown
    assert "session direct" in shown
    assert "encryption none, it stays on this machine" in shown
    [size] = {line for line in shown if line.startswith(f"public.{ODD} ") and "4,000" in line}
    assert size.endswith("4,000")
    assert any(re.match(rf"public\.{re.escape(ODD)} .* (49|50|51) %$", line) for line in shown)
    assert any(re.match(rf"public\.{re.escape(ODD)} .* \+\d", line) for line in shown)
    assert f"alter table {QUOTED} reset (autovacuum_enabled);" in shown
    assert 'drop index concurrently public."its twin";' in shown
    assert any(line.startswith(f"-- unused <b> on public.{ODD}, ") for line in shown)
    assert 'drop index concurrently public."unused <b>";' not in shown, "it is too early to tell"
    assert "Failures: none" in shown
    assert any(line.startswith("vacuum ") and "a rule of thumb" in line for line in shown)


def test_an_index_that_nobody_used_for_long_is_proposed_to_go(db: Connection, url: str) -> None:
    fill(db)
    report = api.report(url)
    young = next(one for one in report.unused_indexes or [] if one.index_name == "unused <b>")
    proposed = "<code>drop index concurrently public.&quot;unused &lt;b&gt;&quot;;</code>"
    assert proposed not in page(report)
    assert proposed in page(replace(report, unused_indexes=[replace(young, state="unused")]))


def test_as_json_it_is_one_document_with_every_part(
    db: Connection, told: Callable[..., tuple[int, str, str]]
) -> None:
    fill(db)
    note(db, 7, 8192)
    ran(db, 1, removed=5)
    code, out, err = told("--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert [*document] == [one.name for one in fields(api.Report)]
    assert [name for name, part in document.items() if part is None] == []
    assert document["link"]["database"] == db.info.dbname
    assert document["unknown"] == {}
    [grown] = document["growth"]
    assert grown["week_bytes"] == grown["total_bytes"] - 8192
    assert grown["month_bytes"] is None
    [wasted] = [one for one in document["table_bloat"] if one["table_name"] == ODD]
    assert 45 < wasted["wasted_percent"] < 55
    assert document["days"][0]["rows"] == 16


def test_who_waits_for_whom_is_in_it(
    db: Connection, another: Callable[[], Connection], url: str
) -> None:
    execute(db, "create table public.taken ()")
    holder, waiter = another(), another()
    execute(holder, "begin; lock table public.taken")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(execute, waiter, "select from public.taken")
        until_blocked(db, waiter)
        began = monotonic()
        report = api.report(url)
        took = monotonic() - began
        execute(holder, "rollback")
        waiting.result()
    [found] = [one for one in report.locks or [] if one.pid == waiter.info.backend_pid]
    assert found.chain == [waiter.info.backend_pid, holder.info.backend_pid]
    assert found.relation == "public.taken"
    assert found.root_state == "idle in transaction"
    assert report.tables is None
    assert report.unknown["tables"].startswith("unknown, needs a lock that somebody holds")
    assert took < 10, "it does not wait for the lock, part after part"


def test_an_index_that_is_invalid_is_in_it(db: Connection, url: str) -> None:
    fill(db)
    assert api.report(url).invalid_indexes == []
    execute(
        db,
        "update pg_index set indisvalid = false where indexrelid = 'public.\"its twin\"'::regclass",
    )
    assert [one.index_name for one in api.report(url).invalid_indexes or []] == ["its twin"]


def test_what_holds_dead_rows_and_runs_long_is_in_it(
    db: Connection, another: Callable[[], Connection], url: str
) -> None:
    holder = another()
    execute(holder, "begin isolation level repeatable read; select 1")
    report = api.report(url)
    assert [one.pid for one in report.horizon or []] == [holder.info.backend_pid]
    assert report.queries == [], "it began less than a minute ago"
    execute(holder, "rollback")


def test_rows_are_added_up_by_day_and_failures_are_counted(db: Connection, url: str) -> None:
    ran(db, 2, removed=100)
    ran(db, 2, "error", removed=7, message="it broke")
    ran(db, 1, "guard")
    ran(db, 1, "lease_held")
    ran(db, 1, removed=50, action="undo")
    ran(db, 31, "error")
    execute(db, "update maintenance.run_step set run = 1 where run = 2")
    execute(db, "delete from maintenance.run where id = 2")
    report = api.report(url)
    assert report.days is not None
    today = report.taken_at.astimezone(UTC).date()
    assert [(one.day, one.runs, one.rows, one.failures) for one in report.days] == [
        (today - timedelta(days=2), 1, 100 + 7 + 22, 1),
        (today - timedelta(days=1), 3, 22, 1),
    ]
    assert [(one.what, one.exit_reason, one.message) for one in report.failures or []] == [
        ("gone", "guard", None),
        ("gone", "error", "it broke"),
    ]


def test_an_estimate_is_what_statements_took_here(db: Connection, url: str) -> None:
    ran(db, 1)
    execute(
        db,
        "insert into maintenance.run_task (run, operation, object, statement, reason, started_at,"
        " ended_at, exit_reason) select id, 'vacuum', 't', 'vacuum t', 'why', now(),"
        " now() + interval '500 s', 'exhausted' from maintenance.run",
    )
    [vacuum, reindex, _] = api.report(url).estimates or []
    assert (vacuum.operation, vacuum.seconds, vacuum.is_measured) == ("vacuum", 500, True)
    assert (reindex.operation, reindex.is_measured) == ("reindex", False)


def test_the_connection_is_the_one_that_was_asked_for(db: Connection, url: str) -> None:
    link = api.report(url).link
    assert link.server_version == scalar(db, "show server_version")
    assert (link.database, link.role) == (db.info.dbname, db.info.user)
    assert link.session == "direct"


# what it does not know


def test_a_part_that_fails_takes_no_other_along_and_none_can_write(
    db: Connection, told: Callable[..., tuple[int, str, str]]
) -> None:
    execute(
        db,
        "create function public.written() returns text language sql as"
        " 'insert into maintenance.size_history values (now(), ''a'', ''b'', 1, 1)"
        " returning table_name::text';"
        " drop view maintenance.settings_advice; create view maintenance.settings_advice as"
        " select 'server' as subject, ''::text as name, public.written() as message,"
        " '' as statement;"
        " drop view maintenance.long_running_queries",
    )
    code, out, _ = told()
    assert code == 0
    assert "Settings: unknown: cannot execute INSERT in a read-only transaction" in out
    assert "minute and more: unknown, needs runner migrate: relation" in out
    assert "Declared and missing: none" in out
    assert "Failures: none" in out


def test_what_statistics_do_not_tell_is_counted_with_its_reason(db: Connection, url: str) -> None:
    execute(
        db,
        "create table public.new with (autovacuum_enabled = false) as"
        " select n, md5(n::text) from generate_series(1, 9000) as n",
    )
    report = api.report(url)
    assert "run ANALYZE (1)" in report.unknown["table_bloat"]
    assert [one for one in report.table_bloat or [] if one.table_name == "new"] == []


def test_an_owner_without_the_right_to_monitor_is_told_what_that_hides(
    new_database: Callable[..., str], role: Callable[[str], str], another: Callable[[], Connection]
) -> None:
    owner = role("owner")
    url = make_conninfo(new_database("owned", owner=owner), user=owner)
    api.migrate(url, applications=["none"])
    report = api.report(url)
    assert report.facts is not None
    assert report.facts.xmin_holder == "unknown, needs pg_read_all_stats"
    assert {*report.unknown} == {"queries", "locks", "horizon"}
    assert all("needs pg_read_all_stats" in one for one in report.unknown.values())
    assert report.policies == []
    assert report.link.role == owner
    assert "Keep dead rows" in page(report)


def test_to_a_stranger_all_is_unknown_but_the_connection(
    db: Connection, url: str, role: Callable[[str], str]
) -> None:
    stranger = role("stranger")
    report = api.report(make_conninfo(url, user=stranger))
    parts = {one.name for one in fields(report)} - {"taken_at", "link", "unknown"}
    assert {name for name in parts if getattr(report, name) is None} == parts
    assert {*report.unknown} == parts
    assert report.unknown["tables"].startswith("unknown, needs the rights of a monitor")
    assert page(report).count("needs the rights of a monitor") > 20
    api.grant(url, stranger, "monitor")
    monitored = api.report(make_conninfo(url, user=stranger))
    assert {*monitored.unknown} == {"queries", "locks", "horizon"}


def test_a_database_without_the_core_is_named(empty: str) -> None:
    with pytest.raises(api.RunnerError, match="has nothing of pg-maintenance"):
        api.report(empty)


# the page


class Outline(HTMLParser):
    """What a page is made of; it fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def busy(db: Connection, url: str) -> api.Report:
    """A report with all of its plots, and with names that a page could trip over."""
    fill(db)
    execute(db, 'create table public."a&b ""c"" \x1b[31m" as select generate_series(1, 9000)')
    for days_ago in (40, 20, 1):
        note(db, days_ago, 1 << 20)
        note(db, days_ago, 1 << 12, 'a&b "c" \x1b[31m')
    ran(db, 3, removed=5000)
    ran(db, 2, "error", message="</svg><script>alert(2)</script>")
    return api.report(url)


def test_a_page_is_whole_reaches_for_nothing_and_shows_names_as_they_are(busy: api.Report) -> None:
    text = page(busy)
    outline = Outline(text)
    assert {"script", "link", "img", "iframe", "object", "base"} & {
        tag for tag, _ in outline.tags
    } == set()
    for _, attributes in outline.tags:
        assert not {"src", "style", "onload", "onclick"} & {*attributes}
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text
    assert "@import" not in text
    assert "\x1b" not in text
    assert f"public.{ODD}" in outline.texts
    assert 'public.a&b "c" \\x1b[31m' in outline.texts
    assert "</svg><script>alert(2)</script>" in outline.texts
    [policy] = [one["content"] for one in outline.all("meta") if "http-equiv" in one]
    assert (policy or "").startswith("default-src 'none'")


def test_a_page_can_be_read_without_seeing_it(busy: api.Report) -> None:
    outline = Outline(page(busy))
    ids = [str(one["id"]) for _, one in outline.tags if "id" in one]
    assert len(ids) == len({*ids})
    plots = [one for one in outline.all("svg") if one.get("role") == "img"]
    assert [one["aria-labelledby"] for one in plots] == [
        f"{name}-t {name}-d" for name in ("plot-sizes", "plot-growth", "plot-tables", "plot-runs")
    ]
    for plot in plots:
        assert {*str(plot["aria-labelledby"]).split()} <= {*ids}
    assert all(one.get("scope") in ("col", "row") for one in outline.all("th"))
    assert outline.all("html") == [{"lang": "en"}]
    assert all(str(one["href"])[1:] in ids for one in outline.all("a"))


def test_the_page_is_written_for_its_owner_alone_and_replaces_a_page_whole(
    busy: api.Report, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text("an old one")
    file.chmod(0o644)
    linked = tmp_path / "latest.html"
    kept = tmp_path / "kept"
    kept.write_text("kept")
    linked.symlink_to(kept)
    for one in (file, linked):
        assert api.write_page(busy, one) == one
        assert one.read_text() == page(busy)
        assert stat.S_IMODE(one.lstat().st_mode) == 0o600
    assert kept.read_text() == "kept"
    assert {one.name for one in tmp_path.iterdir()} == {"report.html", "latest.html", "kept"}


def test_where_no_page_can_be_written_it_is_said_and_nothing_is_left(
    tmp_path: Path, told: Callable[..., tuple[int, str, str]]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(tmp_path / "pipe")
    for file, why in (
        (folder, "it is a folder"),
        (tmp_path / "pipe", "it is no ordinary file"),
        (tmp_path / "none" / "report.html", "No such file or directory"),
    ):
        code, out, err = told("--html", str(file))
        assert (code, out) == (1, "")
        assert err.startswith(f"error: cannot write {file}\ndetail: {why}.\n")
    assert {one.name for one in tmp_path.iterdir()} == {"folder", "pipe"}


def test_the_command_says_where_the_page_is(
    tmp_path: Path, told: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told("--html", "r.html") == (0, f"the report is in {tmp_path}/r.html\n", "")
    assert Outline((tmp_path / "r.html").read_text()).all("main")


def test_a_report_that_knows_nothing_still_makes_a_page(busy: api.Report) -> None:
    parts = {one.name: None for one in fields(busy)}
    nothing = api.Report(
        **parts | {"taken_at": datetime.now(UTC), "link": busy.link, "unknown": {"days": "why"}}  # pyright: ignore[reportArgumentType]
    )
    outline = Outline(page(nothing))
    assert "why" in outline.texts
    assert outline.all("svg") == []


# the plots


def labels(svg: str) -> list[str]:
    """What is written beside the ticks."""
    return re.findall(r'/><text[^>]*class="end">([^<]*)</text>', svg)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0, ["0", "1", "2"]),
        (1, ["0", "1", "2"]),
        (5, ["0", "1", "2", "3", "4", "5"]),
        (6, ["0", "2", "4", "6"]),
        (999, ["0", "200", "400", "600", "800", "1 k"]),
        (1000, ["0", "1 k", "2 k"]),
        (1001, ["0", "1 k", "2 k"]),
        (2_300_000, ["0", "1 M", "2 M", "3 M"]),
    ],
)
def test_ticks_are_round_and_reach_over_the_highest_column(most: int, expected: list[str]) -> None:
    today = date(2026, 1, 31)
    svg = columns("n", "t", "d", [Column(today, most, 0, 1)], today - timedelta(days=30), today)
    assert labels(svg) == expected
    assert 'class="failed"' not in svg


def test_a_day_with_failures_is_crossed_below_its_column() -> None:
    first, last = date(2026, 1, 1), date(2026, 1, 31)
    found = [Column(first, 10, 0, 1), Column(last, 5, 2, 3)]
    svg = columns("n", "t", "d", found, first, last)
    assert svg.count('class="failed"') == 1
    assert "<title>2026-01-31: 5 rows, 3 runs, 2 failures</title>" in svg
    tops = [float(y) for y in re.findall(r'<rect x="[\d.]+" y="([\d.]+)"', svg)]
    heights = [float(height) for height in re.findall(r'height="([\d.]+)" class="c0"', svg)]
    assert heights[0] == 2 * heights[1]
    assert tops[0] + heights[0] == tops[1] + heights[1]
    left = [float(x) for x in re.findall(r'<rect x="([\d.]+)"', svg)]
    assert 58 <= left[0] < 70
    assert left[1] > 370


def test_a_line_runs_from_its_first_day_to_its_last_and_one_day_is_a_dot() -> None:
    first, last = date(2026, 1, 1), date(2026, 1, 11)
    alone = lines("n", "t", "d", [Line("one", [(first, 2048)])])
    assert "<polyline" not in alone
    assert "<circle" in alone
    both = [Line("one", [(first, 1024), (last, 2048)]), Line("two", [(date(2026, 1, 6), 0)])]
    svg = lines("n", "t", "d", both)
    [path] = re.findall(r'<polyline points="([^"]+)"', svg)
    (x0, y0), (x1, y1) = ([float(place) for place in point.split(",")] for point in path.split())
    middle = float(re.findall(r'<circle cx="([\d.]+)"', svg)[1])
    assert labels(svg) == ["0 bytes", "1.0 kB", "2.0 kB"]
    assert (y0 - y1, 162 - y0) == (75, 75)
    assert (x0, middle) == (58, (x0 + x1) / 2)


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    svg = bars("n", "t", "d", ("a", "b"), [Bar("x" * 60, (300, 100)), Bar("<b>", (100, 0))])
    assert re.findall(r'x="([\d.]+)" y="\d+" width="([\d.]+)"', svg) == [
        ("0.0", "300.0"),
        ("300.0", "100.0"),
        ("0.0", "100.0"),
        ("100.0", "0.0"),
    ]
    assert f">{'x' * 45}…</text>" in svg
    assert f"<title>{'x' * 60}: 400 bytes (a 300 bytes, b 100 bytes)</title>" in svg
    assert "<b>" not in svg
    assert bars("n", "t", "d", ("a",), [Bar("empty", (0,))])


# a browser

MEASURES = """<script>
const found = [...document.querySelectorAll("svg[role=img]")].map(plot => {
  const box = plot.getBoundingClientRect();
  const marks = [...plot.querySelectorAll("rect, polyline")].map(m => m.getBoundingClientRect());
  return {name: plot.getAttribute("aria-labelledby"), width: box.width, height: box.height,
          drawn: Math.max(...marks.map(m => m.width + m.height))};
});
const measured = document.createElement("pre");
measured.id = "measured";
measured.textContent = JSON.stringify({found, failures, wide: document.body.scrollWidth});
document.body.append(measured);
</script></body>"""
WATCHES = """<head><script>
const failures = [];
addEventListener("error", event => failures.push(event.message));
window.alert = what => failures.push(`alert ${what}`);
</script>"""


def opened(file: Path, folder: Path) -> tuple[str, list[str]]:
    """Open a file in Chromium; return the document that became of it, and what its console says."""
    program = shutil.which("chromium")
    assert program, "apt-get install chromium"
    done = subprocess.run(
        [
            *(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *(f"--user-data-dir={folder}", "--enable-logging=stderr", "--window-size=600,900"),
            *("--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.check
def test_a_browser_draws_the_plots_and_runs_nothing(busy: api.Report, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    file = api.write_page(busy, tmp_path / "report.html")
    assert opened(file, profile)[1] == []

    # Without the policy that forbids scripts, how names are written keeps them from running.
    text = re.sub(r"<meta http-equiv[^>]*>", "", page(busy))
    text = text.replace("<head>", WATCHES).replace("</body>", MEASURES)

    def measured(changed: str) -> Any:
        watched = tmp_path / "watched.html"
        watched.write_text(changed)
        document, _ = opened(watched, profile)
        [result] = re.findall(r'<pre id="measured">(.*?)</pre>', document)
        return json.loads(result)

    seen = measured(text)
    assert seen["failures"] == []
    assert len(seen["found"]) == 4
    for plot in seen["found"]:
        assert plot["width"] > 300, plot
        assert plot["height"] > 60, plot
        assert plot["drawn"] > 100, plot
    assert seen["wide"] <= 600, "the page is no wider than the window"

    broken = text.replace("&lt;script&gt;alert(1)&lt;/script&gt;", ODD)
    assert "alert 1" in measured(broken)["failures"], "a script would have been noticed"
