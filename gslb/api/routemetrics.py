"""Metrics of anycast routes, of BGP sessions and of a site that drains.  Pure.

A node without a speaker has none of the routes.  Prefixes and neighbors are those of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from bgp.routes import State
from gslb.api.metric import counter, gauge
from gslb.control.report import Report

_NEIGHBOR, _PREFIX = ("neighbor",), ("prefix",)
_COUNTS = {
    "commands": ("gslb_bgp_commands_total", "Commands that ExaBGP was given."),
    "errors": ("gslb_bgp_command_errors_total", "Of those, commands that it answered with an error."),
    "timeouts": ("gslb_bgp_command_timeouts_total", "Questions and commands that it did not answer in time."),
    "dropped": ("gslb_bgp_events_dropped_total", "Events that the bridge could not keep for the controller."),
    "restarts": ("gslb_bgp_exabgp_restarts_total", "Starts of ExaBGP after its end."),
}


def route_metrics(report: Report) -> Iterator[Metric]:
    """All of them, as far as there is something to tell."""
    draining = report.get("draining")
    rows = [] if draining is None else [((draining["site"],), float(draining["safe"]))]
    what = "1 while nothing new comes to this site, which an operator drains, so that gslb can be stopped here."
    yield gauge("gslb_drain_safe", what, ("site",), rows)
    state = report.get("announcing")
    if state:
        yield from _speaker(state)
        yield from _sessions(state["neighbors"])
        yield from _routes(state["prefixes"])


def _speaker(state: Mapping[str, Any]) -> Iterator[Metric]:
    ready, counts = float(state["speaker"]["ready"]), state["counts"]
    yield gauge("gslb_bgp_exabgp_ready", "1 while ExaBGP answers the controller.", (), [((), ready)])
    for key, (name, what) in _COUNTS.items():
        yield counter(name, what, (), [((), counts[key])])
    rows = [((), counts["slowest_ack_s"])]
    what = "How long the slowest acknowledgement of a command took since the controller's start."
    yield gauge("gslb_bgp_acknowledge_seconds", what, (), rows)
    moves = [
        ((prefix, to), count) for prefix, by_state in counts["transitions"].items() for to, count in by_state.items()
    ]
    what = "How often a prefix came to a state."
    yield counter("gslb_bgp_transitions_total", what, (*_PREFIX, "state"), moves)


def _sessions(neighbors: list[Mapping[str, Any]]) -> Iterator[Metric]:
    rows = [((one["address"],), float(one["up"])) for one in neighbors]
    yield gauge("gslb_bgp_session_up", "1 while the session with a router is established.", _NEIGHBOR, rows)
    rows = [((one["address"],), float(one["routes"])) for one in neighbors]
    yield gauge("gslb_bgp_session_routes", "Routes that ExaBGP has for a router.", _NEIGHBOR, rows)


def _routes(prefixes: list[Mapping[str, Any]]) -> Iterator[Metric]:
    states = [((one["prefix"], state.value), float(one["state"] == state)) for one in prefixes for state in State]
    what = "1 for the state in which a prefix is to be, 0 for the others."
    yield gauge("gslb_bgp_route_state", what, (*_PREFIX, "state"), states)
    rows = [((one["prefix"],), float(one["acked"])) for one in prefixes]
    yield gauge("gslb_bgp_route_acknowledged", "1 while ExaBGP has the prefix as it is to be.", _PREFIX, rows)
    rows = [((one["prefix"],), float(one["on_lo"])) for one in prefixes if one["on_lo"] is not None]
    yield gauge("gslb_bgp_route_on_lo", "1 while the address of a prefix that DNS answers at is on lo.", _PREFIX, rows)
    rows = [((one["prefix"],), float(one["veto"] is not None)) for one in prefixes]
    yield gauge("gslb_bgp_route_kept", "1 while a prefix that has a reason to leave is kept.", _PREFIX, rows)
    rows = [((one["prefix"],), float(len(one["sites"]))) for one in prefixes]
    what = "Other sites that are known to announce a prefix in full."
    yield gauge("gslb_bgp_route_other_sites", what, _PREFIX, rows)
    rows = [((one["prefix"],), float(one["lease"]["held"])) for one in prefixes]
    yield gauge("gslb_bgp_lease_held", "1 while this node has the lease to withdraw a prefix.", _PREFIX, rows)
    looks = [
        ((one["prefix"], look["neighbor"]), float(look["standing"] != "missing"))
        for one in prefixes
        for look in one["in_router"]
    ]
    what = "1 while a router that is asked has the prefix from this node."
    yield gauge("gslb_bgp_route_in_router", what, (*_PREFIX, "neighbor"), looks)
