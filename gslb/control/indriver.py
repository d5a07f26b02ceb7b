"""DNS in the driver: what is wanted of it on a node, and what its state means for people.  Pure.

Rule 1: what cannot be had with `auto` is information, since the workers answer; with `on` it is a problem that nothing is answered there,
with `native` and `generic` also that it is not answered so everywhere.  What answers wrongly is a problem always.
Rule 2: an address of loopback is answered only where the program runs on loopback, and one of a link (fe80::) never, since several
interfaces may have it.  One that is not on this machine (`absent`) is not answered until it comes, as the kernel does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from gslb.control.addresses import Present, endpoints
from gslb.control.wanted import ON, Wanted, attach_of, wanted_of
from gslb.model.deployment import Attach, Deployment, Node
from gslb.model.zone import Zone
from gslb.nameserver.generation import File, Manifest
from gslb.nameserver.wire import CLASS_IN, PAIR, Rtype
from xdp.messages import Attached, DnsFile, DnsState, DnsTables, DnsWant, Interface, State

OFF = "dns.xdp is off"
LOOPBACK = "DNS listens on loopback only"
UNKNOWN = "not known yet"
NO_INTERFACE = "no interface holds an address that DNS listens on"
NO_ADDRESS = "no address that DNS listens on is on this machine"
NO_IMAGE = "there is no image to answer from; the log says why"
_PROBE_NAME_MOST = 64  # octets of a zone's name that the program is asked for
_QUERY = b"\0\x01\0\0\0\x01\0\0\0\0\0\0"  # id 1, one question


@dataclass(frozen=True, slots=True)
class DnsOrders:
    """What a node's configuration asks for.  `named`: interfaces; none: they are chosen.  `must`: all that cannot be had is a problem."""

    attach: Attach
    named: tuple[str, ...]
    wanted: Wanted
    must: bool = False


def orders_of(deployment: Deployment, node: Node) -> DnsOrders:
    """What `deployment` asks of `node`."""
    how = attach_of(deployment.dns.xdp)
    must = how in (Attach.NATIVE, Attach.GENERIC) or deployment.dns.xdp == ON
    return DnsOrders(how, node.interfaces, wanted_of(deployment, node), must)


def idle(orders: DnsOrders) -> str:
    """Why the configuration has no query answered in the driver; empty where it has."""
    if orders.attach is Attach.OFF:
        return OFF
    if orders.wanted.driver is Attach.OFF:
        return LOOPBACK
    return ""


def addresses_of(orders: DnsOrders, here: Iterable[Present]) -> tuple[tuple[str, int], ...]:
    """The addresses and ports to answer at."""
    found = {
        (one.address, one.port) for one in endpoints(orders.wanted, here) if one.transport == "udp" and not one.scope_id
    }
    inner = "lo" in orders.named
    return tuple(sorted(one for one in found if inner or not ip_address(one[0]).is_loopback))


def probe_of(zones: Sequence[Zone]) -> str:
    """A query that every image answers, in hex: for the SOA of a zone; empty where there is none."""
    names = [zone.apex for zone in zones if len(zone.apex) <= _PROBE_NAME_MOST]
    return (_QUERY + min(names) + PAIR.pack(Rtype.SOA, CLASS_IN)).hex() if names else ""


def tables_of(manifest: Manifest | None, serving: Path) -> DnsTables | None:
    """The files of a generation; None where it has no image."""
    if manifest is None or manifest.image is None:
        return None
    return DnsTables(_file(manifest.image, serving), _file(manifest.geography, serving))


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands.  `why`: why nothing at all is answered in the driver; `faults`: what fails; `notes`: what is not as it could be;
    `wrong`: what must not be; `absent`: addresses that are answered when they come.
    """

    why: str = ""
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def problems(self, orders: DnsOrders) -> tuple[str, ...]:
        """What people should mend; of `auto` only what is wrong."""
        return (*self.unready(orders), *(self.notes if orders.must and orders.attach is not Attach.AUTO else ()))

    def unready(self, orders: DnsOrders) -> tuple[str, ...]:
        """Why the node does not answer as its configuration demands."""
        if not orders.must or self.why in (LOOPBACK, UNKNOWN, NO_ADDRESS):
            return self.wrong
        return (f"DNS is not answered in the driver: {self.why}",) if self.why else (*self.wrong, *self.faults)

    def lines(self) -> tuple[str, ...]:
        """All of it, for `gslb status`."""
        waiting = (f"not on this machine, answered when it comes: {address}" for address in self.absent)
        return (*self.wrong, *self.faults, *self.notes, *waiting)


def standing(
    orders: DnsOrders, want: DnsWant, state: State, left_out: Sequence[str], absent: Sequence[str] = ()
) -> Standing:
    """What the state of the process means."""
    why = _whole(want, state)
    if why:
        return Standing(why, absent=tuple(absent))
    lesser = [Attached.NOT] if orders.attach is Attach.GENERIC else [Attached.NOT, Attached.GENERIC]
    found = [_told(one) for one in interfaces(want, state) if one.attached in lesser]
    dns = state.dns
    assert dns is not None
    silent = f"DNS in the driver is asked and does not answer: {dns.silent}"
    return Standing(
        "",
        notes=(*found, *left_out),
        faults=((silent,) if dns.silent and not dns.wrong else ()) + dns.problems,
        wrong=(silent,) if dns.wrong else (),
        absent=tuple(absent),
    )


def interfaces(want: DnsWant, state: State) -> tuple[Interface, ...]:
    """Those on which DNS is to be answered, as they are."""
    return tuple(one for one in state.interfaces if one.name in want.interfaces)


def state_json(want: DnsWant | None, state: State | None, stands: Standing) -> dict[str, Any]:
    """For `gslb status` and the API."""
    dns = (state.dns if state is not None else None) or DnsState()
    attached = interfaces(want, state) if want is not None and state is not None else ()
    return {
        "why": stands.why,
        "notes": list(stands.lines()),
        "interfaces": [asdict(one) for one in attached],
        "version": dns.version,
        "octets": dns.octets,
        "addresses": dns.addresses,
    }


def _whole(want: DnsWant, state: State) -> str:
    """Why nothing at all is answered; empty where something is."""
    dns = state.dns or DnsState(refused=state.refused or "the balancer's process has not said how it stands")
    attached = interfaces(want, state)
    reasons = (
        (bool(dns.refused), dns.refused),
        (not dns.image, "; ".join(dns.problems) or NO_IMAGE),
        (not want.addresses, NO_ADDRESS),
        (not dns.addresses, "; ".join(dns.problems) or UNKNOWN),
        (all(one.attached is Attached.NOT for one in attached), "; ".join(map(_told, attached)) or "not attached yet"),
    )
    return next((why for holds, why in reasons if holds), "")


def _told(one: Interface) -> str:
    return f"{one.name}: {_words(one)}"


def _words(one: Interface) -> str:
    what = "not attached" if one.attached is Attached.NOT else "generic mode, which is slower"
    mend = f"; to mend it: {one.mend}" if one.mend else ""
    return f"{what}: {one.why}{mend}" if one.why else f"{what}{mend}"


def _file(file: File, serving: Path) -> DnsFile:
    return DnsFile(str(serving / file.name), file.size, file.digest)
