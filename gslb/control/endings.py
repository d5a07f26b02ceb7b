"""Who ended an override, and why: a short list beside the overrides file, for the audit log.  IO.

The overrides file holds what is in force and nothing else, so it cannot tell who took an entry out, and why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NAME = "endings.json"
_KEPT = 100
_MAX = 1 << 18


@dataclass(frozen=True, slots=True)
class Ending:
    """An override of `target`, in force since `since`, was ended by `who` at `at`; `why` is empty where none was given."""

    target: str
    since: float
    who: str
    at: float
    why: str = ""


def add(folder: Path, ending: Ending) -> None:
    """Note an ending.  Never fails: without the note only its author is not known."""
    kept = (*endings(folder), ending)[-_KEPT:]
    beside = folder / f".{NAME}.new"
    with suppress(OSError, UnicodeEncodeError):
        beside.write_text(json.dumps([[one.target, one.since, one.who, one.at, one.why] for one in kept]))
        owner = folder.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.chown(beside, owner.st_uid, owner.st_gid)
        beside.replace(folder / NAME)


def endings(folder: Path) -> tuple[Ending, ...]:
    """The last endings, the oldest first; none where they cannot be read."""
    try:
        with (folder / NAME).open("rb") as file:
            raw = json.loads(file.read(_MAX))
        return tuple(
            Ending(str(target), float(since), str(who), float(at), *map(str, why))  # an older version wrote no why
            for target, since, who, at, *why in raw
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return ()


def ending_of(known: Iterable[Ending], target: str, since: float) -> Ending | None:
    """How the override of `target` that was in force since `since` was ended."""
    return next((one for one in reversed(tuple(known)) if one.target == target and one.since == since), None)
