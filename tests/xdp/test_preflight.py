"""What is missing on a machine or in a driver, case by case: the sentence, and the line that mends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.namespaces import World
from xdp import machine
from xdp.preflight import (
    CAP_BPF,
    CAP_NET_ADMIN,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    Machine,
    Nic,
    generic_costs,
    narrow,
    native_refused,
    no_interface,
    refusal,
)

FINE = Machine()


def bits(*capabilities: int) -> int:
    return sum(1 << capability for capability in capabilities)


@pytest.mark.parametrize(
    ("found", "why", "mend"),
    [
        (replace(FINE, libbpf=False), "libbpf.so.1 is not installed", "apt-get install libbpf1"),
        (
            replace(FINE, missing=("lb.bpf.o",)),
            "the XDP programs are not built (lb.bpf.o): clang was missing when gslb was installed",
            "apt-get install clang libbpf-dev linux-libc-dev && python3 -m xdp.build",
        ),
        (
            replace(FINE, kernel=(5, 10)),
            "the kernel is Linux 5.10, older than 6.1",
            "apt-get install linux-image-amd64, then reboot",
        ),
        (
            replace(FINE, capabilities=0),
            "the process has no CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON: XDP needs them",
            "run gslb as root, or give its unit AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON",
        ),
        (
            replace(FINE, capabilities=bits(CAP_BPF, CAP_PERFMON)),
            "the process has no CAP_NET_ADMIN: XDP needs them",
            "run gslb as root, or give its unit AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON",
        ),
        (
            replace(FINE, root_of_all=False),
            "this container has a user namespace of its own, where the kernel loads no XDP program",
            "run it with --privileged --network host --userns host",
        ),
        (replace(FINE, bpffs=False), "no bpffs is mounted on /sys/fs/bpf", "mount -t bpf bpf /sys/fs/bpf"),
    ],
    ids=["no libbpf", "no objects", "old kernel", "no right", "one right is missing", "user namespace", "no bpffs"],
)
def test_a_machine_that_lacks_something(found: Machine, why: str, mend: str) -> None:
    refused = refusal(found)
    assert refused
    assert (refused.why, refused.mend, str(refused)) == (why, mend, f"{why}; {mend}")


@pytest.mark.parametrize(
    "capabilities",
    [bits(CAP_SYS_ADMIN, CAP_NET_ADMIN), bits(CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON)],
    ids=["administrator", "the least"],
)
def test_a_machine_that_will_do(capabilities: int) -> None:
    assert refusal(replace(FINE, capabilities=capabilities)) is None


HOST = Nic("eth0", mtu=1500)


def called(nic: Nic) -> str:
    words = (nic.kind, nic.driver, str(nic.mtu), str(nic.channels), "lro" if nic.lro else "")
    return " ".join(filter(None, words))


@pytest.mark.parametrize(
    ("nic", "why", "mend"),
    [
        (
            replace(HOST, driver="ena", mtu=9001),
            "ena takes XDP up to an MTU of 3498, it is 9001",
            "ip link set eth0 mtu 3498",
        ),
        (
            replace(HOST, driver="ena", channels=8, most_channels=8),
            "ena keeps half of its queues for XDP: 8 are in use, at most 4 may be",
            "ethtool -L eth0 combined 4",
        ),
        (
            replace(HOST, driver="gve", mtu=8896),
            "gve takes XDP up to an MTU of 2032, it is 8896",
            "ip link set eth0 mtu 1460",
        ),
        (replace(HOST, driver="gve", lro=True), "gve takes no XDP while LRO is on", "ethtool -K eth0 lro off"),
        (
            replace(HOST, driver="gve", channels=16, most_channels=16),
            "gve keeps half of its queues for XDP: 16 are in use, at most 8 may be",
            "ethtool -L eth0 rx 8 tx 8",
        ),
        (
            replace(HOST, driver="virtio_net", mtu=9000),
            "virtio_net takes XDP up to an MTU of 3506, it is 9000",
            "ip link set eth0 mtu 1500",
        ),
        (
            replace(HOST, driver="virtio_net"),
            "the host joins packets or leaves checksums open, and lets the guest not switch that off",
            "ethtool -K eth0 lro off gro-hw off  # refused: the host's guest_tso4, guest_tso6, guest_ecn, guest_ufo and "
            "guest_csum must be off",
        ),
        (
            replace(HOST, driver="bnxt_en", mtu=9000),
            "bnxt_en keeps a packet in one buffer while XDP runs, and an MTU of 9000 does not fit",
            "ip link set eth0 mtu 1500",
        ),
        (
            replace(HOST, driver="bnxt_en", channels=74, most_channels=74),
            "bnxt_en keeps half of its queues for XDP: 74 are in use, at most 37 may be",
            "ethtool -L eth0 combined 37",
        ),
        (
            replace(HOST, driver="ixgbevf", mtu=9000),
            "ixgbevf keeps a packet in one buffer while XDP runs, and an MTU of 9000 does not fit",
            "ip link set eth0 mtu 1500",
        ),
        (replace(HOST, driver="i40e", lro=True), "LRO joins packets before XDP sees them", "ethtool -K eth0 lro off"),
        (replace(HOST, driver="r8169"), "driver r8169 does not take XDP natively here", ""),
        (HOST, "eth0 does not take XDP natively here", ""),
        (
            replace(HOST, kind="veth", driver="veth", mtu=9000),
            "a veth takes XDP while its peer's MTU is at most about 3520, it is 9000 here",
            "ip link set eth0 mtu 1500, and the same for its peer",
        ),
        (
            replace(HOST, kind="veth", driver="veth", channels=1),
            "a veth takes XDP while its peer's MTU fits into one page, and its peer has no more queues to send by than it has to "
            "receive by",
            "ethtool -L eth0 rx 1, and its peer: ethtool -L PEER tx 1",
        ),
        (
            replace(HOST, name="eth0.7", kind="vlan", parent="eth0"),
            "a vlan runs no XDP natively, and the program reads VLAN tags itself",
            "use interface eth0 instead of eth0.7",
        ),
        (
            replace(HOST, name="bond0", kind="bond"),
            "a bond runs XDP in modes active-backup, balance-rr, balance-xor and 802.3ad, where each slave's driver does",
            "ip link set bond0 type bond xmit_hash_policy layer3+4",
        ),
        (replace(HOST, name="team0", kind="team"), "a team runs no XDP natively", "use its ports instead of team0"),
        (replace(HOST, name="br0", kind="bridge"), "a bridge runs no XDP natively", "use its ports instead of br0"),
        (
            replace(HOST, name="lo", loopback=True, mtu=65536),
            "loopback has no driver to run it",
            "name the interface that clients' packets come in by",
        ),
        (
            replace(HOST, name="tun6", kind="sit"),
            "a tunnel (sit) has no driver to run it",
            "name the interface that the tunnel's packets come in by",
        ),
    ],
    ids=lambda value: called(value) if isinstance(value, Nic) else "",
)
def test_a_driver_that_refuses(nic: Nic, why: str, mend: str) -> None:
    assert native_refused(nic, "") == (why, mend)
    assert native_refused(nic, "the kernel's words") == (f"the kernel's words: {why}", mend)


def test_what_generic_mode_needs_besides() -> None:
    assert generic_costs(HOST) == ("", "")
    assert generic_costs(replace(HOST, gro=True)) == (
        "GRO joins packets of eth0 before the program sees them, to what no backend or tunnel takes",
        "ethtool -K eth0 gro off",
    )
    assert generic_costs(replace(HOST, gro=True, lro=True)) == (
        "GRO and LRO join packets of eth0 before the program sees them, to what no backend or tunnel takes",
        "ethtool -K eth0 gro off lro off",
    )


def test_what_ipv6_needs_in_a_tunnel() -> None:
    assert narrow(1328, 48) == ""
    assert narrow(1327, 48) == (
        "the way to it takes 1327 octets, which leaves 1279 in its tunnel, and IPv6 needs 1280: "
        "give the links to it an MTU of at least 1328"
    )


def test_the_facts_of_this_machine(tmp_path: Path) -> None:
    found = machine.machine(("lb.bpf.o",), tmp_path)
    assert found.missing == ("lb.bpf.o",)
    assert found.kernel >= (5, 0)
    assert not found.bpffs


def test_loopback_is_known_without_any_right() -> None:
    assert machine.nic("lo").loopback
    assert machine.nic("nonesuch") == Nic("nonesuch")


@pytest.mark.root
def test_the_facts_of_interfaces(netns: World) -> None:
    host, peer = netns.namespace("host"), netns.namespace("peer")
    name, _ = netns.join(host, peer, "192.0.2.1/24", "192.0.2.2/24")
    host.run("ip", "link", "set", name, "mtu", "3000")
    host.run("ip", "link", "add", "link", name, "name", "above", "type", "macvlan")
    host.run("ethtool", "-K", name, "gro", "on")

    def facts() -> tuple[Nic, Nic]:
        return machine.nic(name), machine.nic("above")

    found, above = host.call(facts)
    assert (found.kind, found.driver, found.mtu, found.gro, found.loopback) == ("veth", "veth", 3000, True, False)
    assert found.channels >= 1
    assert (above.kind, above.parent) == ("macvlan", name)


def test_of_no_interfaces_none_can_be_named() -> None:
    assert no_interface("eth0", []) == ("there is no interface eth0, nor any other but loopback", "")
    why, mend = no_interface("eth0", ["eth1"])
    assert (why, mend) == ("there is no interface eth0 (there are eth1)", "name one of them in nodes: interfaces")
