"""Which addresses to listen on: what the configuration says, joined with what this node has.  Pure but for `present` and `ours`."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

import psutil

from gslb.control.wanted import Wanted
from gslb.model.deployment import Address
from gslb.nameserver.sockets import Endpoint, Transport
from xdp.netlink import LOCAL, Netlink

TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp")


@dataclass(frozen=True, slots=True, order=True)
class Present:
    """An address of an interface.  `scope_id` is the interface's number where the address is link-local IPv6."""

    address: str
    scope_id: int = 0


def present() -> frozenset[Present]:
    """The addresses of this node's interfaces."""
    found = set()
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                found.add(_present(entry.address, name))
    return frozenset(address for address in found if address is not None)


def ours(asked: Iterable[str]) -> frozenset[str]:
    """Those of these addresses that this machine takes packets for: on an interface, or by a route of type local.

    Raises OSError where the kernel cannot be asked.
    """
    found = set()
    with Netlink() as netlink:
        for address in asked:
            try:
                kind = netlink.route(ip_address(address)).type
            except TimeoutError:
                raise
            except OSError:  # there is no way to it
                continue
            if kind == LOCAL:
                found.add(address)
    return frozenset(found)


def endpoints(wanted: Wanted, here: Iterable[Present]) -> frozenset[Endpoint]:
    """Where to listen; an address that was named is listened on whether it is here or not."""
    here = tuple(here)
    found = set()
    for text, port in wanted.listen:
        for address in _matching(text, here):
            found |= {Endpoint(transport, address.address, port, address.scope_id) for transport in TRANSPORTS}
    return frozenset(found)


def absent(wanted: Wanted, here: Iterable[Present]) -> tuple[str, ...]:
    """The named addresses that are not here and that no anycast prefix announces, so that they are likely mistakes."""
    here = frozenset(here)
    return tuple(text for text, _ in wanted.listen if not _accounted_for(ip_address(text), wanted, here))


def _accounted_for(address: Address, wanted: Wanted, here: frozenset[Present]) -> bool:
    return (
        address.is_unspecified
        or (address.version == 4 and address.is_loopback)  # all of 127.0.0.0/8 is here
        or any(address in network for network in wanted.later)
        or set(_matching(str(address), tuple(here))) <= here
    )


def _matching(text: str, here: tuple[Present, ...]) -> list[Present]:
    address = ip_address(text)
    family = [one for one in here if (":" in one.address) == (address.version == 6)]
    if address.is_unspecified or not family:  # no address of the family: a kernel without IPv6 is no mistake
        return family
    return [one for one in family if one.address == text] or [Present(text)]


def _present(text: str, interface: str) -> Present | None:
    host = text.partition("%")[0]
    address = ip_address(host)
    if not address.is_link_local or address.version == 4:
        return Present(str(address))
    try:
        return Present(str(address), socket.if_nametoindex(interface))
    except OSError:  # gone since
        return None
