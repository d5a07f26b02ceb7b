"""The interfaces on which DNS is answered in the driver.  IO: interfaces by psutil, facts of them by `xdp.machine`, routes.

Rule 1: interfaces that the configuration names are taken as they are, loopback too.
Rule 2: without any, those that hold an address that DNS listens on; and those of the default routes, where such an address stands on
none that queries come in by (an anycast address on loopback, or one that is not here yet).
Rule 3: what may lose replies, or reads no Ethernet, is left out of a choice that nobody made: `auto` says so.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import psutil

from gslb.control.uplink import uplinks
from gslb.model.deployment import Attach
from xdp import machine
from xdp.preflight import Nic

_PLAIN = frozenset({"", "bond"})  # kinds that `auto` attaches to: hardware, and what joins it
_NOWHERE = frozenset({"", "lo", "dummy"})


@dataclass(frozen=True, slots=True)
class Choice:
    """The interfaces; `left_out`: those that hold addresses and are not among them, and why, for people."""

    interfaces: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def choose(named: tuple[str, ...], addresses: Iterable[str], how: Attach) -> Choice:
    """Where to answer queries to `addresses`."""
    if named:
        return Choice(named)
    held = _held()
    nics = {name: machine.nic(name) for name in {*held.values(), *uplinks()}}
    return chosen(frozenset(addresses), held, nics, uplinks(), how)


def chosen(
    addresses: frozenset[str], held: Mapping[str, str], nics: Mapping[str, Nic], routes: tuple[str, ...], how: Attach
) -> Choice:
    """By facts: `held` says which interface an address is on, `nics` what each is, `routes` are those of the default routes.  Pure."""
    on = {held.get(address, "") for address in addresses}
    homes = {name for name in on if not _nowhere(name, nics)}
    if len(homes) < len(on):
        homes |= {name for name in routes if not _nowhere(name, nics)}
    taken, left_out = set(), []
    for name in sorted(homes):
        nic = nics[name]
        if nic.kind == "vlan" and nic.parent:  # the program reads tags itself
            taken.add(nic.parent)
        elif how is Attach.AUTO and nic.kind not in _PLAIN:
            left_out.append(
                f"{name} is a {nic.kind}, where dns.xdp: auto does not attach; nodes.NODE.interfaces names it"
            )
        else:
            taken.add(name)
    return Choice(tuple(sorted(taken)), tuple(left_out))


def _nowhere(name: str, nics: Mapping[str, Nic]) -> bool:
    return name in _NOWHERE or (name in nics and nics[name].kind in _NOWHERE - {""})


def _held() -> dict[str, str]:
    """Address -> interface."""
    found = {}
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                found[str(ip_address(entry.address.partition("%")[0]))] = name
    return found
