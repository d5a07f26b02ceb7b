"""Whether DNS is answered in the driver, by what the balancer's process says."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from gslb.control.balancerchild import DOOR
from gslb.control.balancing import Balancing
from gslb.model.deployment import Socket
from gslb.model.framing import frame
from gslb.model.plan import Plan
from gslb.nameserver import channel
from tests.control.make import DEPLOYMENT, NODE
from tests.control.test_balancing import WAIT_S, until
from xdp.messages import Attached, DnsState, Interface, Report, State

AT_NODE = replace(NODE, interfaces=("eth0",))
PLAN = Plan("example", 7, "", {}, ())
DNS_HERE = replace(
    DEPLOYMENT, pools={}, dns=replace(DEPLOYMENT.dns, listen=(Socket(ip_address("192.0.2.53"), 53),), xdp="native")
)


@pytest.fixture(autouse=True)
def _all_addresses_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gslb.control.addresses.ours", frozenset)


def test_the_driver_answers_while_its_test_run_does_and_somebody_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    balancing = Balancing(tmp_path, lambda: None, None)
    answered = DnsState(image="1", version=7, addresses=1)

    async def scenario() -> None:
        door = channel.listen(tmp_path, DOOR, socket.SOCK_STREAM)
        door.settimeout(0)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        balancing.want(DNS_HERE, AT_NODE, b"secret")
        balancing.apply(PLAN)
        assert not balancing.answering, "nobody has said so"
        running = asyncio.create_task(balancing.run(stop))
        line, _ = await asyncio.wait_for(loop.sock_accept(door), WAIT_S)
        attached = (Interface("eth0", Attached.NATIVE),)

        def say(dns: DnsState, interfaces: tuple[Interface, ...] = attached) -> None:
            line.sendall(frame(Report(State(1, 7, "", interfaces, dns=dns), None)))

        with door, line:
            say(answered)
            await until(lambda: balancing.answering)
            say(replace(answered, silent="it passes on"))
            await until(lambda: not balancing.answering)
            say(answered)
            await until(lambda: balancing.answering)
            say(answered, (Interface("eth0", Attached.NOT, "it is gone"),))
            await until(lambda: not balancing.answering)
            say(answered)
            await until(lambda: balancing.answering)
            with monkeypatch.context() as later:
                later.setattr("gslb.control.balancing.SILENCE_S", 0.0)
                assert not balancing.answering, "nobody has asked it for long"
            balancing.want(replace(DNS_HERE, dns=replace(DNS_HERE.dns, xdp="off")), AT_NODE, b"secret")
            assert not balancing.answering
            stop.set()
            await asyncio.wait_for(running, 2.0)

    asyncio.run(scenario())
