"""Routers that are asked for our routes: what they said, and those that cannot be asked."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from bgp.proof import Standing
from bgp.routes import Attributes, Route
from gslb.control.looking import Looking, Question
from gslb.model.bgp import Look, Router

VIP, LOCAL, OTHER = IPv4Network("192.0.2.53/32"), IPv4Address("10.0.0.2"), IPv4Address("10.0.0.9")
ROUTER, SILENT = IPv4Address("10.0.0.1"), IPv4Address("10.0.1.1")
PATH = """{"valid": true, "bestpath": {"overall": true}, "peer": {"peerId": "10.0.0.2"}, "aspath": {"string": "65010"},
"metric": 10, "locPrf": 100}"""


def test_each_router_is_asked_and_one_that_cannot_be_is_told(tmp_path: Path) -> None:
    vtysh = tmp_path / "vtysh"
    vtysh.write_text(f'#!/bin/sh\necho \'{{"prefix": "{VIP}", "paths": [{PATH}]}}\'\n')
    vtysh.chmod(0o755)
    frr, bird = Look(Router.FRR, str(vtysh)), Look(Router.BIRD, str(tmp_path / "bird.ctl"))
    sent = Route(ROUTER, VIP, attributes=Attributes(med=10))
    questions = [Question(frr, sent, LOCAL), Question(bird, Route(SILENT, VIP), LOCAL)]

    async def work() -> None:
        looked = asyncio.Event()
        looking = Looking(lambda: questions, looked.set)
        stop = asyncio.Event()
        life = asyncio.create_task(looking.run(stop))
        async with asyncio.timeout(30):
            await looked.wait()
            assert {at: standing for at, (standing, _) in looking.found[VIP].items()} == {ROUTER: Standing.USED}
            (line,) = looking.problems
            assert line.startswith(f"router {SILENT} cannot be asked for our routes: BIRD at ")
            looked.clear()
            questions[:] = [Question(frr, sent, OTHER)]
            looking.soon()
            await looked.wait()
            assert looking.found[VIP][ROUTER][0] is Standing.MISSING
            assert looking.problems == ()
            stop.set()
            await life

    asyncio.run(work())
