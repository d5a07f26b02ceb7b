"""What a node keeps of its anycast prefixes: their history for its next start, and how they stand for `gslb status`.  IO.

    announced.json          in the state folder: the `Past` of each prefix, its times by the calendar
    run/announcing.json     what `gslb status` shows; an orderly end removes it with that folder's content

Rule 1: what cannot be believed is no history: a damaged file, one of a day that is over, or of a time that has not come.
Rule 2: what ExaBGP announces is the truth, whatever history says (`resumed`).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

import msgspec

from bgp.routes import State
from bgp.when import Past, adopted
from gslb.control.store import Store
from gslb.model.deployment import Network

HISTORY, STATE = "announced.json", "announcing.json"
FORMAT = 1
BELIEVED_S = 86_400.0  # after that even the longest row of failures is forgiven
AHEAD_S = 1.0  # a calendar is set back by less now and then
PREFIXES_MOST = 1_000
_STATE_MAX = 16 << 20  # octets

log = logging.getLogger("gslb.announcing")


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Past`; its times are seconds since the epoch."""

    state: State
    since: float
    present_since: float
    good_since: float | None
    failures: Annotated[int, msgspec.Meta(ge=0, le=64)]
    left: bool


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    deployment: str
    written: float
    prefixes: Annotated[dict[str, _Kept], msgspec.Meta(max_length=PREFIXES_MOST)]


_DECODER = msgspec.json.Decoder(_File)


def save_history(store: Store, pasts: Mapping[Network, Past], now: float, wall_s: float) -> None:
    """Keep it; `now` is of the clock of these histories, `wall_s` seconds since the epoch.  Raises StateError.

    It is not synced: a lost one costs no more than that a prefix that failed comes back a little early.
    """
    kept = {str(prefix): _kept(past, wall_s - now) for prefix, past in list(pasts.items())[:PREFIXES_MOST]}
    store.save_file(HISTORY, msgspec.json.encode(_File(FORMAT, store.deployment, wall_s, kept)), sync=False)


def load_history(store: Store, now: float, wall_s: float) -> dict[Network, Past]:
    """What an earlier run kept, by the clock that shows `now`; of what cannot be believed nothing."""
    try:
        data = store.read_file(HISTORY)
        if data is None:
            return {}
        found = _DECODER.decode(data)
        if (found.format, found.deployment) != (FORMAT, store.deployment):
            raise ValueError(
                f"it is of format {found.format} and deployment {found.deployment!r}, "
                f"expected {FORMAT} and {store.deployment!r}"
            )
        if not -AHEAD_S <= wall_s - found.written <= BELIEVED_S:
            raise ValueError(f"it was written {wall_s - found.written:.0f} s ago by this machine's calendar")
        kept = {ip_network(prefix): one for prefix, one in found.prefixes.items()}
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        log.warning("how anycast prefixes stood before is not known", extra={"why": str(error)})
        return {}
    written = min(found.written, wall_s)
    return {prefix: _past(one, now, now - wall_s) for prefix, one in kept.items() if _believable(one, written)}


def resumed(kept: Past | None, found: State, now: float) -> Past:
    """The history of a prefix that an earlier run kept so, and that stands so in ExaBGP's table now."""
    if kept is None:
        return adopted(found)
    if kept.state is found:
        return kept
    present = kept.present_since if State.OFF not in (kept.state, found) else now
    return Past(found, since=now, present_since=present, failures=kept.failures)


def save_state(run: Path, state: Mapping[str, object] | None) -> None:
    """Keep what `gslb status` is to show; None: nothing is announced here.  Never fails."""
    beside = run / f".{STATE}.new"
    try:
        if state is None:
            (run / STATE).unlink(missing_ok=True)
            return
        beside.write_text(json.dumps(state, separators=(",", ":")))
        beside.replace(run / STATE)
    except OSError as error:
        log.warning("how prefixes stand cannot be written for `gslb status`", extra={"why": error.strerror})


def read_state(run: Path) -> dict[str, Any] | None:
    """What was kept for `gslb status`; None where there is nothing that can be read."""
    try:
        with (run / STATE).open("rb") as file:
            found = json.loads(file.read(_STATE_MAX))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _kept(past: Past, to_wall: float) -> _Kept:
    good_since = None if past.good_since is None else past.good_since + to_wall
    return _Kept(past.state, past.since + to_wall, past.present_since + to_wall, good_since, past.failures, past.left)


def _past(kept: _Kept, now: float, from_wall: float) -> Past:
    """By the clock that shows `now`, of which nothing is ahead."""

    def at(wall_s: float) -> float:
        return min(now, wall_s + from_wall)

    good_since = None if kept.good_since is None else at(kept.good_since)
    return Past(kept.state, at(kept.since), at(kept.present_since), good_since, kept.failures, kept.left)


def _believable(kept: _Kept, written: float) -> bool:
    """Whether these times can be: one after the other, and none after they were written."""
    times = [kept.since, kept.present_since, kept.good_since if kept.good_since is not None else kept.since]
    if not all(math.isfinite(one) for one in times):
        return False
    return (
        max(times) <= written + AHEAD_S and kept.present_since <= kept.since and kept.left <= (kept.state is State.OFF)
    )
