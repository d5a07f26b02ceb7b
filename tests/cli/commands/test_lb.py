"""`gslb lb`, through the front door, on tables and programs in the kernel, and where there are none."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from scapy.layers.inet import IP
from scapy.utils import rdpcap

from gslb.cli.main import main
from gslb.model.deployment import Attach
from gslb.model.world import Forced
from tests.decide.worlds import override
from tests.namespaces import World
from tests.xdp.balancer import API, CLIENT, WEB, Balancer, tcp, udp
from xdp import pins

pytestmark = pytest.mark.root
NOBODY = 65534
ONE, TWO = "10.7.0.2", "10.7.0.3"


class Said(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The words of each line."""
        return [line.split() for line in self.out.splitlines()]


Lb = Callable[..., Said]


@pytest.fixture
def balancer(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Balancer]:
    tool("clang")
    with closing(Balancer(netns, tmp_path)) as made:
        yield made


@pytest.fixture
def lb(balancer: Balancer, capsys: pytest.CaptureFixture[str]) -> Lb:
    """`gslb lb VIEW` on the balancer's machine."""

    def run(view: str, *words: str) -> Said:
        def call() -> int:
            try:
                return main(["lb", view, *balancer.options, *words])
            except SystemExit as stop:
                return stop.code if isinstance(stop.code, int) else 1

        capsys.readouterr()
        status = balancer.host.call(call)
        return Said(status, *capsys.readouterr())

    return run


def states(said: Said) -> dict[str, str]:
    """The state of each backend in `gslb lb show --json`, where there is one ring."""
    (ring,) = json.loads(said.out)["rings"]
    return {one["address"]: one["state"] for one in ring["backends"]}


def test_what_is_in_force(balancer: Balancer, lb: Lb) -> None:
    said = lb("show")
    assert (said.status, said.err) == (0, "")
    assert said.rows[:2] == [["interface", balancer.device, "native"], ["plan", "version", "1"]]
    for row in (
        ["api", API, "tcp/80", "1", "-"],
        ["web", WEB, "tcp/80", "1", "-"],
        ["web", WEB, "udp/443", "1", "yes"],
    ):
        assert row in said.rows
    for address, slots in ((ONE, "32769"), (TWO, "32768")):
        (row,) = (row for row in said.rows if row[:1] == [address])
        assert (row[1:3], row[4:6], row[6:]) == (["up", "l2"], ["on", balancer.device], [slots, "50.00%", "-"])


def test_what_is_generic_because_it_was_asked_for_has_no_fault(balancer: Balancer, lb: Lb) -> None:
    balancer.attach(Attach.GENERIC)
    assert "a veth takes XDP" in lb("show").out
    balancer.config.write_text(balancer.config.read_text() + "balancer: {attach: generic}\n")
    (interface,) = json.loads(lb("show", "--json").out)["interfaces"]
    assert (interface["attached"], interface["why"].startswith("balancer.attach is generic")) == ("generic", True)


def test_an_interface_that_is_gone_is_not_shown(balancer: Balancer, lb: Lb) -> None:
    balancer.host.run("ip", "link", "del", balancer.device)
    assert lb("show").out.startswith("interface   none: no packet comes to the balancer\n")


def test_a_backend_that_drains_keeps_slots(balancer: Balancer, lb: Lb) -> None:
    words = [override(f"backend/{pool}/{ONE}", Forced.DRAIN) for pool in ("web", "api")]
    balancer.put(balancer.decided(*words))
    said = lb("show")
    assert "; 32769 slots with flows of an earlier backend" in said.out
    (row,) = (row for row in said.rows if row[:1] == [ONE])
    assert (row[1], row[6:]) == ("drain", ["0", "0.00%", "32769"])
    assert states(lb("show", "--json")) == {ONE: "drain", TWO: "up"}


def test_pools_of_one_ring_that_the_plan_tells_apart(balancer: Balancer, lb: Lb) -> None:
    """The plan has another word than the tables that are in force still, and only for one of them."""
    balancer.decided(override(f"backend/api/{ONE}", Forced.DRAIN))
    assert states(lb("show", "--json")) == {ONE: "drain in api, up in web", TWO: "up"}
    balancer.decided(override(f"backend/web/{ONE}", Forced.DRAIN))
    assert states(lb("show", "--json")) == {ONE: "up in api, drain in web", TWO: "up"}


def test_backends_that_are_down_or_cannot_be_reached(balancer: Balancer, lb: Lb) -> None:
    words = [override(f"backend/{pool}/{TWO}", Forced.DOWN) for pool in ("web", "api")]
    balancer.put(balancer.decided(*words))
    assert states(lb("show", "--json")) == {ONE: "up", TWO: "down"}


def test_whom_a_flow_goes_to_is_whom_it_is_sent_to(balancer: Balancer, lb: Lb) -> None:
    for port in range(40_000, 40_010):
        for protocol, packet in (("tcp", tcp(port)), ("udp", udp(port))):
            to = "443" if protocol == "udp" else "80"
            said = lb("flows", CLIENT, str(port), WEB, to, protocol, "--json")
            told = json.loads(said.out)["packets"]
            before = balancer.packets_to(told["backend"])
            balancer.send(packet)
            assert (said.status, balancer.packets_to(told["backend"]) - before) == (0, 1)


def test_a_flow_in_words(balancer: Balancer, lb: Lb) -> None:
    said = lb("flows", CLIENT, "40000", WEB, "80")
    assert said.rows[:2] == [
        ["flow", CLIENT, "port", "40000", "->", WEB, "port", "80", "tcp"],
        ["VIP", WEB, "tcp/80", "of", "web"],
    ]
    *_, slot, last = said.out.splitlines()
    assert slot.startswith("slot ")
    assert last in {f"packets     {address}: the slot's backend" for address in (ONE, TWO)}
    words = [override(f"backend/{pool}/{ONE}", Forced.DRAIN) for pool in ("web", "api")]
    balancer.put(balancer.decided(*words))
    *_, slot, old, new = lb("flows", CLIENT, "40000", WEB, "80").out.splitlines()
    assert slot.endswith(f": {TWO}, before {ONE if ONE in last else TWO}")
    assert old.startswith(f"packets     {ONE if ONE in last else TWO}: the slot's previous backend")
    assert new == f"a new one   {TWO}: a new flow goes to the slot's current backend"


NO_VIP: list[tuple[tuple[str, ...], int, str]] = [
    (
        ("192.0.2.99", "80"),
        1,
        "VIP         none: no VIP has this address, port and protocol: it goes to the kernel",
    ),
    ((WEB, "81"), 1, "VIP         none: no VIP has this address"),
    ((API, "80", "udp"), 1, "VIP         none: no VIP has this address"),
    (("2001:db8::1", "80"), 1, f"gslb: {CLIENT} and 2001:db8::1 are of two address families - expected one"),
    (("web", "80"), 2, "'web' is no address"),
    (("::ffff:192.0.2.10", "80"), 2, "'::ffff:192.0.2.10' is on no wire - expected 192.0.2.10"),
    ((WEB, "http"), 2, "'http' is no port - expected 0 to 65535"),
    ((WEB, "65536"), 2, "'65536' is no port - expected 0 to 65535"),
    ((WEB, "80", "sctp"), 2, "invalid choice: 'sctp'"),
]


def test_flows_that_no_vip_takes(lb: Lb) -> None:
    for words, status, said in NO_VIP:
        found = lb("flows", CLIENT, "40000", *words)
        assert (found.status, said in found.out + found.err) == (status, True), words


@pytest.mark.slow
def test_what_is_counted_in_a_second(balancer: Balancer, lb: Lb) -> None:
    with balancer.sending(tcp(40_000), tcp(40_001), tcp(40_002, API), tcp(40_003, "192.0.2.99")):
        said = lb("stats", "--json")
        shown = lb("stats")
    told = json.loads(said.out)
    rates = {(one["pool"], one["name"]): one["packets_per_s"] for one in told["vips"]}
    assert rates["web", f"{WEB} tcp/80"] == pytest.approx(2 * rates["api", f"{API} tcp/80"], rel=0.1)
    assert rates["web", f"{WEB} udp/443"] == 0
    assert told["events"]["no_vip"]["per_s"] == pytest.approx(rates["api", f"{API} tcp/80"], rel=0.1)
    assert {one["pool"] for one in told["backends"]} == {"api, web"}, "what a backend is sent is counted once"
    assert sum(one["packets_per_s"] for one in told["backends"]) == pytest.approx(sum(rates.values()), rel=0.1)
    headers = [row[1:3] for row in shown.rows if row[:1] in (["pool"], ["event"])]
    assert headers == [["VIP", "packets/s"], ["backend", "packets/s"], ["a", "second"]]
    assert "no_vip" in {row[0] for row in shown.rows[-2:]}


def captured(path: Path) -> set[tuple[str, int]]:
    """The VIP and the client's port of each packet in a file."""
    return {(packet[IP].dst, packet[IP].payload.sport) for packet in rdpcap(str(path))}


def test_captured_packets_are_those_that_came(balancer: Balancer, lb: Lb, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    with balancer.sending(tcp(40_000), tcp(40_001, API), udp(40_002), tcp(40_003, "192.0.2.99")):
        said = lb("capture", str(path), "--one-in", "1", "--seconds", "0.3")
    assert said.status == 0
    assert said.err.endswith(f" captures packets of all VIPs, one in 1, for 0.3 s, to {path}\n")
    assert captured(path) == {(WEB, 40_000), (API, 40_001), (WEB, 40_002)}
    assert said.out == f"{len(rdpcap(str(path)))} packets\n"
    first = next(iter(rdpcap(str(path))))
    assert bytes(first.payload) == bytes(
        {40_000: tcp(40_000), 40_001: tcp(40_001, API), 40_002: udp(40_002)}[first[IP].payload.sport]
    )


def test_only_what_is_asked_for_is_written(balancer: Balancer, lb: Lb, tmp_path: Path) -> None:
    both = {(WEB, 40_000), (WEB, 40_002)}
    wanted = {f"{WEB} tcp/80": {(WEB, 40_000)}, "web": both, WEB: both, "api": {(API, 40_001)}}
    with balancer.sending(tcp(40_000), tcp(40_001, API), udp(40_002)):
        for number, (vip, found) in enumerate(wanted.items()):
            path = tmp_path / f"{number}.pcap"
            assert lb("capture", str(path), "--vip", vip, "--seconds", "0.3").status == 0
            assert captured(path) == found, vip


def test_captures_that_cannot_be(balancer: Balancer, lb: Lb, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    said = lb("capture", str(path), "--vip", "wep")
    assert (said.status, said.err) == (1, "gslb: no VIP 'wep' is in force - did you mean web?\n")
    nowhere = tmp_path / "nowhere" / "some.pcap"
    said = lb("capture", str(nowhere))
    assert (said.status, said.err) == (
        1,
        f"gslb: {nowhere} cannot be written: No such file or directory; name another file\n",
    )
    handle = os.open(balancer.folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    said = lb("capture", str(path), "--seconds", "0.1")
    os.close(handle)
    assert (said.status, said.out) == (1, "")
    assert said.err.endswith("gslb: somebody else captures on this node; wait until that ends\n")
    assert not path.exists()
    path.write_text("mine")
    said = lb("capture", str(path))
    assert (said.status, said.err) == (1, f"gslb: {path} is there already; name another file\n")
    assert path.read_text() == "mine"


def test_what_fails_leaves_no_file_without_packets(balancer: Balancer, lb: Lb, tmp_path: Path) -> None:
    pin = balancer.folder / pins.MAPS / "captured"
    pin.unlink()
    pins.put(balancer.maps["settings"].fd, pin)  # no ring buffer: it cannot be mapped
    said = lb("capture", str(tmp_path / "some.pcap"), "--seconds", "0.1")
    assert (said.status, said.out) == (1, "")
    assert "gslb: the balancer cannot be read: " in said.err
    assert not (tmp_path / "some.pcap").exists()


def test_for_how_long(lb: Lb, tmp_path: Path) -> None:
    for seconds in ("0", "-1", "3601", "nan", "soon"):
        said = lb("capture", str(tmp_path / "some.pcap"), f"--seconds={seconds}")
        expected = f"'{seconds}' - expected seconds, more than 0 and at most 3600"
        assert (said.status, expected in said.err) == (2, True), seconds


def test_no_balancer_is_in_force(balancer: Balancer, lb: Lb) -> None:
    balancer.close()
    for words in (["show"], ["stats"], ["flows", CLIENT, "1", WEB, "80"], ["capture", "x.pcap"]):
        said = lb(*words)
        told = f"gslb: no balancer is in force here (nothing is pinned in {balancer.home}); `gslb status` says why\n"
        assert said == (1, "", told)
    assert not Path("x.pcap").exists()


def test_a_balancer_of_another_version_is_in_force(balancer: Balancer, lb: Lb) -> None:
    balancer.folder.rename(balancer.home / "another")
    said = lb("show")
    assert (said.status, said.out) == (1, "")
    assert said.err == (
        "gslb: a balancer of another version of gslb is in force here; restart gslb, or use that version's command\n"
    )


@contextmanager
def another_user() -> Iterator[None]:
    """Root may do everything: be somebody else."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_whoever_has_no_rights_is_told_who_has(balancer: Balancer, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # the configuration may be read
        for file in balancer.config.parent.glob("*.yaml"):
            (Path(name) / file.name).write_text(file.read_text())
        options = ("--config", f"{name}/gslb.yaml", "--state", f"{name}/state")
        assert main(["lb", "show", *options]) == 0  # imports what another user may not
        capsys.readouterr()
        with another_user():
            status = main(["lb", "show", *options])
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.startswith("gslb: only root may look at the balancer (")
    assert err.endswith("); sudo gslb lb ...\n")
