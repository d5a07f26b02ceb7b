"""The data plane against the real kernel: attached on veth, adopted, upgraded under load, removed; small programs stand for the balancer's."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from gslb import layout
from gslb.model.deployment import Attach
from tests.namespaces import World
from tests.xdp.planes.objects import HEADERS, compiled
from xdp import kernelinfo, links, loader, pins, tc
from xdp.libbpf import Object, library, require
from xdp.loader import DataPlane, Refused
from xdp.messages import Attached, Interface

pytestmark = pytest.mark.root

T = TypeVar("T")
FIRST, SECOND = layout.EventCount.COUNT_ECHO, layout.EventCount.COUNT_TTL
PORT = 4000


@pytest.fixture(scope="module")
def small(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tool("clang"), tmp_path_factory.mktemp("first"), FIRST)


@pytest.fixture(scope="module")
def newer(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tool("clang"), tmp_path_factory.mktemp("second"), SECOND)


class Pair:
    """A client and a balancer, joined by a veth; what is opened here is closed afterwards."""

    def __init__(self, world: World) -> None:
        self.client, self.host = world.namespace("client"), world.namespace("host")
        self.left, self.right = world.join(self.client, self.host, "192.0.2.1/24", "192.0.2.2/24")
        self.client.run("ip", "neigh", "add", "192.0.2.2", "lladdr", self._address(), "dev", self.left)
        self.opened: list[DataPlane] = []

    def open(self, home: Path, objects: Path) -> DataPlane:
        plane = self.host.call(lambda: DataPlane.open(home, objects))
        self.opened.append(plane)
        return plane

    def attach(self, plane: DataPlane, how: Attach = Attach.AUTO) -> Interface:
        return self.host.call(lambda: plane.attach(self.right, how))

    def send(self, packets: int) -> None:
        """Small datagrams; all have left the client when this returns, and veth hands them over at once."""

        def sent() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
                for _ in range(packets):
                    handle.sendto(b"x", ("192.0.2.2", PORT))

        self.client.call(sent)

    def remove(self, plane: DataPlane) -> None:
        self.host.call(plane.remove)

    def _address(self) -> str:
        found = re.search(r"ether (\S+)", self.host.run("ip", "link", "show", self.right))
        assert found
        return found[1]


@pytest.fixture
def pair(netns: World, home: Path) -> Iterator[Pair]:
    made = Pair(netns)
    yield made
    for plane in made.opened:
        plane.close()
    made.host.call(lambda: loader.remove(home))


def counted(plane: DataPlane, event: layout.EventCount) -> int:
    raw = plane.maps["counts"].lookup(bytes(4))
    assert raw
    size = kernelinfo.map_info(plane.maps["counts"].fd).value_size
    return sum(layout.Counts.from_buffer_copy(raw, at).of[event] for at in range(0, len(raw), size))


def test_native_generic_off(pair: Pair, home: Path, small: Path) -> None:
    plane = pair.open(home, small)
    assert not plane.adopted
    assert pair.attach(plane) == Interface(pair.right, Attached.NATIVE)
    pair.send(10)
    assert counted(plane, FIRST) == 10
    generic = pair.attach(plane, Attach.GENERIC)
    assert (generic.attached, generic.why) == (Attached.GENERIC, "balancer.attach is generic")
    pair.host.run("ethtool", "-K", pair.right, "gro", "on")
    again = pair.attach(plane, Attach.GENERIC)
    assert again.why.startswith("balancer.attach is generic; GRO joins packets")
    assert again.mend == f"ethtool -K {pair.right} gro off"
    pair.send(10)
    assert counted(plane, FIRST) == 20
    assert [found.attached for found in pair.host.call(plane.attached)] == [Attached.GENERIC]
    assert pair.attach(plane, Attach.OFF).attached is Attached.NOT
    pair.send(10)
    assert counted(plane, FIRST) == 20
    assert pair.host.call(plane.attached) == ()


def test_what_a_driver_refuses_is_generic_with_why_and_the_line(pair: Pair, home: Path, small: Path) -> None:
    pair.client.run("ip", "link", "set", pair.left, "mtu", "9000")
    pair.host.run("ip", "link", "set", pair.right, "mtu", "9000")
    plane = pair.open(home, small)
    only = pair.attach(plane, Attach.NATIVE)
    assert only.attached is Attached.NOT
    assert "Peer MTU is too large to set XDP: " in only.why
    assert only.mend.startswith(f"ip link set {pair.right} mtu 1500")
    found = pair.attach(plane)
    assert (found.attached, found.why) == (Attached.GENERIC, only.why)
    assert found.mend.startswith(only.mend)
    assert pair.host.call(plane.attached)[0].mend == found.mend, "a link that is found says the same"
    pair.send(5)
    assert counted(plane, FIRST) == 5


def test_the_parent_is_named_for_a_sub_device(pair: Pair, home: Path, small: Path) -> None:
    pair.host.run("ip", "link", "add", "link", pair.right, "name", "above", "type", "macvlan")
    pair.host.run("ip", "link", "set", "above", "up")
    plane = pair.open(home, small)
    found = pair.host.call(lambda: plane.attach("above", Attach.AUTO))
    assert found.attached is Attached.GENERIC
    assert f"use interface {pair.right} instead of above" in found.mend


def test_no_such_interface(pair: Pair, home: Path, small: Path) -> None:
    plane = pair.open(home, small)
    found = pair.host.call(lambda: plane.attach("eth7", Attach.AUTO))
    assert found.attached is Attached.NOT
    assert found.why == f"there is no interface eth7 (there are {pair.right})"


def test_another_program_is_named_and_left_alone(pair: Pair, home: Path, small: Path, newer: Path) -> None:
    theirs = Object(newer / "entry.bpf.o")
    theirs.load()
    pair.host.call(lambda: attach_by_netlink(theirs.program_fd("entry"), pair.right))
    theirs.close()
    plane = pair.open(home, small)
    for how in (Attach.AUTO, Attach.GENERIC):
        found = pair.attach(plane, how)
        assert found.attached is Attached.NOT
        assert re.fullmatch(rf"another XDP program runs on {pair.right} \(entry, id \d+\) and is left alone", found.why)
        assert found.mend == f"ip link set dev {pair.right} xdp off"
    assert pair.host.call(plane.attached) == ()


def attach_by_netlink(program: int, interface: str) -> None:
    flags = 1 << 2  # XDP_FLAGS_DRV_MODE
    require(library().bpf_xdp_attach(socket.if_nametoindex(interface), program, flags, None), "attach")


def test_another_link_is_named_with_the_line_for_links(pair: Pair, home: Path, small: Path, newer: Path) -> None:
    theirs = Object(newer / "entry.bpf.o")
    theirs.load()
    made = pair.host.call(lambda: linked(theirs.program_fd("entry"), pair.right))
    found = pair.attach(pair.open(home, small))
    os.close(made)
    theirs.close()
    assert (found.attached, found.taken) == (Attached.NOT, True)
    assert re.fullmatch(r"bpftool link detach id \d+", found.mend)


def linked(program: int, interface: str) -> int:
    """The descriptor of a link that is pinned nowhere."""
    return require(library().bpf_link_create(program, socket.if_nametoindex(interface), 37, None), "attach")


def test_forwarding_goes_on_with_every_process_dead_and_is_adopted(pair: Pair, home: Path, small: Path) -> None:
    """The process that made it is killed; a new one finds counters, inner maps and links as they were."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom gslb.model.deployment import Attach\nfrom xdp.loader import DataPlane\n"
        "plane = DataPlane.open(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "ring = plane.new_inner('rings')\nring.update(bytes(4), b'\\7' * ring.value_size)\n"
        "plane.maps['rings'].update((5).to_bytes(4, 'little'), ring.fd.to_bytes(4, 'little'))\n"
        "plane.new_inner('rings')\n"
        "plane.attach(sys.argv[3], Attach.AUTO)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    argv = [sys.executable, "-c", script, str(home), str(small), pair.right]
    child = subprocess.Popen(pair.host.command(argv), stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    child.kill()
    child.wait()
    child.stdout.close()
    pair.send(100)
    assert pair.host.call(lambda: links.attached(home / layout.LAYOUT_HASH / pins.LINKS)) == (
        Interface(pair.right, Attached.NATIVE),
    )
    plane = pair.open(home, small)
    assert plane.adopted
    assert counted(plane, FIRST) == 100
    inner = plane.inner("rings", 5)
    assert inner
    assert inner.lookup(bytes(4)) == b"\7" * inner.value_size
    os.close(inner.fd)
    assert plane.inner("rings", 6) is None
    assert len(list((home / layout.LAYOUT_HASH / pins.INNER).iterdir())) == 1, "what was in force nowhere is gone"
    pair.remove(plane)
    assert_nothing_left(pair, home)


def assert_nothing_left(pair: Pair, home: Path) -> None:
    assert not home.exists()
    assert "xdp" not in pair.host.run("ip", "-d", "link", "show", pair.right)
    assert "clsact" not in pair.host.run("tc", "qdisc", "show")


def test_upgrades_lose_no_packet(pair: Pair, home: Path, small: Path, newer: Path) -> None:
    """Every packet is seen by the older or the newer program, and none reaches the host's own sockets."""
    plane = pair.open(home, small)
    pair.attach(plane)
    ready = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('192.0.2.2', 4000))"
    script = f"{ready}; print('ready', flush=True); s.recv(9); print('leaked', flush=True)"
    listener = pair.host.start(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert listener.stdout
    assert listener.stdout.readline() == b"ready\n"
    flood = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sent = 0\n"
        "import select\n"
        "while not select.select([sys.stdin], [], [], 0)[0]:\n"
        "    for _ in range(50): s.sendto(b'x', ('192.0.2.2', 4000)); sent += 1\n"
        "print(sent)"
    )
    sender = subprocess.Popen(
        pair.client.command([sys.executable, "-c", flood]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for objects in (newer, small, newer, small, newer):
        plane.close()
        plane = pair.open(home, objects)
        assert plane.adopted
        before = counted(plane, SECOND if objects is newer else FIRST)
        while counted(plane, SECOND if objects is newer else FIRST) < before + 3000:
            assert sender.poll() is None
    sent = int(sender.communicate("end\n", timeout=30)[0])
    assert counted(plane, FIRST) + counted(plane, SECOND) == sent
    assert listener.poll() is None, "a packet passed by the program"
    listener.stdout.close()


def test_the_program_array_alone_is_enough_for_an_upgrade(pair: Pair, home: Path, small: Path, newer: Path) -> None:
    plane = pair.open(home, small)
    pair.attach(plane)
    pair.open(home, newer)
    pair.send(7)
    assert (counted(plane, FIRST), counted(plane, SECOND)) == (0, 7)


def test_an_older_layout_is_in_force_until_it_is_taken_over(pair: Pair, home: Path, small: Path, newer: Path) -> None:
    plane = pair.open(home, small)
    pair.attach(plane)
    pair.host.call(lambda: plane.attach_probe(pair.right))
    plane.close()
    older = home / "0123456789ab"  # as an earlier version would have named it
    (home / layout.LAYOUT_HASH).rename(older)
    plane = pair.open(home, newer)
    assert not plane.adopted
    pair.send(10)
    assert counted(plane, SECOND) == 0, "its tables are empty yet"
    pair.host.call(plane.take_over)
    pair.send(10)
    assert counted(plane, SECOND) >= 10
    assert list(home.iterdir()) == [home / layout.LAYOUT_HASH]
    assert pair.host.call(plane.attached) == (Interface(pair.right, Attached.NATIVE),)
    pair.remove(plane)
    assert_nothing_left(pair, home)


def test_attaching_takes_over_as_well(pair: Pair, home: Path, small: Path, newer: Path) -> None:
    plane = pair.open(home, small)
    pair.attach(plane)
    (home / layout.LAYOUT_HASH).rename(home / "0123456789ab")
    plane = pair.open(home, newer)
    assert pair.attach(plane) == Interface(pair.right, Attached.NATIVE)
    pair.send(10)
    assert counted(plane, SECOND) == 10


def test_what_a_crash_left_half_made_is_made_again(pair: Pair, home: Path, small: Path) -> None:
    plane = pair.open(home, small)
    half = home / pins.BUILDING
    pins.make(half)
    pins.put(plane.maps["vips"].fd, half / pins.MAPS / "vips")
    pair.open(home, small)
    assert not half.exists()


def test_a_crash_before_the_first_whole_folder(pair: Pair, home: Path, small: Path) -> None:
    pins.make(home / pins.BUILDING)
    assert not pair.open(home, small).adopted
    assert [path.name for path in home.iterdir()] == [layout.LAYOUT_HASH]


def test_links_of_interfaces_that_are_gone_are_cleared(pair: Pair, home: Path, small: Path) -> None:
    plane = pair.open(home, small)
    pair.attach(plane)
    pair.host.run("ip", "link", "del", pair.right)
    assert pair.host.call(plane.attached) == ()
    pair.open(home, small)
    assert list((home / layout.LAYOUT_HASH / pins.LINKS).iterdir()) == []


def test_the_probes_filter_is_made_once_and_removed(pair: Pair, home: Path, small: Path, newer: Path) -> None:
    plane = pair.open(home, small)
    for _ in range(2):
        pair.host.call(lambda: plane.attach_probe(pair.right))
    assert pair.host.call(lambda: tc.attached(home)) == (pair.right,)
    plane.close()
    plane = pair.open(home, newer)
    pair.host.call(lambda: plane.attach_probe(pair.right))
    assert pair.host.run("tc", "filter", "show", "dev", pair.right, "egress").count("direct-action") == 1
    pair.remove(plane)
    assert_nothing_left(pair, home)


def test_clsact_of_others_stays(pair: Pair, home: Path, small: Path) -> None:
    pair.host.run("tc", "qdisc", "add", "dev", pair.right, "clsact")
    pair.host.run("tc", "filter", "add", "dev", pair.right, "egress", "prio", "9", "u32", "match", "u32", "0", "0")
    plane = pair.open(home, small)
    pair.host.call(lambda: plane.attach_probe(pair.right))
    pair.remove(plane)
    assert "u32" in pair.host.run("tc", "filter", "show", "dev", pair.right, "egress")


def test_a_struct_of_another_version_is_named(home: Path, tool: Callable[[str], str], tmp_path: Path) -> None:
    headers = tmp_path / "c"
    shutil.copytree(HEADERS, headers)
    text = (headers / "layout.h").read_text()
    (headers / "layout.h").write_text(text.replace("__u32 ring;\n\t__u32 flags;", "__u32 flags;\n\t__u32 ring;", 1))
    other = compiled(tool("clang"), tmp_path / "objects", FIRST, headers=headers)
    with pytest.raises(Refused) as refused:
        DataPlane.open(home, other)
    assert refused.value.why.startswith(
        "entry.bpf.o is of another version of gslb: struct vip, member flags: __u32 at octet 4"
    )
    assert not home.exists()


def test_the_verifiers_telling_line_is_told(
    home: Path, small: Path, tool: Callable[[str], str], tmp_path: Path
) -> None:
    other = compiled(tool("clang"), tmp_path, FIRST, lb="refused")
    with pytest.raises(Refused, match=r"the kernel refuses lb\.bpf\.o: .*(packet|offset).*\(error 13\)") as refused:
        DataPlane.open(home, other)
    assert "\n" not in str(refused.value)
    assert not (home / layout.LAYOUT_HASH).exists()
    DataPlane.open(home, small).close()
    with pytest.raises(Refused):
        DataPlane.open(home, other)
    assert (home / layout.LAYOUT_HASH).exists(), "what was in force stays"


def test_objects_that_are_not_there(home: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"not built \(entry\.bpf\.o, lb\.bpf\.o\).*apt-get install clang"):
        DataPlane.open(home, tmp_path)


def test_removing_what_is_not_there_is_nothing(home: Path) -> None:
    loader.remove(home)


def test_the_balancers_own_programs(pair: Pair, home: Path, objects: Path) -> None:
    plane = pair.open(home, objects)
    of_dns = {"dns_images", "geographies", "dns_blocks", "dns_buckets", "dns_events", "dns_sampled"}
    assert plane.maps.keys() == layout.MAPS.keys() - of_dns
    assert pair.attach(plane) == Interface(pair.right, Attached.NATIVE)
    pair.host.call(lambda: plane.attach_probe(pair.right))
    pair.remove(plane)
    assert_nothing_left(pair, home)
