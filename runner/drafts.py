"""A file of archived rows while it is written: it gets its name once it is proved, and on the disk.

Until then it ends with .partial, and is locked: one that nobody has locked was left by somebody who
was killed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runner.archive_files import (
    Compression,
    Content,
    CsvMeter,
    Manifest,
    cannot,
    compressor,
    forget_cached,
    manifest_of,
    read_csv,
    write_manifest,
)
from runner.errors import Exit, RunnerError
from runner.files import PARTIAL, partial_of, reserve, sync

if TYPE_CHECKING:
    from types import TracebackType


class Draft:
    """A file that is being written. Leaving the block without ``keep`` removes all of it."""

    def __init__(self, folder: Path, archive: str, compression: Compression) -> None:
        self._compressor = compressor(compression)
        self._raw = hashlib.sha256()
        self._size = 0
        self._meter = CsvMeter()
        self._made: list[Path] = []
        self._kept: list[Path] = []
        try:
            self.file, self._descriptor = reserve(
                folder,
                archive,
                compression.suffix,
                is_taken=lambda file: file.exists() or manifest_of(file).exists(),
            )
        except OSError as error:
            raise cannot("write into", folder, error) from None
        self._made.append(partial_of(self.file))
        with suppress(OSError):  # a file system without locks: it may be taken for abandoned
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
        for path in self._made:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    @property
    def rows(self) -> int:
        return self._meter.rows

    @property
    def csv(self) -> Content:
        return self._meter.content

    @property
    def compressed(self) -> Content:
        return Content(self._size, self._raw.hexdigest())

    def write(self, chunk: bytes) -> None:
        """Take a piece of CSV."""
        self._meter.add(chunk)
        self._put(self._compressor.compress(chunk))

    def finish(self) -> None:
        """Write what the compressor still holds, and wait until all is on the disk."""
        self._put(self._compressor.flush())
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise cannot("write", self.file, error) from None
        forget_cached(self._descriptor)

    def prove(self, manifest: Manifest) -> None:
        """Read the file again, and raise RunnerError unless it holds exactly what was written."""
        for _ in read_csv(self._made[0], manifest):
            pass

    def publish(self, manifest: Manifest) -> None:
        """Give file and manifest their names, which never replaces another file, on the disk."""
        beside = manifest_of(self.file)
        partial = partial_of(beside)
        try:
            self._made.append(partial)
            write_manifest(partial, manifest)
            for temporary, final in ((self._made[0], self.file), (partial, beside)):
                self._name(temporary, final)
            for temporary in (partial, self._made[0]):
                temporary.unlink(missing_ok=True)
            sync(self.file.parent)
        except OSError as error:
            raise cannot("write", self.file, error) from None

    def keep(self) -> None:
        """Let the file stay, whatever comes."""
        self._kept, self._made = self._made, []

    def discard(self) -> None:
        """Remove the file after all."""
        self._made = self._kept

    def _name(self, temporary: Path, final: Path) -> None:
        """Give a file its name; a file that has the name already is never replaced."""
        try:
            os.link(temporary, final)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            # There are no links here: the name is taken first, and then the file put in its place.
            os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._made.append(final)
            temporary.replace(final)
        else:
            self._made.append(final)

    def _put(self, piece: bytes) -> None:
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise cannot("write", self.file, error) from None
        self._raw.update(piece)
        self._size += len(piece)


def abandoned(folder: Path) -> list[Path]:
    """Return the temporary files in a folder that nobody writes any more."""
    return [
        path
        for path in sorted(folder.glob(f"*{PARTIAL}"))
        if ".csv." in path.name and not _is_locked(path)
    ]


def _is_locked(path: Path) -> bool:
    # The manifest is written while the file itself is locked.
    name = path.name.removesuffix(PARTIAL)
    if name.endswith(".json"):
        path = partial_of(path.with_name(name.removesuffix(".json")))
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def target_folder(path: Path) -> Path:
    """Return the folder to write into, as an absolute path.

    It has to exist: one that is made where a disk is not mounted would be on another disk. Raises
    RunnerError (usage).
    """
    if not path.is_dir():
        raise RunnerError(
            f"there is no folder {path}",
            hint="Make it, or mount the disk that it is on.",
            code=Exit.USAGE,
        )
    return path.resolve()
