"""What plpgsql_check finds in the PL/pgSQL routines: nothing, with every kind of warning on."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from runner.migrate import migrate
from runner.scripts import chains
from tests.statements import execute, rows

if TYPE_CHECKING:
    from psycopg import Connection

pytestmark = pytest.mark.check

ROUTINES = """
    select routine.oid, routine.oid::regprocedure::text, coalesce(tgrelid, 0),
        coalesce(tgnewtable, ''), coalesce(tgoldtable, '')
    from pg_proc as routine
    join pg_language as language on language.oid = routine.prolang
    left join pg_trigger as trigger on trigger.tgfoid = routine.oid
    where language.lanname = 'plpgsql'
      and routine.pronamespace in ('maintenance'::regnamespace, 'public'::regnamespace)
      and not exists (select from pg_depend where objid = routine.oid and deptype = 'e')
    order by 2
"""

FINDINGS = """
    select format(
        '%%s, line %%s, %%s: %%s (%%s)', %s::text, lineno, level, message, detail
    )
    from plpgsql_check_function_tb(
        %s::oid::regprocedure, relid => %s::oid::regclass,
        newtable => nullif(%s, ''), oldtable => nullif(%s, ''),
        fatal_errors => false, other_warnings => true, extra_warnings => true,
        performance_warnings => true, security_warnings => true, compatibility_warnings => true
    )
"""

# It cannot follow these, and they are right: format() quotes every name and value that count_tokens
# puts into its query, and RETURN QUERY EXECUTE sets the columns that it warns about. What acts as
# the owner of a table executes the statements of policies, which nobody else may hand to it; what
# branch_bounds executes is written by branch_bound, from literals that format() quotes. A COMMIT
# that has to fail is how a run finds out that it is called within a transaction. What is granted
# and revoked is listed by access_rights, with names as regclass and regprocedure write them. What
# declares an index or a column is written in scripts, as SQL; what gives back what was there, by
# PostgreSQL.
ACCEPTED = re.compile(
    r"maintenance\.count_tokens\(\), line \d*, "
    r"(security: text type variable is not sanitized"
    r"|warning extra: OUT variable .* is maybe unmodified)"
    r"|maintenance\.act_as_\w+\(.*\), line \d*, security: text type variable is not sanitized"
    r"|maintenance\.branch_bounds\(.*\), line \d*, security: the expression is not SQL"
    r"|maintenance\.run_as_owner\(.*\), line \d*, performance: routine is marked as VOLATILE"
    r"|maintenance\.assert_outside_transaction\(text\), line \d*, "
    r"(error: invalid transaction termination|performance: routine is marked as VOLATILE)"
    r"|maintenance\.(run_\w+|undo_run)\(.*\), line \d*, "
    r"error: cannot commit while a subtransaction is active"
    r"|maintenance\.(grant_monitor|grant_operator|revoke_access)\(name\), line \d*, "
    r"security: text type variable is not sanitized"
    r"|maintenance\.(add_column|give_back|require_index)\(.*\), line \d*, "
    r"security: text type variable is not sanitized"
    r"|maintenance\.diagnose\(\), line \d*, performance: routine is marked as VOLATILE"
)


@pytest.fixture
def checked(db: Connection) -> Connection:
    """A database with all applications, and the extension.

    That crashes a session which creates it, undone, once more.
    """
    if "RUNNER_PG_BIN" not in os.environ:
        pytest.skip("the embedded server has no plpgsql_check; Debian's PostgreSQL 15 does")
    migrate(db.info.dsn, applications=chains()[1:])
    execute(db, "create extension plpgsql_check")
    return db


def findings(db: Connection) -> list[str]:
    """Return what plpgsql_check says about every routine, but for what we have accepted."""
    found: list[str] = []
    for oid, name, *trigger in rows(db, ROUTINES):
        found += [finding for (finding,) in rows(db, FINDINGS, name, oid, *trigger)]
    return [finding for finding in found if not ACCEPTED.match(finding)]


def test_it_finds_nothing(checked: Connection) -> None:
    assert len(rows(checked, ROUTINES)) >= 10
    assert findings(checked) == []


def test_it_would_find_a_column_that_does_not_exist(checked: Connection) -> None:
    execute(
        checked,
        """
        create function public.wrong() returns trigger language plpgsql as $$
        begin
            perform inserted.no_such_column from inserted;
            return null;
        end;
        $$;
        create trigger wrong after insert on public.refresh_tokens
            referencing new table as inserted
            for each statement execute function public.wrong();
        """,
    )
    [finding] = [each for each in findings(checked) if "error" in each]
    assert "no_such_column" in finding
