"""ICMP and ICMPv6 towards VIPs: echo is answered, errors go to the backend of the flow that they quote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.xdp.packets.cases import DROP, PASS, TX, Case, check, named, sent
from tests.xdp.packets.frames import CLIENT, OUTER_TTL, OUTSIDE, Tags, checksum, ether, ip, leaves, octets, tcp, udp
from tests.xdp.packets.scene import BACKENDS, DOWN, MODES, OWN, ROUTER, VIPS, Scene, address_of, all_slots
from xdp.flow import Flow

pytestmark = pytest.mark.root
BOTH = (4, 6)
TAGS: dict[str, Tags] = {"untagged": (), "VLAN": ((0x8100, 12),), "QinQ": ((0x88A8, 7), (0x8100, 12))}
NUMBERS = {TCP: 6, UDP: 17}


# ---- echo ----


def echo(version: int, to: str, data: bytes, *, tags: Tags = (), **fields: int) -> tuple[Packet, Packet]:
    """A request and its answer, as frames."""
    link = ether(tags=tags)
    link[Ether].src, link[Ether].dst = OWN, ROUTER
    there, back = ip(version, CLIENT[version], to, **fields), ip(version, to, CLIENT[version], **fields)
    if version == 4:
        back.ttl = OUTER_TTL
        asked = there / ICMP(type=8, id=7, seq=9) / Raw(data)
        return ether(tags=tags) / asked, link / back / ICMP(type=0, id=7, seq=9) / Raw(data)
    back.hlim = OUTER_TTL
    asked = there / ICMPv6EchoRequest(id=7, seq=9, data=data)
    return ether(tags=tags) / asked, link / back / ICMPv6EchoReply(id=7, seq=9, data=data)


def echoes() -> Iterator[Case]:
    for version in BOTH:
        vip = address_of("l2", version)
        for size in (0, 1, 2, 3, 55, 56, 57, 1001, 1471):
            asked, answer = echo(version, vip, bytes(at & 0xFF for at in range(size)))
            yield Case(f"v{version} echo of {size} octets", asked, TX, answer, {"ECHO": 1})
        for name, tags in TAGS.items():
            asked, answer = echo(version, vip, b"odd", tags=tags)
            yield Case(f"v{version} echo, {name}", asked, TX, answer, {"ECHO": 1})
        for tos in (1, 0xB9):
            asked, answer = echo(version, vip, b"even", tos=tos)
            yield Case(f"v{version} echo keeps ToS {tos:#04x}", asked, TX, answer, {"ECHO": 1})
        for ttl in (0, 1, 64, 255):
            asked, answer = echo(version, vip, b"even", ttl=ttl)
            yield Case(f"v{version} echo, TTL {ttl}", asked, TX, answer, {"ECHO": 1})
        asked, answer = echo(version, vip, b"pad")
        yield Case(f"v{version} echo, padded", bytes(asked) + bytes(5), TX, bytes(answer) + bytes(5), {"ECHO": 1})
        for name, to in (("with no ring", "103"), ("with an empty ring", "102")):
            asked, answer = echo(version, ("198.51.100." if version == 4 else "2001:db8:5::") + to, b"x")
            yield Case(f"v{version} echo to a VIP {name}", asked, TX, answer, {"ECHO": 1})
        within = {4: "203.0.114.77", 6: "2001:db8:6::77"}[version]
        asked, answer = echo(version, within, b"within")
        yield Case(f"v{version} echo to an address of a prefix", asked, TX, answer, {"ECHO": 1})


@pytest.mark.parametrize("case", [*echoes()], ids=named)
def test_echo(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


@pytest.mark.parametrize("version", BOTH)
def test_echo_checksums_by_plain_addition(scene: Scene, version: int) -> None:
    """Sums of every kind, those next to 0 and 0xffff among them, where RFC 1624 found RFC 1141 wrong."""
    vip = address_of("l2", version)
    asked, _ = echo(version, vip, bytes(2))
    plain = bytearray(bytes(asked))
    at = 34 if version == 4 else 54
    plain[at + 8 : at + 10] = bytes(2)
    base = int.from_bytes(plain[at + 2 : at + 4], "big")
    for want in [*range(0x30), *range(0xF7F0, 0xF810), *range(0x7F0, 0x810), *range(0xFFD0, 0xFFFF)]:
        frame = bytearray(plain)
        word = (base - want) % 0xFFFF
        frame[at + 2 : at + 4] = want.to_bytes(2, "big")
        frame[at + 8 : at + 10] = word.to_bytes(2, "big")
        assert total(bytes(frame), version) == 0
        _, out = scene.programs.quick(bytes(frame))
        assert total(out, version) == 0
        assert out[at] == (0 if version == 4 else 129)


def total(frame: bytes, version: int) -> int:
    """The checksum of the ICMP message of a frame, which holds its own: 0.  RFC 792, RFC 4443 section 2.3."""
    if version == 4:
        return checksum(frame[14:34]) or checksum(frame[34:])
    message = frame[54:]
    return checksum(frame[22:54] + len(message).to_bytes(4, "big") + b"\0\0\0\x3a" + message)


@pytest.mark.parametrize("version", BOTH)
def test_a_fragmented_echo_is_left_to_the_stack(scene: Scene, version: int) -> None:
    vip = address_of("l2", version)
    if version == 4:
        packet: Packet = ip(4, CLIENT[4], vip, flags="MF") / ICMP(type=8) / Raw(bytes(8))
    else:
        packet = ip(6, CLIENT[6], vip) / IPv6ExtHdrFragment(m=1, id=5) / ICMPv6EchoRequest(data=bytes(8))
    check(scene.programs, Case("first fragment", ether() / packet, PASS, None, {"ICMP_UNKNOWN": 1}))


# ---- errors ----


def errors(version: int) -> dict[str, Packet]:
    """Every error that a router or a client may send."""
    if version == 4:
        return {
            "host unreachable": ICMP(type=3, code=1),
            "port unreachable": ICMP(type=3, code=3),
            "fragmentation needed": ICMP(type=3, code=4, nexthopmtu=1400),
            "time exceeded": ICMP(type=11, code=0),
            "parameter problem": ICMP(type=12, code=0, ptr=9),
        }
    return {
        "no route": ICMPv6DestUnreach(code=0),
        "port unreachable": ICMPv6DestUnreach(code=4),
        "packet too big": ICMPv6PacketTooBig(mtu=1280),
        "time exceeded": ICMPv6TimeExceeded(),
        "parameter problem": ICMPv6ParamProblem(ptr=7),
    }


def quote(backend: str, version: int, kind: type[Packet], behind: int | None = None, **fields: object) -> bytes:
    """What a VIP sent its client, `behind` octets of what follows the IP header."""
    whole = ip(version, address_of(backend, version), CLIENT[version], **fields)
    header = len(bytes(whole))
    packet = bytes(whole / kind(sport=80, dport=40000) / Raw(b"answer"))
    return packet if behind is None else packet[: header + behind]


def error(backend: str, version: int, kind: Packet, quoted: bytes, **fields: object) -> Packet:
    """An error of a router about what the VIP sent."""
    return ip(version, OUTSIDE[version], address_of(backend, version), **fields) / kind / Raw(quoted)


def flow_of(backend: str, version: int, protocol: int) -> Flow:
    """The client's flow that such an error is about."""
    return Flow(CLIENT[version], address_of(backend, version), 40000, 80, protocol)


def follows(name: str, backend: str, packet: Packet, protocol: int) -> Case:
    """It goes where the flow goes."""
    version = 4 if isinstance(packet, IP) else 6
    vip = f"{backend}/{version}/{'tcp' if protocol == 6 else 'udp'}"
    counts = sent(vip, backend, octets(packet)) | {"ICMP_FORWARDED": 1, f"{vip}.errors": 1}
    expect = leaves(backend, packet, flow=flow_of(backend, version, protocol))
    return Case(f"v{version} {backend}: {name}", ether() / packet, TX, expect, counts)


def followed() -> Iterator[Case]:
    for version in BOTH:
        for backend in MODES:
            for kind, number in NUMBERS.items():
                for name, header in errors(version).items():
                    packet = error(backend, version, header, quote(backend, version, kind))
                    yield follows(f"{name} about {kind.__name__}", backend, packet, number)
                packet = error(backend, version, errors(version)["time exceeded"], quote(backend, version, kind, 8))
                yield follows(f"8 octets of {kind.__name__} are enough", backend, packet, number)
    too_big = errors(4)["fragmentation needed"]
    yield follows(
        "options in the quote",
        "ip4",
        error("ip4", 4, too_big, quote("ip4", 4, TCP, 8, options=[IPOption_NOP()] * 4)),
        6,
    )
    yield follows(
        "a first fragment in the quote", "ip4", error("ip4", 4, too_big, quote("ip4", 4, UDP, flags="MF")), 17
    )


@pytest.mark.parametrize("case", [*followed()], ids=named)
def test_errors_follow_the_flow_that_they_quote(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


def strangers() -> Iterator[Case]:
    """Errors of which nothing says whose they are: the stack may have them."""
    for version in BOTH:
        header = errors(version)["time exceeded"]
        good = quote("l2", version, TCP)
        elsewhere = bytes(ip(version, address_of("one", version), CLIENT[version]) / TCP(sport=80, dport=40000))
        port = bytes(ip(version, address_of("l2", version), CLIENT[version]) / TCP(sport=81, dport=40000))
        names = {
            "a quote of another source": elsewhere,
            "a quote of a port that is no VIP": port,
            "7 octets behind the header": quote("l2", version, TCP, 7),
            "a header alone": quote("l2", version, TCP, 0),
            "half a header": good[:12],
            "no quote": b"",
            "a quote of another version": bytes([good[0] ^ 0x20]) + good[1:],
        }
        for name, quoted in names.items():
            packet = error("l2", version, header, quoted)
            yield Case(f"v{version} {name}", ether() / packet, PASS, None, {"ICMP_UNKNOWN": 1})
        packet = ip(version, OUTSIDE[version], CLIENT[version]) / header / Raw(good)
        yield Case(f"v{version} to another address", ether() / packet, PASS, None, {"ICMP_UNKNOWN": 1})
    header = errors(4)["time exceeded"]
    vip4, vip6 = address_of("l2", 4), address_of("l2", 6)
    for name, quoted in {
        "a later fragment quoted": bytes(ip(4, vip4, CLIENT[4], df=False, frag=9, proto=6) / Raw(bytes(20))),
        "an echo reply quoted": bytes(ip(4, vip4, CLIENT[4]) / ICMP(type=0)),
        "a quoted header of 16 octets": bytes(ip(4, vip4, CLIENT[4], ihl=4) / TCP(sport=80)),
    }.items():
        yield Case(f"v4 {name}", ether() / error("l2", 4, header, quoted), PASS, None, {"ICMP_UNKNOWN": 1})
    header = errors(6)["time exceeded"]
    for name, quoted in {
        "extension headers quoted": bytes(ip(6, vip6, CLIENT[6]) / IPv6ExtHdrDestOpt() / TCP(sport=80)),
        "an echo reply quoted": bytes(ip(6, vip6, CLIENT[6]) / ICMPv6EchoReply()),
    }.items():
        yield Case(f"v6 {name}", ether() / error("l2", 6, header, quoted), PASS, None, {"ICMP_UNKNOWN": 1})


@pytest.mark.parametrize("case", [*strangers()], ids=named)
def test_errors_about_nothing_of_ours_are_passed(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


@pytest.mark.parametrize("version", BOTH)
def test_errors_that_would_loop_or_reach_nobody(scene: Scene, version: int) -> None:
    header = errors(version)["time exceeded"]
    last = error("ip4", version, header, quote("ip4", version, TCP), ttl=1)
    check(scene.programs, Case("TTL 1 in a tunnel", ether() / last, DROP, None, {"TTL": 1}))
    lost = error("lost", version, header, quote("lost", version, TCP))
    check(scene.programs, Case("unreachable", ether() / lost, DROP, None, {"NO_BACKEND": 1}))


@pytest.mark.parametrize("version", BOTH)
def test_in_a_changed_slot_an_error_follows_what_is_remembered(scene: Scene, version: int) -> None:
    """A flow that nobody saw begin is an older one: its errors go to the previous backend, or from one that is down to the current."""
    one, two = BACKENDS["one"], BACKENDS["two"]
    vip, header = VIPS[f"moving/{version}/tcp"], errors(version)["time exceeded"]
    scene.moving(all_slots(two.number, one.number))

    def about(port: int, backend: str) -> Case:
        quoted = bytes(ip(version, vip.address, CLIENT[version]) / TCP(sport=80, dport=port))
        packet = ip(version, OUTSIDE[version], vip.address) / header / Raw(quoted)
        name = f"moving/{version}/tcp"
        counts = sent(name, backend, octets(packet)) | {"ICMP_FORWARDED": 1, f"{name}.errors": 1}
        return Case(f"port {port} to {backend}", ether() / packet, TX, leaves(backend, packet), counts)

    began = tcp("l2", version, "S", sport=50001)
    began.dst = vip.address
    scene.programs.quick(bytes(ether() / began))
    check(scene.programs, about(50001, "two"))
    check(scene.programs, about(50002, "one"))
    scene.backend(replace(one, flags=DOWN))
    check(scene.programs, about(50002, "two"))
    assert len(list(scene.programs.maps["new_flows"].keys())) == 1


@pytest.mark.parametrize("version", BOTH)
def test_an_error_about_udp_begins_no_flow(scene: Scene, version: int) -> None:
    scene.programs.quick(
        bytes(ether() / error("l2", version, errors(version)["time exceeded"], quote("l2", version, UDP)))
    )
    packet = udp("l2", version)
    counts = sent(f"l2/{version}/udp", "l2", octets(packet), udp_flows=1)
    check(scene.programs, Case("the flow's first datagram", ether() / packet, TX, leaves("l2", packet), counts))
