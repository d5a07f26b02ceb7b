"""The configuration that was applied to all nodes, in a node's state folder, and which of it and the node's own file counts.  IO.

Rule 1: what was changed last counts: a version that this node took later than it read its own files, or files that were edited
after that.  Files are compared by content.
Rule 2: own files that were edited take over for good: writing back what stood there before does not bring the version back.
Rule 3: what cannot be read is no version: the own files count.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gslb.bus.stamps import MOST_MS
from gslb.config.load import Loaded, load, load_copy
from gslb.config.problem import Refused
from gslb.control.bundle import BundleRefused, copy_at, digest_of, unpacked
from gslb.control.store import StateError, Store
from gslb.model.unreadable import shown

FORMAT = 1
APPLIED = "applied.json"  # the version that this node has taken
BEFORE = "applied-before.json"  # the one before it
_MAX_TEXT = 1_000  # characters


class RecordUnreadable(ValueError):
    """It is no record of a version; the message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """A version of the configuration, as `config.current` tells it.

    `object` is where its bundle lies, `digest` is that of the bundle, `config` that of the configuration (`Loaded.digest`).
    `since` is seconds since the epoch by the clock of `node`, where `who` applied it.
    """

    version: int
    object: str
    digest: str
    config: str
    who: str
    why: str
    since: float
    node: str

    @property
    def rank(self) -> tuple[int, float, str]:
        """A higher one replaces a lower one, at every node alike, also where a lost bucket let one number be given twice."""
        return self.version, self.since, self.digest


@dataclass(frozen=True, slots=True)
class Applied:
    """A version that this node has.

    `own` is the digest of the node's own files when it was taken; `over`: they were edited after that, and count.
    """

    record: Record
    bundle: bytes
    own: str = ""
    over: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """What counts: `loaded`, which is that of `version` (0: of the node's own file)."""

    loaded: Loaded
    version: int = 0


@dataclass(frozen=True, slots=True)
class Considered:
    """What counts, and the node's `own` files: None where they are refused, for the reasons in `lines`; `files` are to be watched."""

    chosen: Chosen
    own: Loaded | None
    files: tuple[Path, ...]
    lines: tuple[str, ...] = ()


def consider(config: Path, store_of: Callable[[Loaded | None], Store | None]) -> Considered:
    """Look at a node's own files and at the version that was applied; keep whether the files were edited since.

    `store_of` gives the node's state folder, as far as it is known without own files.  Raises Refused, and what `store_of` raises.
    """
    try:
        own = load(config)
    except Refused as error:
        store = store_of(None)
        found = chosen(store, config, None) if store is not None else None
        if found is None:
            raise
        return Considered(found, None, error.files or (config,), tuple(str(one) for one in error.errors))
    store = store_of(own)
    if store is None:
        return Considered(Chosen(own), own, own.files)
    with suppress(StateError):  # it is kept when there is room
        remember(store, own)
    return Considered(chosen(store, config, own) or Chosen(own), own, own.files)


def chosen(store: Store, config: Path, own: Loaded | None) -> Chosen | None:
    """What counts of the version that was applied and the `own` files (None: they are refused); None where neither can."""
    applied = read(store, APPLIED)
    if applied is None or applied.over or (own is not None and own.digest not in (applied.own, applied.record.config)):
        return None if own is None else Chosen(own)
    if own is not None and own.digest == applied.record.config:
        return Chosen(own, applied.record.version)
    try:
        loaded = load_bundle(store, config, applied.bundle)
    except (BundleRefused, Refused):  # another version of gslb took it
        return None if own is None else Chosen(own)
    return Chosen(loaded, applied.record.version)


def load_bundle(store: Store, config: Path, bundle: bytes) -> Loaded:
    """The configuration in a bundle, as if its files lay at `config`.  Raises BundleRefused, Refused."""
    return load_copy(copy_at(unpacked(bundle, store.deployment), config))


def remember(store: Store, own: Loaded) -> None:
    """Keep whether the `own` files were edited since the version was taken.  Raises StateError."""
    applied = read(store, APPLIED)
    if applied is None or applied.over or own.digest == applied.own:
        return
    if own.digest == applied.record.config:
        write(store, APPLIED, replace(applied, own=own.digest))
    else:
        write(store, APPLIED, replace(applied, over=True))


def read(store: Store, name: str) -> Applied | None:
    """The version that is kept under `name`; None where there is none that can be read."""
    try:
        raw = json.loads(store.read_file(name) or b"null")
        bundle = base64.b64decode(raw["bundle"], validate=True)
        record = record_of(raw["record"])
        if raw["format"] != FORMAT or digest_of(bundle) != record.digest:
            return None
        return Applied(record, bundle, str(raw["own"]), raw["over"] is True)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write(store: Store, name: str, applied: Applied) -> None:
    """Keep a version under `name`.  Raises StateError."""
    bundle = base64.b64encode(applied.bundle).decode()
    value = {"format": FORMAT, "record": record_json(applied.record), "own": applied.own, "over": applied.over}
    store.save_file(name, json.dumps({**value, "bundle": bundle}).encode())


def record_json(record: Record) -> dict[str, object]:
    """JSON values."""
    return {
        "version": record.version,
        "object": record.object,
        "digest": record.digest,
        "config": record.config,
        "who": record.who,
        "why": record.why,
        "since": record.since,
        "node": record.node,
    }


def record_of(raw: object) -> Record:
    """Read what `record_json` gave, strictly.  Raises RecordUnreadable."""
    if not isinstance(raw, dict):
        raise RecordUnreadable(f"a version is {shown(raw)}, expected a mapping")
    version, since = raw.get("version"), raw.get("since")
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= MOST_MS:
        raise RecordUnreadable(f"version {shown(version)}, expected a number from 0 on")
    if isinstance(since, bool) or not isinstance(since, int | float) or not 0 <= since <= MOST_MS:
        raise RecordUnreadable(f"since {shown(since)}, expected seconds since the epoch")
    return Record(
        version=version,
        object=_text(raw, "object"),
        digest=_text(raw, "digest"),
        config=_text(raw, "config"),
        who=_text(raw, "who"),
        why=_text(raw, "why"),
        since=float(since),
        node=_text(raw, "node"),
    )


def _text(raw: Mapping[str, object], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise RecordUnreadable(f"{name} {shown(value)}, expected a text of at most {_MAX_TEXT} characters on one line")
    return value
