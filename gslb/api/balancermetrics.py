"""Metrics of the balancer: how it is attached, its tables, what it counts.  Pure.

Octets are called bytes in names, by Prometheus's conventions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from math import inf

from prometheus_client.core import Metric

from gslb.api.metric import counter, gauge, histogram
from gslb.control.desk import Figures
from gslb.control.passive import PassiveFigures
from gslb.control.roundtrips import BOUNDS_S
from xdp.messages import Count, Estimate, Pulse, State, TableState

_COUNTS = {  # field of Count -> end of the name, and what it is
    "packets": ("packets", "Packets forwarded"),
    "octets": ("bytes", "Octets of IP packets forwarded"),
    "syns": ("syns", "SYNs forwarded"),
    "handshakes": ("handshakes", "TCP handshakes that clients completed"),
    "resent_syns": ("resent_syns", "SYNs that clients had to send again"),
    "udp_flows": ("udp_flows", "UDP flows begun"),
}


def balancer_metrics(figures: Figures) -> Iterator[Metric]:
    """Everything that the balancer said last; nothing where there is none."""
    if figures.balancer is not None:
        yield from _state(figures.balancer)
    if figures.pulse is not None:
        yield from _pulse(figures.pulse)
        yield from _passive(figures.passive)


def _state(state: State) -> Iterator[Metric]:
    what = "1 while this node cannot balance."
    yield gauge("gslb_lb_refused", what, (), [((), float(bool(state.refused)))])
    rows = [((one.name, one.attached.value), 1.0) for one in state.interfaces]
    yield gauge("gslb_lb_attach_mode", "1, with how an interface has the program.", ("interface", "mode"), rows)
    tables = state.tables
    rows = [((pool, table.digest), 1.0) for pool, table in tables.items()]
    yield gauge("gslb_lb_table_info", "1, with the digest of the table of a pool.", ("pool", "digest"), rows)
    slots = [((pool, name), float(held)) for pool, table in tables.items() for name, held in table.slots.items()]
    yield gauge("gslb_lb_slots", "Slots of the pool's table that a backend has.", ("pool", "backend"), slots)
    moving = [((pool,), float(table.moving)) for pool, table in tables.items()]
    what = "Slots whose earlier backend still keeps flows."
    yield gauge("gslb_lb_moving_slots", what, ("pool",), moving)
    lost = [
        ((pool, name), float(name in table.unreachable)) for pool, table in tables.items() for name in _names(table)
    ]
    what = "1 while the Ethernet address of the backend, or of the router before it, is not known."
    yield gauge("gslb_lb_unreachable", what, ("pool", "backend"), lost)


def _names(table: TableState) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*table.slots, *table.unreachable)))


def _pulse(pulse: Pulse) -> Iterator[Metric]:
    yield from _counts(pulse.vips, "vip", "vip")
    yield from _active(pulse.active_vips, "vip")
    yield from _counts(pulse.backends, "backend", "backend")
    yield from _active(pulse.active_backends, "backend")
    events = [((name,), float(value)) for name, value in pulse.events.items()]
    what = "Packets dropped, answered or passed for a reason that is worth a count."
    yield counter("gslb_lb_events_total", what, ("event",), events)


def _active(found: Mapping[str, Mapping[str, Estimate]], of: str) -> Iterator[Metric]:
    every = [((pool, name), one) for pool, estimates in found.items() for name, one in estimates.items()]
    what = f"TCP connections and UDP flows that there are, by {of}; an estimate."
    yield gauge(f"gslb_lb_{of}_active_connections", what, ("pool", of), [(key, one.flows) for key, one in every])
    what = f"Standard error of gslb_lb_{of}_active_connections."
    yield gauge(f"gslb_lb_{of}_active_connections_error", what, ("pool", of), [(key, one.error) for key, one in every])


def _passive(passive: PassiveFigures) -> Iterator[Metric]:
    rows = [
        ((pool, f"ipv{family}"), tuple(zip((*BOUNDS_S, inf), accumulate(spread.counts), strict=True)), spread.sum_s)
        for (pool, family), spread in passive.spreads.items()
    ]
    what = "Round trips of clients, from SYN to the ACK of the handshake."
    yield histogram("gslb_lb_client_rtt_seconds", what, ("pool", "family"), rows)
    what = "Share of the connections to a backend for which a client sent its SYN again."
    yield gauge("gslb_lb_retransmit_ratio", what, ("pool", "backend"), list(passive.ratios.items()))


def _counts(found: Mapping[str, Mapping[str, Count]], of: str, label: str) -> Iterator[Metric]:
    for field, (end, what) in _COUNTS.items():
        rows = [
            ((pool, name), float(getattr(count, field)))
            for pool, counts in found.items()
            for name, count in counts.items()
        ]
        yield counter(f"gslb_lb_{of}_{end}_total", f"{what}, by {label}.", ("pool", label), rows)
