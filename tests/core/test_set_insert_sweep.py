"""maintenance.set_insert_sweep: what it sets, what it refuses, and whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from runner.migrate import migrate
from tests.statements import execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

TABLE = "public.refresh_tokens"
POLICY = "refresh_tokens"
SETTINGS = (
    "select enabled, batch_size, rest::text, slow::text from maintenance.insert_sweep"
    f" where relation = '{TABLE}'::regclass"
)
MEANT = {
    "insert_sweep_batch_size_check": "batch_size must be between 1 and 10000",
    "insert_sweep_rest_check": "rest must be between 0 s and 1 h, in hours, minutes and seconds",
    "insert_sweep_slow_check": "slow must be between 1 ms and 1 h, in hours, minutes and seconds",
}
DEFAULTS = (True, 100, "00:00:00.05", "01:00:00")  # the last is what tests begin with


def configure(db: Connection, arguments: str = "", *, policy: str = f"'{POLICY}'") -> None:
    execute(db, f"select maintenance.set_insert_sweep({policy}{arguments})")


def grant(db: Connection, to: str) -> None:
    execute(
        db,
        f"grant usage on schema maintenance to {to};"
        " grant execute on function"
        f" maintenance.set_insert_sweep(text, boolean, integer, interval, interval) to {to}",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", DEFAULTS),
        (", null, null, null, null", DEFAULTS),
        (", enabled => false", (False, 100, "00:00:00.05", "01:00:00")),
        (", batch_size => 7", (True, 7, "00:00:00.05", "01:00:00")),
        (", slow => '1 ms'", (True, 100, "00:00:00.05", "00:00:00.001")),
        (", slow => '1 h'", DEFAULTS),
        (", rest => '2 s'", (True, 100, "00:00:02", "01:00:00")),
        (", false, 1, '0 s'", (False, 1, "00:00:00", "01:00:00")),
        (", true, 10000, '1 h'", (True, 10000, "01:00:00", "01:00:00")),
    ],
)
def test_it_sets_what_it_is_given_and_leaves_the_rest(
    tx: Connection, arguments: str, expected: tuple[bool, int, str, str]
) -> None:
    others = (
        "select * from maintenance.insert_sweep"
        f" where relation <> '{TABLE}'::regclass order by relation"
    )
    before = rows(tx, others)
    configure(tx, arguments)
    assert rows(tx, SETTINGS) == [expected]
    assert rows(tx, others) == before


def test_a_later_call_keeps_what_an_earlier_one_set(tx: Connection) -> None:
    configure(tx, ", false, 7, '2 s'")
    configure(tx, ", batch_size => 8")
    assert rows(tx, SETTINGS) == [(False, 8, "00:00:02", "01:00:00")]
    configure(tx, ", enabled => true")
    assert rows(tx, SETTINGS) == [(True, 8, "00:00:02", "01:00:00")]


@pytest.mark.parametrize(
    ("arguments", "constraint"),
    [
        ("batch_size => 0", "insert_sweep_batch_size_check"),
        ("batch_size => -1", "insert_sweep_batch_size_check"),
        ("batch_size => 10001", "insert_sweep_batch_size_check"),
        ("rest => '-1 microsecond'", "insert_sweep_rest_check"),
        ("rest => '1 h 1 microsecond'", "insert_sweep_rest_check"),
        ("rest => '1000 months -30000 days'", "insert_sweep_rest_check"),
        ("rest => '1 month -30 days'", "insert_sweep_rest_check"),
        ("rest => '1 day -24 h'", "insert_sweep_rest_check"),
        ("slow => '999 microseconds'", "insert_sweep_slow_check"),
        ("slow => '1 h 1 microsecond'", "insert_sweep_slow_check"),
        ("slow => '1 month -30 days 1 s'", "insert_sweep_slow_check"),
        ("slow => '1 day -23 h'", "insert_sweep_slow_check"),
        ("rest => '12000 months -360000 days'", "insert_sweep_rest_check"),
    ],
)
def test_it_refuses_sizes_and_rests_that_cannot_be_meant(
    tx: Connection, arguments: str, constraint: str
) -> None:
    with pytest.raises(errors.CheckViolation) as refusal, tx.transaction():
        configure(tx, f", {arguments}")
    assert refusal.value.diag.constraint_name == constraint
    assert refusal.value.diag.message_primary == MEANT[constraint]
    assert refusal.value.diag.message_hint == "Nothing was changed."
    assert rows(tx, SETTINGS) == [DEFAULTS]


def test_what_ships_is_what_the_guide_says(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as db:
        assert rows(db, SETTINGS) == [(True, 100, "00:00:00.05", "00:00:00.02")]


@pytest.mark.parametrize(
    ("policy", "message", "hint"),
    [
        (
            "'unverified_users'",
            "the policy unverified_users does not sweep on insert",
            "Those that do are the rows of maintenance.insert_sweep;"
            " maintenance.attach_insert_sweep adds one.",
        ),
        (
            "'public.users'",
            "there is no policy 'public.users'",
            "The policies are the rows of maintenance.policy.",
        ),
        ("null", "there is no policy null", "The policies are the rows of maintenance.policy."),
    ],
)
def test_a_policy_that_does_not_sweep_is_refused_with_a_hint(
    tx: Connection, policy: str, message: str, hint: str
) -> None:
    with pytest.raises(errors.UndefinedObject) as refusal, tx.transaction():
        configure(tx, ", enabled => false", policy=policy)
    assert refusal.value.diag.message_primary == message
    assert refusal.value.diag.message_hint == hint


def test_a_role_without_the_right_to_execute_is_refused(
    role: Callable[..., str], tx: Connection
) -> None:
    execute(tx, f"set local role {role('stranger')}")
    with pytest.raises(errors.InsufficientPrivilege, match="schema maintenance"), tx.transaction():
        configure(tx, ", enabled => false")


def test_a_role_that_may_execute_but_does_not_own_the_table_is_refused(
    role: Callable[..., str], tx: Connection
) -> None:
    owner, operator = role("Owner"), role("operator")
    execute(tx, f'alter table {TABLE} owner to "{owner}"')
    grant(tx, operator)
    execute(tx, f"grant all on {TABLE} to {operator}; set local role {operator}")
    with pytest.raises(errors.InsufficientPrivilege) as refusal, tx.transaction():
        configure(tx, ", enabled => false")
    assert refusal.value.diag.sqlstate == "42501"
    assert refusal.value.diag.message_primary == f"only the owner of {TABLE} may do this"
    assert refusal.value.diag.message_hint == f'Ask a member of role "{owner}".'
    execute(tx, "reset role")
    assert rows(tx, SETTINGS) == [DEFAULTS]


def test_a_session_of_a_role_that_does_not_own_the_table_is_refused(
    role: Callable[..., str], db: Connection
) -> None:
    operator = role("operator")
    grant(db, operator)
    with (
        psycopg.connect(db.info.dsn, user=operator) as session,
        pytest.raises(errors.InsufficientPrivilege, match="only the owner"),
    ):
        configure(session, ", enabled => false")
    assert rows(db, SETTINGS) == [DEFAULTS]


@pytest.mark.parametrize("through", ["the owner", "a member", "a member who inherits nothing"])
def test_the_owner_and_members_of_it_may(
    role: Callable[..., str], tx: Connection, through: str
) -> None:
    owner, member = role("owner"), role("member")
    if "nothing" in through:
        execute(tx, f"alter role {member} noinherit")
    execute(tx, f"alter table {TABLE} owner to {owner}; grant {owner} to {member}")
    caller = owner if through == "the owner" else member
    grant(tx, caller)
    execute(tx, f"set local role {caller}")
    configure(tx, ", enabled => false")
    execute(tx, "reset role")
    assert rows(tx, SETTINGS) == [(False, 100, "00:00:00.05", "01:00:00")]


def test_a_superuser_who_became_another_role_has_that_roles_rights(
    role: Callable[..., str], tx: Connection
) -> None:
    owner, stranger = role("owner"), role("stranger")
    execute(tx, f"alter table {TABLE} owner to {owner}")
    grant(tx, stranger)
    configure(tx, ", batch_size => 5")
    execute(tx, f"set local role {stranger}")
    with pytest.raises(errors.InsufficientPrivilege), tx.transaction():
        configure(tx, ", batch_size => 6")
    execute(tx, "reset role")
    assert rows(tx, SETTINGS) == [(True, 5, "00:00:00.05", "01:00:00")]


def test_nobody_may_write_the_settings_themselves(role: Callable[..., str], tx: Connection) -> None:
    owner = role("owner")
    execute(tx, f"alter table {TABLE} owner to {owner}")
    grant(tx, owner)
    execute(tx, f"set local role {owner}")
    with pytest.raises(errors.InsufficientPrivilege), tx.transaction():
        execute(tx, "update maintenance.insert_sweep set enabled = false")
