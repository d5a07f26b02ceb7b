"""The twin's hash against the reference, and the choice against what the maps hold."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.layout import BackendFlags, Mode
from xdp import flow
from xdp.flow import (
    TCP,
    UDP,
    Entry,
    Flow,
    UdpEntry,
    choose,
    flow_hash,
    index_of,
    octets_of,
    siphash13,
    slot_of,
    tag_of,
    udp_tag_of,
)

KEY = bytes(range(16))
CLIENT = Flow("203.0.113.7", "198.51.100.1", 40000, 80, TCP)
ASK = Flow("203.0.113.7", "198.51.100.1", 40000, 53, UDP)


@dataclass
class Remembered:
    """Maps as dictionaries."""

    vips: dict[tuple[str, int, int], Entry] = field(default_factory=dict)
    prefixes: dict[tuple[str, int, int], Entry] = field(default_factory=dict)
    slots: dict[int, tuple[int, int]] = field(default_factory=dict)
    down: AbstractSet[int] = frozenset()
    gone: AbstractSet[int] = frozenset()
    new_flows: dict[int, int] = field(default_factory=dict)
    udp: UdpEntry = field(default=UdpEntry(0, 0, 0))

    def key(self) -> bytes:
        return KEY

    def vip(self, address: bytes, port: int, protocol: int) -> Entry | None:
        return next(
            (e for (a, p, q), e in self.vips.items() if (octets_of(a), p, q) == (address, port, protocol)), None
        )

    def prefix(self, address: bytes, port: int, protocol: int) -> Entry | None:
        return next(
            (e for (a, p, q), e in self.prefixes.items() if (octets_of(a), p, q) == (address, port, protocol)), None
        )

    def slot(self, ring: int, slot: int) -> tuple[int, int] | None:  # noqa: ARG002
        return self.slots.get(ring)

    def backend(self, backend: int) -> tuple[int, int]:
        flags = BackendFlags.BACKEND_DOWN if backend in self.down else 0
        return (Mode.MODE_L2 if backend else Mode.MODE_NONE), flags | (
            BackendFlags.BACKEND_UNREACHABLE if backend in self.gone else 0
        )

    def new_flow(self, flow_hash: int) -> int | None:
        return self.new_flows.get(flow_hash)

    def udp_flow(self, index: int) -> UdpEntry:  # noqa: ARG002
        return self.udp


def served(**changes: object) -> Remembered:
    vips = {("198.51.100.1", 80, TCP): Entry(7, 3), ("198.51.100.1", 53, UDP): Entry(8, 3)}
    return Remembered(**({"vips": vips, "slots": {3: (1, 2)}} | changes))  # type: ignore[arg-type]


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="this interpreter hashes otherwise")
def test_siphash_is_that_of_the_interpreter() -> None:
    """CPython hashes octets by SipHash-1-3, with a key of zeros where PYTHONHASHSEED is 0."""
    lengths = range(1, 41)
    program = f"print([hash(bytes(range(n))) for n in {list(lengths)}])"
    told = subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": "0"}, capture_output=True, check=True)
    want = [int(word) % (1 << 64) for word in told.stdout.decode().strip("[]\n").split(",")]
    assert [siphash13(bytes(16), bytes(range(length))) for length in lengths] == want


def test_every_balancer_hashes_alike() -> None:
    """Changing these numbers moves users."""
    assert flow_hash(KEY, CLIENT) == 15796677859813489117
    assert flow_hash(KEY, Flow("2001:db8::7", "2001:db8::1", 40000, 443, UDP)) == 5842566449744538269
    assert slot_of(flow_hash(KEY, CLIENT)) == 56121


@given(st.integers(0, 2**64 - 1))
def test_parts_of_a_hash_stay_within_their_tables(hashed: int) -> None:
    assert 0 <= slot_of(hashed) < 65537
    assert 0 <= index_of(hashed) < 65536
    assert 0 <= tag_of(hashed) < 2**32
    assert 0xC000 <= flow.gue_source_port(hashed) <= 0xFFFF


@pytest.mark.parametrize(
    ("held", "asked", "syn", "backend", "why"),
    [
        (served(vips={}), CLIENT, False, 0, "no VIP has this address, port and protocol: it goes to the kernel"),
        (served(slots={}), CLIENT, False, 0, "the VIP has no ring: dropped"),
        (served(slots={3: (0, 0)}), CLIENT, False, 0, "the slot is empty: dropped"),
        (served(slots={3: (1, 0)}), CLIENT, False, 1, "the slot's backend"),
        (served(slots={3: (1, 0)}, gone={1}), CLIENT, False, 1, "the slot's backend, which cannot be reached: dropped"),
        (served(), CLIENT, True, 1, "a new flow goes to the slot's current backend"),
        (served(), CLIENT, False, 2, "the slot's previous backend keeps the flows that it had"),
        (served(down={2}), CLIENT, False, 1, "the backend that had the flow is down: the slot's current one"),
        (
            served(new_flows={flow_hash(KEY, CLIENT): 9}),
            CLIENT,
            False,
            9,
            "the flow began since the slot changed, with this backend",
        ),
        (served(), ASK, False, 1, "no such flow was seen in the last minute: the slot's current backend"),
        (
            served(udp=UdpEntry(udp_tag_of(flow_hash(KEY, ASK), 8), 9, 20)),
            ASK,
            False,
            9,
            "the flow was seen in the last minute, with this backend",
        ),
        (
            served(udp=UdpEntry(udp_tag_of(flow_hash(KEY, ASK), 8), 9, 20), down={9}),
            ASK,
            False,
            1,
            "the backend that had the flow is down: the slot's current one",
        ),
        (
            served(udp=UdpEntry(udp_tag_of(flow_hash(KEY, ASK), 8), 9, 5)),
            ASK,
            False,
            1,
            "no such flow was seen in the last minute: the slot's current backend",
        ),
    ],
)
def test_choice(held: Remembered, asked: Flow, syn: bool, backend: int, why: str) -> None:  # noqa: FBT001
    choice = choose(held, asked, 20 * 2**32 / 1e9 + 1, syn=syn)
    assert (choice.backend, choice.why) == (backend, why)


def test_the_address_says_more_than_a_prefix_and_a_port_more_than_none() -> None:
    at = "198.51.100.1"
    order = [("vips", (at, 80, TCP)), ("vips", (at, 0, TCP)), ("prefixes", (at, 80, TCP)), ("prefixes", (at, 0, TCP))]
    for given_ in range(1, len(order) + 1):
        held = Remembered()
        for number, (table, key) in list(enumerate(order))[-given_:]:
            getattr(held, table)[key] = Entry(number, 1)
        found = flow.find_vip(held, CLIENT)
        assert found is not None
        assert found.vip == len(order) - given_
