"""A pooler behind an ordinary address, here PgBouncer in transaction mode, is found out."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api
from runner.errors import Exit
from tests.conftest import run
from tests.migrations.dumps import structure


@pytest.fixture
def pooler(empty: str) -> Iterator[str]:
    """The URL of the empty database through PgBouncer, on a socket of the test's."""
    server = conninfo_to_dict(empty)
    folder = Path(tempfile.mkdtemp(prefix="pgm-pooler-"))
    folder.chmod(0o755)
    config = folder / "pgbouncer.ini"
    (folder / "users.txt").write_text(f'"{server["user"]}" ""\n')
    config.write_text(
        f"[databases]\n* = host={server['host']} port={server.get('port') or 5432}\n"
        f"[pgbouncer]\npool_mode = transaction\nauth_type = trust\nauth_file = {folder}/users.txt\n"
        f"listen_addr =\nunix_socket_dir = {folder}\n"
    )
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None  # it refuses to run as root
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    process = subprocess.Popen(
        [program, "-q", config],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=account.pw_uid if account else None,
    )
    url = make_conninfo(empty, host=str(folder), port=6432)
    for _ in range(100):
        try:
            psycopg.connect(url).close()
            break
        except psycopg.OperationalError:
            time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(timeout=10)
    shutil.rmtree(folder)


@pytest.mark.check
def test_migrating_through_a_pooler_is_refused(pooler: str, empty: str) -> None:
    before = structure(empty)
    done = run("migrate", url=pooler)
    assert done.returncode == Exit.USAGE
    assert "two connections share one session" in done.stderr
    assert structure(empty) == before


@pytest.mark.check
def test_report_and_doctor_see_that_they_came_through_a_pooler(pooler: str, empty: str) -> None:
    api.migrate(empty, applications=["none"])
    assert api.report(pooler).link.session.startswith("pooled: ")
    assert api.report(empty).link.session == "direct"
    found = {one.state for one in api.diagnose(pooler).findings if one.name == "session"}
    assert found == {"problem"}


@pytest.mark.check
def test_status_works_through_a_pooler(pooler: str) -> None:
    assert run("status", url=pooler).returncode == Exit.FINDINGS
