"""grant_operator, grant_monitor and revoke_access, and the views that say who may do what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors

from tests.core.policies import hand_over, register
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

PRIVILEGES = """
    select nspname::text, nspacl::text from pg_namespace where nspname = 'maintenance'
    union all
    select oid::regclass::text, relacl::text from pg_class
    where relnamespace = 'maintenance'::regnamespace
    union all
    select oid::regprocedure::text, proacl::text from pg_proc
    where pronamespace = 'maintenance'::regnamespace
    order by 1
"""


def access(db: Connection, role: str) -> tuple[Any, ...] | None:
    """Return what a role may do, what it lacks, and whether it sees other sessions."""
    found = rows(
        db, "select access, lacks, sees_statistics from maintenance.access where role = %s", role
    )
    return found[0] if found else None


@pytest.mark.parametrize("kind", ["operator", "monitor"])
def test_revoking_takes_back_exactly_what_was_granted(
    role: Callable[[str], str], tx: Connection, kind: str
) -> None:
    other, name = role("other"), role("granted")
    execute(tx, "select maintenance.grant_operator(%s)", other)
    execute(tx, "select maintenance.grant_monitor(%s)", name)  # an acl of its own, once empty
    execute(tx, "select maintenance.revoke_access(%s)", name)
    before = rows(tx, PRIVILEGES)
    execute(tx, f"select maintenance.grant_{kind}(%s)", name)
    assert access(tx, name) == (kind, [], False)
    assert rows(tx, PRIVILEGES) != before
    execute(tx, "select maintenance.revoke_access(%s)", name)
    assert rows(tx, PRIVILEGES) == before
    assert access(tx, name) is None
    assert access(tx, other) == ("operator", [], False)


def test_what_was_granted_by_hand_is_kept_with_the_schema(
    role: Callable[[str], str], tx: Connection
) -> None:
    name = role("granted")
    alter = "maintenance.alter_policy(text, jsonb)"
    execute(tx, f"grant execute on function {alter} to {name}")
    execute(tx, "select maintenance.grant_operator(%s)", name)
    execute(tx, "select maintenance.revoke_access(%s)", name)
    assert column(
        tx,
        f"select has_schema_privilege('{name}', 'maintenance', 'usage')"
        f" union all select has_function_privilege('{name}', '{alter}', 'execute')"
        f" union all select has_table_privilege('{name}', 'maintenance.policy', 'select')"
        f" union all select has_function_privilege('{name}', 'maintenance.stop_run(bigint)',"
        " 'execute')",
    ) == [True, True, False, False]


def test_a_monitor_may_read_every_view_of_ours_and_change_nothing(
    role: Callable[[str], str], tx: Connection
) -> None:
    monitor = role("monitor")
    execute(tx, "select maintenance.grant_monitor(%s)", monitor)
    assert (
        column(
            tx,
            "select relname from pg_class where relnamespace = 'maintenance'::regnamespace"
            " and relkind = 'v' and not has_table_privilege(%s, oid, 'select')",
            monitor,
        )
        == []
    )
    assert (
        column(
            tx,
            "select relname from pg_class where relnamespace = 'maintenance'::regnamespace"
            " and relkind in ('r', 'v')"
            " and has_table_privilege(%s, oid, 'insert, update, delete, truncate')",
            monitor,
        )
        == []
    )
    assert column(
        tx,
        "select has_table_privilege(%s, 'maintenance.installation', 'select')"
        " or has_any_column_privilege(%s, 'maintenance.installation', 'select')",
        monitor,
        monitor,
    ) == [False], "the secret is there"
    execute(tx, f"set local role {monitor}")
    for view in (
        *("access", "database_facts", "insert_sweep_status", "lease_status", "policy_status"),
        *("run_history", "table_facts", "table_owners", "xmin_horizon"),
    ):
        execute(tx, f"select * from maintenance.{view}")
    for function in ("diagnose", "identify", "removable"):
        assert rows(tx, f"select * from maintenance.{function}()")
    for function in ("open_run('x')", "pause_runs('x')", "stop_run(1)"):
        with pytest.raises(errors.InsufficientPrivilege), tx.transaction():
            execute(tx, f"select maintenance.{function}")


def test_every_right_that_is_listed_is_on_something_that_exists(tx: Connection) -> None:
    """A name that is misspelt would be granted to nobody: the list is counted."""
    counts = rows(
        tx, "select access, kind, count(*) from maintenance.access_rights() group by 1, 2"
    )
    source = column(
        tx,
        "select prosrc from pg_proc where oid = 'maintenance.access_rights()'::regprocedure",
    )[0]
    names = source[source.index("relname in") :]
    words = [word.strip("' ") for word in names.split("'")[1::2]]
    meant = [word for word in words if word not in {"monitor", "operator", "routine", "execute"}]
    granted = column(
        tx,
        "select distinct split_part(split_part(name, '.', 2), '(', 1)"
        " from maintenance.access_rights() where kind <> 'schema'",
    )
    assert sorted({word for word in meant if "." not in word and word != "maintenance"}) == sorted(
        granted
    )
    assert dict.fromkeys((access, kind) for access, kind, _ in counts).keys() == {
        ("monitor", "schema"),
        ("monitor", "table"),
        ("monitor", "routine"),
        ("operator", "routine"),
    }


def test_whoever_has_less_than_granting_gives_lacks_something(
    role: Callable[[str], str], tx: Connection
) -> None:
    operator, monitor = role("operator"), role("monitor")
    execute(tx, "select maintenance.grant_operator(%s)", operator)
    execute(tx, "select maintenance.grant_monitor(%s)", monitor)
    execute(tx, f"revoke execute on function maintenance.stop_run(bigint) from {operator}")
    execute(tx, f"revoke select on maintenance.lease_status from {operator}, {monitor}")
    lacks = ["maintenance.lease_status", "maintenance.stop_run(bigint)"]
    assert access(tx, operator) == ("operator", lacks, False)
    assert access(tx, monitor) == ("monitor", lacks[:1], False)


def test_usage_of_the_schema_alone_is_no_access(role: Callable[[str], str], tx: Connection) -> None:
    name = role("used")
    execute(tx, f"grant usage on schema maintenance to {name}")
    assert access(tx, name) is None
    execute(tx, f"grant delete on maintenance.run_history to {name}")
    assert access(tx, name) is None, "what was granted is another right"


def test_the_owner_and_everybody_are_told_as_such(tx: Connection) -> None:
    owner = column(tx, "select current_user")[0]
    assert access(tx, owner) == ("owner", [], True)
    assert access(tx, "public") is None
    execute(tx, "grant execute on function maintenance.stop_run(bigint) to public")
    kind, lacks, sees = access(tx, "public") or (None, [], None)
    assert (kind, sees) == ("operator", None)
    assert "maintenance.open_run(text,jsonb)" in lacks


def test_who_reads_statistics_sees_other_sessions(
    role: Callable[[str], str], tx: Connection
) -> None:
    name = role("monitor")
    execute(tx, "select maintenance.grant_monitor(%s)", name)
    execute(tx, f"grant pg_monitor to {name}")
    assert access(tx, name) == ("monitor", [], True)


@pytest.mark.parametrize(
    "function", ["grant_monitor", "grant_operator", "revoke_access"]
)  # fmt: skip
def test_only_the_owner_of_the_schema_grants_and_revokes(
    role: Callable[[str], str], tx: Connection, function: str
) -> None:
    stranger = role("stranger")
    execute(
        tx,
        f"grant usage on schema maintenance to {stranger};"
        f" grant execute on all functions in schema maintenance to {stranger};"
        f" set local role {stranger}",
    )
    with pytest.raises(errors.InsufficientPrivilege, match="only the owner of schema maintenance"):
        execute(tx, f"select maintenance.{function}(%s)", stranger)


def test_owners_of_tables_are_listed_with_what_housekeeping_may_do_for_them(
    role: Callable[[str], str], tx: Connection
) -> None:
    owner, master = role("owner"), role("master")
    execute(tx, "create schema app; create table app.logs (id integer, at timestamptz)")
    hand_over(tx, "app.logs", owner)
    register(tx, "logs", "app.logs", column="at")
    register(tx, "audit", "app.logs", column="at")
    listed = (
        "select policies, is_inherited, may_be_set, is_executor_intact, you_inherit, you_may_set"
        f" from maintenance.table_owners where owner = '{owner}'"
    )
    assert rows(tx, listed) == [(["audit", "logs"], True, True, True, True, True)]
    execute(tx, f"alter schema maintenance owner to {master}")
    assert rows(tx, listed) == [(["audit", "logs"], False, False, True, True, True)]
    execute(tx, f"alter function maintenance.act_as_{owner} security invoker")
    assert rows(tx, listed) == [(["audit", "logs"], False, False, False, True, True)]
    execute(tx, f"grant {owner} to {master}")
    assert rows(tx, listed) == [(["audit", "logs"], True, True, False, True, True)]
    execute(tx, f"set local role {master}")
    execute(tx, "reset role")
    execute(tx, f"select maintenance.grant_monitor('{master}')")
    execute(tx, f"revoke {owner} from {master}; set local role {master}")
    assert rows(tx, listed) == [(["audit", "logs"], False, False, False, False, False)]
