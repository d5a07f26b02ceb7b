"""The controller's part of anycast with a real ExaBGP: what it has is adopted, followed, kept within bounds, and ended in order."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any

import pytest

from bgp.launch import running
from gslb.control import facts as factsfile
from gslb.control.announcing import FOLDER, Announcing, Hearers, Senses
from gslb.control.clock import Clock
from gslb.control.facts import Facts
from gslb.control.link import Lent
from gslb.control.store import Store
from gslb.model.bgp import Announce, Bgp, Drain, Neighbor
from gslb.model.deployment import Anycast, Deployment, Network
from gslb.model.plan import Plan
from gslb.model.world import Forced, Override
from tests.control.make import DEPLOYMENT, NODE

pytestmark = pytest.mark.slow

FIRST, SECOND = IPv4Network("192.0.2.53/32"), IPv4Network("192.0.2.54/32")
LOCAL = IPv4Address("127.0.0.1")
HERE, THERE = IPv4Address("127.0.0.2"), IPv4Address("127.0.0.3")  # nobody listens there
PORT = 1
WAIT_S = 30.0  # on a busy machine
ANYCAST = Anycast("ns", (FIRST,), ("dns",), rise_s=0.2, least_s=0.2, drain_s=0.4, hold_s=0.5, longest_hold_s=0.5)
PLAN = Plan("example", 1, "", {}, ())


def neighbor(address: IPv4Address) -> Neighbor:
    return Neighbor(address, 65001, port=PORT, local=LOCAL, drain=Drain("65535:0", 3, 100), announce=Announce(med=10))


def deployment(*prefixes: Network, neighbors: Iterable[IPv4Address] = (HERE,), **more: Any) -> Deployment:
    spoken = Bgp(NODE.site, 65010, LOCAL, tuple(map(neighbor, neighbors)), controller_loss_s=60.0, **more)
    return replace(DEPLOYMENT, anycast=(replace(ANYCAST, prefixes=prefixes),), bgp=(spoken,))


class Node:
    """One node's announcing, over the lives of its controller."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder, "example", NODE.name)
        self.store.create()
        (self.store.folder / "run").mkdir()
        self.executors: int | None = 1
        self.lends = True
        self.told: list[Mapping[str, str]] = []
        self.lent: tuple[Network, ...] | None = None
        self.overrides: tuple[Override, ...] = ()
        self.announcing: Announcing

    @asynccontextmanager
    async def living(self, wanted: Deployment) -> AsyncIterator[Announcing]:
        """One life of its controller, which ends as a death does."""

        async def answering() -> int | None:
            return self.executors

        facts = Facts()
        facts.open(self.store.folder)
        hearers = Hearers(self._lend, self._changed, lambda _: None)
        self.announcing = Announcing(self.store, Clock(), facts, Senses(dict, dict, answering), hearers)
        self.announcing.want(wanted, NODE)
        self.decided()
        life = asyncio.create_task(self.announcing.run(asyncio.Event()))
        try:
            yield self.announcing
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    def decided(self, *, done: bool = True) -> None:
        self.announcing.decided(PLAN, self.overrides, done=done)

    def state(self) -> dict[str, Any]:
        found = self.announcing.state()
        assert found is not None
        return found

    def prefixes(self) -> dict[str, str]:
        """How each stands, where ExaBGP has just that."""
        return {one["prefix"]: one["state"] for one in self.state()["prefixes"] if one["acked"]}

    def table(self) -> set[tuple[str, str]]:
        """What ExaBGP has: neighbors and prefixes."""
        return {(str(neighbor), str(prefix)) for neighbor, prefix in self.announcing._speaking.table}

    @property
    def pid(self) -> int | None:
        return running(self.store.folder / FOLDER)

    def problems(self) -> list[str]:
        found = json.loads((self.store.folder / factsfile.NAME).read_text())["problems"]
        return list(found.get("anycast", ()))

    def _lend(self, prefixes: Iterable[Network]) -> None:
        self.lent = tuple(prefixes)
        names = frozenset(map(str, self.lent if self.lends else ()))
        asyncio.get_running_loop().call_soon(lambda: self.announcing.lent(Lent(names, names)))

    def _changed(self) -> None:
        self.told.append(self.announcing.routes)

    def close(self) -> None:
        """No ExaBGP outlives its test."""
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


async def until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait for it; AssertionError with what there is in its place."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  # of another's state
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(what()) from None


async def stands(node: Node, **states: str) -> None:
    wanted = {
        prefix: states[name] for name, prefix in {"first": str(FIRST), "second": str(SECOND)}.items() if name in states
    }
    await until(lambda: node.prefixes() == wanted, node.state)


@pytest.fixture
def node(tmp_path: Path) -> Iterable[Node]:
    made = Node(tmp_path)
    yield made
    made.close()


def test_adopted_followed_and_ended_in_order(node: Node) -> None:
    async def lives() -> None:
        async with node.living(deployment(FIRST)):
            assert node.state()["prefixes"][0]["state"] == "off"
            await stands(node, first="announced")
            pid = node.pid
            assert pid == node.state()["speaker"]["pid"]
            assert node.announcing.routes == {str(FIRST): "withdrawn"}, "there is no session"
            assert node.lent == (FIRST,)
        assert node.pid == pid, "its controller's death is none of its business"

        async with node.living(deployment(FIRST)):
            await stands(node, first="announced")
            state = node.state()
            assert (state["speaker"]["pid"], state["speaker"]["adopted"]) == (pid, True)
            assert (state["counts"]["commands"], state["counts"]["transitions"]) == (0, {})

            node.announcing.want(deployment(FIRST, SECOND, neighbors=(HERE, THERE)), NODE)
            await stands(node, first="announced", second="announced")
            assert node.table() == {(str(to), str(prefix)) for to in (HERE, THERE) for prefix in (FIRST, SECOND)}
            node.announcing.want(deployment(SECOND, neighbors=(THERE,)), NODE)
            await until(lambda: node.table() == {(str(THERE), str(SECOND))}, node.table)
            await until(lambda: node.lent == (SECOND,), lambda: node.lent)
            assert node.pid == pid
            assert [one["address"] for one in node.state()["neighbors"]] == [str(THERE)]

        async with node.living(deployment(SECOND, neighbors=(THERE,))):
            leaving = asyncio.create_task(node.announcing.leave())  # before it was adopted
            await until(lambda: node.prefixes() == {str(SECOND): "drain"}, node.state)
            await leaving
            assert node.state()["prefixes"][0]["state"] == "off"
            assert node.pid is None

    asyncio.run(lives())


def test_what_the_speaker_may_not_announce_is_never_said(node: Node) -> None:
    async def lives() -> None:
        async with node.living(deployment(FIRST, SECOND, allow=(ip_network("192.0.2.54/31"),))):
            await stands(node, second="announced")
            assert node.table() == {(str(HERE), str(SECOND))}
            assert f"{FIRST} is not announced: the speaker fra may announce 192.0.2.54/31" in node.problems()
            node.announcing.want(deployment(FIRST, SECOND, max_routes=1), NODE)
            await until(lambda: node.table() == {(str(HERE), str(FIRST))}, node.table)
            await until(lambda: any("may announce 1 " in line for line in node.problems()), node.problems)
            await node.announcing.leave()

    asyncio.run(lives())


def test_causes_reach_exabgp_and_old_knowledge_only_drains(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lives() -> None:
        node.lends = False
        alone = replace(deployment(FIRST), anycast=(replace(ANYCAST, min_sites=0),))
        async with node.living(alone):
            await until(lambda: node.prefixes() == {str(FIRST): "off"}, node.state)
            assert node.state()["prefixes"][0]["local"]["dns"] is False, "its address is not here"
            node.announcing.lent(Lent(frozenset({str(FIRST)}), frozenset({str(FIRST)})))
            await stands(node, first="announced")
            node.executors = 0
            await stands(node, first="off")
            node.executors = None
            node.executors = 2
            await stands(node, first="announced")
            node.overrides = (Override("site/fra", Forced.DRAIN, "alice", "work", 0.0),)
            node.decided()
            await stands(node, first="drain")
            node.overrides = ()
            node.decided()
            await stands(node, first="announced")
            monkeypatch.setattr("gslb.control.announcing.OLD_S", 0.3)
            node.decided(done=False)
            await stands(node, first="drain")
            assert node.state()["prefixes"][0]["why"] == "what this node knows is old"
            node.decided()
            await stands(node, first="announced")
            node.announcing.want(replace(alone, anycast=(), bgp=()), NODE)
            await until(lambda: node.pid is None, lambda: node.pid)
            assert node.announcing.state() is None
            await until(lambda: node.lent == (), lambda: node.lent)

    asyncio.run(lives())


def test_a_state_folder_may_be_named_from_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = Node(Path("state"))

    async def lives() -> None:
        async with node.living(deployment(FIRST)):
            await stands(node, first="announced")
            assert node.pid == node.state()["speaker"]["pid"]
            await node.announcing.leave()
            assert node.pid is None

    try:
        asyncio.run(lives())
    finally:
        node.close()


def test_where_exabgp_cannot_be_started_an_end_waits_for_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path / "a b")

    async def lives() -> None:
        async with node.living(deployment(FIRST)):
            await until(lambda: any("cannot be started" in line for line in node.problems()), node.problems)
            async with asyncio.timeout(4.0):
                await node.announcing.leave()

    asyncio.run(lives())


def test_a_password_that_was_changed_is_taken_when_it_is_asked_for(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "md5"
    file.write_text("first\n")
    wanted = deployment(FIRST)
    (speaker,) = wanted.bgp
    wanted = replace(wanted, bgp=(replace(speaker, neighbors=(replace(neighbor(HERE), md5_file=str(file)),)),))

    def has(password: bytes) -> bool:
        conf = node.store.folder / FOLDER / "exabgp.conf"
        return conf.exists() and base64.b64encode(password) in conf.read_bytes()

    async def lives() -> None:
        async with node.living(wanted):
            await stands(node, first="announced")
            assert has(b"first")
            pid = node.pid
            file.write_text("second\n")
            node.announcing.want(wanted, NODE)
            await until(lambda: has(b"second"), node.state)
            assert node.pid == pid
            await node.announcing.leave()

    asyncio.run(lives())


def test_an_order_that_an_earlier_run_gave_in_vain_is_given_again(node: Node) -> None:
    both = deployment(FIRST, neighbors=(HERE, THERE))

    def is_written() -> bool:
        return str(THERE) in (node.store.folder / FOLDER / "exabgp.conf").read_text()

    async def lives() -> None:
        async with node.living(deployment(FIRST)):
            await stands(node, first="announced")
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("bgp.watched.Watched.signal", lambda *_: None)  # ExaBGP throws it away
                node.announcing.want(both, NODE)
                await until(is_written, node.state)
                assert node.table() == {(str(HERE), str(FIRST))}
        async with node.living(both):
            await until(lambda: node.table() == {(str(to), str(FIRST)) for to in (HERE, THERE)}, node.state)
            await node.announcing.leave()

    asyncio.run(lives())
