"""Generations: what a controller hands to workers, as files that outlive both.  IO.

The serving folder of a node holds

    current              16 octets, mapped by every worker: a magic word and the number of the generation in force
    generation-N.json    the manifest of generation N: deployment, plan version, and its files with their digests
    geography-DIGEST     the location table, mapped as it is and shared by all workers
    names-DIGEST         zones and dynamic names, compiled
    plan-VERSION-DIGEST  the plan, compiled
    image-VERSION-DIGEST  names and plan as executors in C have them (`gslb.nameserver.image`); a generation may be without

Rule 1: a file is written whole, synced and renamed into place; then `current` moves by one aligned 8-octet store, the
only change that a reader can see.  Rule 2: a file never changes; it is removed two generations later.  Rule 3: a
reader checks everything that it has not checked before, and keeps what it has when anything does not fit.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

FORMAT = 1
MAGIC = b"gslbgen\x01"
KEPT_GENERATIONS = 2  # a reader that has just read `current` may still be opening the one before
_MANIFEST_LIMIT = 65536  # octets; a manifest has about 700
_MANIFEST_NAME = re.compile(r"generation-([0-9]{1,19})\.json")


class UnusableGeneration(Exception):
    """A generation that must not be served: damaged, incomplete, older, or another deployment's."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a generation: its name in the serving folder, its length in octets, the BLAKE2b of its content."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What belongs together in one generation."""

    deployment: str
    generation: int
    plan_version: int
    plan_digest: str  # of the plan as decided (`gslb.model.plan`), not of the compiled file
    geography: File
    names: File
    plan: File
    image: File | None = None

    @property
    def files(self) -> tuple[File, ...]:
        """All files."""
        needed = self.geography, self.names, self.plan
        return needed if self.image is None else (*needed, self.image)

    def to_bytes(self) -> bytes:
        """Canonical JSON with the format and a digest of the content."""
        content = asdict(self)
        if self.image is None:
            del content["image"]
        return _dump({"format": FORMAT, "digest": _digest(_dump(content)), "manifest": content})


class Current:
    """The mapped word that says which generation is in force; 0 before the first.

    `word[1]` is the number: readers look at it once a turn, which is one memory access.
    """

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        """Map `folder/current`; a writer makes it where it is absent or damaged.  Raises OSError, UnusableGeneration."""
        self._path = path = folder / "current"
        if writable and not _is_current(path):
            _write_whole(path, MAGIC + max(_generations(folder), default=0).to_bytes(8, sys.byteorder))
        with path.open("r+b" if writable else "rb") as file:
            stat = os.fstat(file.fileno())
            self._inode = stat.st_dev, stat.st_ino
            if stat.st_size != len(MAGIC) + 8:
                raise UnusableGeneration(f"{path} is damaged")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        self.word = memoryview(self._map).cast("Q")
        if self._map[: len(MAGIC)] != MAGIC:
            self.close()
            raise UnusableGeneration(f"{path} is damaged")

    @property
    def number(self) -> int:
        """The generation in force."""
        return self.word[1]

    @property
    def in_place(self) -> bool:
        """Whether the file at the path is still the mapped one, whole and undamaged.

        To touch the mapping of a file that was cut short is a fatal signal, so its length is looked at first.
        """
        try:
            stat = self._path.stat()
        except OSError:
            return False
        mapped = (stat.st_dev, stat.st_ino, stat.st_size) == (*self._inode, len(MAGIC) + 8)
        return mapped and self._map[: len(MAGIC)] == MAGIC

    def move(self, number: int) -> None:
        """Put generation `number` in force: one aligned store of 8 octets, then synced for the next start."""
        self.word[1] = number
        self._map.flush()

    def close(self) -> None:
        """Unmap."""
        self.word.release()
        self._map.close()


def read_manifest(folder: Path, number: int, deployment: str) -> Manifest:
    """The manifest of generation `number`.  Raises UnusableGeneration, saying which file and why."""
    path = folder / f"generation-{number}.json"
    try:
        with path.open("rb") as file:
            data = file.read(_MANIFEST_LIMIT)
        raw = json.loads(data)
        content = raw["manifest"]
        if raw["format"] != FORMAT:
            raise UnusableGeneration(f"{path}: format {raw['format']!r}, expected {FORMAT}")
        if raw["digest"] != _digest(_dump(content)):
            raise UnusableGeneration(f"{path}: its digest does not match its content")
        manifest = _manifest(content)
    except OSError as error:
        raise UnusableGeneration(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnusableGeneration(f"{path}: not a manifest ({error!r})") from error
    if manifest.generation != number:
        raise UnusableGeneration(f"{path}: says that it is generation {manifest.generation}")
    if manifest.deployment != deployment:
        raise UnusableGeneration(f"{path}: deployment {manifest.deployment!r}, expected {deployment!r}")
    return manifest


def read_file(folder: Path, file: File) -> bytes:
    """The checked content of a small file.  Raises UnusableGeneration."""
    path = folder / file.name
    try:
        with path.open("rb") as stream:
            data = stream.read(file.size + 1)
    except OSError as error:
        raise UnusableGeneration(f"{path}: {error.strerror}") from error
    _check(path, file, len(data), data)
    return data


def map_file(folder: Path, file: File) -> mmap.mmap:
    """A checked file as a read-only mapping, so that all workers share its pages.  Raises UnusableGeneration."""
    path = folder / file.name
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else None
    except OSError as error:
        raise UnusableGeneration(f"{path}: {error.strerror}") from error
    if mapped is None:
        raise UnusableGeneration(f"{path}: empty")
    _about_to_check(mapped)
    try:
        _check(path, file, size, mapped)
    except UnusableGeneration:
        mapped.close()
        raise
    # From here on only what answers need of it is resident.
    mapped.madvise(mmap.MADV_DONTNEED)
    mapped.madvise(mmap.MADV_NORMAL)
    return mapped


def fallbacks(folder: Path, number: int) -> Iterator[int]:
    """Older generations whose manifests are still there, newest first: for a start beside a damaged newest one."""
    return iter(sorted((found for found in _generations(folder) if found < number), reverse=True))


class Publisher:
    """The one writer of a serving folder (its caller holds the node's lock)."""

    def __init__(self, folder: Path, deployment: str) -> None:
        """Open or make the folder.  Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._deployment = deployment
        self._current = Current(folder, writable=True)
        self._number = self._current.number

    @property
    def in_force(self) -> Manifest | None:
        """The manifest of the generation in force; None before the first, or where it cannot be read."""
        try:
            return read_manifest(self._folder, self._number, self._deployment)
        except UnusableGeneration:
            return None

    def restore(self) -> bool:
        """Make `current` say again what is in force; True where it was removed or changed by others.  Raises OSError.

        Workers notice by themselves that another file stands in its place.
        """
        if self._current.in_place and self._current.number == self._number:
            return False
        fresh = Current(self._folder, writable=True)
        self._current.close()
        self._current = fresh
        fresh.move(self._number)
        return True

    def store(self, kind: str, content: bytes, label: str = "") -> File:
        """Write one file of the next generation, unless the same content is there.  Raises OSError."""
        digest = _digest(content)
        name = f"{kind}-{label}-{digest}" if label else f"{kind}-{digest}"
        file = File(name, len(content), digest)
        if not self.holds(file):
            _write_whole(self._folder / name, content)
        return file

    def adopt(self, kind: str, source: Path) -> File:
        """Take a finished file of another folder in (by hard link where that can be).  Raises OSError."""
        with source.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        with content:
            _about_to_check(content)
            digest = _digest(content)
            file = File(f"{kind}-{digest}", len(content), digest)
            if not self.holds(file):
                target = self._folder / file.name
                target.unlink(missing_ok=True)
                try:
                    os.link(source, target)
                    _sync(target)
                    _sync(self._folder)
                except OSError:  # another file system
                    _write_whole(target, content)
        return file

    def publish(
        self, plan: tuple[int, str], geography: File, names: File, compiled: File, image: File | None = None
    ) -> Manifest:
        """Put stored files in force as the next generation; `plan` is its version and digest.  Raises OSError."""
        self.restore()
        number = max(self._number, 0, *_generations(self._folder)) + 1
        manifest = Manifest(self._deployment, number, *plan, geography, names, compiled, image)
        _write_whole(self._folder / f"generation-{number}.json", manifest.to_bytes())
        self._number = number
        self._current.move(number)
        self._sweep(number)
        return manifest

    def close(self) -> None:
        """Unmap `current`; what was published stays."""
        self._current.close()

    def holds(self, file: File) -> bool:
        """Whether a file is there, whole and undamaged."""
        try:
            map_file(self._folder, file).close()
        except UnusableGeneration:
            return False
        return True

    def _sweep(self, newest: int) -> None:
        kept = {"current"}
        for number in range(max(1, newest - KEPT_GENERATIONS + 1), newest + 1):
            try:
                manifest = read_manifest(self._folder, number, self._deployment)
            except UnusableGeneration:
                continue
            kept |= {f"generation-{number}.json", *(file.name for file in manifest.files)}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _manifest(content: Mapping[str, object]) -> Manifest:
    fields = dict(content)
    for kind in ("geography", "names", "plan", *(("image",) if "image" in fields else ())):
        body = fields[kind]
        if not isinstance(body, dict):
            raise TypeError(f"{kind} is not a mapping")
        if {key: type(value) for key, value in body.items()} != {"name": str, "size": int, "digest": str}:
            raise TypeError(f"{kind} does not name a file")
        if Path(body["name"]).name != body["name"]:
            raise ValueError(f"{kind} names a file outside the folder")
        fields[kind] = File(**body)
    manifest = Manifest(**fields)  # type: ignore[arg-type]  # wrong types are refused below
    numbers = (manifest.generation, manifest.plan_version)
    words = (manifest.deployment, manifest.plan_digest)
    if not all(type(value) is int for value in numbers) or not all(isinstance(value, str) for value in words):
        raise TypeError("a field has another type")
    return manifest


def _about_to_check(content: mmap.mmap) -> None:
    """That every octet is read once, as a check does, is no sign for the kernel that this file is in use more than others."""
    content.madvise(mmap.MADV_SEQUENTIAL)


def _check(path: Path, file: File, size: int, content: bytes | mmap.mmap) -> None:
    if size != file.size:
        raise UnusableGeneration(f"{path}: {size} octets, expected {file.size}")
    if _digest(content) != file.digest:
        raise UnusableGeneration(f"{path}: its content does not match its digest")


def _generations(folder: Path) -> Iterable[int]:
    return (int(found[1]) for path in folder.iterdir() if (found := _MANIFEST_NAME.fullmatch(path.name)))


def _is_current(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            data = file.read(32)
    except OSError:
        return False
    return len(data) == len(MAGIC) + 8 and data.startswith(MAGIC)


def _digest(content: bytes | mmap.mmap) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _write_whole(path: Path, content: bytes | mmap.mmap) -> None:
    """Write beside, sync, rename, sync the folder: after a power cut the file is whole or not there."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
