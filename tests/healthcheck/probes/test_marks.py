"""Checks whose packets bear a mark, in a namespace that drops the packets of requests without it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import dns.message
import dns.rrset
import pytest

from healthcheck.check import MARK, Check, Sample
from tests.healthcheck.probes.servers import LOCAL, SHORT_S, check, closing, sample, serving
from tests.namespaces import Namespace, World

ROOT = Path(__file__).parents[3]
NUMBER = 0x67000001
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")  # though of root
ASK = """
import asyncio, json, sys
from healthcheck.check import MARK, Check
from healthcheck.probes import PROBES
(sample,) = asyncio.run(PROBES["tcp"](Check("marked", "tcp", "127.0.0.1", 9, 0.3, {MARK: 0x67000001})))
print(json.dumps([sample.ok, sample.moot, sample.why]))
"""


@pytest.fixture
def host(netns: World) -> Namespace:
    host = netns.namespace("host")
    host.run("nft", "add table inet marks")
    host.run("nft", "add chain inet marks out { type filter hook output priority 0; }")
    return host


def insist(host: Namespace, what: str) -> None:
    """What matches, and has no mark, is dropped."""
    host.run("nft", f"add rule inet marks out {what} meta mark != {NUMBER} drop")


def asked(host: Namespace, kind: str, settings: Mapping[str, object]) -> Sample:
    async def main() -> Sample:
        async with serving(closing) as port:
            insist(host, f"tcp dport {port}")
            return await sample(check(kind, port, settings, timeout_s=SHORT_S))

    return host.call(lambda: asyncio.run(main()))


@pytest.mark.root
@pytest.mark.parametrize("kind", ["http", "https", "tcp", "grpc"])
def test_connections_bear_the_mark(host: Namespace, kind: str) -> None:
    expect: Mapping[str, object] = {"expect": "hello"} if kind == "tcp" else {}
    assert "within" not in asked(host, kind, {MARK: NUMBER, **expect}).why  # it came as far as to be closed
    assert asked(host, kind, expect).why.endswith("connection within 300ms")


def _sampled(one: Check) -> Sample:
    return asyncio.run(sample(one))


@pytest.mark.root
def test_echo_requests_bear_the_mark(host: Namespace) -> None:
    host.run("sysctl", "-w", "net.ipv4.ping_group_range=0 2147483647")
    host.add_address("lo", "2001:db8::1/128")
    insist(host, "icmp type echo-request")
    insist(host, "icmpv6 type echo-request")
    for address in (LOCAL, "2001:db8::1"):
        for settings, ok in (({MARK: NUMBER}, True), ({}, False)):
            one = check("icmp", None, settings, address=address, timeout_s=SHORT_S)
            assert host.call(partial(_sampled, one)).ok is ok


@pytest.mark.root
def test_questions_bear_the_mark(host: Namespace) -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # of 3.12
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:  # type: ignore[explicit-override]
            reply = dns.message.make_response(dns.message.from_wire(data))
            reply.answer.append(dns.rrset.from_text("www.example.com.", 60, "IN", "A", "192.0.2.1"))
            self.transport.sendto(reply.to_wire(), address)

    async def main() -> list[bool]:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, (LOCAL, 0))
        port = transport.get_extra_info("sockname")[1]
        insist(host, f"udp dport {port}")
        query = {"query": "www.example.com.", "record": "A"}
        try:
            marked = await sample(check("dns", port, {**query, MARK: NUMBER}, timeout_s=SHORT_S))
            return [marked.ok, (await sample(check("dns", port, query, timeout_s=SHORT_S))).ok]
        finally:
            transport.close()

    assert host.call(lambda: asyncio.run(main())) == [True, False]


@pytest.mark.root
def test_without_the_right_to_mark_nothing_is_known_of_the_target(host: Namespace) -> None:
    found = host.run(*WITHOUT_RIGHTS, "env", f"PYTHONPATH={ROOT}", sys.executable, "-c", ASK)
    ok, moot, why = json.loads(found)
    assert (ok, moot) == (False, True)
    assert why.startswith("this node cannot ask as clients do: its checking process may not set marks")
    assert "CAP_NET_RAW" in why
