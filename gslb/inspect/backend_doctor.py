"""What is wrong with a backend, and the line that mends it.  Pure.

Rule 1: a check says what it found even where nothing is wrong, so that what was looked at can be seen.
Rule 2: what cannot be known here, or is wrong only perhaps, is worth a look and fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from gslb.inspect import backend_steps as steps
from gslb.inspect.backend import Part, Task
from gslb.inspect.backend_facts import Facts, effective
from gslb.inspect.backend_steps import Decap
from gslb.model.deployment import Address, Forward, Network
from xdp.decap import DecapCount, Decapsulation
from xdp.messages import Attached

SETUP = "gslb backend setup"
_LEAST_MTU = {4: 576, 6: 1280}  # that every network carries (RFC 791, RFC 8200 section 5)


class Judged(StrEnum):
    """What a check comes to."""

    OK = "ok"
    LOOK = "look"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result; `mend` is a line to run, or empty."""

    judged: Judged
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """What a check looks at."""

    task: Task
    facts: Facts
    interface: str
    decap: Decap


def findings(case: Case) -> tuple[Finding, ...]:
    """The results of all checks, in the order in which `setup` makes what they are about.

    So whoever runs the lines from the top has the machine silent about the VIPs before it has them.
    """
    return tuple(finding for check in CHECKS for finding in check(case))


def _decapsulation(case: Case) -> Iterator[Finding]:
    if not case.task.ends or case.decap is Decap.NONE:
        return
    if case.decap is Decap.KERNEL:
        yield from _tunnel_devices(case)
    elif not case.facts.decap_known:
        yield Finding(Judged.LOOK, "whether tunnels end here is seen by root only", "sudo gslb backend doctor")
    elif case.facts.decap is None:
        refusal = case.facts.refusal
        why = f" ({refusal.why})" if refusal is not None else ""
        mend = refusal.mend if refusal is not None and refusal.mend else SETUP
        yield Finding(Judged.WRONG, f"nothing takes the outer headers off what comes in tunnels{why}", mend)
    else:
        yield from _program(case, case.facts.decap)


def _program(case: Case, found: Decapsulation) -> Iterator[Finding]:
    here = next((one for one in found.interfaces if one.name == case.interface), None)
    if here is None or here.attached is Attached.NOT:
        yield Finding(Judged.WRONG, f"decapsulation does not run on {case.interface}", SETUP)
        return
    missing = [*(set(case.task.tunnelled) - found.vips), *(set(case.task.ends) - found.ends)]
    if missing:
        named = ", ".join(sorted(map(_shown, missing)))
        yield Finding(Judged.WRONG, f"decapsulation on {case.interface} does not know {named}", SETUP)
    taken = found.counts.get(DecapCount.DECAP_IP, 0) + found.counts.get(DecapCount.DECAP_GUE, 0)
    text = f"decapsulation runs on {case.interface} ({here.attached}), {taken} packets taken out of tunnels so far"
    if here.attached is Attached.GENERIC:
        yield Finding(Judged.LOOK, f"{text}; slower than native: {here.why}", here.mend)
    else:
        yield Finding(Judged.OK, text)
    strange = found.counts.get(DecapCount.DECAP_NOT_OURS, 0)
    if strange:
        text = f"{strange} packets came in tunnels for what is no VIP of this machine: is this file the balancer's?"
        yield Finding(Judged.LOOK, text)


def _tunnel_devices(case: Case) -> Iterator[Finding]:
    for end in case.task.ends:
        device = steps.DEVICES[end.version]
        needed = "sit" if end.version == 4 else "ip6_tunnel"
        found = case.facts.devices.get(device)
        if found is not None and found.up:
            yield Finding(Judged.OK, f"tunnels to {end} end at {device}")
        elif found is None and needed not in case.facts.modules:
            text = f"this kernel has no module {needed} to end tunnels to {end} with"
            yield Finding(Judged.WRONG, text, f"{SETUP} --decap xdp")
        else:
            yield Finding(Judged.WRONG, f"no tunnel device ends tunnels to {end}", f"{SETUP} --decap kernel")
    versions = {part.address.version for part in case.task.parts if part.forward is Forward.GUE}
    for version in sorted(versions):
        if (version, steps.GUE_PORT) not in case.facts.gue:
            text = f"nothing takes GUE at UDP port {steps.GUE_PORT} over IPv{version}"
            yield Finding(Judged.WRONG, text, f"{SETUP} --decap kernel")


def _joined(case: Case) -> Iterator[Finding]:
    if case.task.ends and case.decap is Decap.XDP and case.facts.devices[case.interface].lro:
        text = f"LRO of {case.interface} joins packets before their outer headers are taken off"
        yield Finding(Judged.WRONG, text, f"ethtool -K {case.interface} lro off")


def _filtered(case: Case) -> Iterator[Finding]:
    for device in steps.rp_filters(case.task, case.facts, case.interface, case.decap):
        if effective(case.facts, device, "rp_filter") == steps.STRICT:
            text = f"{device} drops packets of clients to whom the way back leaves elsewhere (rp_filter is strict)"
            yield Finding(Judged.WRONG, text, steps.loosened(case.facts, device).line)
        else:
            yield Finding(Judged.OK, f"{device} takes packets of any client (rp_filter is not strict)")


def _firewall(case: Case) -> Iterator[Finding]:
    for chain in case.facts.dropping or ():
        part = case.task.parts[0]
        vip, listen = part.vips[0], part.listen[0]
        family = "ip" if vip.version == 4 else "ip6"
        port = f"{listen.protocol} dport {listen.port}" if listen.port else f"meta l4proto {listen.protocol}"
        text = f"chain {chain} drops what no rule accepts: it must accept every VIP and port"
        yield Finding(Judged.LOOK, text, f"nft insert rule {chain} {family} daddr {_shown(vip)} {port} accept")
        if case.decap is Decap.KERNEL:
            carried = f"udp dport {steps.GUE_PORT}" if Forward.GUE in case.task.forwards else "meta l4proto { 4, 41 }"
            yield Finding(
                Judged.LOOK, f"chain {chain} must accept tunnels", f"nft insert rule {chain} '{carried}' accept"
            )


def _addresses(case: Case) -> Iterator[Finding]:
    for vip in case.task.vips:
        if steps.holds(case.facts, vip):
            yield Finding(Judged.OK, f"{_shown(vip)} is an address of lo")
        else:
            text = f"{_shown(vip)} is no address of lo: packets to it are not taken"
            yield Finding(Judged.WRONG, text, steps.held(case.facts, vip).line)
        for name, device in case.facts.devices.items():
            at = next((one for one in device.addresses if name != "lo" and one.ip in vip), None)
            if at is not None:
                text = f"{at.ip} is an address of {name}, which answers for it in the place of the balancer"
                yield Finding(Judged.WRONG, text, f"ip address del {at} dev {name}")


def _arp(case: Case) -> Iterator[Finding]:
    if not case.facts.devices[case.interface].arp:
        return
    wrong = [step for step in steps.silence(case.task, case.facts, case.interface) if not step.met]
    for step in wrong:
        does = "answers" if "arp_ignore" in step.line else "asks"
        yield Finding(Judged.WRONG, f"{case.interface} {does} by ARP as if it had the VIPs of lo", step.line)
    if not wrong and any(vip.version == 4 for vip in case.task.vips):
        yield Finding(Judged.OK, f"{case.interface} is silent by ARP for the VIPs")


def _services(case: Case) -> Iterator[Finding]:
    for part in case.task.parts:
        for listen in part.listen:
            if not listen.port:
                continue
            for vip in part.vips:
                what = f"{_shown(vip)} {listen.protocol}/{listen.port} ({part.pool})"
                if _listened(case.facts, listen.protocol, vip, listen.port):
                    yield Finding(Judged.OK, f"something listens on {what}")
                else:
                    kind = "t" if listen.protocol == "tcp" else "u"
                    text = f"nothing listens on {what}: the service must, there or on every address"
                    yield Finding(Judged.WRONG, text, f"ss -ln{kind}p 'sport = :{listen.port}'")


def _listened(facts: Facts, protocol: str, vip: Network, port: int) -> bool:
    """A socket of `::` takes IPv4 as well, unless it was told not to, which the kernel does not show."""
    for kind, address, number in facts.listening:
        if (kind, number) == (protocol, port) and (_covers(address, vip) or address in vip):
            return True
    return False


def _covers(address: Address, vip: Network) -> bool:
    return address.is_unspecified and (address.version == vip.version or address.version == 6)


def _segments(case: Case) -> Iterator[Finding]:
    mtu = case.facts.devices[case.interface].mtu
    wanted = steps.wanted_mss(case.task, mtu)
    for vip, mss in wanted.items():
        text = f"clients of {_shown(vip)} are told segments of at most {mss} octets"
        if case.facts.mss is None:
            why = "is seen by root only" if case.facts.nft else "needs nftables"
            yield Finding(Judged.LOOK, f"whether {text} {why}", "" if case.facts.nft else "apt-get install nftables")
        elif case.facts.mss.get(vip, 1 << 16) > mss:
            yield Finding(Judged.WRONG, f"clients of {_shown(vip)} send segments that do not fit in the tunnel", SETUP)
        else:
            yield Finding(Judged.OK, text)


def _mtu(case: Case) -> Iterator[Finding]:
    mtu = case.facts.devices[case.interface].mtu
    for part in case.task.parts:
        if not part.overhead:
            continue
        left = mtu - part.overhead
        if any(left < _LEAST_MTU[vip.version] for vip in part.vips):
            text = f"{case.interface} has an MTU of {mtu}: {left} octets are left in tunnels of {part.pool}, too few"
            yield Finding(Judged.WRONG, text, f"ip link set {case.interface} mtu 1500")
        else:
            yield Finding(
                Judged.OK,
                f"{case.interface} has an MTU of {mtu}: packets of {left} octets fit in tunnels of {part.pool}",
            )


def _replies(case: Case) -> Iterator[Finding]:
    for version in sorted({vip.version for vip in case.task.vips}):
        device = case.facts.default_devices.get(version)
        if device:
            yield Finding(Judged.OK, f"replies to clients leave by {device} (IPv{version})")
        else:
            family = "-6 " if version == 6 else ""
            text = f"there is no default route for IPv{version}: replies to clients have no way"
            yield Finding(Judged.WRONG, text, f"ip {family}route add default via GATEWAY dev {case.interface}")


def _shown(what: Network | Address) -> str:
    if isinstance(what, Network) and what.prefixlen == what.max_prefixlen:
        return str(what.network_address)
    return str(what)


def served(part: Part) -> str:
    """One pool in words: as whom this machine serves it, and how."""
    return f"{part.pool} as {part.address} ({part.forward})"


CHECKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    _arp,
    _decapsulation,
    _joined,
    _filtered,
    _firewall,
    _mtu,
    _segments,
    _addresses,
    _services,
    _replies,
)
