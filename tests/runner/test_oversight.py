"""lease, grants, stats, doctor and adopt-clone: what they print, and how they end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner import api, cli, identity
from runner.errors import Exit
from tests.conftest import scalar
from tests.core.runs import a_gate, a_table, at_the_gate, calling, closed_gate, put, register, until
from tests.statements import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

ODD = "[bold]odd[/bold] :boom:"


@pytest.fixture
def url(db: Connection) -> str:
    """The URL of the clone."""
    return db.info.dsn


@pytest.fixture
def told(
    url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; return its exit status, and what it printed."""

    def tell(*words: str) -> tuple[int, str, str]:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setattr("sys.argv", ["runner", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return tell


def begin(db: Connection, another: Callable[[], Connection]) -> tuple[Connection, int]:
    """Begin to run a policy in a session of its own; return that and its step."""
    a_table(db)
    put(db, "dead", 3)
    register(db)
    driver = another()
    number = scalar(driver, "select maintenance.open_run('a driver')")
    step = scalar(driver, "select step from maintenance.open_step(%s, 'token')", number)
    return driver, step


# lease


def test_leases_are_listed_until_there_are_none(
    db: Connection, another: Callable[[], Connection], told: Callable[..., tuple[int, str, str]]
) -> None:
    assert told("lease", "list") == (0, "no lease is taken: nothing runs\n", "")
    driver, step = begin(db, another)
    code, out, _ = told("lease", "list", "--json")
    [lease] = json.loads(out)
    assert code == 0
    assert (lease["policy"], lease["step"], lease["session"]) == ("token", step, "alive")
    assert lease["owner_pid"] == driver.info.backend_pid
    _, out, _ = told("lease", "list")
    for shown in ("token", "alive", "a driver", str(driver.info.backend_pid)):
        assert shown in out


def test_a_lease_is_broken_only_with_a_yes(
    db: Connection, another: Callable[[], Connection], told: Callable[..., tuple[int, str, str]]
) -> None:
    driver, step = begin(db, another)
    code, out, err = told("lease", "break", "token")
    assert (code, out) == (Exit.REFUSED, "")
    assert f"step {step} of run 1 has it: process {driver.info.backend_pid} (alive)" in err
    assert "hint: Say --yes." in err
    assert len(api.leases(db.info.dsn)) == 1
    code, out, _ = told("lease", "break", "token", "--yes")
    assert (code, out) == (0, f"the lease of token is free: step {step} removes nothing more\n")
    assert api.leases(db.info.dsn) == []
    code, _, err = told("lease", "break", "token", "--yes")
    assert (code, err.splitlines()[0]) == (1, "error: the lease of policy token is free")
    code, out, _ = told("lease", "break", "token", "--yes", "--json")
    assert json.loads(out)["error"]["message"] == "the lease of policy token is free"


def test_a_lease_that_changed_hands_meanwhile_is_kept(
    db: Connection, another: Callable[[], Connection], url: str
) -> None:
    _, step = begin(db, another)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="any more"):
        api.break_lease(url, "token", step=step - 1)
    assert len(api.leases(url)) == 1


def test_a_batch_that_does_not_end_is_said_to_be_busy(
    db: Connection, another: Callable[[], Connection], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "runner.connection.DEFAULTS", "select set_config('lock_timeout', '100ms', false)"
    )
    a_table(db)
    a_gate(db)
    put(db, "gate")
    register(db)
    observer = another()
    with closed_gate(db), calling(db) as call:
        until(lambda: at_the_gate(observer))
        with pytest.raises(api.RunnerError, match="has not ended within") as refusal:
            api.break_lease(url, "token")
        execute(db, "select pg_advisory_unlock(1)")
        call.wait()
        execute(db, "select pg_advisory_lock(1)")
    assert refusal.value.code == Exit.BUSY


# grants


def test_grants_are_given_listed_and_taken_back(
    role: Callable[[str], str], db: Connection, told: Callable[..., tuple[int, str, str]]
) -> None:
    name = role(ODD)
    assert told("grants", "operator", name)[:2] == (0, f"{name} is an operator\n")
    code, out, _ = told("grants", "list")
    assert code == 0
    assert any(line.split("  ")[0].strip() == name for line in out.splitlines()), out
    assert "Without pg_monitor" in out
    assert told("grants", "revoke", name)[:2] == (0, f"{name} has no access any more\n")
    assert told("grants", "revoke", name)[:2] == (0, f"{name} had no access\n")
    assert told("grants", "monitor", name)[:2] == (0, f"{name} is a monitor\n")
    answer = json.loads(told("grants", "list", "--json")[1])
    assert [(each["role"], each["access"]) for each in answer["roles"]] == [
        (answer["you"], "owner"),
        (name, "monitor"),
    ]
    assert [each["owner"] for each in answer["owners"]] == [answer["you"]]
    told("grants", "revoke", name)
    code, _, err = told("grants", "monitor", "nobody at all")
    assert (code, err) == (1, 'error: role "nobody at all" does not exist\n')


# stats


def test_stats_show_each_part_and_20_tables_unless_all_are_wanted(
    db: Connection, told: Callable[..., tuple[int, str, str]]
) -> None:
    a_table(db, f'"{ODD}"')
    put(db, "dead", 3, table=f'"{ODD}"')
    register(db, f'"{ODD}"', policy="odd")
    code, out, err = told("stats")
    assert (code, err) == (0, "")
    tables = scalar(db, "select count(*) from maintenance.table_sizes")
    assert f"and {tables - 20} more: --all shows them" in out
    [line] = [line.split() for line in out.splitlines() if line.strip().startswith("odd ")]
    assert f'public."{ODD}"' in " ".join(line)
    assert "pass" in line
    _, everything, _ = told("stats", "--all")
    assert "more: --all" not in everything
    assert f" {ODD} " in everything
    for part in ("refresh_tokens", "found in memory", "keeps dead rows"):
        assert part in out


def test_stats_as_json_are_one_document(
    db: Connection, told: Callable[..., tuple[int, str, str]]
) -> None:
    a_table(db)
    put(db, "dead", 10_001)
    register(db, guard_share=1)
    for options, expected in (([], (10_000, False)), (["--exact"], (10_001, True))):
        code, out, _ = told("stats", "--json", *options)
        answer = json.loads(out)
        assert code == 0
        assert answer["unknown"] == {}
        [line] = [each for each in answer["removable"] if each["policy"] == "token"]
        assert (line["eligible"], line["is_counted"]) == expected
    assert answer["facts"]["database"] == db.info.dbname
    assert {each["token_type"] for each in answer["tokens"]} >= {"refresh_tokens"}
    assert len(answer["tables"]) > 20


def test_what_a_monitor_may_not_see_is_unknown_in_stats(
    role: Callable[[str], str], db: Connection, url: str
) -> None:
    monitor = role("monitor")
    api.grant(url, monitor, "monitor")
    answer = api.stats(make_conninfo(url, user=monitor))
    assert answer.tokens is None
    assert answer.unknown.keys() == {"tokens"}
    assert answer.unknown["tokens"].startswith("unknown: permission denied for table ")
    assert answer.facts
    assert answer.facts.xmin_holder == "unknown, needs pg_read_all_stats"
    assert answer.removable
    assert not [each for each in answer.removable if each.error]
    api.revoke(url, monitor)


# doctor


def of(answer: api.Diagnosis, subject: str, name: str | None = None) -> list[tuple[str, str]]:
    """Return state and message of what was found about something."""
    return [
        (one.state, one.message)
        for one in answer.findings
        if one.subject == subject and name in (None, one.name)
    ]


def test_the_doctor_looks_at_the_client_and_at_the_database(url: str) -> None:
    answer = api.diagnose(url)
    assert of(answer, "connection", "session") == [("ok", "it is direct")]
    assert of(answer, "connection", "transport") == [("ok", "it stays on this machine")]
    assert of(answer, "connection", "server")[0][0] == "ok"
    assert [state for state, _ in of(answer, "migrations")] == ["ok"]
    assert [state for state, _ in of(answer, "identity")] == ["notice", "ok"]
    assert of(answer, "policy", "refresh_tokens") == [("notice", "it never ran")]


def finding(state: str) -> api.Finding:
    """Make a finding."""
    return api.Finding("subject", ODD, state, f"{state} it is", "help it")


@pytest.mark.parametrize(
    ("states", "code"),
    [(["ok", "notice", "unknown"], Exit.DONE), (["ok", "problem"], Exit.FINDINGS)],
)
def test_the_doctor_ends_with_5_on_a_problem_and_on_nothing_else(
    told: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    states: list[str],
    code: Exit,
) -> None:
    def diagnose(_: str) -> Any:
        return api.Diagnosis("shop", [finding(state) for state in states])

    monkeypatch.setattr("runner.api.diagnose", diagnose)
    ended, out, err = told("doctor")
    assert (ended, err) == (code, "")
    assert ("ok it is" in out) is False
    for state in states[1:]:
        assert f"  {state:<8} {ODD}: {state} it is\n           -> help it\n" in out
    assert f"1 {states[-1]}" in out.splitlines()[-1]
    assert "ok it is" in told("doctor", "--verbose")[1]
    ended, out, _ = told("doctor", "--json")
    assert ended == code
    assert [each["state"] for each in json.loads(out)["findings"]] == states
    assert told("doctor", "-q") == (code, "", "")


def test_a_pooler_is_a_finding_and_no_crash(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise api.RunnerError("it is a pooler", hint="Go round it.")

    monkeypatch.setattr("runner.doctor.refuse_pooler", refuse)
    assert of(api.diagnose(url), "connection", "session") == [("problem", "it is a pooler")]


def test_the_doctor_sees_what_is_not_migrated(empty: str, db: Connection, url: str) -> None:
    answer = api.diagnose(empty)
    assert of(answer, "migrations") == [("problem", "there are none here")]
    assert [state for state, _ in of(answer, "database")] == ["unknown"]
    assert not answer.is_healthy
    execute(db, "update maintenance.applied_script set checksum = repeat('0', 64)"
        " where migration_id = 'core/0003_monitor_tables'")  # fmt: skip
    execute(db, "drop view maintenance.token_growth")
    told = api.diagnose(url)
    assert of(told, "migrations", "core/0003_monitor_tables") == [("problem", "it is changed")]
    assert of(told, "migrations", "view maintenance.token_growth")[0][0] == "problem"


def test_to_a_stranger_and_to_a_monitor_what_they_may_not_see_is_unknown(
    role: Callable[[str], str], db: Connection, url: str
) -> None:
    stranger = role("stranger")
    answer = api.diagnose(make_conninfo(url, user=stranger))
    assert [state for state, _ in of(answer, "database")] == ["unknown"]
    assert [state for state, _ in of(answer, "migrations")] == ["unknown"]
    api.grant(url, stranger, "monitor")
    answer = api.diagnose(make_conninfo(url, user=stranger))
    assert of(answer, "database") == []
    assert [state for state, _ in of(answer, "migrations")] == ["unknown"]
    assert of(answer, "policy", "refresh_tokens") == [("notice", "it never ran")]
    api.revoke(url, stranger)


# adopt-clone


def test_a_copy_is_adopted_with_a_yes_and_once(
    db: Connection, told: Callable[..., tuple[int, str, str]], url: str
) -> None:
    execute(db, "update maintenance.installation set database_oid = 1")
    code, out, err = told("adopt-clone")
    assert (code, out) == (Exit.REFUSED, "")
    assert "oid                1 then" in err
    assert not api.identify(url).is_adopted
    code, out, _ = told("adopt-clone", "--yes", "--json")
    answer = json.loads(out)
    assert (code, answer["done"]) == (0, "adopted")
    assert answer["before"]["known_database_oid"] == 1
    assert answer["after"]["endpoints"] == [answer["after"]["endpoint"]]
    code, out, _ = told("adopt-clone")
    assert (code, out.splitlines()[-1]) == (0, "already adopted")


def test_a_copy_that_is_reached_elsewhere_is_adopted_or_an_alias(
    db: Connection, url: str, told: Callable[..., tuple[int, str, str]]
) -> None:
    remember = "select maintenance.remember_endpoints(array['db.example:5432'])"
    execute(db, remember)
    sealed = "select secret from maintenance.installation"
    before = scalar(db, sealed)
    with psycopg.connect(url, autocommit=True) as connection:
        here = identity.endpoint(connection)
        with pytest.raises(api.RunnerError, match="was never reached at") as refusal:
            identity.assert_endpoint(connection)
        assert refusal.value.code == Exit.REFUSED
        [(state, message)] = of(api.diagnose(url), "identity", here)
        assert (state, "known at db.example:5432" in message) == ("problem", True)
        assert told("adopt-clone")[0] == Exit.REFUSED
        done = api.adopt_clone(url, alias=True)
        assert (done.done, done.after.endpoints) == ("remembered", ["db.example:5432", here])
        assert scalar(db, sealed) == before, "an alias makes nothing void"
        identity.assert_endpoint(connection)

        execute(db, "delete from maintenance.endpoint")
        identity.assert_endpoint(connection)
        execute(db, remember)
        done = api.adopt_clone(url)
        assert (done.done, done.after.endpoints) == ("adopted", [here])
        assert scalar(db, sealed) != before
        identity.assert_endpoint(connection)


def test_what_is_a_copy_by_its_identity_is_no_alias(db: Connection, url: str) -> None:
    execute(db, "update maintenance.installation set database_oid = 1")
    with pytest.raises(api.RunnerError, match="is a copy") as refusal:
        api.adopt_clone(url, alias=True)
    assert refusal.value.code == Exit.USAGE


def test_the_first_migrate_remembers_where_the_database_is(empty: str) -> None:
    api.migrate(empty, applications=["none"])
    known = api.identify(empty)
    assert known.endpoints == [known.endpoint]
    assert known.endpoint.startswith("local:")
    with psycopg.connect(empty, autocommit=True) as connection:
        execute(connection, "update maintenance.endpoint set endpoint = 'elsewhere:1'")
    api.migrate(empty)
    assert api.identify(empty).endpoints == ["elsewhere:1"], "and no later one"


class Info:
    """What psycopg tells of a connection."""

    def __init__(self, host: str, port: int, hostaddr: str = "") -> None:
        self.host, self.port, self.hostaddr = host, port, hostaddr
        self.given: dict[str, str] = {}

    @property
    def info(self) -> Info:
        """The connection is its own information."""
        return self

    def get_parameters(self) -> dict[str, str]:
        """Return what was given."""
        return self.given


@pytest.mark.parametrize(
    ("host", "hostaddr", "expected"),
    [
        ("", "", "local:5432"),
        ("/var/run/postgresql", "", "local:5432"),
        ("@abstract", "", "local:5432"),
        ("localhost", "", "local:5432"),
        ("LocalHost.", "", "local:5432"),
        ("127.0.0.1", "127.0.0.1", "local:5432"),
        ("127.8.8.8", "", "local:5432"),
        ("::1", "", "local:5432"),
        ("::ffff:127.0.0.1", "", "local:5432"),
        ("0.0.0.0", "", "local:5432"),  # noqa: S104
        ("db", "127.0.1.1", "local:5432"),
        ("db", "10.0.0.1", "db:5432"),
        ("DB.Example.org.", "", "db.example.org:5432"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1:5432"),
        ("2001:DB8:0::1", "", "[2001:db8::1]:5432"),
    ],
)
def test_the_same_place_is_written_in_one_way(host: str, hostaddr: str, expected: str) -> None:
    connection: Any = Info(host, 5432, hostaddr)
    assert identity.endpoint(connection) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"host": "a"}, ["a:5432"]),
        ({"host": "a,b"}, ["a:5432", "b:5432"]),
        ({"host": "a,b", "port": "5433"}, ["a:5432", "a:5433", "b:5433"]),
        ({"host": "a,b", "port": "5432,5433"}, ["a:5432", "b:5433"]),
        ({"host": "a,,c", "port": "5432,,6000"}, ["a:5432", "c:6000", "local:5432"]),
        ({"hostaddr": "10.0.0.1,10.0.0.2"}, ["10.0.0.1:5432", "10.0.0.2:5432", "a:5432"]),
    ],
)
def test_a_url_of_several_hosts_is_one_database(given: dict[str, str], expected: list[str]) -> None:
    connection: Any = Info("a", 5432)
    connection.given = given
    assert identity.endpoints(connection) == expected


def test_a_connection_tells_where_it_has_led_to(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert identity.endpoint(connection) == f"local:{connection.info.port}"
        assert identity.endpoints(connection) == [f"local:{connection.info.port}"]
