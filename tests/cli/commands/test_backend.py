"""`gslb backend` on machines of a small world: setup, every fault that doctor is to find, remove."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from gslb.cli.main import main
from tests.namespaces import Namespace, World
from xdp import build, decap

CONFIG = """
deployment: test
nodes: {fra1: {site: fra}}
datacenters: {fra: {at: [50.11, 8.68], continent: EU}}
pools:
  web:
    datacenter: fra
    answers: [192.0.2.10, "2001:db8:a::10"]
    balance: {listen: [tcp/80, udp/443], forward: FORWARD, backends: [BACKENDS]}
policies: {web: {rules: [{pools: [web]}]}}
zones: [example.com.yaml]
"""
ZONE = """
'':
  - {type: SOA, ttl: 3600, value: {mname: ns1.example.com., rname: hostmaster.example.com., serial: 1, minimum: 30}}
  - {type: NS, ttl: 3600, values: [ns1.example.com., ns2.example.com.]}
ns1: {type: A, ttl: 3600, value: 127.0.0.1}
ns2: {type: A, ttl: 3600, value: 127.0.0.1}
www: {policy: web, ttl: 60, types: [A, AAAA]}
"""
VIPS = ("192.0.2.10", "2001:db8:a::10")
ROOT = Path(__file__).parents[3]


def write(folder: Path, forward: str, backends: str = "10.1.0.11, 10.1.0.12") -> Path:
    (folder / "example.com.yaml").write_text(ZONE)
    path = folder / f"{forward}.yaml"
    path.write_text(CONFIG.replace("FORWARD", forward).replace("BACKENDS", backends))
    return path


@dataclass
class Machine:
    """A backend, its router, and the deployment's file."""

    host: Namespace
    router: Namespace
    end: str
    config: Path
    sockets: list[socket.socket] = field(default_factory=list)

    def gslb(self, what: str, *options: str) -> tuple[int, str]:
        """Exit status and all that was printed."""
        words = ["backend", what, *(("--config", str(self.config)) if what != "remove" else ()), *options]
        done = subprocess.run(
            self.host.command(["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "gslb.cli", *words]),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def state(self) -> str:
        """What setup may change: addresses, sysctls, rules, programs."""
        keys = [f"net.ipv4.conf.{self.end}.{key}" for key in ("arp_ignore", "arp_announce", "rp_filter")]
        return "\n".join(
            (
                self.host.run("ip", "-o", "address", "show", "dev", "lo"),
                self.host.run("sysctl", *keys),
                self.host.run("nft", "list", "ruleset"),
                re.sub(r".*(prog/xdp id \d+)?.*", r"\1", self.host.run("ip", "link", "show", self.end)),
                re.sub(r".*fe80::.*\n", "", self.host.run("ip", "route", "show", "table", "all")),  # comes up by itself
            )
        )

    def listen(self) -> None:
        """Serve what the pool listens on, on every address."""

        def made() -> list[socket.socket]:
            udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            udp.bind(("::", 443))
            return [socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True), udp]

        self.sockets += self.host.call(made)

    def silence(self) -> None:
        for one in self.sockets:
            one.close()
        self.sockets.clear()

    def listed(self) -> str:
        """The file that records what setup made."""
        return self.host.run("stat", "-L", "-c", "/run/gslb-backend/%i.json", "/proc/self/ns/net").strip()


@pytest.fixture
def machine(netns: World, tmp_path: Path) -> Iterator[Machine]:
    build.build()
    host, router = netns.namespace("backend"), netns.namespace("router")
    ends = netns.join(host, router, "10.1.0.11/24", "10.1.0.1/24")
    host.add_address(ends[0], "2001:db8:1::11/64")
    router.add_address(ends[1], "2001:db8:1::1/64")
    host.add_route("default", "10.1.0.1")
    host.add_route("::/0", "2001:db8:1::1")
    made = Machine(host, router, ends[0], write(tmp_path, "ipip"))
    made.listen()
    try:
        yield made
    finally:
        made.silence()
        made.host.call(decap.remove)
        Path(made.listed()).unlink(missing_ok=True)


@pytest.mark.root
def test_setup_makes_a_backend_and_remove_takes_all_of_it_back(machine: Machine) -> None:
    before = machine.state()
    status, dry = machine.gslb("setup", "--dry-run")
    assert status == 0, dry
    assert machine.state() == before
    status, said = machine.gslb("setup")
    assert status == 0
    lines = [line for line in said.splitlines() if not line.startswith("#")]
    assert lines == [line for line in dry.splitlines() if not line.startswith("#")]
    assert lines == [
        f"sysctl -w net.ipv4.conf.{machine.end}.arp_ignore=1",
        f"sysctl -w net.ipv4.conf.{machine.end}.arp_announce=2",
        "nft add table inet gslb_backend",
        "nft flush table inet gslb_backend",
        "nft add chain inet gslb_backend mss '{ type filter hook output priority mangle; }'",
        "nft add rule inet gslb_backend mss ip saddr 192.0.2.10 tcp flags '& (syn | rst) == syn' tcp option maxseg size set 1440",
        "nft add rule inet gslb_backend mss ip6 saddr 2001:db8:a::10 tcp flags '& (syn | rst) == syn' tcp option maxseg size set 1420",
        "ip address add 192.0.2.10/32 dev lo",
        "ip address add 2001:db8:a::10/128 dev lo nodad",
    ]
    assert f"# decapsulation by XDP on {machine.end}: native" in said
    status, said = machine.gslb("doctor")
    assert (status, said.splitlines()[-1]) == (0, "nothing is wrong")
    assert said.startswith("this machine serves web as 10.1.0.11 (ipip)")
    status, said = machine.gslb("setup")
    assert (status, [line for line in said.splitlines() if not line.startswith("#")]) == (0, [])
    status, said = machine.gslb("remove")
    assert status == 0
    assert machine.state() == before
    assert machine.gslb("remove") == (0, "")
    assert machine.gslb("remove", "--dry-run") == (0, "# setup made nothing here\n")


@pytest.mark.root
def test_by_ethernet_addresses_there_is_neither_tunnel_nor_clamp(machine: Machine, tmp_path: Path) -> None:
    assert machine.gslb("setup")[0] == 0
    machine.config = write(tmp_path, "l2", "10.1.0.11, {address: '2001:db8:1::11'}")
    status, said = machine.gslb("setup")
    assert (status, said.splitlines()[:2]) == (
        0,
        ["nft delete table inet gslb_backend", "# decapsulation by XDP is taken away"],
    )
    status, said = machine.gslb("doctor")
    assert status == 0
    assert not re.search("decapsulation|segments|tunnels", said)
    assert machine.gslb("remove")[0] == 0


FAULTS: list[tuple[str, Callable[[Machine], object], str]] = [
    ("no VIP", lambda on: on.host.run("ip", "address", "del", "192.0.2.10/32", "dev", "lo"), "192.0.2.10 is no address of lo"),
    ("no IPv6 VIP", lambda on: on.host.run("ip", "address", "del", f"{VIPS[1]}/128", "dev", "lo"), f"{VIPS[1]} is no address of lo"),
    ("VIP on the link", lambda on: on.host.add_address(on.end, "192.0.2.10/24"), "192.0.2.10 is an address of v0l, which answers"),
    ("ARP answers", lambda on: on.host.run("sysctl", "-w", f"net.ipv4.conf.{on.end}.arp_ignore=0"), "v0l answers by ARP"),
    ("ARP asks", lambda on: on.host.run("sysctl", "-w", f"net.ipv4.conf.{on.end}.arp_announce=0"), "v0l asks by ARP"),
    ("strict", lambda on: on.host.run("sysctl", "-w", "net.ipv4.conf.all.rp_filter=1"), "v0l drops packets of clients"),
    ("no decapsulation", lambda on: on.host.call(decap.remove), "nothing takes the outer headers off"),
    ("decapsulation elsewhere", lambda on: on.host.call(lambda: decap.install(on.end, [], [])), "does not know 10.1.0.11, 192.0.2.10, 2001"),
    ("no clamp", lambda on: on.host.run("nft", "delete", "table", "inet", "gslb_backend"), "clients of 192.0.2.10 send segments"),
    ("small MTU", lambda on: on.host.run("ip", "link", "set", on.end, "mtu", "1290"), "1270 octets are left in tunnels of web"),
    ("no route", lambda on: on.host.run("ip", "route", "del", "default"), "there is no default route for IPv4"),
    ("no IPv6 route", lambda on: on.host.run("ip", "-6", "route", "del", "default"), "there is no default route for IPv6"),
]  # fmt: skip


@pytest.mark.root
@pytest.mark.slow
def test_doctor_finds_each_fault_and_its_line_mends_it(machine: Machine) -> None:
    assert machine.gslb("setup")[0] == 0
    for name, make, text in FAULTS:
        make(machine)
        status, said = machine.gslb("doctor")
        assert status == 1, name
        lines = said.splitlines()
        at = next((number for number, line in enumerate(lines) if line.startswith("WRONG") and text in line), None)
        assert at is not None, f"{name}: {said}"
        mend = lines[at + 1].strip().replace("GATEWAY", "2001:db8:1::1" if "-6" in lines[at + 1] else "10.1.0.1")
        if mend == "gslb backend setup":
            assert machine.gslb("setup")[0] == 0
        else:
            machine.host.run("sh", "-c", mend)
        status, said = machine.gslb("doctor")
        if name == "small MTU":  # the clamp is for the larger one again
            assert machine.gslb("setup")[0] == 0
            status, said = machine.gslb("doctor")
        assert (status, said.splitlines()[-1]) == (0, "nothing is wrong"), f"{name}: {said}"


@pytest.mark.root
def test_doctor_tells_what_does_not_listen_and_what_drops(machine: Machine) -> None:
    assert machine.gslb("setup")[0] == 0
    machine.silence()
    machine.host.run("nft", "add table inet filter")
    machine.host.run("nft", "add chain inet filter input { type filter hook input priority 0; policy drop; }")
    status, said = machine.gslb("doctor")
    assert status == 1
    assert "WRONG nothing listens on 192.0.2.10 tcp/80 (web): the service must, there or on every address" in said
    assert "WRONG nothing listens on 2001:db8:a::10 udp/443 (web)" in said
    assert "ss -lntp 'sport = :80'" in said
    assert "look  chain inet filter input drops what no rule accepts" in said
    assert "nft insert rule inet filter input ip daddr 192.0.2.10 tcp dport 80 accept" in said
    assert said.splitlines()[-1] == "4 things are wrong"


@pytest.mark.root
def test_neighbours_hear_nothing_of_the_vips(machine: Machine) -> None:
    """By ARP the settings see to it; by NDP the kernel, which answers for the addresses of the link alone."""
    router = machine.router
    end = "v0r"
    assert machine.gslb("setup")[0] == 0
    for vip in VIPS:
        router.run("ip", "route", "add", vip, "dev", end)
        router.call(partial(_send, vip))
    _settled(router, VIPS[0], "INCOMPLETE|FAILED")
    _settled(router, VIPS[1], "INCOMPLETE|FAILED")
    router.call(partial(_send, "10.1.0.11"))
    _settled(router, "10.1.0.11", "lladdr")
    assert "lladdr" not in "".join(router.run("ip", "neigh", "show", vip) for vip in VIPS)


@pytest.mark.root
def test_a_machine_that_is_no_backend(machine: Machine, tmp_path: Path) -> None:
    machine.config = write(tmp_path, "gue", "10.9.9.9")
    status, said = machine.gslb("doctor")
    assert status == 1
    assert said.startswith("gslb: this machine is no backend: its addresses are 10.1.0.11, ")
    assert said.endswith("backends are 10.9.9.9\n")
    assert machine.gslb("setup", "--pool", "none")[1] == "gslb: none is no balanced pool - expected web\n"


@pytest.mark.root
def test_without_root_doctor_says_what_it_can_and_setup_what_it_needs(machine: Machine) -> None:
    assert machine.gslb("setup")[0] == 0
    ask = [
        "setpriv",
        "--reuid=65534",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
        "--regid=65534",
        "--clear-groups",
        "env",
        f"PYTHONPATH={ROOT}",
        sys.executable,
        "-m",
        "gslb.cli",
        "backend",
    ]
    said = {
        what: subprocess.run(
            machine.host.command([*ask, what, "--config", str(machine.config)]),
            capture_output=True,
            text=True,
            check=False,
        )
        for what in ("doctor", "setup", "remove")
    }
    assert said["doctor"].returncode == 0, said["doctor"]
    assert "look  whether tunnels end here is seen by root only" in said["doctor"].stdout
    assert "ok    192.0.2.10 is an address of lo" in said["doctor"].stdout
    assert said["setup"].stderr.endswith("which root may: sudo gslb backend setup (--dry-run prints the lines)\n")
    assert (said["setup"].returncode, said["remove"].returncode) == (1, 1)


def _send(address: str) -> None:
    """One datagram, so that the neighbour is asked for."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.sendto(b"x", (address, 9))


def _settled(host: Namespace, address: str, expected: str) -> None:
    found = ""
    for _ in range(100):
        found = host.run("ip", "neigh", "show", address)
        if re.search(expected, found):
            return
        host.run("sleep", "0.02")
    pytest.fail(f"{address}: {found}")


def test_what_to_do_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["backend"])
    assert "setup,doctor,remove" in capsys.readouterr().err
