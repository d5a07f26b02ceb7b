"""What the bus says of the configuration: the present version, and which node refuses it.  Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from gslb.config.problem import printable
from gslb.control.applied import Record, RecordUnreadable, record_json, record_of
from gslb.model.unreadable import defect, shown

CURRENT = "config.current"
REFUSED = "config.refused."
FORMAT = 1
_MAX_OCTETS = 32 << 10
_LINES = 20  # that are told of a refusal
_LINE = 500  # characters
_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Release:
    """The present version and, to go back, the one before it."""

    record: Record
    before: Record | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node does not run `version`, for the reasons in `lines`; no lines: it runs it."""

    version: int
    lines: tuple[str, ...] = ()


def dump_release(deployment: str, release: Release) -> bytes:
    """As the value of `config.current`."""
    before = None if release.before is None else record_json(release.before)
    value = {"format": FORMAT, "deployment": deployment, "record": record_json(release.record), "before": before}
    return json.dumps(value).encode()


def parse_release(data: bytes, deployment: str) -> Release:
    """Read what `dump_release` wrote.  Raises RecordUnreadable."""
    raw = _mapping(data, deployment)
    before = raw.get("before")
    release = Release(record_of(raw.get("record")), None if before is None else record_of(before))
    for one in (release.record, *((release.before,) if release.before is not None else ())):
        if not _DIGEST.fullmatch(one.digest):
            raise RecordUnreadable(f"digest {shown(one.digest)}, expected 32 hex digits")
    return release


def dump_refusal(deployment: str, refusal: Refusal) -> bytes:
    """As the value of `config.refused.NODE`."""
    value = {"format": FORMAT, "deployment": deployment, "version": refusal.version, "lines": refusal.lines}
    return json.dumps(value).encode()


def parse_refusal(data: bytes, deployment: str) -> Refusal:
    """Read what `dump_refusal` wrote.  Raises RecordUnreadable."""
    raw = _mapping(data, deployment)
    version, lines = raw.get("version"), raw.get("lines")
    if isinstance(version, bool) or not isinstance(version, int):
        raise RecordUnreadable(f"version {shown(version)}, expected a number")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise RecordUnreadable("lines: expected a list of texts")
    return refusal(version, lines)


def refusal(version: int, lines: Sequence[str]) -> Refusal:
    """A refusal, cut to what is told of one."""
    told = [printable(line if len(line) <= _LINE else f"{line[:_LINE]}...") for line in lines[:_LINES]]
    if len(lines) > _LINES:
        told.append(f"and {len(lines) - _LINES:,} more")
    return Refusal(version, tuple(told))


def _mapping(data: bytes, deployment: str) -> dict[str, object]:
    if len(data) > _MAX_OCTETS:
        raise RecordUnreadable(f"{len(data):,} octets, expected at most {_MAX_OCTETS:,}")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordUnreadable(defect(error)) from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise RecordUnreadable(f"expected a mapping of format {FORMAT}")
    if raw.get("deployment") != deployment:
        raise RecordUnreadable(f"it is of deployment {shown(raw.get('deployment'))}, expected {deployment!r}")
    return raw
