"""What makes a machine a backend: lines of `ip`, `sysctl` and `nft`, and the lines that take them back.  Pure.

Rule 1: a step that is met already is not taken, so that setup can be run again.
Rule 2: silence comes before the addresses: a machine never answers for a VIP, not for a moment.
Rule 3: only this machine's replies from a VIP are told a smaller segment, and without connection tracking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gslb.inspect.backend import Task
from gslb.inspect.backend_facts import Facts, effective, sysctl_name
from gslb.model.deployment import Forward, Network

TABLE = "gslb_backend"  # of nftables
GUE_PORT = 6080
DEVICES = {4: "gslb4", 6: "gslb6"}  # tunnel devices, by the version of the outer header
STRICT, LOOSE = 1, 2  # rp_filter (ip-sysctl.rst of Linux)
ARP_IGNORE, ARP_ANNOUNCE = 1, 2


class Decap(StrEnum):
    """What takes the outer headers off."""

    XDP = "xdp"
    KERNEL = "kernel"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Step:
    """One line that is run, the line that takes it back (empty: nothing to take back), and whether it is met already."""

    line: str
    undo: str = ""
    met: bool = False


def steps(task: Task, facts: Facts, interface: str, decap: Decap) -> tuple[Step, ...]:
    """All that is to be run, in this order; the program that decapsulates is not among it."""
    found = list(silence(task, facts, interface))
    if decap is Decap.KERNEL:
        found += _tunnels(task, facts)
    found += _loose(task, facts, interface, decap)
    found += _segments(task, facts, interface)
    found += (held(facts, vip) for vip in task.vips)
    return tuple(found)


def wanted_mss(task: Task, mtu: int) -> dict[Network, int]:
    """The largest segment for each VIP that needs one."""
    found = ((vip, task.mss(vip, mtu)) for vip in task.vips)
    return {vip: mss for vip, mss in found if mss is not None}


def rp_filters(task: Task, facts: Facts, interface: str, decap: Decap) -> tuple[str, ...]:
    """The interfaces at which clients' IPv4 packets come in though the way back to them may leave elsewhere."""
    if not any(vip.version == 4 for vip in task.vips):
        return ()
    if decap is Decap.KERNEL and task.ends:
        return tuple(DEVICES[version] for version in sorted({end.version for end in task.ends}))
    return (interface,) if task.ends or facts.default_devices.get(4, interface) != interface else ()


def silence(task: Task, facts: Facts, interface: str) -> Iterator[Step]:
    """No answer by ARP for a VIP, and no question from one.  NDP answers for no address of another interface by itself."""
    if any(vip.version == 4 for vip in task.vips):
        yield _set(facts, interface, "arp_ignore", ARP_IGNORE)
        yield _set(facts, interface, "arp_announce", ARP_ANNOUNCE)


def _loose(task: Task, facts: Facts, interface: str, decap: Decap) -> Iterator[Step]:
    """The greater of `all` and the interface's counts: 2 is always in force where it is set, 0 is not."""
    for device in rp_filters(task, facts, interface, decap):
        if device in DEVICES.values() or effective(facts, device, "rp_filter"):
            yield loosened(facts, device)


def loosened(facts: Facts, device: str) -> Step:
    """Packets come in here though the way back to their sender leaves elsewhere."""
    return _set(facts, device, "rp_filter", LOOSE)


def _set(facts: Facts, device: str, key: str, value: int) -> Step:
    name = sysctl_name(device, key)
    before = facts.sysctls.get(name)
    undo = "" if before is None else f"sysctl -w {name}={before}"
    met = effective(facts, device, key) == LOOSE if key == "rp_filter" else effective(facts, device, key) >= value
    return Step(f"sysctl -w {name}={value}", undo, met)


def _tunnels(task: Task, facts: Facts) -> Iterator[Step]:
    """Devices that take any inner family: sit(4) with mode any takes IPv4 as well, ip6tnl with mode any takes both."""
    for end in task.ends:
        device = DEVICES[end.version]
        kind = "sit" if end.version == 4 else "ip6tnl"
        there = device in facts.devices
        yield Step(
            f"ip link add name {device} type {kind} mode any local {end} remote any", f"ip link del {device}", there
        )
        yield Step(f"ip link set {device} up", met=there and facts.devices[device].up)
    ends = {part.address.version for part in task.parts if part.forward is Forward.GUE}
    for version in sorted(ends):
        family = "-6 " if version == 6 else ""
        met = (version, GUE_PORT) in facts.gue
        yield Step(
            f"ip fou add port {GUE_PORT} gue {family}".rstrip(), f"ip fou del port {GUE_PORT} {family}".rstrip(), met
        )


def _segments(task: Task, facts: Facts, interface: str) -> Iterator[Step]:
    wanted = wanted_mss(task, facts.devices[interface].mtu)
    if not wanted:
        return
    met = facts.mss == wanted
    yield Step(f"nft add table inet {TABLE}", f"nft delete table inet {TABLE}", met)
    yield Step(f"nft flush table inet {TABLE}", met=met)
    yield Step(f"nft add chain inet {TABLE} mss '{{ type filter hook output priority mangle; }}'", met=met)
    for vip, mss in wanted.items():
        yield Step(segment_line(vip, mss), met=met)


def segment_line(vip: Network, mss: int) -> str:
    """The rule by which this machine tells clients of `vip` the largest segment."""
    family = "ip" if vip.version == 4 else "ip6"
    what = f"{family} saddr {_bare(vip)} tcp flags '& (syn | rst) == syn' tcp option maxseg size set {mss}"
    return f"nft add rule inet {TABLE} mss {what}"


def held(facts: Facts, vip: Network) -> Step:
    """One address of loopback; of a longer range every address is local without being one of an interface."""
    family = "-6 " if vip.version == 6 else ""
    if vip.prefixlen < vip.max_prefixlen:
        route = f"local {vip} dev lo"
        return Step(f"ip {family}route add {route}", f"ip {family}route del {route}", vip in facts.local)
    nodad = " nodad" if vip.version == 6 else ""
    return Step(f"ip address add {vip} dev lo{nodad}", f"ip address del {vip} dev lo", holds(facts, vip))


def holds(facts: Facts, vip: Network) -> bool:
    """Whether `vip` is local by loopback."""
    if vip.prefixlen < vip.max_prefixlen:
        return vip in facts.local
    return any(one.ip == vip.network_address for one in facts.devices["lo"].addresses)


def _bare(vip: Network) -> str:
    return str(vip.network_address) if vip.prefixlen == vip.max_prefixlen else str(vip)


def stale(recorded: Mapping[str, str], wanted: tuple[Step, ...]) -> tuple[str, ...]:
    """The lines that take back what an earlier setup made and nobody wants any more; the last made first."""
    lines = {step.line for step in wanted}
    return tuple(undo for line, undo in reversed([*recorded.items()]) if line not in lines and undo)
