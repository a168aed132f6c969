"""Moving rows into files and back, killed, cut off, out of disk or held up: no row is ever lost.

A row is in the archive, or in a file that is whole and that the database knows.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api
from runner.archive_files import manifest_of, read_manifest, write_manifest
from runner.drafts import Draft
from runner.errors import Exit
from tests.conftest import run
from tests.runner.archives import contents, fill, make_archive
from tests.statements import column, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

ROWS = 100
EXPORT = ("archive", "export", "kept", "--older-than", "0", "--yes", "--to")


@pytest.fixture
def kept(db: Connection) -> Connection:
    """A database with an archive of a hundred rows."""
    make_archive(db)
    fill(db, ROWS)
    return db


def count(db: Connection) -> int:
    return column(db, "select count(*) from kept")[0]


def recorded(db: Connection) -> int:
    """Return how many rows the database says are in files."""
    return column(
        db,
        "select coalesce(sum(rows), 0)::bigint from maintenance.archive_file"
        " where imported_at is null",
    )[0]


def in_files(db: Connection, folder: Path) -> int:
    """Return how many rows are in files that are whole and that the database knows."""
    known = column(db, "select file from maintenance.archive_file where imported_at is null")
    paths = [folder / name for name in known]
    verified = api.verify_files(paths)
    assert [one.problem for one in verified] == [None] * len(paths)
    return sum(one.rows or 0 for one in verified)


def assert_nothing_happened(db: Connection, folder: Path) -> None:
    assert count(db) == ROWS
    assert recorded(db) == 0
    assert not folder.exists() or list(folder.iterdir()) == []


def settled(db: Connection) -> None:
    """Wait until no session of the runner is left."""
    for _ in range(500):
        if not column(
            db,
            "select pid from pg_stat_activity where datname = current_database()"
            " and starts_with(application_name, 'runner')",
        ):
            return
        sleep(0.02)
    message = "a session of the runner is left"
    raise AssertionError(message)


MOMENTS = {
    "before it is on the disk": "drafts.Draft.finish = die",
    "before it is proved": "drafts.Draft.prove = die",
    "before it has its name": "drafts.Draft.publish = die",
    "with half of its names": "drafts.os.link = once(drafts.os.link)",
    "before it is recorded": "exports._settle = die",
    "before the commit": "exports.commit = die",
    "after the commit": "exports.commit = after(exports.commit)",
}

KILLED = """
import os, signal, sys
from pathlib import Path
from runner import drafts, exports, imports
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
def after(work):
    def both(*arguments):
        work(*arguments)
        die()
    return both
def once(work):
    def first(*arguments):
        work(*arguments)
        die()
    return first
{patch}
{work}
"""


def kill_at(patch: str, work: str) -> None:
    """Do something in a process that kills itself at a moment."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(patch=patch, work=work)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


SELDOM = ("before it is proved", "before it has its name", "before it is recorded")


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, marks=pytest.mark.slow if moment in SELDOM else ())
        for moment in MOMENTS
    ],
)
def test_killed_at_any_moment_the_rows_are_in_one_place(
    kept: Connection, tmp_path: Path, moment: str
) -> None:
    before = contents(kept)
    url = kept.info.dsn
    kill_at(
        MOMENTS[moment],
        f"exports.export_archive({url!r}, 'kept', '0', Path({str(tmp_path)!r}))",
    )
    settled(kept)
    committed = moment == "after the commit"
    assert (count(kept), in_files(kept, tmp_path)) == ((0, ROWS) if committed else (ROWS, 0))

    left = sorted(path for path in tmp_path.iterdir() if path.name.endswith(".partial"))
    again = api.export_archive(url, "kept", "0", tmp_path)
    said = "\n".join(again.leftovers)
    for path in left:
        assert f"{path} was left by an export that did not end" in said
    is_whole = moment in ("before it is recorded", "before the commit")
    assert ("is complete, but its export was cut off" in said) == is_whole
    assert (count(kept), in_files(kept, tmp_path)) == (0, ROWS)
    for name in column(kept, "select file from maintenance.archive_file"):
        api.import_files(url, [tmp_path / name])
    assert contents(kept) == before


def test_what_a_cut_off_export_has_left_is_not_taken_for_rows(
    kept: Connection, tmp_path: Path
) -> None:
    url = kept.info.dsn
    kill_at(
        MOMENTS["before the commit"],
        f"exports.export_archive({url!r}, 'kept', '0', Path({str(tmp_path)!r}))",
    )
    settled(kept)
    refused = run("archive", "import", tmp_path, url=url)
    assert refused.returncode == Exit.REFUSED
    assert "rows are still in the archive" in refused.stderr
    assert count(kept) == ROWS


def test_a_partial_file_is_no_file(kept: Connection, tmp_path: Path) -> None:
    kill_at(
        MOMENTS["before it is proved"],
        f"exports.export_archive({kept.info.dsn!r}, 'kept', '0', Path({str(tmp_path)!r}))",
    )
    verified = run("archive", "verify", tmp_path)
    assert verified.returncode == Exit.FINDINGS
    assert "was left by an export that did not end" in verified.stdout
    assert run("archive", "import", tmp_path, url=kept.info.dsn).returncode == Exit.FINDINGS


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_import_that_is_killed_happened_whole_or_not_at_all(
    kept: Connection, tmp_path: Path, moment: str
) -> None:
    url = kept.info.dsn
    api.export_archive(url, "kept", "0", tmp_path)
    patch = "imports.commit = " + ("die" if moment == "before" else "after(imports.commit)")
    kill_at(patch, f"imports.import_files({url!r}, [Path({str(tmp_path)!r})])")
    settled(kept)
    assert count(kept) == (0 if moment == "before" else ROWS)
    again = run("archive", "import", tmp_path, url=url)
    assert again.returncode == (Exit.DONE if moment == "before" else Exit.REFUSED)
    assert count(kept) == ROWS


class Proxy:
    """Stands between the runner and the server, and cuts the connection at a COMMIT."""

    def __init__(self, url: str, folder: Path, *, delivers: bool, answers: bool) -> None:
        given = conninfo_to_dict(url)
        self._server = f"{given['host']}/.s.PGSQL.{given.get('port') or 5432}"
        self._delivers = delivers
        self._answers = answers
        self.has_cut = False
        self._open: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._listener = self._a_socket()
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self.url = make_conninfo(url, host=str(folder), port=5432)
        self._start(self._accept)

    def _a_socket(self) -> socket.socket:
        self._open.append(socket.socket(socket.AF_UNIX))
        return self._open[-1]

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                if self.has_cut and not self._answers:
                    shut(client)
                    continue
                server = self._a_socket()
                server.connect(self._server)
                self._start(self._forward, client, server)
                self._start(self._back, server, client)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(65536):
                if b"commit\0" in piece and not self.has_cut:
                    self.has_cut = True
                    shut(client)
                    if self._delivers:
                        server.sendall(piece)
                        return
                    break
                server.sendall(piece)
        shut(server)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(65536):
                client.sendall(piece)
        shut(client)

    def close(self) -> None:
        for one in self._open:
            shut(one)
        for thread in self._threads:
            thread.join()
        for one in self._open:
            one.close()


def shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(kept: Connection, tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    made: list[Proxy] = []
    folder = tmp_path / "s"
    folder.mkdir()

    def make(*, delivers: bool, answers: bool = True) -> Proxy:
        made.append(Proxy(kept.info.dsn, folder, delivers=delivers, answers=answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_connection_that_is_cut_before_the_commit_leaves_the_rows(
    kept: Connection, tmp_path: Path, proxy: Callable[..., Proxy]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with pytest.raises(api.RunnerError, match="was not committed"):
        api.export_archive(proxy(delivers=False).url, "kept", "0", folder)
    assert_nothing_happened(kept, folder)


def test_a_connection_that_is_cut_after_the_commit_keeps_the_file(
    kept: Connection, tmp_path: Path, proxy: Callable[..., Proxy]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with pytest.raises(api.RunnerError, match="after a file was done"):
        api.export_archive(proxy(delivers=True).url, "kept", "0", folder)
    assert (count(kept), in_files(kept, folder)) == (0, ROWS)


def test_where_nobody_can_be_asked_the_file_is_kept_and_what_is_unknown_is_said(
    kept: Connection,
    tmp_path: Path,
    proxy: Callable[..., Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runner.archives.PATIENCE", 0.5)
    folder = tmp_path / "files"
    folder.mkdir()
    deaf = proxy(delivers=True, answers=False)
    with pytest.raises(api.RunnerError, match="is unknown") as error:
        api.export_archive(deaf.url, "kept", "0", folder)
    deaf.close()
    assert "Keep " in str(error.value.detail)
    assert "archive list --files" in str(error.value.hint)
    settled(kept)
    assert (count(kept), in_files(kept, folder)) == (0, ROWS)


def test_a_signal_while_the_server_is_asked_keeps_the_file(
    kept: Connection,
    tmp_path: Path,
    proxy: Callable[..., Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.archives._outcome", interrupt)
    folder = tmp_path / "files"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        api.export_archive(proxy(delivers=True).url, "kept", "0", folder)
    for _ in range(500):
        if not count(kept):
            break
        sleep(0.01)
    assert (count(kept), in_files(kept, folder)) == (0, ROWS)


def test_where_files_cannot_be_linked_they_get_their_names_all_the_same(
    kept: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("runner.drafts.os.link", refuse)
    [file] = api.export_archive(kept.info.dsn, "kept", "0", tmp_path).files
    assert {path.name for path in tmp_path.iterdir()} == {file.file.name, f"{file.file.name}.json"}
    assert (count(kept), in_files(kept, tmp_path)) == (0, ROWS)


@pytest.mark.parametrize("delivers", [False, True])
def test_an_import_whose_commit_is_cut_says_whether_it_is_done(
    kept: Connection, tmp_path: Path, proxy: Callable[..., Proxy], delivers: bool
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    api.export_archive(kept.info.dsn, "kept", "0", folder)
    with pytest.raises(api.RunnerError, match="the connection was cut") as error:
        api.import_files(proxy(delivers=delivers).url, [folder])
    assert f"are {'back' if delivers else 'not back'} in" in str(error.value.detail)
    assert count(kept) == (ROWS if delivers else 0)


def test_a_full_disk_leaves_the_rows_and_no_file(kept: Connection, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: any user may set it."""
    execute(kept, "update kept set note = (select string_agg(md5(random()::text), '')"
            " from generate_series(1, 100) where kept.id > 0)")  # fmt: skip
    before = contents(kept)
    folder = tmp_path / "files"
    folder.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            " resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000));"
            " from runner.cli import main; main()",
            *(*EXPORT, str(folder)),
        ],
        env=os.environ | {"DATABASE_URL": kept.info.dsn},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.FAILED, done.stderr
    assert "error: cannot write" in done.stderr
    assert "File too large" in done.stderr
    assert_nothing_happened(kept, folder)
    assert contents(kept) == before


def test_a_disk_without_space_leaves_the_rows_and_no_file(kept: Connection, tmp_path: Path) -> None:
    execute(kept, "update kept set note = (select string_agg(md5(random()::text), '')"
            " from generate_series(1, 100) where kept.id > 0)")  # fmt: skip
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        done = run(*EXPORT, tmp_path, url=kept.info.dsn)
        assert done.returncode == Exit.FAILED
        assert "No space left on device" in done.stderr
        assert_nothing_happened(kept, tmp_path)
    finally:
        subprocess.run(["/bin/umount", tmp_path], check=True)


def test_a_folder_that_cannot_be_written_is_one_sentence(kept: Connection) -> None:
    done = run(*EXPORT, "/proc", url=kept.info.dsn)
    assert done.returncode == Exit.FAILED
    assert done.stderr.startswith("error: cannot write into /proc: ")
    assert count(kept) == ROWS


def test_a_folder_that_vanishes_leaves_the_rows(
    kept: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    prove = Draft.prove

    def lose(draft: Draft, manifest: object) -> None:
        prove(draft, manifest)  # pyright: ignore[reportArgumentType]
        shutil.rmtree(folder)

    monkeypatch.setattr(Draft, "prove", lose)
    with pytest.raises(api.RunnerError, match=r"cannot write .*No such file"):
        api.export_archive(kept.info.dsn, "kept", "0", folder)
    assert_nothing_happened(kept, folder)


def test_what_the_disk_does_not_give_back_as_written_is_not_deleted(
    kept: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Draft.finish

    def rot(draft: Draft) -> None:
        finish(draft)
        [partial] = tmp_path.glob("*.partial")
        spoil(partial)

    monkeypatch.setattr(Draft, "finish", rot)
    with pytest.raises(api.Damaged):
        api.export_archive(kept.info.dsn, "kept", "0", tmp_path)
    assert_nothing_happened(kept, tmp_path)


def spoil(file: Path, position: int = -10) -> None:
    """Flip a bit of a file."""
    content = bytearray(file.read_bytes())
    content[position] ^= 4
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"more")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit near the end": (spoil, ""),
    "a bit near the beginning": (lambda file: spoil(file, 30), ""),
    "an end that is missing": (cut, ""),
    "an end too many": (lengthen, "has something after its end"),
    "nothing in it": (lambda file: file.write_bytes(b""), "ends too early"),
    "no file": (lambda file: file.unlink(), "No such file"),
    "another name": (lambda file: file.rename(file.with_name("other.csv.gz")), ""),
    "no manifest": (lambda file: manifest_of(file).unlink(), "has no manifest"),
    "a bit of the manifest": (lambda file: spoil(manifest_of(file), 400), ""),
    "half a manifest": (lambda file: cut(manifest_of(file)), "cannot be read as JSON"),
    "another count": (
        lambda file: manifest_of(file).write_text(
            manifest_of(file).read_text().replace('"rows": 100', '"rows": 99')
        ),
        "is not as it was written",
    ),
}


def test_damaged_files_are_found_and_not_put_back(kept: Connection, tmp_path: Path) -> None:
    url = kept.info.dsn
    for compression in api.Compression:
        whole = tmp_path / compression
        whole.mkdir()
        [file] = api.export_archive(url, "kept", "0", whole, compression=compression).files
        for number, (what, (damage, said)) in enumerate(DAMAGES.items()):
            folder = tmp_path / f"{compression}-{number}"
            shutil.copytree(whole, folder)
            damage(folder / file.file.name)
            problems = [one.problem for one in api.verify_files([folder]) if one.problem]
            assert problems, f"{what} is not seen"
            assert said in problems[0], what
            with pytest.raises(api.RunnerError):
                api.import_files(url, [folder])
        assert (count(kept), recorded(kept)) == (0, ROWS)
        api.import_files(url, [whole])


def test_a_manifest_that_was_forged_is_known_by_the_database(
    kept: Connection, tmp_path: Path
) -> None:
    """Its own checksum fits; what the database noted does not."""
    url = kept.info.dsn
    [first] = api.export_archive(url, "kept", "0", tmp_path).files
    fill(kept, 3)
    [second] = api.export_archive(url, "kept", "0", tmp_path).files
    forged = replace(read_manifest(second.file), id=read_manifest(first.file).id)
    manifest_of(second.file).unlink()
    write_manifest(manifest_of(second.file), forged)
    refused = run("archive", "import", second.file, url=url)
    assert refused.returncode == Exit.REFUSED
    assert "is not the file that was exported under its id" in refused.stderr


def test_rows_that_others_hold_stay_and_are_said(
    kept: Connection, another: Callable[[], Connection], tmp_path: Path
) -> None:
    holder = another()
    execute(holder, "begin; select from kept where id in (7, 70) for update")
    done = run(*EXPORT, tmp_path, url=kept.info.dsn)
    assert done.returncode == Exit.FAILED
    assert "98 rows moved out of public.kept: incomplete" in done.stdout
    assert "2 rows that are old enough are left: others hold them" in done.stdout
    assert column(kept, "select id from kept order by id") == [7, 70]
    execute(holder, "rollback")
    assert run(*EXPORT, tmp_path, url=kept.info.dsn).returncode == Exit.DONE
    assert (count(kept), in_files(kept, tmp_path)) == (0, ROWS)


def test_an_archive_in_use_is_named_with_who_uses_it(
    kept: Connection, another: Callable[[], Connection], tmp_path: Path
) -> None:
    holder = another()
    execute(holder, "begin; lock table kept in share update exclusive mode")
    done = run(*EXPORT, tmp_path, "--lock-wait", "0", url=kept.info.dsn)
    assert done.returncode == Exit.BUSY
    assert "public.kept is in use" in done.stderr
    assert f"pid {holder.info.backend_pid}" in done.stderr
    assert_nothing_happened(kept, tmp_path)


def test_two_exports_at_once_share_the_rows(kept: Connection, tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def export() -> None:
        try:
            api.export_archive(kept.info.dsn, "kept", "0", tmp_path, max_rows=10)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=export) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert count(kept) % 10 == 0
        sleep(0.01)
    assert errors == []
    assert (count(kept), in_files(kept, tmp_path)) == (0, ROWS)


def test_sigterm_lets_the_file_in_hand_be_finished(kept: Connection, tmp_path: Path) -> None:
    fill(kept, 20000)
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", *EXPORT, str(tmp_path), "--max-rows", "100", "--json"],
        env=os.environ | {"DATABASE_URL": kept.info.dsn},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = monotonic() + 20
    while monotonic() < deadline and not list(tmp_path.glob("*.json")):
        sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == Exit.DONE, err
    assert '"exit_reason": "stopped"' in out
    moved = in_files(kept, tmp_path)
    assert 0 < moved < ROWS + 20000
    assert count(kept) + moved == ROWS + 20000
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_killed_at_random_again_and_again(kept: Connection, tmp_path: Path) -> None:
    random = Random(7)
    fill(kept, 20000)
    total = count(kept)
    for _ in range(40):
        process = subprocess.Popen(
            [sys.executable, "-m", "runner", *EXPORT, str(tmp_path), "--max-rows", "300"],
            env=os.environ | {"DATABASE_URL": kept.info.dsn},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        sleep(random.uniform(0.3, 1.2))
        process.kill()
        process.wait()
        settled(kept)
        assert count(kept) + in_files(kept, tmp_path) == total
    with psycopg.connect(kept.info.dsn) as connection:
        known = column(connection, "select file from maintenance.archive_file")
    api.import_files(kept.info.dsn, [tmp_path / name for name in known])
    assert count(kept) == total
