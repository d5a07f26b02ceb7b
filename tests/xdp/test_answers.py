"""DNS in the kernel: put in force at once, replaced under load, adopted, refused whole, removed whole."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.dnslayout import DnsImage
from gslb.geo.table import LocationTable
from gslb.nameserver.image import ImageBuilder
from tests.nameserver.imagescene import Scene, scene
from tests.nameserver.make import query
from tests.xdp.dnsplane import ADDRESSES, V4, V6, DnsPlane, dns_plane, wanted
from xdp import asking, kernelinfo
from xdp.answers import ASK_S, LOOK_S, Answers
from xdp.images import Images
from xdp.libbpf import XDP_PASS, XDP_TX, Map
from xdp.loader import DataPlane
from xdp.messages import Block, DnsWant

pytestmark = pytest.mark.root

ASK = query("www.z.test.", "A")
SOA = query("z.test.", "SOA")
OVERHEAD = 14 + 20 + 8


@pytest.fixture
def dns(home: Path, objects: Path, tmp_path: Path) -> Iterator[DnsPlane]:
    with dns_plane(home, objects, tmp_path) as made:
        yield made


@pytest.fixture
def one() -> Scene:
    return scene(one_class=True)


@pytest.fixture
def other() -> Scene:
    return scene(one_class=False)


def ask(dns: DnsPlane, query: bytes = ASK, address: str = V4) -> bytes | None:
    verdict, out = dns.run(asking.frame(query, address, 53))
    assert verdict in (XDP_PASS, XDP_TX)
    return out[OVERHEAD:] if verdict == XDP_TX else None


def reply(scene: Scene, query: bytes = ASK) -> bytes | None:
    return scene.responder.general(query, str(asking.NOBODY[4]))


def newer(scene: Scene, version: int) -> bytes:
    """Another plan's image of the same tables."""
    return ImageBuilder().build(replace(scene.tables, version=version)).octets


def force(dns: DnsPlane) -> Images:
    """What is in force, read anew."""
    return Images(dns.plane)


def held(dns: DnsPlane, name: str) -> list[int]:
    """The slots of a map of maps that hold something."""
    return [slot for slot in (0, 1) if dns.plane.maps[name].lookup(slot.to_bytes(4, "little"))]


def test_nothing_is_answered_before_there_is_something_to_answer_from(
    dns: DnsPlane, tmp_path: Path, one: Scene
) -> None:
    want = wanted(tmp_path, one.file, one.geography)
    state = dns.answers.want(replace(want, tables=None), 0.0)
    assert state is not None
    assert (state.refused, state.addresses, state.version, state.problems) == ("", 0, 0, ())
    assert ask(dns) is None
    state = dns.answers.want(want, 1.0)
    assert state is not None
    assert (state.addresses, state.version) == (2, one.tables.version)
    needed = LocationTable.from_buffer(one.geography).header.executed_bytes
    assert state.octets >= len(one.file) + needed
    assert ask(dns) == reply(one)


def test_what_only_the_reference_reads_of_a_location_table_is_left_out(
    dns: DnsPlane, tmp_path: Path, other: Scene
) -> None:
    state = dns.answers.want(wanted(tmp_path, other.file, other.geography), 1.0)
    assert state is not None
    assert LocationTable.from_buffer(other.geography).header.executed_bytes < state.octets < len(other.geography)
    assert ask(dns) == reply(other)


def test_another_plan_takes_the_place_of_the_first(dns: DnsPlane, one: Scene, other: Scene) -> None:
    dns.put(one)
    assert ask(dns) == reply(one)
    dns.put(other)
    assert ask(dns) == reply(other)
    assert [held(dns, name) for name in ("geographies", "dns_blocks")] == [[1], [1]], "another location table"


def test_a_location_table_is_loaded_once(dns: DnsPlane, tmp_path: Path, one: Scene) -> None:
    dns.put(one)
    before = dns.plane.maps["geographies"].lookup(bytes(4))
    want = wanted(tmp_path, newer(one, one.tables.version + 1), one.geography)
    assert want.tables is not None
    Path(want.tables.geography.path).unlink()
    state = dns.answers.want(want, 1.0)
    assert state is not None
    assert (state.problems, state.version) == ((), one.tables.version + 1)
    assert dns.plane.maps["geographies"].lookup(bytes(4)) == before
    assert held(dns, "geographies") == [0]


def test_counts_of_an_image_are_told_to_their_end(dns: DnsPlane, one: Scene, other: Scene) -> None:
    dns.put(one)
    for _ in range(5):
        ask(dns)
    dns.put(other)
    for _ in range(2):
        ask(dns)
    first, second = dns.answers.blocks()
    assert (total(first), total(second)) == (5, 2)
    (again,) = dns.answers.blocks()
    assert again == second, "what ended is told once"


def inner(dns: DnsPlane, name: str) -> Map:
    """What is in force in the first slot of a map of maps."""
    number = dns.plane.maps[name].lookup(bytes(4))
    assert number is not None
    return kernelinfo.map_of(int.from_bytes(number, "little"))


def total(block: Block) -> int:
    return max(memoryview(block.counts).cast("Q"), default=0)


def damaged(want: DnsWant, _: Scene) -> None:
    assert want.tables is not None
    path = Path(want.tables.image.path)
    octets = bytearray(path.read_bytes())
    octets[-1] ^= 1
    path.write_bytes(octets)


def no_file(want: DnsWant, _: Scene) -> None:
    assert want.tables is not None
    Path(want.tables.image.path).unlink()


def no_geography(want: DnsWant, _: Scene) -> None:
    assert want.tables is not None
    Path(want.tables.geography.path).unlink()


@pytest.mark.parametrize("harm", [damaged, no_file, no_geography])
def test_what_is_refused_changes_nothing(
    dns: DnsPlane, tmp_path: Path, one: Scene, other: Scene, harm: Callable[[DnsWant, Scene], None]
) -> None:
    dns.put(one)
    want = wanted(tmp_path, newer(other, 2 * one.tables.version), other.geography)
    harm(want, other)
    state = dns.answers.want(want, 1.0)
    assert state is not None
    assert state.version == one.tables.version
    assert "DNS in the driver stays as it was: " in state.problems[0]
    assert ask(dns) == reply(one)
    assert [held(dns, name) for name in ("geographies", "dns_blocks")] == [[0], [0]]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda head: setattr(head, "magic", 7), "another version of gslb"),
        (lambda head: head.layout.__setitem__(0, head.layout[0] ^ 1), "another version of gslb"),
        (lambda head: setattr(head, "octets", 1 << 30), "says that it has"),
        (lambda head: head.geography.__setitem__(0, head.geography[0] ^ 1), "not the location table"),
        (lambda head: setattr(head, "version", 0), "older"),
    ],
    ids=["magic", "layout", "length", "geography", "version"],
)
def test_images_that_do_not_fit(
    dns: DnsPlane, tmp_path: Path, one: Scene, change: Callable[[DnsImage], None], why: str
) -> None:
    dns.put(one)
    head = DnsImage.from_buffer_copy(one.file)
    change(head)
    file = bytes(head) + one.file[ctypes.sizeof(DnsImage) :]
    state = dns.answers.want(wanted(tmp_path, file, one.geography), 1.0)
    assert state is not None
    assert why in state.problems[0]
    assert ask(dns) == reply(one)


def test_location_tables_that_are_too_short(dns: DnsPlane, tmp_path: Path, one: Scene) -> None:
    head = DnsImage.from_buffer_copy(one.file)
    head.geography_octets = 1 << 31
    state = dns.answers.want(wanted(tmp_path, bytes(head) + one.file[ctypes.sizeof(DnsImage) :], one.geography), 1.0)
    assert state is not None
    assert "the image was made for one of 2147483648" in state.problems[0]
    assert held(dns, "geographies") == []


def test_addresses_come_and_go(dns: DnsPlane, one: Scene) -> None:
    dns.put(one, ((V4, 53), (V6, 5353)))
    assert ask(dns) == reply(one)
    assert ask(dns, address=V6) is None
    dns.put(one, ((V6, 53),))
    assert ask(dns) is None
    assert ask(dns, address=V6) is not None
    assert dns.answers.want(None, 2.0) is None
    assert ask(dns, address=V6) is None
    assert [held(dns, name) for name in ("geographies", "dns_blocks", "dns_images")] == [[], [], []]


def test_a_restart_adopts_and_loads_nothing(home: Path, objects: Path, tmp_path: Path, one: Scene) -> None:
    with dns_plane(home, objects, tmp_path) as first:
        first.put(one)
        ask(first)
        first.plane.close()
        plane = DataPlane.open(home, objects, programs=())
        second = DnsPlane(plane, tmp_path)
        assert second.answers.version == one.tables.version
        maps = plane.maps["dns_images"].lookup(bytes(4)), plane.maps["geographies"].lookup(bytes(4))
        want = wanted(tmp_path, one.file, one.geography)
        assert want.tables is not None
        for file in (want.tables.image, want.tables.geography):
            Path(file.path).unlink()
        state = second.answers.want(want, 0.0)
        assert state is not None
        assert (state.problems, state.addresses) == ((), len(ADDRESSES))
        assert (plane.maps["dns_images"].lookup(bytes(4)), plane.maps["geographies"].lookup(bytes(4))) == maps
        assert ask(second) == reply(one)
        assert total(second.answers.blocks()[-1]) == 2, "counts go on"
        plane.close()


def test_what_a_dead_process_left_half_done_is_cleared_away(dns: DnsPlane, one: Scene) -> None:
    dns.put(one)
    other = inner(dns, "geographies")
    dns.plane.maps["geographies"].update((1).to_bytes(4, "little"), other.fd.to_bytes(4, "little"))
    assert held(dns, "geographies") == [0, 1]
    force(dns)
    assert held(dns, "geographies") == [0]


def test_an_image_of_another_layout_is_no_longer_answered_from(dns: DnsPlane, one: Scene) -> None:
    dns.put(one)
    image = inner(dns, "dns_images")
    octets = image.lookup(bytes(4))
    assert octets is not None
    image.update(bytes(4), octets[:4] + bytes(6) + octets[10:])
    assert force(dns).in_force is None
    assert ask(dns) is None
    assert Answers(dns.plane).version == 0


def test_the_program_is_asked_itself(dns: DnsPlane, tmp_path: Path, one: Scene) -> None:
    want = wanted(tmp_path, one.file, one.geography, probe=SOA.hex())
    state = dns.answers.want(want, 0.0)
    assert state is not None
    assert state.silent == ""
    dns.plane.maps["dns_images"].delete(bytes(4))
    assert dns.answers.tick(ASK_S - 1) == state
    later = dns.answers.tick(ASK_S)
    assert later is not None
    assert "passes on what it should answer" in later.silent
    assert not later.wrong, "a worker answers"


def test_frames_are_answered_while_their_ethernet_address_is_ours(dns: DnsPlane, one: Scene) -> None:
    dns.put(one)
    other = bytes.fromhex("020000000009")
    frame = asking.frame(ASK, V4, 53, other)
    assert ask(dns) == reply(one)
    assert dns.run(frame) == (XDP_PASS, frame), "for a neighbour"
    dns.own = replace(dns.own, ethernets=frozenset({other}))
    dns.answers.tick(LOOK_S - 1)
    assert ask(dns) is not None
    dns.answers.tick(LOOK_S)
    assert ask(dns) is None, "the interface has another address now, also where a CPU knew the one before"
    assert dns.run(frame)[0] == XDP_TX


def test_a_restart_knows_which_frames_are_ours(dns: DnsPlane, one: Scene) -> None:
    dns.put(one)
    again = Answers(dns.plane, lambda: replace(dns.own, ethernets=frozenset({bytes(6)})))
    again.tick(0.0)
    assert ask(dns) is None


def test_a_program_that_was_taken_away_is_put_back(dns: DnsPlane, tmp_path: Path, one: Scene) -> None:
    dns.answers.want(wanted(tmp_path, one.file, one.geography, probe=SOA.hex()), 0.0)
    dns.plane.maps["programs"].delete(bytes(4))
    assert ask(dns) is None
    state = dns.answers.tick(ASK_S)
    assert state is not None
    assert state.silent == ""
    assert ask(dns) == reply(one)


def test_a_wrong_answer_is_told_from_none(
    dns: DnsPlane, tmp_path: Path, one: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns.plane, "run", lambda packet: (XDP_TX, bytes(len(packet))))
    state = dns.answers.want(wanted(tmp_path, one.file, one.geography, probe=SOA.hex()), 0.0)
    assert state is not None
    assert (state.silent, state.wrong) == ("the program answers with no message of DNS", True)


def test_a_pin_that_cannot_be_removed_takes_nothing_out_of_force(
    dns: DnsPlane, one: Scene, other: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_name: str, _identity: int) -> None:
        raise OSError(30, "Read-only file system")

    dns.put(one)
    monkeypatch.setattr(dns.plane, "drop_inner", refuse)
    dns.put(other)
    assert ask(dns) == reply(other)
    assert held(dns, "dns_blocks") == [1]


def test_a_packet_that_comes_in_the_midst_of_the_question_is_no_silence(
    dns: DnsPlane, tmp_path: Path, one: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 6.11 one may: the frame is then passed on, or has what that packet left in the CPU's memory."""
    disturbed = iter([(XDP_PASS, b""), (XDP_TX, bytes(100))])
    run = dns.plane.run
    monkeypatch.setattr(dns.plane, "run", lambda packet: next(disturbed, None) or run(packet))
    state = dns.answers.want(wanted(tmp_path, one.file, one.geography, probe=SOA.hex()), 0.0)
    assert state is not None
    assert (state.silent, next(disturbed, None)) == ("", None)


def test_every_reply_is_of_one_plan_while_plans_change(dns: DnsPlane, one: Scene, other: Scene) -> None:
    dns.put(one)
    expected = {reply(one), reply(other)}
    stop, wrong = threading.Event(), []

    def asking_on() -> None:
        while not stop.is_set():
            found = ask(dns)
            if found not in expected:
                wrong.append(found)

    thread = threading.Thread(target=asking_on)
    thread.start()
    for _ in range(4):
        dns.put(other)
        dns.put(one)
    stop.set()
    thread.join()
    assert not wrong


def test_the_program_itself_looks_at_no_image_of_another_layout(dns: DnsPlane, one: Scene) -> None:
    """As a newer program meets it that takes the place of an older one."""
    dns.put(one)
    image = inner(dns, "dns_images")
    octets = image.lookup(bytes(4))
    assert octets is not None
    at = DnsImage.layout.offset  # type: ignore[attr-defined]  # of a ctypes field
    image.update(bytes(4), octets[: at + 5] + bytes([octets[at + 5] ^ 1]) + octets[at + 6 :])
    assert ask(dns) is None
    image.update(bytes(4), octets)
    assert ask(dns) == reply(one)
