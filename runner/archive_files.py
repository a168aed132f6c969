"""Files of archived rows: CSV as COPY writes it, compressed, and beside each a manifest, FILE.json.

A manifest says what is in its file, and proves it: how many rows, and SHA-256 of the CSV, of the
file, and of the manifest itself. No database is needed to check that.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, cast

from runner.errors import Exit, RunnerError
from runner.files import PARTIAL

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

VERSION = 1
CHUNK = 1 << 18


class Compression(StrEnum):
    """How files are compressed."""

    ZSTD = "zstd"
    GZIP = "gzip"

    @property
    def suffix(self) -> str:
        return ".csv.zst" if self is Compression.ZSTD else ".csv.gz"


SUFFIXES = tuple(one.suffix for one in Compression)


@dataclass(frozen=True)
class Content:
    """How many bytes there are, and their SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is in a file, and where it comes from."""

    id: str
    file: str
    compression: str
    archive: str
    source: str | None
    columns: list[dict[str, Any]]
    """Of each name, type, and collation: null where it is the type's."""
    encoding: str
    settings: dict[str, str]
    """Under which PostgreSQL wrote the values as text."""
    rows: int
    before: str
    oldest: str
    newest: str
    """Times at which its rows were archived."""
    steps: list[int]
    """Steps in maintenance.run_step that archived them."""
    csv: Content
    compressed: Content
    database: dict[str, Any]
    server_version: str
    transaction: str
    """The one that took its rows out of the archive."""
    exported_at: str
    exported_by: str

    def document(self) -> dict[str, Any]:
        """Return the manifest as it is written, with the checksum of itself."""
        document = {"pg_maintenance_archive_file": VERSION, **asdict(self)}
        return {**document, "checksum": _checksum(document)}


@dataclass(frozen=True)
class VerifiedFile:
    """What reading a file again has shown."""

    file: Path
    rows: int | None
    archive: str | None
    problem: str | None
    """None: it is whole, and what its manifest says."""


class Damaged(RunnerError):
    """A file that is not what its manifest says, or has none."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(
            f"{file} {problem}",
            detail="Nothing was changed.",
            hint="Fetch the file and its manifest, FILE.json, from another copy.",
            code=Exit.FINDINGS,
        )
        self.problem = problem


class CsvMeter:
    """Counts the records of CSV as it passes by, and takes its SHA-256.

    A record ends with a newline outside double quotes; a double quote in a value is written twice,
    so that each of them goes in or out.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._is_quoted = False
        self._bytes = 0
        self._records = 0

    def add(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._bytes += len(chunk)
        parts = chunk.split(b'"')
        self._records += sum(part.count(b"\n") for part in parts[self._is_quoted :: 2])
        self._is_quoted ^= len(parts) % 2 == 0

    @property
    def content(self) -> Content:
        return Content(self._bytes, self._digest.hexdigest())

    @property
    def rows(self) -> int:
        """Records without the header. It is -1 for nothing, and for CSV that ends in a value."""
        return -1 if self._is_quoted else self._records - 1


class Compressor(Protocol):
    """What compresses."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def compressor(compression: Compression) -> Compressor:
    """Return what compresses one file."""
    if compression is Compression.GZIP:
        return zlib.compressobj(6, zlib.DEFLATED, 31)
    parameter = zstd.CompressionParameter
    return zstd.ZstdCompressor(options={parameter.compression_level: 3, parameter.checksum_flag: 1})


def _decompressed(
    chunks: Generator[bytes], compression: Compression, file: Path
) -> Generator[bytes]:
    """Yield what was compressed, in pieces that memory holds however well it was compressed."""
    if compression is Compression.GZIP:
        inflater = zlib.decompressobj(31)
        for chunk in chunks:
            while chunk and not inflater.eof:
                yield inflater.decompress(chunk, CHUNK)
                chunk = inflater.unconsumed_tail
            if inflater.unused_data or (chunk and inflater.eof):
                raise Damaged(file, "has something after its end")
        yield inflater.flush()
        ended = inflater.eof
    else:
        reader = zstd.ZstdDecompressor()
        for chunk in chunks:
            if reader.eof:
                raise Damaged(file, "has something after its end")
            yield reader.decompress(chunk, CHUNK)
            while not (reader.eof or reader.needs_input):
                yield reader.decompress(b"", CHUNK)
            if reader.unused_data:
                raise Damaged(file, "has something after its end")
        ended = reader.eof
    if not ended:
        raise Damaged(file, "ends too early")


def read_csv(file: Path, manifest: Manifest) -> Generator[bytes]:
    """Yield the CSV of a file, and prove at the end that all of it is what the manifest says.

    Raises Damaged for anything that differs, and RunnerError for a file that cannot be read.
    """
    raw = hashlib.sha256()
    size = 0

    def chunks() -> Generator[bytes]:
        nonlocal size
        with file.open("rb") as source:
            while chunk := source.read(CHUNK):
                raw.update(chunk)
                size += len(chunk)
                yield chunk

    meter = CsvMeter()
    try:
        for piece in _decompressed(chunks(), Compression(manifest.compression), file):
            meter.add(piece)
            if meter.content.bytes > manifest.csv.bytes:
                raise Damaged(file, "has more in it than its manifest says")
            yield piece
    except (zlib.error, zstd.ZstdError) as error:
        raise Damaged(file, f"cannot be decompressed: {error}") from None
    except OSError as error:
        raise cannot("read", file, error) from None
    if Content(size, raw.hexdigest()) != manifest.compressed:
        raise Damaged(file, "is not what was written: its SHA-256 differs from its manifest")
    if meter.content != manifest.csv:
        raise Damaged(file, "has other rows than were written: their SHA-256 differs")
    if meter.rows != manifest.rows:
        raise Damaged(file, f"has {meter.rows} rows, and not {manifest.rows}")


def manifest_of(file: Path) -> Path:
    """Return where the manifest of a file is."""
    return file.with_name(file.name + ".json")


def read_manifest(file: Path) -> Manifest:
    """Return the manifest beside a file; raises Damaged where it is missing or not as written."""
    path = manifest_of(file)
    try:
        document: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        problem = "has no manifest" if file.exists() else "does not exist"
        raise Damaged(file, f"{problem} ({path.name})" if file.exists() else problem) from None
    except OSError as error:
        raise cannot("read", path, error) from None
    except (ValueError, RecursionError):
        raise Damaged(path, "is no manifest: it cannot be read as JSON") from None
    if not isinstance(document, dict) or "pg_maintenance_archive_file" not in document:
        raise Damaged(path, "is no manifest of an archive file")
    given = cast("dict[str, Any]", document)
    if given["pg_maintenance_archive_file"] != VERSION:
        raise Damaged(path, f"has version {given['pg_maintenance_archive_file']}, not {VERSION}")
    written = {name: value for name, value in given.items() if name != "checksum"}
    if given.get("checksum") != _checksum(written):
        raise Damaged(path, "is not as it was written: its checksum is another")
    try:
        known: dict[str, Any] = {field.name: written[field.name] for field in fields(Manifest)}
        for name in ("csv", "compressed"):
            known[name] = Content(**known[name])
        return Manifest(**known)
    except (KeyError, TypeError):
        raise Damaged(path, "is no manifest of an archive file") from None


def verify_file(file: Path) -> VerifiedFile:
    """Read a file again, all of it, and compare it with its manifest."""
    manifest = None
    try:
        if file.name.endswith(PARTIAL):
            raise Damaged(file, "was left by an export that did not end; it counts for nothing")
        manifest = read_manifest(file)
        for _ in read_csv(file, manifest):
            pass
    except RunnerError as error:
        problem = error.problem if isinstance(error, Damaged) else error.message
        return VerifiedFile(file, None, manifest and manifest.archive, problem)
    return VerifiedFile(file, manifest.rows, manifest.archive, None)


def files_in(paths: list[Path]) -> list[Path]:
    """Return the files that are named, and of folders all archive files in them, in order.

    Raises RunnerError (usage) for a folder without any, and for a file that is not there.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            is_manifest = path.name.endswith(".json") and path.name[:-5].endswith(SUFFIXES)
            file = path.with_name(path.name[:-5]) if is_manifest else path
            if not (file.exists() or manifest_of(file).exists()):
                raise RunnerError(
                    f"there is no file {file}",
                    hint="Name an archive file, or the folder that it is in.",
                    code=Exit.USAGE,
                )
            found.append(file)
            continue
        names = {one.name.removesuffix(".json") for one in path.iterdir()}
        inside = [
            path / name for name in sorted(names) if name.removesuffix(PARTIAL).endswith(SUFFIXES)
        ]
        if not inside:
            raise RunnerError(f"there is no archive file in {path}", code=Exit.USAGE)
        found += inside
    return list(dict.fromkeys(found))


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest into a new file, onto the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        target.write(json.dumps(manifest.document(), indent=2, ensure_ascii=False).encode() + b"\n")
        target.flush()
        os.fsync(target.fileno())


def forget_cached(descriptor: int) -> None:
    """Let the system forget what it has cached of a file, so that it is read from the disk."""
    with suppress(OSError, AttributeError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def cannot(do: str, path: Path, error: OSError) -> RunnerError:
    """Return the sentence for what the system does not let us do with a file or folder."""
    return RunnerError(
        f"cannot {do} {path}: {error.strerror or error}",
        detail="What was in hand was rolled back: its rows are where they were.",
    )


def _checksum(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
