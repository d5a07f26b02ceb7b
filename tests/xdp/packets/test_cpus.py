"""Packets on different CPUs: each counts for itself, user space sums, and what one has learnt of a flow all know."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from gslb import layout
from tests.xdp.packets.cases import DROP, TX, Case, check, sent
from tests.xdp.packets.connection import ISN, Client, one_event
from tests.xdp.packets.frames import ether, leaves, octets, tcp, towards, udp
from tests.xdp.packets.moving import Moving, at_rest
from tests.xdp.packets.scene import BACKENDS, VIPS, Scene, mac
from tests.xdp.packets.test_fragments import datagram, first_case, later_case, pieces
from xdp.counters import read_counts, read_events

pytestmark = pytest.mark.root
CPUS = sorted(os.sched_getaffinity(0))
Move = Callable[[], int]
SECOND = 30  # a limit is of 2^30 ns
STILL_NS = 500_000_000


@pytest.fixture
def next_cpu() -> Iterator[Move]:
    """Go on at the next CPU, and say which."""
    following = cycle(CPUS)

    def move() -> int:
        cpu = next(following)
        os.sched_setaffinity(0, {cpu})
        return cpu

    yield move
    os.sched_setaffinity(0, CPUS)


# ---- counters ----


@pytest.mark.parametrize("version", [4, 6])
def test_each_cpu_counts_for_itself(scene: Scene, version: int, next_cpu: Move) -> None:
    forwarded, dropped = tcp("ip4", version, "S"), towards(f"lost/{version}/tcp")
    every = [ether() / udp("gue6", version), ether() / forwarded, ether() / dropped]
    before = {cpu: scene.programs.counters(cpu) for cpu in CPUS}
    whole = scene.programs.counters()
    for times, _ in enumerate(CPUS, 1):
        next_cpu()
        for _ in range(times):
            for frame in every:
                scene.programs.quick(bytes(frame))
    of = f"ip4/{version}/tcp"
    for times, cpu in enumerate(CPUS, 1):
        now = scene.programs.counters(cpu)
        grown = {name: value - before[cpu][name] for name, value in now.items()}
        assert (grown["NO_BACKEND"], grown[f"{of}.packets"], grown["ip4.packets"]) == (times, times, times)
        assert (grown[f"{of}.octets"], grown[f"{of}.syns"]) == (times * octets(forwarded), times)
        assert grown["gue6.udp_flows"] == (1 if times == 1 else 0)
    total = sum(range(len(CPUS) + 1))
    now = scene.programs.counters()
    assert now[f"{of}.packets"] - whole[f"{of}.packets"] == total
    assert now["NO_BACKEND"] - whole["NO_BACKEND"] == total


def test_what_user_space_reads_is_the_sum(scene: Scene, next_cpu: Move) -> None:
    """By the reader of the product, field by field."""
    maps = scene.programs.maps
    for _ in CPUS:
        next_cpu()
        for version in (4, 6):
            scene.programs.quick(bytes(ether() / tcp("ip6", version, "S")))
            scene.programs.quick(bytes(ether() / udp("l2", version)))
            scene.programs.quick(bytes(ether() / tcp("ip4", version, ttl=1)))
    by_cpu = [scene.programs.counters(cpu) for cpu in CPUS]
    for table, kind, ids in (
        ("vip_counts", layout.VipCounters, {name: vip.number for name, vip in VIPS.items()}),
        ("backend_counts", layout.BackendCounters, {name: backend.number for name, backend in BACKENDS.items()}),
    ):
        read = read_counts(maps[table], ids.values())
        fields = [name for name, *_ in kind._fields_]
        for name, number in ids.items():
            assert read[number] == tuple(sum(each[f"{name}.{field}"] for each in by_cpu) for field in fields)
    events = read_events(maps["counts"])
    assert events["ttl"] >= 2 * len(CPUS)
    assert events == {name: sum(each[name.upper()] for each in by_cpu) for name in events}


# ---- what is known of a flow ----


def test_a_handshake_may_begin_and_end_on_different_cpus(client: Client, next_cpu: Move) -> None:
    for _ in range(2):
        next_cpu()
        client.syn()
        next_cpu()
        one_event(client, *client.ack(handshakes=1))
        client.sport += 1


def test_a_syn_that_is_sent_again_is_known_on_another_cpu(client: Client, next_cpu: Move) -> None:
    next_cpu()
    client.syn()
    next_cpu()
    client.syn(resent_syns=1)


def test_a_new_flow_is_remembered_on_every_cpu(moving: Moving, next_cpu: Move) -> None:
    for port in (50000, 50001):
        next_cpu()
        moving.tcp("S", port, "two")
        moving.udp(port, "two", udp_flows=1)
        for _ in CPUS:
            next_cpu()
            moving.tcp("A", port, "two")
            moving.udp(port, "two")
            moving.tcp("A", port + 100, "one")


def test_fragments_follow_their_first_one_on_another_cpu(scene: Scene, next_cpu: Move) -> None:
    first, middle, last = pieces(4, VIPS["ip4/4/udp"].address, datagram())
    next_cpu()
    check(scene.programs, Case("middle", ether() / middle, DROP, None, {"FRAGMENT_UNKNOWN": 1}))
    check(scene.programs, first_case("first", "ip4/4/udp", "ip4", first))
    for packet in (middle, last):
        next_cpu()
        check(scene.programs, later_case("later", "ip4/4/udp", "ip4", packet))


def test_a_limit_is_that_of_one_cpu_and_second(scene: Scene, next_cpu: Move) -> None:
    """Of new flows and of round trips that are told, each by itself; the next second allows as many again."""
    moving, one, two = Moving(scene, 4), *(mac(BACKENDS[name].next_hop) for name in ("one", "two"))
    moving.slots("two", "one")
    scene.settings(new_flows_per_s=2, events_per_s=1)
    programs = scene.programs
    for second in (50000, 51000):
        ports = range(second, second + 3)
        begun = {cpu: [bytes(ether() / moving.segment("S", port + 10 * cpu)) for port in ports] for cpu in CPUS}
        clients = {cpu: [Client(programs, "l2/4/tcp", "l2", port + 10 * cpu) for port in ports] for cpu in CPUS}
        shaken = {
            cpu: [bytes(ether() / each.packet(*of)) for each in by_cpu for of in (("S", ISN), ("A", ISN + 1))]
            for cpu, by_cpu in clients.items()
        }
        at_rest(SECOND, STILL_NS)
        began = time.monotonic_ns() >> SECOND
        for _ in CPUS:
            cpu = next_cpu()
            assert [programs.quick(frame)[1][:6] for frame in begun[cpu]] == [two, two, one]
            for frame in shaken[cpu]:
                programs.quick(frame)
        assert len(programs.events("handshake_log")) == len(CPUS)
        while time.monotonic_ns() >> SECOND == began:
            time.sleep(0.01)


def test_vips_are_kept_by_each_cpu(scene: Scene, next_cpu: Move) -> None:
    scene.settings(vips_version=9)
    packet = tcp("l2", 4)
    counts = sent("l2/4/tcp", "l2", octets(packet))
    case = Case("kept", ether() / packet, TX, leaves("l2", packet), counts)
    for _ in range(2 * len(CPUS)):
        next_cpu()
        check(scene.programs, case)
