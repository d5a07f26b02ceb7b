"""Listening follows the addresses of this node, and those that the controller wants on it.  IO.

An address that the controller asks for is put on `lo` and listened on at once: DNS answers there before anybody is told the way.
One that somebody removes is put back at once: the way leads there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address

from gslb.control import addresses
from gslb.control.crew import Crew
from gslb.control.listening import Listening
from gslb.control.loopback import Loopback
from gslb.control.reactor import Reactor
from gslb.control.wanted import Wanted
from gslb.model.deployment import Address, Network
from gslb.nameserver.sockets import CannotListen, Endpoint
from xdp.netlink import Netlink

AGAIN_S = 0.1  # between two looks, however often addresses change
_CHANGES = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

log = logging.getLogger("gslb.supervisor")


class Following:
    """What this node has, what was asked for, and where the crew listens."""

    def __init__(
        self, listening: Listening, crew: Crew, loopback: Loopback, reactor: Reactor, look: Callable[[], None]
    ) -> None:
        """`look` has a look taken, soon after addresses change while some of them are ours; else it is only taken now and then."""
        self._reactor = reactor
        self._look = look
        self._looked = 0.0
        self._listening = listening
        self._crew = crew
        self._loopback = loopback
        self._asked: tuple[Network, ...] | None = None  # None: nobody has said yet, and what a killed run added stays
        self._unreachable: dict[Endpoint, str] = {}
        self._problems: tuple[str, ...] = ()
        self._told: Mapping[str, object] | None = None
        try:
            self._changes = Netlink(_CHANGES)
        except OSError as error:
            log.warning("changes of addresses are not told by the kernel", extra={"why": error.strerror})
        else:
            reactor.watch(self._changes.fileno(), self._changed)

    @property
    def lends(self) -> bool:
        """Whether something on `lo` is ours."""
        return bool(self._loopback.ours)

    def ask(self, prefixes: Iterable[Network]) -> None:
        """The addresses of these prefixes are wanted from now on, and of no other; the next `look` sees to it."""
        self._asked = tuple(prefixes)
        self._told = None

    def look(self, wanted: Wanted) -> None:
        """Have on `lo` what was asked for, listen on what came, and leave what went."""
        self._looked = self._reactor.now
        if self._asked is not None:
            self._lend(wanted, self._asked)
        here = addresses.endpoints(wanted, addresses.present())
        self._unreachable = {one: why for one, why in self._unreachable.items() if one in here}
        for endpoint in sorted(here - self._listening.endpoints):
            try:
                self._listening.extend(endpoint, self._crew.size)
            except CannotListen as error:
                if endpoint not in self._unreachable:
                    log.warning("new address is not listened on", extra={"why": str(error)})
                self._unreachable[endpoint] = str(error)
                continue
            self._unreachable.pop(endpoint, None)
            log.info("listening on a new address", extra={"endpoint": endpoint.label})
            self._crew.listen((endpoint,))
        self.drop_surplus(wanted)

    def drop_surplus(self, wanted: Wanted) -> None:
        """Listen no more where nothing is wanted, or nothing is; what is asked for is wanted, whatever the configuration says."""
        surplus = self._listening.endpoints - addresses.endpoints(wanted, addresses.present())
        if surplus:
            kept = {
                one for prefix in self._asked or () for one in addresses_of(prefix, wanted, _here())
            } | self._loopback.ours
            surplus = frozenset(one for one in surplus if ip_address(one.address) not in kept)
        if surplus:
            self._crew.leave(surplus)
            self._listening.close(surplus)
            for endpoint in sorted(surplus):
                log.info("no longer listening", extra={"endpoint": endpoint.label})

    def news(self, wanted: Wanted) -> Mapping[str, object] | None:
        """What has become of what was asked for; None where that was said already, or nobody asked."""
        if self._asked is None:
            return None
        here = _here()
        answered = {ip_address(one.address) for one in self._listening.endpoints if one.transport == "udp"}
        problems = dict.fromkeys(self._problems)
        present, listened = [], []
        for prefix in self._asked:
            lent = addresses_of(prefix, wanted, here)
            problems |= {why: None for one, why in self._unreachable.items() if ip_address(one.address) in lent}
            if lent <= here:
                present.append(str(prefix))
                if lent <= answered:
                    listened.append(str(prefix))
        found = {"present": present, "listened": listened, "problem": "; ".join(problems)}
        if found == self._told:
            return None
        self._told = found
        return found

    def clear(self) -> None:
        """Remove from `lo` what we added."""
        for problem in self._loopback.want(()):
            log.warning("an address stays: %s", problem)

    def _changed(self) -> None:
        with suppress(OSError):  # some were lost, and there is a look all the same
            list(self._changes.changes())
        if self.lends:
            self._reactor.after("addresses changed", max(0.0, self._looked + AGAIN_S - self._reactor.now), self._look)

    def _lend(self, wanted: Wanted, prefixes: Iterable[Network]) -> None:
        here = _here()
        problems = self._loopback.want({one for prefix in prefixes for one in addresses_of(prefix, wanted, here)})
        for problem in problems:
            if problem not in self._problems:
                log.warning(problem)
        self._problems = problems


def addresses_of(prefix: Network, wanted: Wanted, here: frozenset[Address]) -> frozenset[Address]:
    """The addresses that a node needs to answer for `prefix`: of a single address that; of more those that `dns.listen` names.

    Where it names none, whatever of the prefix the node has, and where it has none the first one.
    """
    if prefix.num_addresses == 1:
        return frozenset({prefix.network_address})
    named = {address for text, _ in wanted.listen if (address := ip_address(text)) in prefix}
    found = named or {one for one in here if one in prefix}
    return frozenset(found or {prefix[0]})


def _here() -> frozenset[Address]:
    return frozenset(ip_address(one.address) for one in addresses.present())
