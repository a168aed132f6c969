"""A database that is restored from a dump, or copied, has everything and waits to be adopted.

``origin`` is a database with everything in it that a copy could lose or take for something else:
policies of an application and of a user, changes of them, archives, sweeps, an owner of tables who
is not the owner of the schema, runs, and a run in progress.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from runner import api
from runner.clients import command, find
from runner.embedded import Server
from runner.errors import Exit, RunnerError
from tests.conftest import FOLDER, run, scalar
from tests.core.archives import archive
from tests.core.runs import count, put, register
from tests.matcha.originals import FILLED, LEVELS, build, decorate, fill
from tests.migrations.dumps import everything
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from psycopg import Connection

    from tests.conftest import TestServer
    from tests.matcha.originals import Level

OLD = "now() - interval '10 days'"
NAMED = re.compile(r" AS \w+(?=,?$)", re.MULTILINE)
"""A name that a restored view gives to a column in the second part of a UNION."""
ARCHIVED = 20
NOTES = 50


@dataclass(frozen=True)
class Origin:
    """The database that moves, its dump, and the roles that are in it."""

    name: str
    url: str
    dump: Path
    owner: str
    """Owner of the database and of schema maintenance; no superuser."""
    team: str
    """Owner of the tables ``token`` and ``note``."""
    run: int
    """A run that archived, and may be undone."""
    token: str
    """Lifts the guard of policy ``notes``, there."""


def version_of(url: str) -> int:
    """Return the version of the server, as server_version_num has it."""
    with psycopg.connect(url) as connection:
        return connection.info.server_version


def program(name: str, url: str, *arguments: str | Path) -> str:
    """Run one of PostgreSQL's programs on a database: it has to succeed and to say nothing."""
    words, environ = command(find(name, server_version=version_of(url)), url, *map(str, arguments))
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def origin(
    server: TestServer, admin: Connection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    name = f"pgm_{server.worker}_origin"
    owner, team = f"{name}_owner", f"{name}_team"
    admin.execute(
        f"create role {owner} login; create role {team}; grant {team} to {owner}".encode()
    )
    admin.execute(f"drop database if exists {name} with (force)".encode())
    admin.execute(f"create database {name} template template0 owner {owner}".encode())
    url = server.url(name)
    as_owner = make_conninfo(url, user=owner)
    dump = tmp_path_factory.mktemp("moves") / "origin.dump"
    api.migrate(as_owner, applications=["matcha"])
    with psycopg.connect(as_owner, autocommit=True) as db:
        fill(db)
        number, token = policies_of_users(db, team)
    with working(as_owner):
        program("pg_dump", url, "--format=custom", f"--file={dump}")
    yield Origin(name, url, dump, owner, team, number, token)
    admin.execute(f"drop database {name} with (force)".encode())
    admin.execute(f"drop role {owner}, {team}".encode())


@contextmanager
def working(url: str) -> Generator[None]:
    """Have a run in progress."""
    with psycopg.connect(url, autocommit=True) as driver:
        going = scalar(driver, "select maintenance.open_run('test')")
        execute(driver, "select maintenance.open_step(%s, 'refresh_tokens')", going)
        yield


def policies_of_users(db: Connection, team: str) -> tuple[int, str]:
    """Register, change and run policies as users do; return the run, and a token for a guard."""
    execute(
        db,
        f"grant create on schema public to {team};"
        " create table token"
        " (id bigint generated always as identity primary key, expires_at timestamptz, name text);"
        " create table note (id bigint generated always as identity primary key, at timestamptz);"
        f" alter table token owner to {team}; alter table note owner to {team};"
        f" set role {team};"
        " create index on token (expires_at); create index on note (at); reset role;"
        f" insert into note (at) select {OLD} from generate_series(1, {NOTES})",
    )
    put(db, "dead", ARCHIVED)
    put(db, "live", 5, expires="now() + interval '1 day'")
    execute(db, "select maintenance.create_archive('token')")
    register(db, action="archive", archive_table="public.token_archive", guard_share=1)
    register(db, "note", policy="notes", column="at", retention="3 d", guard_rows=NOTES - 1)
    execute(db, "select maintenance.attach_insert_sweep('notes')")
    execute(db, "select maintenance.set_insert_sweep('notes', rest => '0 s')")
    execute(
        db, "select maintenance.alter_policy('refresh_tokens', %s)", Jsonb({"retention": "2 d"})
    )
    return archive(db), guard_token(db)


def guard_token(db: Connection) -> str:
    """Return what lifts the guard of policy ``notes``."""
    [token] = column(db, "select value from maintenance.preview('notes') where item = 'token'")
    return token


@pytest.fixture(
    params=[
        *("custom", "template", "neither"),
        *(
            pytest.param(how, marks=pytest.mark.slow)
            for how in ("plain", "no owner", "no privileges")
        ),
    ]
)
def copy(
    request: pytest.FixtureRequest,
    origin: Origin,
    new_database: Callable[..., str],
    tmp_path: Path,
) -> tuple[str, str]:
    """A copy of ``origin``, made in one of several ways: its URL, and how it was made.

    Without owners, it is restored by the owner of the database, who is no superuser.
    """
    how = str(request.param)
    if how == "template":
        return new_database("copy", template=origin.name, owner=origin.owner), how
    url = new_database("copy", owner=origin.owner)
    as_owner = make_conninfo(url, user=origin.owner)
    if how == "plain":
        plain = tmp_path / "origin.sql"
        program("pg_dump", origin.url, f"--file={plain}")
        program("psql", url, "-Xq", "--set=ON_ERROR_STOP=1", f"--file={plain}")
    elif how in ("custom", "no privileges"):
        options = ["--no-privileges"] if how == "no privileges" else []
        program("pg_restore", url, "--exit-on-error", *options, origin.dump)
    else:
        options = ["--no-privileges"] if how == "neither" else []
        program("pg_restore", as_owner, "--exit-on-error", "--no-owner", *options, origin.dump)
    return as_owner, how


def test_a_copy_has_everything_waits_and_works_once_it_is_adopted(
    origin: Origin, copy: tuple[str, str]
) -> None:
    url, how = copy
    if how in ("plain", "custom", "template"):
        assert NAMED.sub("", everything(url)) == NAMED.sub("", everything(origin.url))
    with psycopg.connect(url, autocommit=True) as db:
        waits(db, origin)
        assert run("run", "notes", url=url).returncode == Exit.REFUSED
        assert api.adopt_clone(url).done == "adopted"
        if how == "no privileges":  # the team may not call what sweeps, and the status says so
            [broken] = [one for one in api.status(url).sweeps if one.state == "broken"]
            execute(db, broken.remedy or "")
        assert api.status(url).is_up_to_date
        works(db, origin)
    api.rollback(url, api.plan_rollback(url, everything=True), backup_folder=None)
    with psycopg.connect(url) as db:
        assert column(
            db, "select relname::text from pg_class where relnamespace = 'public'::regnamespace"
            " and relkind = 'r' order by 1"
        ) == ["note", "token"]  # fmt: skip
        assert scalar(db, "select to_regnamespace('maintenance') is null")
        assert column(
            db, "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        ) == []  # fmt: skip


def waits(db: Connection, origin: Origin) -> None:
    """Assert that nothing runs in a copy, and that it says why."""
    for statement in (
        "call maintenance.run_policy('notes')",
        "call maintenance.run_operations()",
        f"call maintenance.undo_run({origin.run})",
    ):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="is a copy of the one"):
            execute(db, statement)
    [(state, remedy)] = rows(
        db, "select state, remedy from maintenance.diagnose() where subject = 'identity'"
    )
    assert (state, "adopt_clone()" in remedy) == ("problem", True)
    assert (count(db, "note"), count(db), count(db, "token_archive")) == (NOTES, 5, ARCHIVED)


def works(db: Connection, origin: Origin) -> None:
    """Assert that policies, sweeps, undo, the log and the application's functions work."""
    assert not rows(
        db,
        "select proname from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) acl"
        " where pronamespace = 'maintenance'::regnamespace and acl.grantee = 0",
    ), "everybody may execute what a restore without privileges has opened"
    assert column(
        db, "select proname from pg_proc where proname like 'act\\_as\\_%' order by 1"
    ) == column(
        db,
        "select distinct 'act_as_' || pg_get_userbyid(relowner) from pg_class"
        " where oid in (select relation from maintenance.policy) order by 1",
    ), "nothing acts for those whose tables were restored as others'"
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="is not one of"):
        execute(db, "call maintenance.run_policy('notes', accept => %s)", origin.token)
    execute(db, "call maintenance.run_policy('notes', accept => %s)", guard_token(db))
    assert count(db, "note") == 0
    execute(db, f"insert into note (at) values ({OLD})")
    assert count(db, "note") == 0, "swept"
    execute(db, f"call maintenance.undo_run({origin.run})")
    assert (count(db), count(db, "token_archive")) == (5 + ARCHIVED, 0)

    # what ran in the origin holds no lease here, and its step is not taken for running
    execute(db, "call maintenance.run_policy('refresh_tokens')")
    assert count(db, "refresh_tokens") == FILLED.live_tokens + FILLED.expired_tokens, "kept 2 days"
    ended = "select exit_reason from maintenance.run_step where policy = %s order by id"
    assert column(db, ended, "refresh_tokens") == ["interrupted", "nothing_to_do"]
    dead = FILLED.expired_tokens + FILLED.used_tokens
    assert rows(db, "select * from cleanup_all_expired_tokens()") == [
        (dead, dead, FILLED.expired_tokens, 2 * dead + FILLED.expired_tokens)
    ]
    ada = scalar(db, "select id from users where username = 'ada'")
    assert scalar(db, "select refresh_stale_deck_progress(%s)", ada) == FILLED.stale_decks


def test_a_structure_without_its_rows_says_what_is_missing_and_can_be_migrated_anew(
    origin: Origin, new_database: Callable[..., str]
) -> None:
    url = new_database("bare", owner=origin.owner)
    program("pg_restore", url, "--exit-on-error", "--schema-only", origin.dump)
    for refused in (
        lambda: api.migrate(url),
        lambda: api.status(url),
        lambda: api.plan_rollback(url, everything=True),
    ):
        with pytest.raises(RunnerError, match="was restored without its rows") as refusal:
            refused()
        assert refusal.value.code == Exit.REFUSED
        assert "drop schema maintenance cascade" in str(refusal.value.hint)
    with psycopg.connect(url, autocommit=True) as db:
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="without the rows"):
            execute(db, "select maintenance.adopt_clone()")
        execute(
            db,
            "insert into users (username, email, password_hash) values ('ada', 'ada', 'x');"
            " insert into refresh_tokens (user_id, token_hash, expires_at)"
            f" select id, 'old', {OLD} from users",
        )
        assert count(db, "refresh_tokens") == 1, "without its settings, a sweep does nothing"
        execute(db, "drop schema maintenance cascade")
    api.migrate(url, applications=["matcha"])
    assert api.status(url).is_up_to_date


def test_a_dump_without_our_schema_lacks_the_sweeps_and_can_be_migrated_anew(
    origin: Origin, new_database: Callable[..., str]
) -> None:
    url = new_database("public", owner=origin.owner)
    words, environ = command(
        find("pg_restore", server_version=version_of(url)), url, "--schema=public", str(origin.dump)
    )
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    complaints = re.findall(r"ERROR: +(.*)", done.stderr)
    assert len(complaints) == 8, "a trigger of each sweep, and its comment"
    assert all('schema "maintenance"' in one or "trigger" in one for one in complaints)
    api.migrate(url, applications=["matcha"])
    assert api.status(url).is_up_to_date
    with psycopg.connect(url, autocommit=True) as db:
        assert count(db, "users") == FILLED.users
        assert count(db, "note") == NOTES


# Policies whose table was dropped: a dump has its number alone


@pytest.fixture
def orphan(db: Connection) -> Connection:
    """A copy with a policy that was about a table ``gone`` and has the number of none."""
    execute(
        db,
        "create table gone (id bigint primary key, expires_at timestamptz);"
        " create table other (id bigint primary key, expires_at timestamptz);"
        " create table unlike (id bigint primary key)",
    )
    register(db, "gone")
    execute(db, "drop table gone; update maintenance.installation set database_oid = 1")
    return db


def number_of(db: Connection, table: str) -> None:
    """Let the policy have the number of another table, as happens where a dump is restored."""
    execute(db, "update maintenance.policy set relation = %s::regclass where name = 'gone'", table)


def relation(db: Connection) -> str:
    """Return the table of the policy; - is none."""
    return scalar(db, "select relation::text from maintenance.policy where name = 'gone'")


def test_adopting_gives_a_policy_without_a_table_the_number_of_none(orphan: Connection) -> None:
    assert relation(orphan).isdigit()
    execute(orphan, "select maintenance.adopt_clone()")
    assert relation(orphan) == "-"
    execute(orphan, "select maintenance.remove_policy('gone')")


def test_so_it_does_with_one_that_is_switched_off(orphan: Connection) -> None:
    execute(orphan, "update maintenance.policy set is_enabled = false where name = 'gone'")
    number_of(orphan, "other")
    execute(orphan, "drop table other; select maintenance.adopt_clone()")
    assert relation(orphan) == "-"


def test_a_table_that_the_policy_does_not_fit_is_not_its_table(orphan: Connection) -> None:
    number_of(orphan, "unlike")
    execute(orphan, "select maintenance.adopt_clone()")
    assert relation(orphan) == "-"


def test_a_copy_is_not_adopted_while_a_policy_may_have_come_to_another_table(
    orphan: Connection,
) -> None:
    number_of(orphan, "other")
    with pytest.raises(
        errors.ObjectNotInPrerequisiteState,
        match=r"policy gone was about public\.gone, and would be about public\.other here",
    ) as refusal:
        execute(orphan, "select maintenance.adopt_clone()")
    assert "select maintenance.remove_policy('gone')" in str(refusal.value.diag.message_hint)
    assert not scalar(orphan, "select is_adopted from maintenance.identify()")
    execute(orphan, "select maintenance.remove_policy('gone')")
    execute(orphan, "select maintenance.adopt_clone()")


def test_a_renamed_table_is_confirmed_and_adopted(db: Connection) -> None:
    execute(db, "alter table refresh_tokens rename to sessions")
    execute(db, "update maintenance.installation set database_oid = 1")
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match=r"public\.sessions") as refusal:
        execute(db, "select maintenance.adopt_clone()")
    assert "enable_policy('refresh_tokens', false)" in str(refusal.value.diag.message_hint)
    execute(db, "select maintenance.alter_policy('refresh_tokens', '{}')")
    execute(db, "select maintenance.adopt_clone()")


def test_a_rollback_takes_no_stranger_for_an_archive(db: Connection) -> None:
    execute(db, "create table token (id bigint primary key); create table other (id bigint)")
    execute(db, "select maintenance.create_archive('token')")
    execute(db, "drop table token_archive")
    execute(db, "update maintenance.archive set relation = 'other'::regclass")
    assert not rows(db, "select * from maintenance.archived_rows()")
    execute(db, "select maintenance.drop_archives()")
    assert count(db, "other") == 0


def test_who_may_not_act_for_an_owner_adopts_all_the_same_and_is_told(
    new_database: Callable[..., str], role: Callable[[str], str], server: TestServer
) -> None:
    owner, team = role("owner"), role("team")
    url = new_database("owned", owner=owner)
    as_owner = make_conninfo(url, user=owner)
    api.migrate(as_owner, applications=["none"])
    with psycopg.connect(url, autocommit=True) as db, psycopg.connect(as_owner) as clone:
        execute(db, f"grant {team} to {owner}; grant create on schema public to {team}")
        execute(db, "create table token (id bigint primary key, expires_at timestamptz)")
        execute(db, f"alter table token owner to {team}")
        register(clone)
        clone.commit()
        execute(db, f"revoke {team} from {owner}")
        execute(db, f"drop function maintenance.act_as_{team}(text, bigint, tid[], boolean)")
        warnings: list[str] = []
        clone.add_notice_handler(lambda notice: warnings.append(str(notice.message_primary)))
        execute(clone, "select maintenance.adopt_clone()")
        assert warnings == [f"nothing acts for {team}, whose tables have policies"]


# What the application had before, and a copy where its roles are not known


def test_what_was_there_before_is_given_back_in_a_copy_without_its_roles(
    new_database: Callable[..., str],
    role: Callable[[str], str],
    admin: Connection,
    server: TestServer,
    tmp_path: Path,
) -> None:
    mover = role("mover")
    original = new_database("original")
    gone = [f"pgm_{server.worker}_app_owner", f"pgm_{server.worker}_app_caller"]
    execute(admin, f"create role {gone[0]}; create role {gone[1]}")
    try:
        with psycopg.connect(original, autocommit=True) as db:
            build(db, 12)
            fill(db)
            decorate(db, owner=gone[0], caller=gone[1])
        api.migrate(original, applications=["matcha"])
        dump = tmp_path / "original.dump"
        program("pg_dump", original, "--format=custom", f"--file={dump}")
        before = new_database("before", owner=mover)
    finally:
        execute(admin, f"drop database {conninfo_to_dict(original)['dbname']}")
        execute(admin, f"drop role {gone[0]}; drop role {gone[1]}")
    url = make_conninfo(before, user=mover)
    program("pg_restore", url, "--exit-on-error", "--no-owner", "--no-privileges", dump)
    api.adopt_clone(url)
    assert api.status(url).is_up_to_date
    api.rollback(url, api.plan_rollback(url, everything=True), backup_folder=None)
    with psycopg.connect(url) as db:
        assert count(db, "users") == FILLED.users
        assert scalar(db, "select to_regprocedure('refresh_deck_progress(uuid, uuid)') is not null")
        assert sorted(
            column(db, "select tgname from pg_trigger where tgname like 'trigger_cleanup%%'")
        ) == [
            "trigger_cleanup_email_verification_tokens",
            "trigger_cleanup_password_reset_tokens",
            "trigger_cleanup_refresh_tokens",
        ]


# From PostgreSQL 15 to 18

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
HABITS = """
    select 'function', proname || pg_get_function_identity_arguments(oid),
        pg_get_userbyid(proowner), prosrc, coalesce(proacl, acldefault('f', proowner))::text,
        obj_description(oid, 'pg_proc')
    from pg_proc where pronamespace = 'public'::regnamespace
    union all
    select 'trigger', tgrelid::regclass || tgname, tgenabled::text, pg_get_triggerdef(oid), null,
        obj_description(oid, 'pg_trigger')
    from pg_trigger where not tgisinternal
    union all
    select 'index', indexrelid::regclass::text, null, pg_get_indexdef(indexrelid), null, null
    from pg_index where indrelid in (
        select oid from pg_class where relnamespace = 'public'::regnamespace
        and relname not in ('token', 'note')
    )
    order by 1, 2
"""
"""What the application has, as far as both versions say it alike."""


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Debian's PostgreSQL 15 and the embedded server, both running, with the same roles."""
    started: list[Server] = []
    try:
        for chosen in (str(DEBIAN_15), ""):
            monkeypatch.setenv("RUNNER_PG_BIN", chosen)
            folder = Path(tempfile.mkdtemp(dir=os.environ[FOLDER]))
            folder.chmod(0o755)  # the server of root runs as another user
            started.append(Server(folder, throwaway=True))
            started[-1].start()
            with psycopg.connect(started[-1].url(), autocommit=True) as admin:
                execute(admin, "create role mover login; create role team; create role caller")
                execute(admin, "grant team to mover")
                execute(admin, "create database moving owner mover")
        yield started[0], started[1]
    finally:
        for one in started:
            one.stop()
            shutil.rmtree(one.folder)


@pytest.mark.check
@pytest.mark.parametrize("level", [None, *LEVELS])
def test_a_database_moves_from_15_to_18(
    servers: tuple[Server, Server], tmp_path: Path, level: Level | None
) -> None:
    """Level: which of the application's own migrations made it; none: ours did."""
    old, new = (make_conninfo(one.url("moving"), user="mover") for one in servers)
    before: list[object] = []
    if level is not None:
        with psycopg.connect(servers[0].url("moving"), autocommit=True) as db:
            build(db, level)
            decorate(db, owner="team", caller="caller")
            before = list(rows(db, HABITS))
    api.migrate(old, applications=["matcha"])
    with psycopg.connect(old, autocommit=True) as db:
        fill(db)
        number, token = policies_of_users(db, "team")
    dump = tmp_path / "moving.dump"
    origin = Origin("moving", old, dump, "mover", "team", number, token)
    with working(old):
        # Not with 18.6, the embedded one: PostgreSQL 15.20 marks columns with an option pg_attver,
        # which pg_dump has to leave out, and that one is too old to know.
        program("pg_dump", old, "--format=custom", f"--file={dump}")
    program("pg_restore", servers[1].url("moving"), "--exit-on-error", dump)
    with psycopg.connect(new, autocommit=True) as db:
        assert db.info.server_version >= 180000
        waits(db, origin)
        assert api.adopt_clone(new).done == "adopted"
        assert api.status(new).is_up_to_date
        works(db, origin)
    api.rollback(new, api.plan_rollback(new, everything=True), backup_folder=None)
    with psycopg.connect(servers[1].url("moving")) as db:
        assert list(rows(db, HABITS)) == before
