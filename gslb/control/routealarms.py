"""What is wrong with the routes of a node, as lines for people: the same as long as it is the same.  Pure.

It goes by the values under `announcing` in a report.
Rule 1: what passes by itself within moments is no alarm: a session that begins, a lease on its way, a route that was just said.
Rule 2: a session that is gone is told after SESSION_S, with its reason in words and what to look at.
Rule 3: what the bridge did alone is told for TOLD_S: it is over when the controller is back, and nobody would see it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bgp.when import Veto

SESSION_S = 3.5  # without a session, before it is told: within 5 s, with the second between two looks
LEASE_S = 10.0  # a lease may be another's for so long
PLACED_S = 2.0  # from a change of a route until it must be in the router
TOLD_S = 600.0
DIES = 3  # starts of ExaBGP again, from which on it is said to die again and again

_NOTIFIED = re.compile(r"notification (sent|received) \((\d+),(\d+)\)")
_CODES = {1: "a message refused", 2: "OPEN refused", 3: "UPDATE refused", 5: "a message out of step"}
_CEASE, _HOLD = 6, 4
_SUBCODES = {  # RFC 4271 section 6, RFC 4486, RFC 9384
    (2, 2): "bad peer AS",
    (2, 3): "bad BGP identifier",
    (2, 4): "unsupported parameter",
    (2, 5): "authentication",
    (2, 6): "unacceptable hold time",
    (2, 7): "unsupported capability",
    (6, 1): "maximum number of prefixes reached",
    (6, 2): "administrative shutdown",
    (6, 3): "peer de-configured",
    (6, 4): "administrative reset",
    (6, 5): "connection rejected",
    (6, 6): "other configuration change",
    (6, 7): "connection collision",
    (6, 8): "out of resources",
    (6, 10): "BFD down",
}
_UNREACHED = "look at its address, the port, the password and the route to it"
_ENDED = f"if it does not come back, {_UNREACHED}"
_LOST = "look at the router's log and at the path to it"
_REMEDIES = {
    (2, 2): "compare `as` and `local_as` here with the router's",
    (2, 3): "give each speaker a `router_id` of its own",
    (4, 0): _LOST,
    (6, 1): "raise the router's limit of prefixes, or announce fewer",
    (6, 2): "somebody shut it down there",
    (6, 3): "configure this neighbor on the router",
    (6, 10): "look at the link, and at the BFD daemon of this machine",
    (6, 5): "configure this neighbor on the router, or wait until it takes us again",
}
_ANSWERED = "look at the router's log"


def alarms(
    state: Mapping[str, Any] | None,
    now: float,
    *,
    rejected: Sequence[str] = (),
    tripped_at: float | None = None,
    addresses: str = "",
) -> tuple[str, ...]:
    """`rejected`: lines that ExaBGP answered with an error; `tripped_at`: when it was heard that the bridge acted alone;
    `addresses`: what the supervisor says of addresses that it cannot have.  Times in seconds since the epoch.
    """
    if state is None:
        return ()
    return tuple(
        line
        for part in (
            _speaker(state),
            _sessions(state["neighbors"], now, known=state["speaker"]["ready"]),
            _bridge(tripped_at, now),
            _rejected(rejected),
            _addresses(state["prefixes"], addresses, now),
            *(_prefix(one, state["neighbors"], now) for one in state["prefixes"]),
        )
        for line in part
    )


def reason_text(reason: str) -> str:
    """Why a session is down, in words where ExaBGP gives numbers; "" stays so."""
    found = _NOTIFIED.search(reason)
    if found is None:
        return reason
    whose = "by us" if found[1] == "sent" else "by the router"
    code = int(found[2]), int(found[3])
    said = _SUBCODES.get(code)
    if code[0] == _HOLD:
        return "nothing was heard of the router for the hold time" if found[1] == "sent" else "the router heard nothing"
    if code[0] == _CEASE:
        return f"ended {whose}: {said or f'cease {code[1]}'}"
    return f"{_CODES.get(code[0], f'error {code[0]}')} {whose}{f': {said}' if said else ''}"


def _remedy(reason: str) -> str:
    found = _NOTIFIED.search(reason)
    if found is None:
        return _UNREACHED
    code = int(found[2]), int(found[3])
    return _REMEDIES.get(code, _ENDED if code[0] == _CEASE else _ANSWERED)


def _speaker(state: Mapping[str, Any]) -> Iterator[str]:
    speaker, restarts = state["speaker"], state["counts"]["restarts"]
    if speaker["problem"]:
        again = f"; started again {restarts:,} times since the controller's start" if restarts >= DIES else ""
        yield f"{speaker['problem']}{again}"


def _sessions(neighbors: Iterable[Mapping[str, Any]], now: float, *, known: bool) -> Iterator[str]:
    """While ExaBGP cannot be asked, only of those that have a reason of their own: it is told that it cannot be."""
    for one in neighbors:
        since = one["since"]
        if one["up"] or since is None or now - since < SESSION_S or not (known or one["reason"]):
            continue
        why = reason_text(one["reason"]) or "no answer"
        yield (
            f"no session with router {one['address']} (AS {one['as']}) since {_moment(since)}: {why}; "
            f"{_remedy(one['reason'])}"
        )


def _bridge(tripped_at: float | None, now: float) -> Iterator[str]:
    if tripped_at is not None and now - tripped_at < TOLD_S:
        yield (
            f"at {_moment(tripped_at)} it was heard that ExaBGP's bridge had acted alone, as `on_controller_loss` says: "
            "the controller hung, or was away, for longer than `controller_loss`"
        )


def _rejected(rejected: Sequence[str]) -> Iterator[str]:
    for line in dict.fromkeys(rejected):
        yield f"ExaBGP refused {line!r}: that route is not as it should be"


def _addresses(prefixes: Iterable[Mapping[str, Any]], said: str, now: float) -> Iterator[str]:
    lacking = [
        one["prefix"]
        for one in prefixes
        if one["on_lo"] is False and one["state"] != "off" and now - one["since"] >= PLACED_S
    ]
    if said:
        yield said
    elif lacking:
        yield f"announced, but the address is not on lo: {', '.join(lacking)}; what comes for it is not answered"


def _prefix(one: Mapping[str, Any], neighbors: Iterable[Mapping[str, Any]], now: float) -> Iterator[str]:
    prefix, veto, since_s = one["prefix"], one["veto"], now - one["since"]
    if veto == Veto.FEW_SITES or (veto == Veto.NO_LEASE and since_s >= LEASE_S):
        sites = f" ({', '.join(one['sites'])})" if one["sites"] else ""
        holder = one["lease"]["holder"]
        held = f" ({holder} has it)" if veto == Veto.NO_LEASE and holder else ""
        yield f"{prefix} is kept ({one['state']}) although {one['why']}: {veto}{sites}{held}"
    if since_s < PLACED_S or not one["acked"]:
        return
    up = {each["address"]: each["since"] for each in neighbors if each["up"]}
    for look in one["in_router"]:
        begun = up.get(look["neighbor"])
        if begun is None or look["at"] < max(one["since"], begun) + PLACED_S:
            continue
        if one["state"] != "off" and look["standing"] == "missing":
            yield (
                f"{prefix} is announced ({one['state']}) but not in router {look['neighbor']}: "
                "its import filter or its limit of prefixes may refuse it"
            )
        elif one["state"] != "off" and look["standing"] == "otherwise":
            yield (
                f"{prefix} is in router {look['neighbor']} with other attributes than this node says ({one['state']}): "
                "its import filter may change them"
            )
        elif one["state"] == "off" and look["standing"] != "missing":
            yield f"{prefix} is withdrawn but still in router {look['neighbor']}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
