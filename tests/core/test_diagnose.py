"""maintenance.diagnose: what is wrong, and what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import scalar
from tests.core.runs import LIVE, a_table, alter, put, register, run
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

SUBJECTS = ["identity", "rights", "policy", "sweep", "monitoring", "vacuum", "wraparound"]


def found(db: Connection, subject: str, name: str | None = None) -> list[tuple[Any, ...]]:
    """Return state and message of what is told about something."""
    return rows(
        db,
        "select state, message from maintenance.diagnose()"
        " where subject = %s and (%s::text is null or name = %s)",
        subject,
        name,
        name,
    )


def about(db: Connection, policy: str = "token") -> list[tuple[Any, ...]]:
    """Return state, message and remedy of what is told about a policy."""
    return rows(db, "select state, message, remedy from maintenance.diagnose_policy(%s)", policy)


def a_policy(db: Connection, **settings: Any) -> None:
    """Make a table with a live row, and its policy, which has run."""
    a_table(db)
    put(db, "live", expires=LIVE)
    register(db, **settings)
    stepped(db, "nothing_to_do")


def stepped(db: Connection, reason: str, message: str | None = None, **columns: str) -> None:
    """Put a run into the log that ended for a reason."""
    given = {"started_at": "clock_timestamp()", "removed": "0", "eligible": "0"} | columns
    number = scalar(db, "select maintenance.open_run('a driver')")
    execute(
        db,
        "insert into maintenance.run_step (run, policy, operation, version, relation, action,"
        f" moment, started_at, heartbeat_at, ended_at, exit_reason, message, removed, eligible)"
        f" values (%s, 'token', 'x', 1, 'token', 'delete', now(), {given['started_at']}, now(),"
        f" {given['started_at']}, %s, %s, {given['removed']}, {given['eligible']})",
        number,
        reason,
        message,
    )
    execute(db, "select maintenance.close_run(%s)", number)


def test_every_part_has_its_say(tx: Connection) -> None:
    told = column(tx, "select distinct subject from maintenance.diagnose()")
    assert sorted(told) == sorted(SUBJECTS)
    states = column(tx, "select distinct state from maintenance.diagnose()")
    assert set(states) <= {"ok", "notice", "problem"}


def test_a_copy_is_a_problem(tx: Connection) -> None:
    [(state, message)] = found(tx, "identity")
    assert (state, message[:8]) == ("ok", "adopted ")
    execute(tx, "update maintenance.installation set database_oid = 1")
    [(state, message)] = found(tx, "identity")
    assert (state, "copy" in message) == ("problem", True)


def test_rights_that_are_missing_are_problems(role: Callable[[str], str], tx: Connection) -> None:
    owner, master = role("owner"), role("master")
    a_policy(tx)
    execute(tx, f"alter table token owner to {owner}")
    alter(tx)
    assert found(tx, "rights", owner) == [("ok", "policies can act for it: token")]
    execute(tx, f"alter function maintenance.act_as_{owner} security invoker")
    [(state, message)] = found(tx, "rights", owner)
    assert (state, f"act_as_{owner} was altered" in message) == ("problem", True)
    execute(tx, f"alter schema maintenance owner to {master}")
    told = [message for _, message in rows(
        tx, "select name, message from maintenance.diagnose_rights() where name = %s", owner
    )]  # fmt: skip
    assert told[-1] == f"{master} does not inherit the rights of {owner}"
    remedies = column(
        tx, "select remedy from maintenance.diagnose_rights() where name = %s order by 1", owner
    )
    assert remedies[0].startswith(f"grant {owner} to {master}")
    execute(tx, remedies[0])
    execute(tx, f"revoke {owner} from {master}")
    execute(tx, f"grant {owner} to {master}")
    told = column(tx, "select message from maintenance.diagnose_rights() where name = %s", owner)
    assert not [each for each in told if "inherit" in each or "SET ROLE" in each]


def test_a_policy_that_is_well_says_how_it_stands(tx: Connection) -> None:
    a_policy(tx)
    assert about(tx) == [("ok", "clean", None)]


def test_a_policy_that_never_ran_is_a_notice(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    assert about(tx) == [("notice", "it never ran", "call maintenance.run_policy('token')")]


def test_a_policy_whose_table_is_gone_is_a_problem(tx: Connection) -> None:
    a_policy(tx)
    execute(tx, "drop table token")
    assert about(tx) == [
        ("problem", "its table is gone", "select maintenance.remove_policy('token')")
    ]
    execute(tx, "update maintenance.policy set chain = 'matcha' where name = 'token'")
    assert about(tx)[0][2] == "select maintenance.enable_policy('token', false)"


def test_a_policy_that_is_switched_off_is_a_notice(tx: Connection) -> None:
    a_policy(tx, is_enabled=False)
    assert about(tx) == [
        ("notice", "it is switched off", "select maintenance.enable_policy('token')")
    ]


def test_a_condition_that_fails_is_a_problem_and_the_others_go_on(tx: Connection) -> None:
    a_policy(tx, condition="name <> ''")
    execute(tx, "alter table token rename name to other")
    [(state, message)] = found(tx, "policy", "token")
    assert (state, message) == ("problem", 'condition: column "name" does not exist')
    execute(tx, "create or replace function maintenance.diagnose_policy(policy text) returns table"
        " (subject text, name text, state text, message text, remedy text) language plpgsql"
        " as $$ begin if policy = 'token' then raise 'ouch' using hint = 'Cool it.'; end if;"
        " return query select 'policy', policy, 'ok', 'well', null::text; end $$")  # fmt: skip
    assert found(tx, "policy", "token") == [("problem", "ouch")]
    assert found(tx, "policy", "refresh_tokens") == [("ok", "well")]
    assert column(
        tx, "select remedy from maintenance.diagnose() where message = 'ouch'"
    ) == ["Cool it."]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "state", "starts"),
    [
        ("error", "problem", "its last run ended with error: ouch"),
        ("incomplete", "problem", "its last run ended with incomplete: ouch"),
        ("guard", "problem", "its last run ended with guard: ouch"),
        ("interrupted", "notice", "its last run was interrupted"),
        ("exhausted", "ok", "clean"),
        ("budget", "ok", "clean"),
        ("stopped", "ok", "clean"),
    ],
)
def test_the_last_run_counts(tx: Connection, reason: str, state: str, starts: str) -> None:
    a_policy(tx)
    stepped(tx, reason, "ouch")
    assert [(state, starts)] == [told[:2] for told in about(tx)]


def test_a_failure_before_the_last_run_is_past(tx: Connection) -> None:
    a_policy(tx)
    stepped(tx, "error", "ouch", started_at="clock_timestamp() - interval '1 h'")
    assert about(tx) == [("ok", "clean", None)]


@pytest.mark.parametrize(("ago", "is_told"), [("59 min", False), ("61 min", True)])
def test_silence_beyond_what_is_allowed_is_a_problem(
    tx: Connection, ago: str, *, is_told: bool
) -> None:
    a_table(tx)
    register(tx, max_silence="1 h")
    stepped(tx, "exhausted", started_at=f"clock_timestamp() - interval '{ago}'")
    told = [message for _, message, _ in about(tx) if message.startswith("it is overdue")]
    assert bool(told) is is_told


def test_a_policy_that_will_never_catch_up_is_a_problem(tx: Connection) -> None:
    a_policy(tx)
    stepped(
        tx, "budget", started_at="clock_timestamp() - interval '2 h'", removed="10", eligible="20"
    )
    stepped(tx, "budget", removed="10", eligible="100")
    [(state, message, _)] = about(tx)
    assert state == "problem"
    assert message.startswith("it will never catch up: ")


def test_a_time_that_is_null_everywhere_never_comes(tx: Connection) -> None:
    a_table(tx)
    put(tx, "timeless", 100, expires="null")
    register(tx)
    stepped(tx, "nothing_to_do")
    assert about(tx) == [("ok", "clean", None)], "without statistics nothing is known"
    execute(tx, "analyze token")
    [(state, message, _)] = about(tx)
    assert (state, message) == ("notice", "no row can ever expire: expires_at is null everywhere")
    put(tx, "dead")
    execute(tx, "analyze token")
    assert about(tx) == [("ok", "clean", None)]


def test_one_branch_that_has_values_is_enough(tx: Connection) -> None:
    a_table(tx, more=", used_at timestamptz")
    put(tx, "live", expires=LIVE)
    register(tx, branches=[{"column": "expires_at"}, {"column": "used_at"}])
    stepped(tx, "nothing_to_do")
    execute(tx, "analyze token")
    assert about(tx) == [("ok", "clean", None)]
    execute(tx, "update token set expires_at = null; analyze token")
    assert "expires_at, used_at is null everywhere" in about(tx)[0][1]


def test_a_branch_without_a_time_can_always_come(tx: Connection) -> None:
    a_table(tx)
    put(tx, "live", expires="null")
    register(tx, branches=[{"column": "expires_at"}, {"condition": "name = 'x'", "key": "id"}])
    stepped(tx, "nothing_to_do")
    execute(tx, "analyze token")
    assert about(tx) == [("ok", "clean", None)]


def test_a_table_without_autovacuum_is_a_notice(tx: Connection) -> None:
    a_policy(tx)
    execute(tx, "alter table token set (autovacuum_enabled = true, fillfactor = 90)")
    assert about(tx) == [("ok", "clean", None)]
    execute(tx, "alter table token set (autovacuum_enabled = off)")
    assert about(tx) == [
        (
            "notice",
            "autovacuum is off for public.token",
            "alter table public.token reset (autovacuum_enabled)",
        )
    ]


def test_leases_and_runs_that_were_left_are_notices(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    number = scalar(tx, "select maintenance.open_run('a driver')")
    execute(tx, "select maintenance.open_step(%s, 'token')", number)
    assert [state for state, _ in found(tx, "lease", "token")] == ["ok"]
    assert found(tx, "run") == []
    execute(tx, "update maintenance.lease set owner_pid = 0")
    execute(tx, "update maintenance.run set owner_pid = 0")
    assert [state for state, _ in found(tx, "lease", "token")] == ["notice"]
    [(state, message)] = found(tx, "run", str(number))
    assert (state, message.startswith("a driver of ")) == ("notice", True)
    assert ("notice", "its last run was interrupted") in found(tx, "policy", "token")


def test_a_pause_is_a_notice_that_says_who_and_why(tx: Connection) -> None:
    assert found(tx, "pause", None) == []
    execute(tx, "select maintenance.pause_runs('the move')")
    [(state, message)] = found(tx, "pause", None)
    assert state == "notice"
    assert message.startswith("housekeeping is paused by ")
    assert message.endswith(": the move")


def test_sweeps_tell_how_they_stand(tx: Connection) -> None:
    assert found(tx, "sweep", "refresh_tokens") == [("ok", "on")]
    execute(tx, "select maintenance.set_insert_sweep('refresh_tokens', enabled => false)")
    assert [state for state, _ in found(tx, "sweep", "refresh_tokens")] == ["notice"]
    execute(tx, "drop trigger trigger_cleanup_refresh_tokens on public.refresh_tokens")
    [(state, message)] = found(tx, "sweep", "refresh_tokens")
    assert (state, message.startswith("broken: ")) == ("problem", True)


def test_an_index_that_is_missing_is_a_problem(tx: Connection) -> None:
    assert found(tx, "index") == []
    execute(tx, "drop index public.idx_refresh_tokens_expires_at")
    assert [state for state, _ in found(tx, "index", "idx_refresh_tokens_expires_at")] == [
        "problem"
    ]


def test_counting_that_is_off_is_a_problem(tx: Connection) -> None:
    assert found(tx, "vacuum", "track_counts") == [("ok", "it is on")]
    execute(tx, "set local track_counts = off")
    assert [state for state, _ in found(tx, "vacuum", "track_counts")] == ["problem"]
    is_on = scalar(tx, "select current_setting('autovacuum')") == "on"
    assert [state for state, _ in found(tx, "vacuum", "autovacuum")] == [
        "ok" if is_on else "problem"
    ]


@pytest.mark.parametrize(
    ("share", "state"),
    [(0.49, "problem"), (0.51, "notice"), (1.32, "notice"), (1.35, "ok")],
)
def test_age_is_measured_by_when_autovacuum_freezes(
    tx: Connection, share: float, state: str
) -> None:
    """Between three quarters of that age and twice that age it is a notice."""
    execute(
        tx,
        "update pg_database set datfrozenxid ="
        " ((txid_current() - 1000000) & 4294967295)::text::xid"
        " where datname = current_database()",
    )
    found_ = column(
        tx,
        "select state from maintenance.diagnose_server(freeze_max_age => %s)"
        " where subject = 'wraparound'",
        int(1000000 * share),
    )
    assert found_ == [state]


def test_who_keeps_dead_rows_for_long_is_a_problem(
    db: Connection, another: Callable[[], Connection]
) -> None:
    holder = another()
    execute(holder, "begin isolation level repeatable read")
    execute(holder, "select")
    horizon = "select state, remedy from maintenance.diagnose_server(%s) where subject = 'horizon'"
    pid = holder.info.backend_pid
    assert rows(db, horizon, "1 h") == [("ok", None)]
    assert rows(db, horizon, "0 s") == [
        ("problem", f"select pg_terminate_backend({pid}), if nobody needs it")
    ]


def test_a_monitor_is_told_what_is_unknown_and_for_want_of_what(
    role: Callable[[str], str], tx: Connection
) -> None:
    monitor = role("monitor")
    a_policy(tx)
    execute(tx, "select maintenance.grant_monitor(%s)", monitor)
    execute(tx, f"set local role {monitor}")
    assert [state for state, _ in found(tx, "monitoring")] == ["notice"]
    assert found(tx, "horizon") == [("unknown", "whether sessions of other roles keep dead rows")]
    assert found(tx, "policy", "token") == [("ok", "clean")]
    assert "unknown" not in [state for state, _ in found(tx, "policy")]


def test_a_part_that_may_not_be_looked_at_is_unknown_and_the_others_go_on(
    role: Callable[[str], str], tx: Connection
) -> None:
    monitor = role("monitor")
    execute(tx, "select maintenance.grant_monitor(%s)", monitor)
    execute(tx, f"revoke execute on function maintenance.diagnose_rights() from {monitor}")
    execute(tx, f"revoke select on maintenance.missing_indexes from {monitor}")
    execute(tx, f"set local role {monitor}")
    told = rows(tx, "select subject from maintenance.diagnose() where state = 'unknown' order by 1")
    assert told == [("horizon",), ("indexes",), ("rights",)]
    assert [state for state, _ in found(tx, "identity")] == ["ok"]


def test_it_writes_nothing(db: Connection) -> None:
    a_table(db)
    register(db)
    run(db)
    execute(db, "set default_transaction_read_only = on")
    assert found(db, "policy", "token") == [("ok", "clean")]


def test_rows_of_other_tables_say_nothing_about_a_time_that_never_comes(tx: Connection) -> None:
    a_table(tx)
    put(tx, "timeless", 10, expires="null")
    register(tx)
    stepped(tx, "nothing_to_do")
    execute(tx, "create table child () inherits (token)")
    execute(tx, f"insert into child values (1, {LIVE}, 'live')")
    execute(tx, "analyze token")
    assert "no row can ever expire: expires_at is null everywhere" in [m for _, m, _ in about(tx)]


def test_rows_of_partitions_count(tx: Connection) -> None:
    execute(
        tx,
        "create table token (expires_at timestamptz, id integer) partition by list (id);"
        " create table token_1 partition of token for values in (1);"
        " create table token_2 partition of token for values in (2);"
        " insert into token values (null, 1), (null, 2); analyze token",
    )
    register(tx)
    stepped(tx, "nothing_to_do")
    assert [message for _, message, _ in about(tx)] == [
        "no row can ever expire: expires_at is null everywhere"
    ]
    execute(tx, "insert into token values ('infinity', 2); analyze token")
    assert about(tx) == [("ok", "clean", None)]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("inherit false, set true", "{} does not inherit the rights of {}"),
        ("inherit true, set false", "{} may not SET ROLE to {}"),
        ("inherit true, set true", None),
    ],
)
def test_to_inherit_and_to_set_role_are_two_rights(
    role: Callable[[str], str], tx: Connection, how: str, message: str | None
) -> None:
    if tx.info.server_version < 160000:
        pytest.skip("before PostgreSQL 16, a member may always SET ROLE")
    owner, master = role("owner"), role("master")
    a_policy(tx)
    execute(tx, f"alter table token owner to {owner}")
    alter(tx)
    execute(tx, f"alter schema maintenance owner to {master}; grant {owner} to {master} with {how}")
    told = column(
        tx,
        "select message from maintenance.diagnose_rights() where name = %s and state = 'problem'",
        owner,
    )
    expected = [message.format(master, owner)] if message else []
    assert [each for each in told if "altered" not in each] == expected
