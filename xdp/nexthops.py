"""The next hop of each backend: interface, Ethernet addresses, MTU, kept fresh from the kernel's routes and neighbours.  IO: netlink.

Rule 1: the kernel finds Ethernet addresses; packets that XDP forwards do not make it look, so it is asked to, again and again.
Rule 2: an address that was found stays in use for GRACE_S while the kernel looks for it anew; then the backend is unreachable.
Rule 3: each call is bounded: so many routes are looked up, so many neighbours asked for.
"""

from __future__ import annotations

import errno
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from gslb.layout import MOST_BACKENDS
from xdp.netlink import CHANGES, LOCAL, UNICAST, Address, Link, Neighbour, Netlink, Nud, Route, Told, neighbour_of

GRACE_S = 10.0
AGAIN_S = (1.0, 32.0)  # first and longest time between two requests for a neighbour
MOST_ROUTES = 4096  # a call
MOST_REQUESTS = 512  # a call
_ETHERNET = 6  # octets of an address
_FRESH = Nud.REACHABLE | Nud.DELAY | Nud.PROBE | Nud.PERMANENT | Nud.NOARP
_UNDER_WAY = _FRESH | Nud.INCOMPLETE
_OF_ROUTES = {Told.NEWADDR, Told.DELADDR, Told.NEWROUTE, Told.DELROUTE, Told.NEWLINK, Told.DELLINK}


_parsed = lru_cache(MOST_BACKENDS)(ip_address)


@dataclass(frozen=True, slots=True)
class Hop:
    """Where packets for a backend leave, and to whom.  `mtu` in octets of an IP packet."""

    index: int
    ethernet: bytes
    source: bytes
    mtu: int


@dataclass(slots=True)
class _Sought:
    """One neighbour that some backend needs."""

    state: int = Nud.NONE
    ethernet: bytes = b""
    lost_at: float | None = None  # since when the kernel does not know it
    wait_s: float = 0.0
    ask_at: float = 0.0


class NextHops:
    """The next hops of all backends in force."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._told = Netlink(CHANGES)
        try:
            self._netlink = Netlink()
        except OSError:
            self._told.close()
            raise
        self._links: dict[int, Link] = {}
        self._routes: dict[Address, Route | str] = {}
        self._stale: dict[Address, None] = {}  # whose route is to be looked up, in this order
        self._sought: dict[tuple[int, Address], _Sought] = {}
        self._all = True  # everything is to be read anew
        self._new = False  # something is not as it was told
        self._unsure_until = 0.0  # someone who was lost may be given up until then

    def close(self) -> None:
        """Let go of the sockets."""
        self._told.close()
        self._netlink.close()

    def follow(self, addresses: set[str], now: float, patience_s: float = 0.0) -> bool:
        """Know the next hops of these from now on; new ones are waited for, `patience_s` at most.

        Whether a next hop may be another than at the last look.  Raises OSError.
        """
        wanted = {_parsed(address) for address in addresses}
        for gone in self._routes.keys() - wanted:
            del self._routes[gone]
            self._stale.pop(gone, None)
        new = wanted - self._routes.keys()
        self._stale |= dict.fromkeys(sorted(new, key=lambda address: (address.version, address)))
        self._routes |= dict.fromkeys(new, "its route is not looked up yet")
        changed = self.refresh(now)
        waits = select.poll()
        waits.register(self._told.fileno(), select.POLLIN)
        end = time.monotonic() + patience_s
        while self._awaited(new) and (left := end - time.monotonic()) > 0:
            waits.poll(1000 * left)
            changed |= self.refresh(now)
        return changed

    def refresh(self, now: float) -> bool:
        """Take in what changed, look up routes, have the kernel look for neighbours; whether a next hop may be another now.

        `now` is monotonic.  Raises OSError.
        """
        self._hear(now)
        if self._all:
            links = {link.index: link for link in self._netlink.links()}
            self._new |= links != self._links
            self._links = links
            self._stale |= dict.fromkeys(self._routes)
            self._all = False
        routed = [address for address, _ in zip(self._stale, range(MOST_ROUTES), strict=False)]
        for address in routed:
            del self._stale[address]
            route = self._route(address)
            self._new |= route != self._routes[address]
            self._routes[address] = route
        if routed:
            self._seek(now)
        asked = 0
        for (index, address), sought in self._sought.items():
            if sought.state & _UNDER_WAY or now < sought.ask_at:
                continue
            if asked == MOST_REQUESTS:
                break
            asked += 1
            sought.wait_s = min(max(2 * sought.wait_s, AGAIN_S[0]), AGAIN_S[1])
            sought.ask_at = now + sought.wait_s
            with suppress(OSError):  # the interface has gone: the route will tell
                self._netlink.use(index, address)
        new, self._new = self._new, False
        return new or now <= self._unsure_until

    def hop(self, address: str, now: float, *, on_link: bool) -> Hop | str:
        """The next hop of a followed backend, or why there is none; `on_link`: a gateway is of no use."""
        route = self._routes.get(_parsed(address), "its route is not looked up yet")
        if isinstance(route, str):
            return route
        link = self._links.get(route.index)
        if link is None:
            return f"its interface (number {route.index}) is gone"
        if on_link and route.gateway is not None:
            return (
                f"it is behind the gateway {route.gateway} - forwarding by l2 needs it on a network of this node: "
                "use ipip or gue for it"
            )
        return self._over(link, route, _parsed(address), now)

    def _over(self, link: Link, route: Route, address: Address, now: float) -> Hop | str:
        if len(link.address) != _ETHERNET or not any(link.address):
            return f"{link.name}, by which it is reached, has no Ethernet addresses"
        sought = self._sought.get((route.index, route.gateway or address))
        if sought is None or not sought.ethernet:
            return f"{_who(route)} does not answer on {link.name}: its Ethernet address is not known"
        if sought.lost_at is not None and now - sought.lost_at > GRACE_S:
            return f"{_who(route)} answers no longer on {link.name}: its Ethernet address is not known now"
        return Hop(link.carrier, sought.ethernet, link.address, min(link.mtu, route.mtu or link.mtu, 0xFFFF))

    def own(self, version: int, interfaces: tuple[str, ...]) -> Address | None:
        """This node's address of an IP version, as routes to backends have it, those by `interfaces` first."""
        routes = [route for route in self._routes.values() if isinstance(route, Route)]
        sources = [
            (self._links[route.index].name not in interfaces, route.source)
            for route in routes
            if route.source is not None and route.source.version == version and route.index in self._links
        ]
        return min(sources, key=lambda each: (each[0], int(each[1])))[1] if sources else None

    def _hear(self, now: float) -> None:
        try:
            for kind, body in self._told.changes():
                if kind in _OF_ROUTES:
                    self._all = True
                elif kind in (Told.NEWNEIGH, Told.DELNEIGH):
                    neighbour = neighbour_of(body)
                    if neighbour is not None:
                        self._learn(neighbour, now, gone=kind == Told.DELNEIGH)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._all = True  # some changes were lost
            self._look_over(now)

    def _look_over(self, now: float) -> None:
        """Read all neighbours."""
        there = {(each.index, each.address): each for each in self._netlink.neighbours()}
        for key in self._sought:
            self._learn(there.get(key) or Neighbour(*key, Nud.NONE, b""), now, gone=False)

    def _learn(self, neighbour: Neighbour, now: float, *, gone: bool) -> None:
        sought = self._sought.get((neighbour.index, neighbour.address))
        if sought is None:
            return
        sought.state = Nud.NONE if gone else neighbour.state
        if neighbour.ethernet and not gone and sought.state & (_FRESH | Nud.STALE):
            self._new |= sought.ethernet != neighbour.ethernet or sought.lost_at is not None
            sought.ethernet = neighbour.ethernet
            sought.lost_at = None
            if sought.state & Nud.REACHABLE:
                sought.wait_s = sought.ask_at = 0.0
        elif sought.ethernet and sought.lost_at is None:
            sought.lost_at = now
            self._unsure_until = now + GRACE_S + 2.0  # looked at once a second

    def _route(self, address: Address) -> Route | str:
        try:
            route = self._netlink.route(address)
        except OSError as error:
            return f"no route leads to it: {error.strerror}"
        if route.type == LOCAL:
            return "it is an address of this node itself, which does not forward to itself"
        if route.type != UNICAST:
            return "no route leads to it as to one host"
        return route

    def _seek(self, now: float) -> None:
        """Have a note of every neighbour that is needed, and of no other."""
        needed = dict(self._needed())
        self._sought = {key: self._sought.get(key) or _Sought() for key in needed}
        if any(not sought.ethernet for sought in self._sought.values()):
            self._look_over(now)

    def _needed(self) -> Iterator[tuple[tuple[int, Address], None]]:
        for address, route in self._routes.items():
            if isinstance(route, Route):
                yield (route.index, route.gateway or address), None

    def _awaited(self, addresses: set[Address]) -> bool:
        """Whether the neighbour of one of these is still being found out."""
        for address in addresses:
            route = self._routes.get(address)
            if isinstance(route, Route):
                sought = self._sought.get((route.index, route.gateway or address))
                if sought is not None and not sought.ethernet and not sought.state & Nud.FAILED:
                    return True
        return False


def _who(route: Route) -> str:
    return f"the gateway {route.gateway}" if route.gateway else "it"
