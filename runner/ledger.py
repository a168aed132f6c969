"""The record of what was applied: yoyo's tables and ours, written with the script they record.

Yoyo books on a second connection and in a second transaction. Here its statements run on the
connection, and in the transaction, of the script, so that both are committed or neither is.
"""

# pyright: basic
# yoyo has no type stubs; this is the only module that knows it

from __future__ import annotations

import getpass
import os
import socket
import uuid
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from psycopg import Connection, sql
from yoyo import internalmigrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.migrations import Migration, parse_metadata_from_sql_comments, topological_sort

from runner import __version__
from runner.connection import literal
from runner.errors import RunnerError
from runner.resources import query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.scripts import Script

SCHEMA = "maintenance"
YOYO_TABLES = ("_yoyo_log", "_yoyo_migration", "_yoyo_version")


class ScriptMigration(Migration):
    """A script as yoyo sees it: an id, and the ``-- depends:`` header beside its chain's order."""

    def __init__(self, script: Script) -> None:
        super().__init__(script.id, str(script.up), str(script.up.parent))
        self.script = script
        self.steps = []  # the text runs whole: it is not for yoyo to cut into steps


class Ledger(PostgresqlPsycopgBackend):
    """Yoyo's bookkeeping on a connection that somebody else opens, commits and closes."""

    def __init__(self, connection: Connection) -> None:
        self._given = connection
        super().__init__("", "_yoyo_migration")

    def book(self, script: Script, chosen: Sequence[str]) -> None:
        """Record that ``script`` was applied, and which chains this database wants."""
        migration = ScriptMigration(script)
        self.log_migration(migration, "apply")
        self.mark_one(migration, log=False)
        self._given.execute(literal(query("choose_chains")), {"names": list(chosen)})
        self._given.execute(
            literal(query("book_script")),
            {
                "migration_id": script.id,
                "checksum": script.checksum,
                "package_version": __version__,
            },
        )

    def unbook(self, script: Script) -> None:
        """Record that ``script`` was rolled back."""
        migration = ScriptMigration(script)
        self.log_migration(migration, "rollback")
        self.unmark_one(migration, log=False)
        self._given.execute(literal(query("unbook_script")), {"migration_id": script.id})
        self._given.execute(literal(query("forget_chain")), {"name": script.chain})

    def drop(self) -> None:
        """Drop yoyo's tables, which no script created, before the last script drops the schema."""
        for table in YOYO_TABLES:
            self._given.execute(sql.SQL("drop table {}").format(sql.Identifier(SCHEMA, table)))

    def connect(self, dburi: str) -> Connection:
        return self._given

    def init_connection(self, connection: Connection) -> None:
        """Leave the connection alone: yoyo would change its search_path."""

    def quote_identifier(self, s: str) -> str:
        quoted = super().quote_identifier(s)
        return f"{SCHEMA}.{quoted}" if s in YOYO_TABLES else quoted

    def list_tables(self, **_: Any) -> list[str]:
        rows = self._given.execute(
            "select tablename from pg_catalog.pg_tables where schemaname = %s", (SCHEMA,)
        )
        return [name for (name,) in rows]

    def transaction(self, rollback_on_exit: bool = False) -> AbstractContextManager[None]:
        return nullcontext()

    def ensure_internal_schema_updated(self) -> None:
        if not self._internal_schema_updated:
            if internalmigrations.needs_upgrading(self):
                internalmigrations.upgrade(self)
                for table in YOYO_TABLES:  # as the scripts do for their own tables
                    self._given.execute(
                        sql.SQL("revoke all on table {} from public").format(
                            sql.Identifier(SCHEMA, table)
                        )
                    )
            self._internal_schema_updated = True

    def log_migration(self, migration: Migration, operation: str) -> None:
        self.ensure_internal_schema_updated()
        super().log_migration(migration, operation)

    def get_log_data(
        self, migration: Migration | None = None, operation: str = "apply"
    ) -> dict[str, Any]:
        """Return yoyo's log row, without asking a name service who and where we are.

        Yoyo waits for the network's name of this host, and fails for a user that has no name.
        """
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.getuid())
        return {
            "id": str(uuid.uuid1()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": user,
            "hostname": socket.gethostname(),
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }


def ordered(scripts: Sequence[Script]) -> list[Script]:
    """Return the scripts so that each comes after those its ``-- depends:`` header names.

    Within a chain the numbers decide; where nothing decides, the given order stays.
    """
    migrations = {script.id: ScriptMigration(script) for script in scripts}
    previous: dict[str, ScriptMigration] = {}
    for migration in migrations.values():
        script = migration.script
        directives, _, _ = parse_metadata_from_sql_comments(script.sql)
        named = directives.get("depends", "").split()
        if missing := [name for name in named if name not in migrations]:
            raise RunnerError(
                f"{script.id} depends on {missing[0]}, which was not chosen",
                hint=f"Choose {missing[0].partition('/')[0]} too.",
            )
        migration._depends = {migrations[name] for name in named}  # noqa: SLF001
        if script.chain in previous:
            migration._depends.add(previous[script.chain])  # noqa: SLF001
        previous[script.chain] = migration
    by_id = {script.id: script for script in scripts}
    return [by_id[migration.id] for migration in topological_sort(migrations.values())]
