"""Sampled packets to a pcap file: what a file says of them, and how a capture ends."""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import RawPcapReader

from gslb import layout
from tests.namespaces import World
from tests.xdp.balancer import Balancer, tcp, udp
from xdp.pcap import HEADER_OCTETS, Busy, Wish, capture

pytestmark = pytest.mark.root
ALL = frozenset[int]()


@pytest.fixture
def balancer(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Balancer]:
    tool("clang")
    with closing(Balancer(netns, tmp_path)) as made:
        yield made


def taken(balancer: Balancer, wish: Wish) -> tuple[int, bytes]:
    """How many packets were written, and the file."""
    file = io.BytesIO()
    return capture(balancer.maps, balancer.folder, wish, file), file.getvalue()


def records(file: bytes) -> list[tuple[float, int, bytes]]:
    """The time, the length on the wire and the octets of each packet of a file."""
    reader = RawPcapReader(io.BytesIO(file))  # type: ignore[arg-type]  # it takes files as well
    assert (reader.nano, reader.linktype, reader.snaplen) == (True, 1, layout.SNAP_OCTETS)
    return [(about.sec + about.usec / 1e9, about.wirelen, octets) for octets, about in reader]


def asked_for(balancer: Balancer) -> layout.Capture:
    """What the program is told to capture."""
    return layout.Capture.from_buffer_copy(balancer.maps["capture"].lookup(bytes(4)) or b"")


def test_a_packet_in_a_file(balancer: Balancer) -> None:
    began, long = time.time(), tcp(40_000) / Raw(b"x" * 1000)
    with balancer.sending(long):
        written, file = taken(balancer, Wish(ALL, 1, 0.2))
    found = records(file)
    assert len(found) == written > 0
    assert all(began <= at <= time.time() for at, _, _ in found)
    assert [at for at, _, _ in found] == sorted(at for at, _, _ in found)
    whole = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / long)
    assert {(length, octets) for _, length, octets in found} == {(len(whole), whole[: layout.SNAP_OCTETS])}


def test_without_packets_there_is_a_header(balancer: Balancer) -> None:
    written, file = taken(balancer, Wish(ALL, 1, 0.1))
    assert (written, len(file), records(file)) == (0, HEADER_OCTETS, [])


def test_what_came_before_is_not_in_it(balancer: Balancer) -> None:
    """Somebody was killed while he captured: the program went on until the end that it was told."""
    balancer.maps["capture"].update(bytes(4), bytes(layout.Capture(0, 1, int(time.monotonic()) + 60, 0)))
    balancer.send(*[udp(40_000)] * 100)
    assert taken(balancer, Wish(ALL, 1, 0.1))[0] == 0
    assert asked_for(balancer).one_in == 0


def test_one_in_so_many(balancer: Balancer) -> None:
    frames = [tcp(port) for port in range(40_000, 40_100)]
    with balancer.sending(*frames):
        counted = sum(balancer.packets_to(number) for number in (1, 2))
        written, _ = taken(balancer, Wish(ALL, 10, 1.0))
        counted = sum(balancer.packets_to(number) for number in (1, 2)) - counted
    assert written == pytest.approx(counted / 10, rel=0.4)


def test_the_program_stops_with_the_capture(balancer: Balancer) -> None:
    assert asked_for(balancer).one_in == 0
    with balancer.sending(tcp(40_000)):
        thread = threading.Thread(target=lambda: taken(balancer, Wish(frozenset({3}), 7, 1.0)))
        thread.start()
        while not asked_for(balancer).one_in:
            assert thread.is_alive()
        seen = asked_for(balancer)
        thread.join()
    assert (seen.vip, seen.one_in) == (3, 7)
    assert 0 < seen.until_s - time.monotonic() < 5, "it stops by itself if nobody can tell it any more"
    assert asked_for(balancer).one_in == 0


def test_no_more_than_the_most(balancer: Balancer) -> None:
    began = time.monotonic()
    with balancer.sending(*[tcp(40_000)] * 20):
        written, file = taken(balancer, Wish(ALL, 1, 60.0, most=5))
    assert (written, len(records(file))) == (5, 5)
    assert time.monotonic() - began < 30


class Meanwhile(io.BytesIO):
    """A file with whose first packet something happens."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self._happens: Callable[[], object] | None = happens

    def write(self, data: Any, /) -> int:
        if len(data) != HEADER_OCTETS and self._happens is not None:
            happens, self._happens = self._happens, None
            happens()
        return super().write(data)


def test_one_at_a_time(balancer: Balancer) -> None:
    refused: list[str] = []

    def second() -> None:
        with pytest.raises(Busy) as error:
            taken(balancer, Wish(ALL, 1, 0.1))
        refused.append(str(error.value))

    with balancer.sending(tcp(40_000)):
        capture(balancer.maps, balancer.folder, Wish(ALL, 1, 0.2), Meanwhile(second))
    assert refused == ["somebody else captures on this node; wait until that ends"]
    assert taken(balancer, Wish(ALL, 1, 0.1))[0] == 0, "now it may"


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Ctrl-C reaches this process also where a shell started the tests in the background, and so ignores it for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_ends_it_with_what_there_is(balancer: Balancer) -> None:
    began = time.monotonic()
    file = Meanwhile(lambda: signal.raise_signal(signal.SIGINT))
    with balancer.sending(tcp(40_000)):
        assert capture(balancer.maps, balancer.folder, Wish(ALL, 1, 60.0), file) == len(records(file.getvalue()))
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with balancer.sending(tcp(40_000)):
        written, content = taken(balancer, Wish(ALL, 1, 60.0))
    timer.join()
    assert len(records(content)) == written > 0
    assert time.monotonic() - began < 30
    assert asked_for(balancer).one_in == 0
