"""A configuration with all its files as one piece of octets, to be run on other nodes.  Pure.

Rule 1: files are named by their paths below the folder of the configuration and nothing else: a name that is absolute, or leads
out of the folder, is refused by who makes a bundle and by who reads one.
Rule 2: only what was read as configuration is in it: no secret, no variable, no database.
Rule 3: it is bounded, packed and unpacked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath

from gslb.config.origin import Copy
from gslb.model.unreadable import defect, shown

FORMAT = 1
MAX_PACKED = 16 << 20  # octets
MAX_OCTETS = 64 << 20  # unpacked
MAX_FILES = 10_000
_MAX_NAME = 1_000  # characters


class BundleRefused(Exception):
    """It is no bundle, or cannot be made one; the message says why."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """`main` is the configuration file's text, `files` are the others by name; `matched`: the names that each pattern matched."""

    deployment: str
    main: str
    files: Mapping[str, str]
    matched: Mapping[str, tuple[str, ...]]


def bundle_of(deployment: str, copy: Copy) -> Bundle:
    """What was read for a configuration.  Raises BundleRefused where a file lies outside of its folder."""
    folder = copy.config.parent
    try:
        texts = {_below(folder, name): octets.decode() for name, octets in copy.octets.items()}
    except UnicodeDecodeError as error:
        raise BundleRefused("a file is not UTF-8 text") from error
    matched = {pattern: tuple(_below(folder, name) for name in names) for pattern, names in copy.matched.items()}
    return Bundle(deployment, texts.pop(copy.config.name), texts, matched)


def copy_at(bundle: Bundle, config: Path) -> Copy:
    """The files as if they lay at `config` and below its folder."""
    config = config.absolute()
    folder = config.parent
    octets = {str(folder / name): text.encode() for name, text in bundle.files.items()}
    octets[str(config)] = bundle.main.encode()
    matched = {pattern: tuple(str(folder / name) for name in names) for pattern, names in bundle.matched.items()}
    return Copy(config, octets, matched)


def packed(bundle: Bundle) -> bytes:
    """The octets of a bundle.  Raises BundleRefused where they are too many."""
    value = {
        "format": FORMAT,
        "deployment": bundle.deployment,
        "main": bundle.main,
        "files": bundle.files,
        "matched": bundle.matched,
    }
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    small = zlib.compress(data) if len(data) <= MAX_OCTETS else b""
    if not 0 < len(small) <= MAX_PACKED:
        most = f"{MAX_OCTETS >> 20} MB, {MAX_PACKED >> 20} MB compressed"
        raise BundleRefused(f"its files have {len(data) / (1 << 20):,.1f} MB - expected at most {most}")
    unpacked(small, bundle.deployment)
    return small


def digest_of(data: bytes) -> str:
    """What tells one bundle from another: 32 hex digits."""
    return blake2b(data, digest_size=16).hexdigest()


def unpacked(data: bytes, deployment: str) -> Bundle:
    """Read what `packed` gave.  Raises BundleRefused."""
    try:
        raw = json.loads(_inflated(data))
        if not isinstance(raw, dict) or raw["format"] != FORMAT:
            raise BundleRefused(f"not a bundle of format {FORMAT}")
        if raw["deployment"] != deployment:
            raise BundleRefused(f"it is of deployment {shown(raw['deployment'])}, expected {deployment!r}")
        files, matched = raw["files"], raw["matched"]
        if len(files) > MAX_FILES:
            raise BundleRefused(f"{len(files):,} files, expected at most {MAX_FILES:,}")
        return Bundle(
            deployment,
            _text(raw["main"]),
            {_name(name): _text(text) for name, text in files.items()},
            {_text(pattern): tuple(_known(files, names)) for pattern, names in matched.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleRefused(f"not a bundle: {defect(error)}") from error


def _inflated(data: bytes) -> bytes:
    if len(data) > MAX_PACKED:
        raise BundleRefused(f"{len(data):,} octets, expected at most {MAX_PACKED:,}")
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(data, MAX_OCTETS + 1)
    except zlib.error as error:
        raise BundleRefused(f"not a bundle: {error}") from error
    if len(found) > MAX_OCTETS:
        raise BundleRefused(f"more than {MAX_OCTETS >> 20} MB unpacked")
    if not reader.eof or reader.unused_data:
        raise BundleRefused("not a bundle: cut off, or with more behind it")
    return found


def _below(folder: Path, name: str) -> str:
    try:
        return _name(Path(name).relative_to(folder).as_posix())
    except (ValueError, BundleRefused):
        raise BundleRefused(f"{name} lies outside of {folder}: a bundle holds only files below that folder") from None


def _name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or "\0" in name:
        raise BundleRefused(f"the file name {shown(name)}, expected a text of at most {_MAX_NAME} characters")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise BundleRefused(f"the file name {shown(name)}, expected a path below the folder of the configuration")
    return name


def _known(files: Mapping[str, object], names: Iterable[object]) -> list[str]:
    found = [_name(name) for name in names]
    for name in found:
        if name not in files:
            raise BundleRefused(f"the file {shown(name)} is not in it")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BundleRefused(f"{shown(value)}, expected a text")
    value.encode()  # half a character
    return value
