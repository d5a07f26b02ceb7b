"""Echo requests, in namespaces where the kernel's ping sockets may be allowed or not."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.healthcheck.probes.servers import check, sample
from tests.namespaces import Namespace, World

ROOT = Path(__file__).parents[3]
ASK = """
import asyncio, json, sys
from healthcheck.check import Check
from healthcheck.probes import PROBES
(sample,) = asyncio.run(PROBES["icmp"](Check("ping", "icmp", sys.argv[1], None, 0.3)))
print(json.dumps([sample.ok, sample.why]))
"""


def asked(host: Namespace, address: str) -> list[object]:
    found = host.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", ASK, address)
    outcome = json.loads(found)
    assert isinstance(outcome, list)
    return outcome


def allow(host: Namespace) -> None:
    host.run("sysctl", "-w", "net.ipv4.ping_group_range=0 2147483647")


@pytest.mark.root
def test_ping(netns: World) -> None:
    here, there = netns.namespace("here"), netns.namespace("there")
    netns.join(here, there, "198.18.0.1/24", "198.18.0.2/24")
    here.add_address("lo", "2001:db8::1/128")
    found = asked(here, "127.0.0.1")
    assert found[0] is False
    assert "net.ipv4.ping_group_range" in str(found[1])
    assert 'sysctl -w net.ipv4.ping_group_range="0 2147483647"' in str(found[1])
    allow(here)
    for address in ("127.0.0.1", "::1", "2001:db8::1", "198.18.0.2"):
        assert asked(here, address) == [True, ""]
    assert asked(here, "203.0.113.1") == [False, "network is unreachable"]
    there.run("sysctl", "-w", "net.ipv4.icmp_echo_ignore_all=1")
    assert asked(here, "198.18.0.2") == [False, "no echo reply within 300ms"]


def test_no_address() -> None:
    found = asyncio.run(sample(check("icmp", None, address="www.example.com")))
    assert found.why == "'www.example.com' is no address"
