"""What the maps are to hold for the tables of a plan, given what they hold already.  Pure.

Rule 1: an id stays while what it stands for stays; a free id is used again as late as can be, since programs may remember it.
Rule 2: pools with the same backends share one ring.  A pool that has flows leaves its ring only with all the slots of it.
Rule 3: one id for each (address, forwarding), whatever the pool; it is down only where every pool that names it says so.
"""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from ctypes import sizeof
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from operator import attrgetter

from gslb import layout
from gslb.layout import Mode, VipFlags
from gslb.model.deployment import Forward
from gslb.model.plan import BackendPlan, BalancerTable, Serving, Vip

TCP, UDP = 6, 17
ICMP = {4: 1, 6: 58}  # the protocol of an entry that says: this address is a VIP, whatever the port
MODES = {Forward.L2: Mode.MODE_L2, Forward.IPIP: Mode.MODE_IP, Forward.GUE: Mode.MODE_GUE}
_PROTOCOLS = {TCP: "tcp", UDP: "udp"}

_network = lru_cache(2 * layout.MOST_VIPS)(ip_network)
_by_address = attrgetter("address")
PREFIX_OCTETS = sizeof(layout.VipPrefix)  # a key of `vip_prefixes`; those of `vips` are shorter


class Content(tuple[BackendPlan, ...]):
    """What makes a ring: backends by address.  Its hash is worked out once, since it is looked up again and again."""

    def __hash__(self) -> int:
        known: int | None = self.__dict__.get("known")
        if known is None:
            known = self.__dict__["known"] = tuple.__hash__(self)
        return known


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Who has a backend id."""

    address: str
    forward: Forward


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of `vips` or `vip_prefixes`."""

    id: int
    ring: int
    quic: bool = False

    def to_bytes(self) -> bytes:
        """As `struct vip` holds it."""
        return bytes(layout.Vip(self.id, self.ring, VipFlags.VIP_QUIC if self.quic else 0))

    @classmethod
    def from_bytes(cls, value: bytes) -> Entry:
        """What `struct vip` holds."""
        vip = layout.Vip.from_buffer_copy(value)
        return cls(vip.id, vip.ring, bool(vip.flags & VipFlags.VIP_QUIC))


@dataclass(frozen=True, slots=True)
class Held:
    """What is in force: ids of backends, values by the keys of `vips` and `vip_prefixes`, what rings are made of.

    A ring whose content is not known (an earlier process filled it) has None.  `settled` rings have no slot with a previous
    backend.  `pools`: the ring that each pool had.
    """

    backends: Mapping[Target, int] = field(default_factory=dict)
    vips: Mapping[bytes, Entry] = field(default_factory=dict)
    rings: Mapping[int, Content | None] = field(default_factory=dict)
    settled: frozenset[int] = frozenset()
    pools: Mapping[str, int] = field(default_factory=dict)

    @property
    def twins(self) -> dict[int, int]:
        """Rings that are another one slot by slot, so that nobody moves when that takes their place."""
        first: dict[Content, int] = {}
        found = {}
        for ring in sorted(self.settled):
            content = self.rings.get(ring)
            if content is not None and first.setdefault(content, ring) != ring:
                found[ring] = first[content]
        return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be in force.  `before[ring]`: the ring whose slots a new one goes on with."""

    backends: Mapping[Target, int]
    down: frozenset[int]
    vips: Mapping[bytes, Entry]
    rings: Mapping[int, Content]
    before: Mapping[int, int]
    pools: Mapping[str, int]
    quic: Mapping[tuple[int, int], int]
    vip_names: Mapping[int, tuple[str, str]]
    backend_names: Mapping[int, tuple[tuple[str, str], ...]]


class Full(ValueError):
    """More is wanted than the maps hold."""


class Ids:
    """Numbers 1..most-1, each given again as late as can be."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._last = 0

    def take(self, used: Collection[int]) -> int:
        """One that is not `used`.  Raises Full."""
        for _ in range(self._most):
            self._last = self._last % (self._most - 1) + 1
            if self._last not in used:
                return self._last
        raise Full(f"more {self._what} than {self._most - 1}, which is the most that one balancer holds")

    def skip(self, used: Collection[int]) -> None:
        """Begin behind all that are used."""
        self._last = max(self._last, *used, 0)


@dataclass(slots=True)
class Numbers:
    """The three kinds of ids."""

    vips: Ids = field(default_factory=lambda: Ids(layout.MOST_VIPS, "VIPs"))
    rings: Ids = field(default_factory=lambda: Ids(layout.MOST_RINGS, "different sets of backends"))
    backends: Ids = field(default_factory=lambda: Ids(layout.MOST_BACKENDS, "backends"))


def wanted(tables: Mapping[str, BalancerTable], held: Held, ids: Numbers) -> Wanted:
    """What shall be in force for these tables, by pool.  Raises Full."""
    contents = {pool: Content(sorted(tables[pool].backends, key=_by_address)) for pool in sorted(tables)}
    backends, down, backend_names = _backends(contents, held, ids.backends)
    pools, before = _rings(contents, _ring_of(tables, held), held, ids.rings)
    rings = {pools[pool]: content for pool, content in contents.items()}
    vips, vip_names = _vips(tables, contents, pools, held, ids.vips)
    quic = {
        (ring, one.server): backends[Target(one.address, one.forward)]
        for ring, content in rings.items()
        for one in content
        if one.server is not None and one.serving is not Serving.DOWN
    }
    if len(quic) > layout.MOST_QUIC_IDS:
        raise Full(f"more ids of backends in QUIC connection ids than {layout.MOST_QUIC_IDS}")
    return Wanted(backends, down, vips, rings, before, pools, quic, vip_names, backend_names)


def members(content: Sequence[BackendPlan]) -> list[tuple[str, int]]:
    """Who takes new flows, by address and weight.

    Those that drain where nobody else is left, and whatever its weight where all weights are 0: a poor server is better than none.
    """
    for serving in (Serving.UP, Serving.DRAIN):
        there = [(one.address, one.weight) for one in content if one.serving is serving]
        if there:
            return [each for each in there if each[1] > 0] or [(address, 1) for address, _ in there]
    return []


def keeping(content: Content, backends: Mapping[Target, int]) -> set[int]:
    """The ids of the backends that may keep flows."""
    return {backends[Target(one.address, one.forward)] for one in content if one.serving is not Serving.DOWN}


@lru_cache(layout.MOST_BACKENDS)
def address_octets(address: str) -> bytes:
    """16 octets, IPv4 as ::ffff:a.b.c.d."""
    packed = ip_address(address).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def address_text(octets: bytes) -> str:
    """The address of 16 octets."""
    return str(ip_address(octets[12:] if octets[:12] == bytes(10) + b"\xff\xff" else octets))


def vip_name(vip: Vip) -> str:
    """How people write a VIP: "192.0.2.10 tcp/80"."""
    network = _network(vip.prefix)
    place = network.network_address if network.prefixlen == network.max_prefixlen else network
    return f"{place} {_PROTOCOLS.get(vip.protocol, vip.protocol)}/{vip.port or 'any'}"


def vip_key(network: IPv4Network | IPv6Network, protocol: int, port: int) -> bytes:
    """The key in `vips` of one address, in `vip_prefixes` of more."""
    octets = tuple(address_octets(str(network.network_address)))
    if network.prefixlen == network.max_prefixlen:
        return bytes(layout.VipKey(octets, port, protocol))
    bits = 32 + 128 - network.max_prefixlen + network.prefixlen
    return bytes(layout.VipPrefix(bits, port, protocol, 0, octets))


def _backends(
    contents: Mapping[str, Content], held: Held, ids: Ids
) -> tuple[dict[Target, int], frozenset[int], dict[int, tuple[tuple[str, str], ...]]]:
    naming: dict[Target, list[tuple[str, str]]] = defaultdict(list)
    serving: set[Target] = set()
    for pool, content in contents.items():
        for one in content:
            target = Target(one.address, one.forward)
            naming[target].append((pool, one.address))
            if one.serving is not Serving.DOWN:
                serving.add(target)
    used = set(held.backends.values())
    given: dict[Target, int] = {}
    for target in naming:
        given[target] = held.backends.get(target) or ids.take(used)
        used.add(given[target])
    down = frozenset(number for target, number in given.items() if target not in serving)
    return given, down, {given[target]: tuple(names) for target, names in naming.items()}


def _ring_of(tables: Mapping[str, BalancerTable], held: Held) -> dict[str, int]:
    """The ring in which each pool's flows are: that of its VIPs, whatever the pool was called."""
    found: dict[str, int] = {}
    twins = held.twins
    for pool, table in tables.items():
        rings = Counter(held.vips[key].ring for key in _keys(table) if key in held.vips)
        ring = min(rings, key=lambda each: (-rings[each], each)) if rings else held.pools.get(pool)
        if ring is not None and ring in held.rings:
            found[pool] = twins.get(ring, ring)
    return found


def _rings(
    contents: Mapping[str, Content], had: Mapping[str, int], held: Held, ids: Ids
) -> tuple[dict[str, int], dict[int, int]]:
    groups: dict[tuple[int, Content], list[str]] = defaultdict(list)
    for pool, content in contents.items():
        groups[had.get(pool, 0), content].append(pool)
    stays: dict[int, Content] = {}
    for ring, content in sorted(groups, key=lambda group: (-len(groups[group]), groups[group])):
        if ring and (ring not in stays or held.rings[ring] == content):
            stays[ring] = content
    used = set(held.rings)
    given: dict[str, int] = {}
    before: dict[int, int] = {}
    by_content = {content: ring for ring, content in sorted(stays.items(), reverse=True)}
    for (ring, content), pools in sorted(groups.items(), key=lambda group: (group[0][0] == 0, group[1])):
        if ring and stays[ring] == content:
            number = ring
        elif not ring and content in by_content:  # it has no flows yet: any ring will do
            number = by_content[content]
        else:
            number = ids.take(used)
            used.add(number)
            by_content.setdefault(content, number)
            if ring:
                before[number] = ring
        given |= dict.fromkeys(pools, number)
    return given, before


def _vips(
    tables: Mapping[str, BalancerTable],
    contents: Mapping[str, Content],
    pools: Mapping[str, int],
    held: Held,
    ids: Ids,
) -> tuple[dict[bytes, Entry], dict[int, tuple[str, str]]]:
    entries: dict[bytes, Entry] = {}
    names: dict[int, tuple[str, str]] = {}
    places: dict[bytes, Entry] = {}
    used = {entry.id for entry in held.vips.values() if entry.ring}
    for pool, content in contents.items():
        quic = any(one.server is not None for one in content)
        for vip in tables[pool].vips:
            network = _network(vip.prefix)
            key = vip_key(network, vip.protocol, vip.port)
            if key in entries:
                continue
            before = held.vips.get(key)
            number = before.id if before is not None else ids.take(used)
            used.add(number)
            entries[key] = Entry(number, pools[pool], quic and vip.protocol == UDP)
            names[number] = (pool, vip_name(vip))
            place = vip_key(network, ICMP[network.version], 0)
            here = places.get(place)
            if here is None or number < here.id:
                places[place] = Entry(number, 0)
    prefixes = sum(len(key) == PREFIX_OCTETS for key in entries)
    if prefixes > layout.MOST_PREFIXES:
        raise Full(
            f"{prefixes} VIPs that are prefixes of more than one address - expected at most {layout.MOST_PREFIXES}"
        )
    return places | entries, names


def _keys(table: BalancerTable) -> Iterator[bytes]:
    for vip in table.vips:
        yield vip_key(_network(vip.prefix), vip.protocol, vip.port)
