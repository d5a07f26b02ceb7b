"""A Want -> the balancer's maps: only what differs is written, in an order in which no packet goes astray.  IO: system calls, netlink.

The order: who is new (backends, then rings with what their slots must remember, then VIPs), then who is down, then who is gone.

Rule 1: a ring is replaced as a whole; packets see the old one or the new one.
Rule 2: a failure leaves what was in force so far, noted as such, and the next Want goes on from there.
Rule 3: an older plan, or another deployment's, is refused.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network

import numpy as np
from numpy.typing import NDArray

from gslb import layout
from gslb.layout import MOST_NEW_FLOWS, RING_SLOTS, BackendFlags
from gslb.model.deployment import Forward
from gslb.model.plan import BackendPlan
from xdp import maglev
from xdp.entries import (
    MODES,
    PREFIX_OCTETS,
    Content,
    Numbers,
    Target,
    Wanted,
    address_octets,
    keeping,
    members,
    wanted,
)
from xdp.inforce import InForce, Plane
from xdp.messages import TableState, Want
from xdp.nexthops import GRACE_S, Hop, NextHops
from xdp.preflight import narrow
from xdp.slots import Slots, after, aged, coarse, empty, idle_since, keepers

EVENTS_PER_S = 2000  # a CPU: enough to know clients' round trips, few enough to be read
KEPT_AT_LEAST_S = 30.0  # how long a silent new flow is remembered, even in a flood of new ones
GUE_PORT = 6080
AGE_EVERY_S = 10.0
PATIENCE_S = 0.25  # for the Ethernet addresses of new backends

__all__ = ["Names", "Tables"]


@dataclass(slots=True)
class Names:
    """What ids stand for: a VIP's pool and text, a backend's pools and address in each."""

    vips: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    backends: Mapping[int, tuple[tuple[str, str], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Filled:
    """A table by indexes into the backends of its content; one beyond them is a slot of nobody."""

    indexes: NDArray[np.uint16]
    digest: str
    counts: Mapping[str, int]


class Tables:
    """The tables of one balancer."""

    def __init__(self, plane: Plane) -> None:
        """Reads what is in force.  Raises OSError."""
        self._force = InForce.read(plane)
        self._hops = NextHops()
        self._ids = Numbers()
        self._ids.vips.skip({entry.id for entry in self._force.vips.values()})
        self._ids.rings.skip(self._force.rings.keys())
        self._ids.backends.skip(self._force.records.keys())
        self._filled: dict[Content, _Filled] = {}
        self._reached: dict[Target, Hop | str] = {}
        self._written: dict[int, tuple[Target, Hop | None, bool]] = {}  # what records say, by backend id
        self._want: Want | None = None
        self._wanted: Wanted | None = None
        self._began = self._aged_at = time.monotonic()
        self.names = Names()

    @property
    def version(self) -> int:
        """Of the plan in force, by whatever process; 0: none."""
        return int(layout.Settings.from_buffer_copy(self._force.settings).version)

    @property
    def marks(self) -> Collection[int]:
        """The marks in force, each of which names a backend."""
        return self._force.marks.keys()

    @property
    def idle_s(self) -> float | None:
        """After how long a silent connection is none; None before the first Want."""
        return None if self._want is None else self._want.flow_idle_s

    @property
    def track_mask(self) -> int:
        """One connection of track_mask + 1 is tracked."""
        return int(layout.Settings.from_buffer_copy(self._force.settings).track_mask)

    def set_track_mask(self, mask: int) -> None:
        """Track others from now on.  Raises OSError."""
        self._force.set_track_mask(mask)

    def close(self) -> None:
        """Let go of the sockets; what is in force stays."""
        self._hops.close()

    def want(self, want: Want) -> dict[str, TableState]:
        """Put these tables in force; how they stand then.

        Raises ValueError where they are refused, and OSError where the kernel refuses: then what was in force stays, as far
        as it was not replaced.
        """
        self._check(want)
        now = time.monotonic()
        plan = self._wanted
        if plan is None or self._want is None or want.tables != self._want.tables or self._force.held().twins:
            plan = wanted(want.tables, self._force.held(), self._ids)
        self._filled |= {content: _fill(content) for content in plan.rings.values() if content not in self._filled}
        followed = {target.address for target in plan.backends.keys() | self._force.backends}
        if self._hops.follow(followed, now, PATIENCE_S) or self._reached.keys() != plan.backends.keys():
            self._look(plan, now)
        self.names.vips = {**self.names.vips, **plan.vip_names}
        self.names.backends = {**self.names.backends, **plan.backend_names}
        self._apply(want, plan, now)
        self._want, self._wanted = want, plan
        self._filled = {content: self._filled[content] for content in plan.rings.values()}
        self.names.vips, self.names.backends = plan.vip_names, plan.backend_names
        return self.state()

    def tick(self, now: float) -> dict[str, TableState] | None:
        """Once a second: next hops are followed, slots age; how the tables stand, or None where nothing is new.

        Raises OSError, and ValueError as `want` does.
        """
        if self._want is None or self._wanted is None:
            return None
        if self._hops.refresh(now) or now - self._began <= 2 * GRACE_S:
            self._look(self._wanted, now)
            self._set_backends(self._wanted, now, self._wanted.backends)
            self._force.set_settings(self._settings(self._want, self._wanted, self._want.version))
        elif now - self._aged_at < AGE_EVERY_S:
            return None
        if now - self._aged_at >= AGE_EVERY_S:
            self._aged_at = now
            self._age(now)
            if self._force.held().twins:
                return self.want(self._want)
        return self.state()

    def state(self) -> dict[str, TableState]:
        """How each pool's table stands."""
        found: dict[str, TableState] = {}
        plan = self._wanted
        if plan is None:
            return found
        for pool, ring in plan.pools.items():
            content = plan.rings[ring]
            filled = self._filled[content]
            lost = {one.address: self._reached[Target(one.address, one.forward)] for one in content}
            moving = self._force.rings[ring].moving if ring in self._force.rings else 0
            unreachable = {address: reason for address, reason in lost.items() if isinstance(reason, str)}
            found[pool] = TableState(filled.digest, filled.counts, moving, unreachable, self._narrow(pool, content))
        return found

    def _narrow(self, pool: str, content: Content) -> dict[str, str]:
        """The backends of a pool with VIPs of IPv6 whose tunnels leave too little for it."""
        assert self._want is not None
        if all(":" not in vip.prefix for vip in self._want.tables[pool].vips):
            return {}
        found = {}
        for one in content:
            hop = self._reached[Target(one.address, one.forward)]
            if one.forward is not Forward.L2 and isinstance(hop, Hop):
                found[one.address] = narrow(hop.mtu, _overhead(one.address, one.forward))
        return {address: why for address, why in found.items() if why}

    def _check(self, want: Want) -> None:
        held = layout.Settings.from_buffer_copy(self._force.settings)
        if not held.version:
            return
        if bytes(held.deployment) != _deployment(want.deployment):
            raise ValueError(
                f"the balancer holds the tables of another deployment than {want.deployment} - "
                "stop the node in an orderly way, which removes them, and start it again"
            )
        if want.version < held.version:
            raise ValueError(
                f"the balancer holds plan {held.version}, and plan {want.version} is older - where the node lost its state, "
                "stop it in an orderly way, which removes the tables, and start it again"
            )

    def _apply(self, want: Want, plan: Wanted, now: float) -> None:
        force = self._force
        held = layout.Settings.from_buffer_copy(force.settings)
        force.set_settings(self._settings(want, plan, held.version, bytes(held.deployment)))
        self._set_backends(
            plan, now, {each: number for each, number in plan.backends.items() if number not in plan.down}
        )
        for key, backend in plan.quic.items():
            force.set_quic(key, backend)
        self._set_rings(plan, now)
        for place, entry in plan.vips.items():
            force.set_vip(place, entry)
        force.tell_vips()
        self._set_backends(plan, now, plan.backends)
        marks = {(pool, one.address): plan.backends[Target(one.address, one.forward)] for pool, one in _all(want)}
        force.set_marks(
            {each.mark: marks[each.pool, each.backend] for each in want.probes if (each.pool, each.backend) in marks}
        )
        for place in force.vips.keys() - plan.vips.keys():
            force.remove_vip(place)
        force.tell_vips()
        for key in force.quic.keys() - plan.quic.keys():
            force.remove_quic(key)
        for ring in force.rings.keys() - plan.rings.keys():
            force.remove_ring(ring)
        for target in force.backends.keys() - plan.backends.keys():
            self._written.pop(force.backends[target], None)
            force.remove_backend(target)
        force.pools = dict(plan.pools)
        force.set_settings(self._settings(want, plan, want.version))

    def _look(self, plan: Wanted, now: float) -> None:
        """Find out how each backend is reached now."""
        self._reached = {
            each: self._hops.hop(each.address, now, on_link=each.forward is Forward.L2) for each in plan.backends
        }

    def _set_backends(self, plan: Wanted, now: float, targets: Mapping[Target, int]) -> None:
        for target, number in targets.items():
            found = self._reached[target]
            hop = self._adopted_hop(number, now) if isinstance(found, str) else found
            state = (target, hop, number in plan.down)
            if self._written.get(number) != state:
                self._force.set_backend(target, number, _record(*state))
                self._written[number] = state

    def _adopted_hop(self, number: int, now: float) -> Hop | None:
        """What an earlier process knew, until this one has had the time to find out."""
        record = self._force.records.get(number)
        if record is None or now - self._began > GRACE_S:
            return None
        held = layout.Backend.from_buffer_copy(record)
        if held.flags & BackendFlags.BACKEND_UNREACHABLE:
            return None
        return Hop(held.ifindex, bytes(held.next_hop), bytes(held.source), held.mtu)

    def _set_rings(self, plan: Wanted, now: float) -> None:
        force, rings, uses = self._force, dict[int, Slots](), dict[int, NDArray[np.uint16]]()
        at = coarse(now) & 0xFFFF
        for ring, content in plan.rings.items():
            if ring in force.rings and force.contents.get(ring) == content:
                continue
            source = plan.before.get(ring, ring)
            before = force.rings.get(source) or empty()
            numbers = np.zeros(1 << 16, np.uint16)
            numbers[: len(content)] = [plan.backends[Target(one.address, one.forward)] for one in content]
            current = numbers[self._filled[content].indexes]
            rings[ring], stamped = after(before, current, keepers(keeping(content, plan.backends)))
            if stamped.size or ring not in force.rings:
                uses[ring] = force.uses(source)
                uses[ring][stamped] = at
        force.set_uses(uses)
        force.set_rings(rings)
        force.contents |= {ring: plan.rings[ring] for ring in rings}

    def _age(self, now: float) -> None:
        assert self._want is not None
        at = coarse(now)
        units = coarse(self._want.flow_idle_s) + 2  # one for each end: a unit began somewhere
        rings, uses = dict[int, Slots](), dict[int, NDArray[np.uint16]]()
        for ring, slots in self._force.rings.items():
            if not slots.moving:
                continue
            times = self._force.uses(ring)
            idle = idle_since(times, at, units)
            if not (idle & (slots.previous != 0)).any():
                continue
            rings[ring], stamped = aged(slots, idle)
            if stamped.size:
                times[stamped] = at & 0xFFFF
                uses[ring] = times
        self._force.set_uses(uses)
        self._force.set_rings(rings)

    def _settings(self, want: Want, plan: Wanted, version: int, deployment: bytes | None = None) -> bytes:
        held = layout.Settings.from_buffer_copy(self._force.settings)
        four, six = IPv4Network(want.source4), IPv6Network(want.source6)
        own4, own6 = (self._hops.own(each, want.interfaces) for each in (4, 6))
        prefixes = any(len(key) == PREFIX_OCTETS for key in self._force.vips.keys() | plan.vips.keys())
        new_flows = MOST_NEW_FLOWS / min(want.flow_idle_s, KEPT_AT_LEAST_S) / (os.cpu_count() or 1)
        return bytes(
            layout.Settings(
                key=struct.unpack("=QQ", bytes.fromhex(want.key)),
                source6=tuple(six.network_address.packed),
                spread6=tuple(six.hostmask.packed),
                source4=int(four.network_address),
                spread4=int(four.hostmask),
                own6=tuple(own6.packed) if own6 else held.own6,
                own4=int(own4) if own4 else held.own4,
                new_flows_per_s=max(1, int(new_flows)),
                events_per_s=EVENTS_PER_S,
                gue_port=GUE_PORT,
                prefixes=prefixes,
                version=version,
                deployment=tuple(_deployment(want.deployment) if deployment is None else deployment),
            )
        )


def _record(target: Target, hop: Hop | None, down: bool) -> bytes:  # noqa: FBT001  a member of what is written
    flags = int(BackendFlags.BACKEND_DOWN) if down else 0
    if hop is None:
        flags |= BackendFlags.BACKEND_UNREACHABLE
        hop = Hop(0, bytes(6), bytes(6), 0)
    ends = tuple(hop.ethernet), tuple(hop.source)
    octets = tuple(address_octets(target.address))
    return bytes(layout.Backend(octets, *ends, hop.index, hop.mtu, MODES[target.forward], flags))


def _fill(content: Content) -> _Filled:
    places = {one.address: index for index, one in enumerate(content)}
    taking = members(content)
    if not taking:
        return _Filled(np.full(RING_SLOTS, 0xFFFF, np.uint16), "", dict.fromkeys(places, 0))
    table = maglev.table(taking)
    counted = np.bincount(table, minlength=len(taking))
    counts = dict.fromkeys(places, 0) | {
        address: int(count) for (address, _), count in zip(taking, counted, strict=True)
    }
    names = [address for address, _ in taking]
    return _Filled(np.array([places[name] for name in names], np.uint16)[table], maglev.digest(names, table), counts)


def _all(want: Want) -> Iterable[tuple[str, BackendPlan]]:
    return ((pool, one) for pool, table in want.tables.items() for one in table.backends)


def _overhead(address: str, forward: Forward) -> int:
    """Octets of the outer headers."""
    return (40 if ":" in address else 20) + (8 if forward is Forward.GUE else 0)


def _deployment(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16).digest()
