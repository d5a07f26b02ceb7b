"""What is for nobody whom we balance goes to the kernel as it came."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from tests.xdp.packets.cases import PASS, Case, check, named
from tests.xdp.packets.frames import CLIENT, ether, ip, tcp, udp
from tests.xdp.packets.scene import GUE_PORT, OWN, OWN4, OWN6, ROUTER, Scene, address_of

pytestmark = pytest.mark.root
BODY = Raw(b"hello")


def not_ip() -> Iterator[tuple[str, Packet]]:
    yield "ARP", Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="192.0.2.1", pdst=OWN4)
    yield "ARP for a VIP", Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="192.0.2.1", pdst=address_of("l2", 4))
    yield "LLDP", Ether(src=ROUTER, dst=OWN, type=0x88CC) / Raw(bytes(50))
    yield "a frame with a length", Ether(src=ROUTER, dst=OWN, type=0x0100) / Raw(bytes(256))
    yield "MPLS", Ether(src=ROUTER, dst=OWN, type=0x8847) / Raw(bytes(50))
    yield "ARP in a VLAN", Ether(src=ROUTER, dst=OWN) / Dot1Q(vlan=5) / ARP()
    yield "nothing but an Ethernet header of no known type", Ether(src=ROUTER, dst=OWN, type=0x9999)
    yield "three VLAN tags", ether(tags=((0x8100, 1), (0x8100, 2), (0x8100, 3))) / tcp("l2", 4)


def no_vip() -> Iterator[tuple[str, Packet]]:
    for version in (4, 6):
        client, vip, own = CLIENT[version], address_of("l2", version), (OWN4, OWN6)[version == 6]
        yield f"v{version} TCP to no VIP", ip(version, client, own) / TCP(dport=80) / BODY
        yield f"v{version} UDP to no VIP", ip(version, client, own) / UDP(dport=80) / BODY
        yield f"v{version} TCP to another port of a VIP", ip(version, client, vip) / TCP(dport=81) / BODY
        yield f"v{version} UDP to another port of a VIP", ip(version, client, vip) / UDP(dport=81) / BODY
        yield f"v{version} SCTP to a VIP", ip(version, client, vip) / SCTP(dport=80) / BODY
        yield f"v{version} GRE to a VIP", ip(version, client, vip) / GRE() / BODY
        yield f"v{version} a tunnel to us", ip(version, client, own) / tcp("l2", 4)
        yield f"v{version} a tunnel of IPv6 to us", ip(version, client, own) / tcp("l2", 6)
        yield f"v{version} GUE to us", ip(version, client, own) / UDP(dport=GUE_PORT) / tcp("l2", 4)
        yield f"v{version} from a VIP", ip(version, vip, client) / TCP(sport=80, dport=40000) / BODY
    yield "v4 multicast", ip(4, CLIENT[4], "224.0.0.1", proto=2) / BODY
    yield "v6 no next header", IPv6(src=CLIENT[6], dst=address_of("l2", 6), nh=59)
    yield "v4 UDP VIP's port over TCP", ip(4, CLIENT[4], "198.51.100.101") / TCP(dport=53) / BODY


def no_flow() -> Iterator[tuple[str, Packet]]:
    yield "v4 echo request to us", ip(4, CLIENT[4], OWN4) / ICMP() / BODY
    yield "v6 echo request to us", ip(6, CLIENT[6], OWN6) / ICMPv6EchoRequest(data=b"x")
    yield "v4 echo reply to a VIP", ip(4, CLIENT[4], address_of("l2", 4)) / ICMP(type=0) / BODY
    yield "v4 timestamp request to a VIP", ip(4, CLIENT[4], address_of("l2", 4)) / ICMP(type=13)
    yield "v4 redirect to a VIP", ip(4, CLIENT[4], address_of("l2", 4)) / ICMP(type=5) / IP(bytes(tcp("l2", 4)))
    yield "v6 neighbour solicitation", ip(6, CLIENT[6], "ff02::1:ff00:1", ttl=255) / ICMPv6ND_NS(tgt=OWN6)


CASES = [
    *(Case(name, frame, PASS, None, {"NOT_IP": 1}) for name, frame in not_ip()),
    *(Case(name, ether() / packet, PASS, None, {"NO_VIP": 1}) for name, packet in no_vip()),
    *(Case(name, ether() / packet, PASS, None, {"ICMP_UNKNOWN": 1}) for name, packet in no_flow()),
]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_passed(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


def test_a_udp_datagram_with_a_wrong_length_is_not_carried(scene: Scene) -> None:
    packet = udp("l2", 4)
    packet[UDP].len = 9000
    ran = scene.programs.run(bytes(ether() / packet))
    assert ran.verdict in (1, 3)
