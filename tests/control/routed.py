"""What stands under `announcing` in a report, for tests: one speaker, two routers, one prefix; all well."""

from __future__ import annotations

from typing import Any

NOW = 1_000_000.0
PREFIX, ROUTER, OTHER = "192.0.2.0/24", "10.0.0.1", "10.0.0.2"
FEW_SITES = "too few other sites are known to announce it"
NO_LEASE = "the lease to withdraw is not held"


def speaker(**new: object) -> dict[str, Any]:
    """ExaBGP, well unless it is said otherwise."""
    return {
        "name": "fra",
        "local_as": 64512,
        "router_id": "192.0.2.1",
        "pid": 4711,
        "adopted": False,
        "version": "5.0.15",
        "ready": True,
        "problem": "",
    } | new


def neighbor(address: str = ROUTER, **new: object) -> dict[str, Any]:
    """A session that is up."""
    return {"address": address, "as": 64513, "up": True, "since": NOW - 300, "reason": "", "routes": 1} | new


def prefix(name: str = PREFIX, **new: object) -> dict[str, Any]:
    """A route that is announced."""
    return {
        "prefix": name,
        "anycast": "dns",
        "state": "announced",
        "acked": True,
        "since": NOW - 300,
        "why": "healthy",
        "veto": None,
        "operator": "none",
        "local": {"dns": True, "pools": True},
        "lease": {"wanted": False, "held": False, "holder": None},
        "sites": ["iad"],
        "on_lo": True,
        "in_router": [look()],
        "failures": 0,
        "wake_s": None,
    } | new


def look(router: str = ROUTER, standing: str = "used", at: float = NOW - 2) -> dict[str, Any]:
    """How a prefix was found in a router."""
    return {"neighbor": router, "standing": standing, "at": at}


def state(
    *prefixes: dict[str, Any],
    neighbors: tuple[dict[str, Any], ...] = (neighbor(),),
    restarts: int = 0,
    **of_speaker: object,
) -> dict[str, Any]:
    """All of it."""
    return {
        "speaker": speaker(**of_speaker),
        "neighbors": list(neighbors),
        "prefixes": list(prefixes or (prefix(),)),
        "counts": {
            "commands": 12,
            "errors": 0,
            "timeouts": 0,
            "dropped": 0,
            "restarts": restarts,
            "slowest_ack_s": 0.002,
            "transitions": {PREFIX: {"announced": 1, "drain": 0, "off": 0}},
        },
    }
