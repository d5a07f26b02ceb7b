"""How the prefixes of a node stand, as JSON values for `gslb status`.  Pure, by what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bgp.routes import State
from bgp.when import sites_announcing
from gslb.control.leaving import Leaving
from gslb.control.looking import Looking
from gslb.control.prefixes import Judged, Prefixes, Table
from gslb.control.speaking import Speaking
from gslb.model.bgp import Bgp
from gslb.model.deployment import Network

UNASKED = "ExaBGP was not asked yet what it announces"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """ExaBGP's table, leases, how routes stand in the routers, whether a prefix's address is on lo (None: it need not be); `now`, and how such a moment becomes seconds
    since the epoch.
    """

    table: Table
    leaving: Leaving
    looking: Looking
    on_lo: Callable[[Network], bool | None]
    now: float
    to_epoch: Callable[[float], float]


def state_json(speaker: Bgp, speaking: Speaking, prefixes: Prefixes, around: Circumstances) -> dict[str, Any]:
    """All of it."""
    counts = speaking.counts
    return {
        "at": around.to_epoch(around.now),
        "speaker": speaking.state(speaker),
        "neighbors": speaking.neighbors(speaker, around.to_epoch),
        "prefixes": [
            *(_prefix_json(prefix, one, prefixes, around) for prefix, one in prefixes.judged.items()),
            *(_unasked_json(prefix, prefixes, around) for prefix in prefixes.here if prefix not in prefixes.judged),
        ],
        "counts": {
            "commands": counts.commands,
            "errors": counts.errors,
            "timeouts": counts.timeouts,
            "dropped": counts.dropped,
            "restarts": speaking.life.restarts,
            "slowest_ack_s": counts.slowest_ack_s,
            "transitions": {
                str(prefix): {state.value: found[state] for state in State}
                for prefix, found in prefixes.transitions.items()
            },
        },
    }


def _prefix_json(prefix: Network, one: Judged, prefixes: Prefixes, around: Circumstances) -> dict[str, Any]:
    verdict, anycast = one.verdict, prefixes.here.get(prefix)
    left_s = around.leaving.left_s(prefix)
    return {
        "prefix": str(prefix),
        "anycast": anycast.name if anycast is not None else "",
        "state": verdict.state.value,
        "acked": prefixes.acked(prefix, around.table),
        "since": around.to_epoch(verdict.past.since),
        "why": verdict.why.value if anycast is not None else "it left the configuration",
        "veto": verdict.veto.value if verdict.veto is not None else None,
        "operator": one.local.operator.value,
        "local": {"dns": one.local.dns, "pools": one.local.pools},
        "lease": {"wanted": verdict.wants_lease, "held": left_s > 0, "holder": around.leaving.holder(prefix)},
        "sites": sorted(sites_announcing(one.rule, one.remote)),
        "on_lo": around.on_lo(prefix),
        "in_router": [
            {"neighbor": str(neighbor), "standing": standing.name.lower(), "at": around.to_epoch(at)}
            for neighbor, (standing, at) in around.looking.found.get(prefix, {}).items()
        ],
        "failures": verdict.past.failures,
        "wake_s": None if verdict.wake_at is None else verdict.wake_at - around.now,
    }


def _unasked_json(prefix: Network, prefixes: Prefixes, around: Circumstances) -> dict[str, Any]:
    return {
        "prefix": str(prefix),
        "anycast": prefixes.here[prefix].name,
        "state": State.OFF.value,
        "acked": False,
        "since": around.to_epoch(prefixes.began),
        "why": UNASKED,
        "veto": None,
        "operator": "none",
        "local": {"dns": None, "pools": None},
        "lease": {"wanted": False, "held": False, "holder": None},
        "sites": [],
        "on_lo": around.on_lo(prefix),
        "in_router": [],
        "failures": 0,
        "wake_s": None,
    }
