"""Files that nobody may find half written: a name that no other has, and the way onto the disk."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp

PARTIAL = ".partial"
"""What the name of a file ends with until it is complete, and proved."""


def reserve(
    folder: Path, name: str, suffix: str, *, is_taken: Callable[[Path], bool] = Path.exists
) -> tuple[Path, int]:
    """Choose a file that is not taken, and open its temporary one, ``FILE.partial``, mode 0600.

    It is called after ``name`` and the time; in the same second the next ones get numbers. Return
    the file, which is not there yet, and the descriptor. Raises OSError.
    """
    safe = re.sub(r"[^\w.-]+", "_", name).strip("_.")[:100] or "file"
    stem = f"{safe}_{datetime.now().astimezone():%Y%m%d_%H%M%S}"
    for number in ("", *(f"_{number}" for number in range(2, 1000))):
        file = folder / f"{stem}{number}{suffix}"
        if is_taken(file):
            continue
        with suppress(FileExistsError):
            return file, os.open(partial_of(file), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    raise FileExistsError(errno.EEXIST, "too many files within one second")


def partial_of(file: Path) -> Path:
    """Return what a file is called until it is complete."""
    return file.with_name(file.name + PARTIAL)


def write_whole(file: Path, text: str) -> None:
    """Write a file of mode 0600 that others find as it was, or whole; it may replace another one.

    A link is replaced, and not followed. Raises OSError, also where there is a folder or a device.
    """
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "it is a folder" if file.is_dir() else "it is no ordinary file")
    descriptor, name = mkstemp(prefix=f"{file.name[:100]}.", suffix=PARTIAL, dir=file.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as target:
            target.write(text)
            target.flush()
            os.fsync(descriptor)
        partial.replace(file)
        sync(file.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
