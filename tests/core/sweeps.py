"""Sweeps on insert, attached to tables of the tests' own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors
from psycopg.pq import TransactionStatus

from tests.core.runs import a_table, put, register
from tests.statements import execute, rows

if TYPE_CHECKING:
    from psycopg import Connection


def attach(db: Connection, policy: str = "token", **arguments: Any) -> list[tuple[str, str]]:
    """Attach the sweep of a policy, and return its risks: which, and the message."""
    given = "".join(f", {name} => %s" for name in arguments)
    return rows(
        db,
        f"select risk, message from maintenance.attach_insert_sweep(%s{given})",
        policy,
        *arguments.values(),
    )


def a_swept_table(
    db: Connection, name: str = "token", *, more: str = "", at_once: bool = True, **settings: Any
) -> None:
    """Make a table of tokens with a policy of its name, whose sweep is attached."""
    a_table(db, name, more)
    execute(db, f"create index {name}_expires_at on {name} (expires_at)")
    register(db, name, **settings)
    attach(db, name, at_once=at_once)


def put_quietly(db: Connection, *arguments: Any, **settings: Any) -> None:
    """Put tokens behind the back of the sweep."""
    execute(db, "set session_replication_role = replica")
    put(db, *arguments, **settings)
    execute(db, "set session_replication_role = origin")


def end_rests(db: Connection, policy: str = "token") -> None:
    """Let the session, and any other, sweep again at once."""
    local = db.info.transaction_status == TransactionStatus.INTRANS
    for name in ("rest", "failed", "reached"):
        execute(db, "select set_config(%s, '', %s)", f"maintenance.{name}_{policy}", local)
    execute(db, f"select setval('maintenance.sweep_{policy}_pace', 1)")


def footprint(db: Connection) -> list[tuple[Any, ...]]:
    """Return all that a sweep could leave behind: objects, rights, comments and settings."""
    return rows(db, FOOTPRINT)


def refused(
    db: Connection,
    statement: str,
    *parameters: Any,
    error: type[psycopg.Error] = errors.InvalidParameterValue,
) -> tuple[str | None, str | None, str | None]:
    """Expect that a statement is refused and changes nothing; return message, detail and hint."""
    before = footprint(db)
    with pytest.raises(error) as refusal, db.transaction():
        execute(db, statement, *parameters)
    assert footprint(db) == before
    diag = refusal.value.diag
    return diag.message_primary, diag.message_detail, diag.message_hint


def state(db: Connection, policy: str = "token") -> list[tuple[Any, ...]]:
    """Return how a sweep stands, and why."""
    return rows(
        db,
        "select state, detail from maintenance.insert_sweep_status where policy = %s",
        policy,
    )


FOOTPRINT = """
select 'routine' as kind, routine.oid::regprocedure::text as name,
    concat_ws(' ', pg_get_userbyid(routine.proowner), routine.prosecdef, routine.proconfig,
        md5(routine.prosrc), obj_description(routine.oid, 'pg_proc'))
from pg_catalog.pg_proc as routine
where routine.pronamespace in ('maintenance'::regnamespace, 'public'::regnamespace)

union all
select 'trigger', concat_ws(' ', trigger.tgname, trigger.tgrelid::regclass),
    concat_ws(' ', pg_get_triggerdef(trigger.oid), trigger.tgenabled,
        obj_description(trigger.oid, 'pg_trigger'))
from pg_catalog.pg_trigger as trigger
where not trigger.tgisinternal

union all
select 'relation', class.oid::regclass::text,
    concat_ws(' ', class.relkind, pg_get_userbyid(class.relowner))
from pg_catalog.pg_class as class
where class.relnamespace not in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)

union all
select 'right', concat_ws(' ', ours.kind, ours.name),
    concat_ws(' ', granted.grantee::regrole, granted.privilege_type, granted.is_grantable)
from (
    select 'function', oid::regprocedure::text, proacl
    from pg_catalog.pg_proc
    where pronamespace = 'maintenance'::regnamespace
    union all
    select 'relation', oid::regclass::text, relacl
    from pg_catalog.pg_class
    union all
    select 'schema', nspname, nspacl
    from pg_catalog.pg_namespace
) as ours (kind, name, acl)
cross join lateral aclexplode(ours.acl) as granted

union all
select 'role', pg_get_userbyid(needed.refobjid),
    concat_ws(' ', needed.deptype,
        pg_describe_object(needed.classid, needed.objid, needed.objsubid))
from pg_catalog.pg_shdepend as needed
where needed.refclassid = 'pg_authid'::regclass
  and needed.dbid = (select oid from pg_catalog.pg_database where datname = current_database())

union all
select 'membership', member::regrole::text, roleid::regrole::text
from pg_catalog.pg_auth_members
-- those of the roles of this worker: roles belong to the whole server
where pg_get_userbyid(member) ^@ substring(current_database() from '^pgm_[^_]+_')

union all
select 'policy', policy.name, to_jsonb(policy)::text
from maintenance.policy

union all
select 'sweep', sweep.policy, to_jsonb(sweep)::text
from maintenance.insert_sweep as sweep

order by 1, 2, 3
"""
