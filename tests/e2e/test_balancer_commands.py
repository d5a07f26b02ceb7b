"""`gslb lb` beside a running balancer: tables, whom a flow goes to, counts, captured packets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.utils import rdpcap

from tests.e2e.balanced import BACKENDS, CLIENT, PORT, VIP4, Balanced
from tests.e2e.lifecycle import GSLB, wait_until
from tests.e2e.program import Program
from tests.namespaces import World

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def site(netns: World, tmp_path: Path) -> Iterator[Balanced]:
    """A site whose balancer forwards by Ethernet address."""
    with contextlib.closing(Balanced(netns, tmp_path, f"c{os.getpid()}")) as site:
        yield site


def asked(source_port: int) -> str:
    """The name of the backend that answers one datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((CLIENT, source_port))
        one.settimeout(10)
        one.sendto(b"?", (VIP4, PORT))
        return one.recv(100).decode().split()[-1]


def gslb(site: Balanced, program: Program, *words: str) -> subprocess.CompletedProcess[str]:
    where = ("--config", str(program.config), "--node", program.node, "--state", str(program.state))
    command = site.balancer.command([*GSLB, *words, *where])
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def lb(site: Balanced, program: Program, *words: str) -> subprocess.CompletedProcess[str]:
    return gslb(site, program, "lb", *words)


def turned_off_and_on(site: Balanced, program: Program) -> None:
    """By the configuration, as in an emergency: no restart is needed to have the balancer again."""

    def said(text: str) -> bool:
        return text in gslb(site, program, "status").stdout

    good = site.config.read_text()
    site.config.write_text(good.replace("attach: native", "attach: off").replace("workers: 1", "workers: 1, xdp: off"))
    wait_until(lambda: said("unbalanced  web: balancer.attach is off"), "status says why nothing is balanced")
    assert "no balancer is in force here" in lb(site, program, "show").stderr
    site.config.write_text(good)
    site.settle(program, BACKENDS)
    wait_until(lambda: said("balancer    eth0 native") and not said("unbalanced"), "it is as before")


def connections_are_counted(site: Balanced, program: Program) -> None:
    """300 are 300, by VIP, by backend and for the node; and gone when they are closed."""

    def counted() -> tuple[int, dict[str, int]]:
        found = site.lb(program, "stats", "--json")
        assert not any(one["active_error"] for one in found["vips"])
        vips = {one["name"]: one["active"] for one in found["vips"]}
        return vips[f"{VIP4} tcp/{PORT}"], {one["name"]: one["active"] for one in found["backends"]}

    flows = site.flows(300)
    assert counted() == (300, Counter(BACKENDS[name] for name in flows.names))
    wait_until(lambda: " 300 active" in gslb(site, program, "status").stdout, "status says it")
    flows.close()
    assert counted() == (0, dict.fromkeys(BACKENDS.values(), 0))


def test_commands(site: Balanced, tmp_path: Path) -> None:
    """One site for all of them: they change nothing."""
    with site.running() as program:
        connections_are_counted(site, program)
        shown = lb(site, program, "show")
        assert shown.returncode == 0, shown.stderr
        for text in ("eth0", "native", f"{VIP4}", *BACKENDS.values()):
            assert text in shown.stdout
        table = json.loads(lb(site, program, "show", "--json").stdout)
        assert table
        for port in range(30_000, 30_020):
            name = site.client.call(lambda port=port: asked(port))  # type: ignore[misc]
            found = lb(site, program, "flows", CLIENT, str(port), VIP4, str(PORT), "udp", "--json")
            assert found.returncode == 0, found.stderr
            assert BACKENDS[name] in found.stdout, (name, found.stdout)
        shown = gslb(site, program, "status")
        assert "balancer    eth0 native\ntable       web (" in shown.stdout
        assert "\ntraffic     web: " in shown.stdout
        stats = lb(site, program, "stats", "--json")
        assert stats.returncode == 0, stats.stderr
        assert f"{VIP4} udp/{PORT}" in stats.stdout
        unknown = lb(site, program, "capture", "--vip", "203.0.113.81", "--seconds", "1", str(tmp_path / "no.pcap"))
        assert unknown.returncode != 0
        assert "203.0.113.81" in unknown.stderr
        assert not (tmp_path / "no.pcap").exists()

        target = tmp_path / "some.pcap"
        command = ["lb", "capture", "--config", str(program.config), "--node", "lb1", "--state", str(program.state)]
        running = site.balancer.start(*GSLB, *command, "--one-in", "1", "--seconds", "4", str(target))
        wait_until(target.exists, "the capture has begun")
        while running.poll() is None:
            site.client.call(lambda: asked(31_000))
        assert running.returncode == 0
        packets = [packet for packet in rdpcap(str(target)) if packet.haslayer(UDP) and packet[UDP].sport == 31_000]
        assert packets
        assert {(packet[IP].dst, packet[UDP].dport, bytes(packet[UDP].payload)) for packet in packets} == {
            (VIP4, PORT, b"?")
        }
        turned_off_and_on(site, program)
        program.process.terminate()
        program.process.wait(15)
        gone = lb(site, program, "show")
        assert gone.returncode != 0
        assert "Traceback" not in gone.stderr
