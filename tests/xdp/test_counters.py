"""Counters and handshakes read from real maps; a small program of the test writes what the balancer would."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest

from gslb import layout
from xdp.build import build
from xdp.counters import MOST_HANDSHAKES, Counters
from xdp.kernelinfo import described
from xdp.libbpf import XDP_PASS, Map, Object, library, possible_cpus, require, run_on
from xdp.messages import Count, Handshakes
from xdp.ringbuffer import RingBuffer

pytestmark = pytest.mark.root

ARRAY, PER_CPU_ARRAY = 2, 6  # enum bpf_map_type
FIELDS = 8
TALK = r"""
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, %d);
} handshake_log SEC(".maps");

/* The packet's first octet: write (0), or reserve and throw away (1); the next 32 are the record. */
SEC("xdp") int talk(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *record;

	if (data + 33 > end)
		return XDP_DROP;
	record = bpf_ringbuf_reserve(&handshake_log, 32, 0);
	if (!record)
		return XDP_ABORTED;
	__builtin_memcpy(record, data + 1, 32);
	if (*data)
		bpf_ringbuf_discard(record, 0);
	else
		bpf_ringbuf_submit(record, 0);
	return XDP_PASS;
}
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""


@dataclass
class Names:
    vips: dict[int, tuple[str, str]] = field(default_factory=dict)
    backends: dict[int, tuple[tuple[str, str], ...]] = field(default_factory=dict)


class Plane:
    """The maps that are read, and what writes them."""

    def __init__(self, maps: Mapping[str, Map], talk: int) -> None:
        self.maps = maps
        self.adopted = False
        self._talk = talk

    def count(self, name: str, index: int, *cpus: tuple[int, ...]) -> None:
        """Set what each CPU has counted."""
        fields = layout.EventCount.COUNTS if name == "counts" else FIELDS
        values = [*cpus, *[()] * (possible_cpus() - len(cpus))]
        raw = b"".join(struct.pack(f"={fields}Q", *one, *[0] * (fields - len(one))) for one in values)
        self.maps[name].update(struct.pack("=I", index), raw)

    def shake(self, client: str, rtt_us: int, vip: int, backend: int, *, thrown_away: bool = False) -> None:
        """Say a handshake, or begin to and throw it away."""
        record = handshake(client, rtt_us, vip, backend)
        verdict, *_ = run_on(self._talk, bytes([thrown_away]) + record + bytes(60))
        assert verdict == XDP_PASS


def handshake(client: str, rtt_us: int, vip: int, backend: int) -> bytes:
    packed = ip_address(client).packed
    return struct.pack(
        "=16sIIII", packed.rjust(16, b"\0") if len(packed) == 16 else mapped(packed), rtt_us, vip, backend, 0
    )


def mapped(packed: bytes) -> bytes:
    return b"\0" * 10 + b"\xff\xff" + packed


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources, objects = tmp_path_factory.mktemp("c"), tmp_path_factory.mktemp("objects")
    (sources / "talk.bpf.c").write_text(TALK % layout.EVENT_OCTETS)
    build(sources=sources, objects=objects)
    return objects / "talk.bpf.o"


@pytest.fixture
def plane(talk: Path) -> Iterator[Plane]:
    loaded = Object(talk)
    loaded.load()
    maps = {"handshake_log": loaded.map("handshake_log")}
    for name, ids, octets in (
        ("vip_counts", layout.MOST_VIPS, 64),
        ("backend_counts", layout.MOST_BACKENDS, 64),
        ("counts", 1, 8 * layout.EventCount.COUNTS),
    ):
        fd = library().bpf_map_create(PER_CPU_ARRAY, name.encode(), 4, octets, ids, None)
        maps[name] = described(require(fd, f"make {name}"))
    yield Plane(maps, loaded.program_fd("talk"))
    for name in ("vip_counts", "backend_counts", "counts"):
        os.close(maps[name].fd)
    loaded.close()


NAMES = Names({1: ("web", "192.0.2.10 tcp/80")}, {7: (("web", "10.1.0.11"),)})


def test_counters_are_summed_over_cpus_and_named(plane: Plane) -> None:
    counters = Counters(plane, NAMES)
    plane.count("vip_counts", 1, (1, 2, 3, 4, 5, 6, 7, 8), (10, 20, 30, 40, 50, 60, 70, 80))
    plane.count("backend_counts", 7, (5, 4, 3, 2, 1, 9, 8, 0))
    plane.count("counts", 0, (0, 0, 3), (0, 0, 4))
    pulse = counters.read()
    counters.close()
    assert pulse.vips == {"web": {"192.0.2.10 tcp/80": Count(11, 22, 33, 44, 55, 66, 77, 88)}}
    assert pulse.backends == {"web": {"10.1.0.11": Count(5, 4, 3, 2, 1, 9, 8)}}
    assert pulse.events["no_vip"] == 7
    assert pulse.events["not_ip"] == 0
    assert len(pulse.events) == layout.EventCount.COUNTS
    assert pulse.born <= pulse.at


def test_ids_may_change_and_be_used_again(plane: Plane) -> None:
    names = Names({}, {7: (("web", "10.1.0.11"), ("api", "10.1.0.11")), 8: (("web", "10.1.0.12"),)})
    counters = Counters(plane, names)
    plane.count("backend_counts", 7, (100,))
    plane.count("backend_counts", 8, (50,))
    found = counters.read().backends
    assert found["web"]["10.1.0.11"].packets == found["api"]["10.1.0.11"].packets == 100
    names.backends = {7: (("web", "10.1.0.12"),), 9: (("web", "10.1.0.11"),)}
    plane.count("backend_counts", 7, (130,))
    plane.count("backend_counts", 9, (1,))
    found = counters.read().backends
    assert found == {"web": {"10.1.0.12": Count(80), "10.1.0.11": Count(101)}}
    names.backends = {7: (("web", "10.1.0.12"),), 9: (("web", "10.1.0.12"),)}
    plane.count("backend_counts", 9, (6,))
    assert counters.read().backends == {"web": {"10.1.0.12": Count(85)}}
    counters.close()


def test_what_was_counted_before_an_adoption_is_not_counted_again(plane: Plane) -> None:
    plane.count("vip_counts", 1, (1000,))
    plane.adopted = True
    counters = Counters(plane, NAMES)
    plane.count("vip_counts", 1, (1001,))
    assert counters.read().vips["web"]["192.0.2.10 tcp/80"].packets == 1
    counters.close()


def test_handshakes_are_grouped_by_client_network_and_backend(plane: Plane) -> None:
    names = Names({1: ("web", "v"), 2: ("api", "v")}, {7: (("api", "10.1.0.11"), ("web", "10.1.0.11"))})
    counters = Counters(plane, names)
    for client, rtt, vip in (
        ("192.0.2.1", 1000, 1),
        ("192.0.2.200", 2000, 1),
        ("192.0.3.1", 3000, 1),
        ("192.0.2.1", 4000, 2),
        ("2001:db8:1:2ff::1", 5000, 1),
        ("2001:db8:1:200::9", 6000, 1),
    ):
        plane.shake(client, rtt, vip, 7)
    plane.shake("192.0.2.1", 9000, 1, 8)  # a backend that is gone
    plane.shake("192.0.2.1", 9000, 3, 7)  # a VIP that is gone
    plane.shake("192.0.2.1", 9000, 1, 7, thrown_away=True)
    assert set(counters.read().handshakes) == {
        Handshakes("192.0.2.0", "web", "10.1.0.11", (1000, 2000)),
        Handshakes("192.0.3.0", "web", "10.1.0.11", (3000,)),
        Handshakes("192.0.2.0", "api", "10.1.0.11", (4000,)),
        Handshakes("2001:db8:1:200::", "web", "10.1.0.11", (5000, 6000)),
    }
    assert counters.read().handshakes == ()
    counters.close()


def test_of_too_many_handshakes_the_rest_is_passed_over(plane: Plane) -> None:
    counters = Counters(plane, NAMES)
    for number in range(MOST_HANDSHAKES + 500):
        plane.shake("192.0.2.1", number + 1, 1, 7)
    (found,) = counters.read().handshakes
    assert found.rtts_us == tuple(range(1, MOST_HANDSHAKES + 1))
    plane.shake("192.0.2.1", 77, 1, 7)
    (found,) = counters.read().handshakes
    assert found.rtts_us == (77,)
    counters.close()


def test_a_ring_is_read_over_its_end_and_after_it_was_full(plane: Plane) -> None:
    room = layout.EVENT_OCTETS // 40
    said = 0
    with RingBuffer(plane.maps["handshake_log"], layout.EVENT_OCTETS) as ring:
        for _ in range(4):
            for _ in range(room * 2 // 3):
                said += 1
                plane.shake("192.0.2.1", said, 1, 7)
            found = [struct.unpack("=16sIIII", record)[1] for record in ring.read(room)]
            assert found == list(range(said - room * 2 // 3 + 1, said + 1))
        assert not ring.wait(0)
        plane.shake("192.0.2.1", 5, 1, 7)
        assert ring.wait(1)


def test_two_hundred_vips_and_a_thousand_backends_are_read_in_a_few_milliseconds(plane: Plane) -> None:
    names = Names(
        {number: ("web", f"vip {number}") for number in range(1, 201)},
        {number: ((f"pool {number % 40}", f"10.0.{number // 256}.{number % 256}"),) for number in range(1, 1001)},
    )
    counters = Counters(plane, names)
    best = 1.0
    for turn in range(1, 6):
        for number in range(1, 1001):
            plane.count("backend_counts", number, (turn * number,), (turn,))
        for number in range(2000):
            plane.shake(f"10.{number % 50}.0.1", 1000 + number, number % 200 + 1, number % 1000 + 1)
        begun = time.perf_counter()
        counters.read()
        best = min(best, time.perf_counter() - begun)
    counters.close()
    assert best < 0.05
