"""The load of the DNS bench: well-formed queries, counted replies, and no target but our own."""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import dns.edns
import dns.message
import pytest

from bench import generator
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(("kind", "octets", "within"), [("ecs4", 3, "0.0.0.0/0"), ("ecs6", 7, "2000::/4")])
def test_queries_carry_the_client_network(kind: str, octets: int, within: str) -> None:
    network = generator.networks(kind, seed=5)[17].tobytes()
    message = dns.message.from_wire(generator.query("www.example.com", kind)[:-octets] + network)
    assert message.question[0].to_text() == "www.example.com. IN A"
    (option,) = message.options
    assert isinstance(option, dns.edns.ECSOption)
    address = ipaddress.ip_address(option.address)
    assert address in ipaddress.ip_network(within)
    assert address.packed == network + bytes(len(address.packed) - octets)
    assert (option.srclen, option.scopelen) == (octets * 8, 0)


def test_plain_queries_have_no_edns() -> None:
    message = dns.message.from_wire(generator.query("static.example.com", "plain"))
    assert message.edns == -1
    assert message.question[0].to_text() == "static.example.com. IN A"


def test_networks_are_the_same_for_a_seed() -> None:
    first, again, other = (generator.networks("ecs4", seed)[:100].tobytes() for seed in (1, 1, 2))
    assert first == again != other


def test_every_answer_of_the_bare_loop_is_counted() -> None:
    port = str(free_port())
    server = subprocess.Popen([sys.executable, "-m", "bench.bare", "127.0.0.1", port], cwd=ROOT)
    try:
        _wait_until_it_answers(int(port))
        argv = [sys.executable, "-m", "bench.generator", "127.0.0.1", port, "--seconds", "0.2"]
        seen = json.loads(subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=30, check=True).stdout)
    finally:
        server.kill()
        server.wait()
    assert seen["sent"] >= seen["received"] == seen["good"] > 0
    assert all(address == "192.0.2.10" for _, address in seen["sample"])


def _wait_until_it_answers(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.1)
        asking.connect(("127.0.0.1", port))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                asking.send(generator.query("www.example.com", "plain"))
                asking.recv(512)
            except OSError:
                time.sleep(0.02)
                continue
            return
    raise TimeoutError("the bare loop does not answer")


def test_foreign_addresses_are_refused() -> None:
    argv = [sys.executable, "-m", "bench.generator", "192.0.2.1", "53"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "only loopback" in done.stderr
