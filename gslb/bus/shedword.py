"""What a pool sheds, as octets of a key's value: who says so, when, and for which deployment.  Pure.

    JSON {"format", "deployment", "node", "ms", "plan", "shed"}, compressed by zlib

Rule 1: it is read whole or not at all, and bounded before it is unpacked.
Rule 2: times within are its writer's; whoever reads it counts from when it was heard.
Rule 3: a shed of too many parts for a value is told as a level without them, which others apportion anew.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from dataclasses import dataclass, replace

from gslb.bus.bus import VALUE_MOST
from gslb.bus.stamps import MOST_MS, Written
from gslb.model.deployment import PoolId
from gslb.model.history import Shed, shed_json, shed_of
from gslb.model.unreadable import defect, shown

FORMAT = 1
KEYS = "shed."  # how keys of sheds begin
UNPACKED_MOST = 16 << 20  # octets of JSON
_NODE = re.compile(r"[A-Za-z0-9_-]{1,63}")


class WordUnreadable(ValueError):
    """The octets are no shed of this deployment; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a pool sheds (None: nothing), as `written.node` says under the plan of that version."""

    shed: Shed | None
    written: Written
    plan: int


def key_of(pool: PoolId) -> str:
    """The key of a pool's shed."""
    return KEYS + pool


def pool_of(key: str) -> PoolId | None:
    """The pool whose shed a key holds; None for other keys."""
    return PoolId(key.removeprefix(KEYS)) if key.startswith(KEYS) else None


def octets_of(word: Word, deployment: str) -> bytes:
    """The value of a key."""
    data = _packed(word, deployment)
    if len(data) > VALUE_MOST and word.shed is not None:
        data = _packed(replace(word, shed=replace(word.shed, geography="", moved=())), deployment)
    return data


def word_of(data: bytes, deployment: str) -> Word:
    """What `octets_of` made.  Raises WordUnreadable."""
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(data[:VALUE_MOST], UNPACKED_MOST)
        if not unpacking.eof:
            raise WordUnreadable(f"it does not end within {VALUE_MOST} octets, or unpacked {UNPACKED_MOST}")
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise WordUnreadable(f"shed format {shown(raw['format'])}, expected {FORMAT}")
        if raw["deployment"] != deployment:
            raise WordUnreadable(f"it is of deployment {shown(raw['deployment'])}, expected {deployment!r}")
        ms, plan, node = raw["ms"], raw["plan"], raw["node"]
        numbers = type(ms) is type(plan) is int and 0 <= ms < MOST_MS and 0 <= plan < MOST_MS
        if not (numbers and isinstance(node, str) and _NODE.fullmatch(node)):
            raise WordUnreadable("its stamp is none")
        shed = None if raw["shed"] is None else _checked(shed_of(raw["shed"]))
        return Word(shed, Written(ms, node), plan)
    except WordUnreadable:
        raise
    except zlib.error as error:
        raise WordUnreadable("it is not packed as a shed is") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise WordUnreadable(defect(error)) from error


def _packed(word: Word, deployment: str) -> bytes:
    raw = {
        "format": FORMAT,
        "deployment": deployment,
        "node": word.written.node,
        "ms": word.written.ms,
        "plan": word.plan,
        "shed": None if word.shed is None else shed_json(word.shed),
    }
    return zlib.compress(json.dumps(raw, sort_keys=True, separators=(",", ":")).encode())


def _checked(shed: Shed) -> Shed:
    numbers = (shed.level, shed.stepped_at, shed.demand, *shed.fresh.values())
    if not all(map(math.isfinite, numbers)) or not 0.0 <= shed.level <= 1.0:
        raise WordUnreadable(f"a level of {shed.level}, expected a number from 0 to 1")
    return shed
