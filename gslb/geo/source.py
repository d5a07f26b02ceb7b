"""IO: a database file -> a private copy of its bytes, named by content.

Rule 1: what is hashed, walked and decoded is one copy that nobody else can change or truncate, so a database that is
replaced while it is read can neither crash us nor mix two versions.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

_CHUNK = 1 << 24


class DatabaseUnusable(ValueError):
    """A geo database cannot be used: missing, unreadable, changed while it was read, or malformed.

    The message names the file.  Callers keep the table they have.
    """

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(f"geo database {path}: {why}")


@dataclass(frozen=True, slots=True)
class Copy:
    """A private copy of one database: its path of origin, a path under which libraries can open the copy, its bytes."""

    origin: Path
    path: str
    content: mmap.mmap

    def digest(self) -> bytes:
        """The copy's digest, the same as that of a file with this content."""
        return blake2b(self.content, digest_size=32).digest()


@contextmanager
def copied(path: Path) -> Iterator[Copy]:
    """A private copy in memory, freed at the end.  Raises DatabaseUnusable."""
    copy = os.memfd_create("gslb-geo", os.MFD_CLOEXEC)
    try:
        _fill(copy, path)
        # Not closed by hand: arrays over it may outlive an error by a moment, and the last reference frees it.
        yield Copy(path, f"/proc/self/fd/{copy}", mmap.mmap(copy, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(copy)


def content_digest(paths: Sequence[Path]) -> str:
    """A name for the content of these files, in order: 32 hex digits.  Raises DatabaseUnusable."""
    with ThreadPoolExecutor(max_workers=2) as threads:  # hashing releases the interpreter lock
        return joint_digest(list(threads.map(_file_digest, paths)))


def joint_digest(parts: Sequence[bytes]) -> str:
    """The name of several files whose own digests are `parts`."""
    return blake2b(b"".join(parts), digest_size=16, person=b"gslb databases").hexdigest()


def _fill(copy: int, path: Path) -> None:
    try:
        with path.open("rb") as source:
            before = _identity(source.fileno())
            while os.sendfile(copy, source.fileno(), None, _CHUNK):
                pass
            after = _identity(source.fileno())
    except OSError as error:
        raise DatabaseUnusable(path, error.strerror or str(error)) from error
    size = os.fstat(copy).st_size
    if before != after or size != before[0]:
        raise DatabaseUnusable(path, "it changed while it was read")
    if size == 0:
        raise DatabaseUnusable(path, "the file is empty")


def _file_digest(path: Path) -> bytes:
    digest = blake2b(digest_size=32)
    try:
        with path.open("rb") as source:
            before = _identity(source.fileno())
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
            after = _identity(source.fileno())
    except OSError as error:
        raise DatabaseUnusable(path, error.strerror or str(error)) from error
    if before != after:
        raise DatabaseUnusable(path, "it changed while it was read")
    return digest.digest()


def _identity(descriptor: int) -> tuple[int, int, int]:
    stat = os.fstat(descriptor)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
