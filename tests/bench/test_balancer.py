"""The pure parts of the balancer's bench: frames, budgets, tables."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from bench import balancer
from bench.xdppath import Rate
from bench.xdpruns import HEADERS, frame, octets, varied


@pytest.mark.parametrize("protocol", [6, 17])
@pytest.mark.parametrize(
    ("source", "destination", "kind"), [("10.0.0.1", "192.0.2.1", IP), ("2001:db8::1", "2001:db8::2", IPv6)]
)
def test_frames_are_what_they_say(source: str, destination: str, kind: type, protocol: int) -> None:
    sent = frame(source, destination, protocol, 80)
    read = Ether(sent)
    transport = read[TCP if protocol == 6 else UDP]
    assert (read[kind].src, read[kind].dst, transport.dport, transport.sport) == (source, destination, 80, 1024)
    assert len(sent) > HEADERS
    if kind is IP:
        check = read[IP].chksum
        del read[IP].chksum
        assert IP(bytes(read[IP])).chksum == check


@pytest.mark.parametrize(("source", "destination"), [("10.0.0.1", "192.0.2.1"), ("2001:db8::a00:1", "2001:db8::2")])
def test_where_flows_differ(source: str, destination: str) -> None:
    sent = frame(source, destination, 6, 80)
    address, port = varied(sent)
    assert sent[address : address + 4] == octets(source)[12:] == bytes((10, 0, 0, 1))
    assert sent[port : port + 2] == (1024).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("one", "most", "missed"),
    [
        (40, 55, []),
        (45, 56, ["x: 56 ns - at most 55"]),
        (30, 50, ["x: 65536 flows cost 20 ns more than one - at most 15"]),
    ],
)
def test_budgets(one: float, most: float, missed: list[str]) -> None:
    assert balancer.Cost("x", {1: one, 4096: one, 65536: most}, 55).missed == missed
    assert balancer.Cost("x", {1: one, 4096: one, 65536: most}, None).missed == []


def test_tables() -> None:
    cost = balancer.Cost("x", {1: 40.4, 4096: 41, 65536: 42}, 55)
    assert balancer.table([cost]).splitlines()[2] == "| x | 40 | 41 | 42 | 55 |"
    assert balancer.path_table([Rate("L2", 2.8e6, 0.87, 1.0)]).splitlines()[2] == "| L2 | 2.80 | 87% |"


def test_every_case_has_its_ring() -> None:
    assert {case.ring for case in balancer.CASES} <= balancer.RINGS.keys()
    assert len({case.name for case in balancer.CASES}) == len(balancer.CASES)
