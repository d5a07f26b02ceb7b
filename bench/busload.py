"""What the shared view costs each of many nodes: CPU of hearing, merging and telling, octets a second, how old an opinion arrives.

`python -m bench.busload [--json FILE] [--nodes N] [--targets N] [--flips N] [--seconds S]`.  One node is measured in this process; the
others tell from a process of their own, where HEARING of them also hear all; nats-server runs on this machine.  Each node is a site.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Protocol

import nats

from gslb.bus.access import Access
from gslb.bus.bus import Entry, Message, Standing
from gslb.bus.messages import Life, Opinion, RoundTrips, Rows, SharedLoad, Told
from gslb.bus.nats import Nats
from gslb.bus.peers import Peers
from gslb.bus.rows import unpack
from gslb.bus.telling import ENVELOPE, Telling
from gslb.bus.wire import decode
from gslb.model.deployment import NodeId, PolicyId, PoolId
from gslb.model.world import Health
from tests.bus.cluster import Cluster, installed

DEPLOYMENT = "bench"
BUDGET = 0.10  # of one core
DELAY_S = 0.1  # of an opinion on its way
MOST_PER_S = 50_000  # octets of a site
RECENT_S = 1.0  # an opinion that began less long ago changed just now
HEARING = 2
WARM_S = 8.0  # everything was told again once
POOLS, CLASSES, RANKINGS = 40, 200, 300
TTL_S = 15.0


class Voice(Protocol):
    """What a member tells by."""

    def publish(self, kind: str, body: bytes) -> bool:
        """As `gslb.bus.bus.Bus`."""


class Chorus:
    """Nodes that only tell, over one connection: nineteen that hear as well would need a core for themselves."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    def voice(self, number: int) -> Voice:
        """That of one node."""
        return _Part(self._waiting, f"gslb.{DEPLOYMENT}.site-{number}.n{number}")

    async def run(self, urls: tuple[str, ...]) -> None:
        """Send what is told until cancelled."""
        connection = await nats.connect(list(urls))
        try:
            while True:
                await connection.publish(*await self._waiting.get())
        finally:
            await connection.close()


@dataclass
class _Part:
    waiting: asyncio.Queue[tuple[str, bytes]]
    subject: str

    def publish(self, kind: str, body: bytes) -> bool:
        self.waiting.put_nowait((f"{self.subject}.{kind}", body))
        return True


@dataclass
class Member:
    """One node: its bus, what it tells, and who hears for it."""

    number: int
    targets: int
    flips: int  # a second
    bus: Voice
    told: list[int] = field(default_factory=list)  # octets of each message

    def __post_init__(self) -> None:
        self.telling = Telling(1)
        self._random = Random(self.number)
        self._healths = dict.fromkeys(range(1, self.targets + 1), Health.UP)
        self._since = dict.fromkeys(self._healths, time.monotonic() - 3600)

    async def run(self) -> None:
        """Tell until cancelled."""
        second = 0
        due_at = time.monotonic() + self._random.random()
        rest_at = due_at + 0.5
        while True:
            now = time.monotonic()
            if now >= due_at:
                self._flip(now)
                due_at += 1.0
            if now >= rest_at:
                self._observe(second, now)
                second, rest_at = second + 1, rest_at + 1.0
            for kind, body in self.telling.due(now, time.time()):
                if self.bus.publish(kind, body):
                    self.told.append(len(body) + ENVELOPE)
            await asyncio.sleep(max(0.001, min(self.telling.wake_at(now), due_at, rest_at) - time.monotonic()))

    def _flip(self, now: float) -> None:
        """Some targets change."""
        flipped = self._random.sample(range(1, self.targets + 1), self.flips)
        for key in flipped:
            self._healths[key] = Health.DOWN if self._healths[key] is Health.UP else Health.UP
            self._since[key] = now
        self.telling.opinions({key: self._opinion(key, now) for key in flipped}, now, whole=False)

    def _observe(self, second: int, now: float) -> None:
        """What else a second brings: loads and answers move a little.

        The node that is measured says all it knows, as a real one does; others only at first, as many run in one process.
        """
        telling, random = self.telling, self._random
        whole = self.number == 0 or second == 0
        telling.life(Life("c" * 32, 1, second, "p" * 32, "g" * 32, "", None, {}, "1.0", float(second)), now)
        own = range(self.number % POOLS, POOLS, 20)
        telling.loads({PoolId(f"pool-{pool}"): SharedLoad(random.random(), 0.0, part=True) for pool in own}, now)
        if whole or second % 5 == 0:
            rates = {PolicyId(f"policy-{policy}"): {1: (5.0 + random.random(),) * RANKINGS} for policy in range(10)}
            telling.demand("g" * 32, rates, (), now)
        if whole:
            telling.opinions({key: self._opinion(key, now) for key in self._healths}, now)
            places = [(PoolId(f"pool-{pool}"), 4, place) for pool in own for place in range(CLASSES)]
            telling.round_trips(RoundTrips("g" * 32, dict.fromkeys(places, (0.02, 0.05, second, 0.0))), now)

    def _opinion(self, key: int, now: float) -> Opinion:
        health = self._healths[key]
        why = "" if health is Health.UP else "connection refused"
        return Opinion(health, self._random.random() * 5, now - self._since[key], TTL_S, why=why)


@dataclass
class Listener:
    """`gslb.bus.bus.Hearer` of a member.  With `peers` it merges all; without it looks only at what `whose` tells."""

    peers: Peers | None = None
    whose: str = ""
    heard: int = 0
    delays: list[float] = field(default_factory=list)
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    def message(self, message: Message) -> None:
        """Another node told something."""
        self.heard += 1
        if self.peers is not None:
            told = decode(message, time.time())
            self.peers.take(told)
            self._look(told)
        elif message.node == self.whose and message.kind == "opinions":
            self._look(decode(message, time.time()))

    def entry(self, entry: Entry) -> None:
        """Keys are not measured."""

    def listed(self, keys: frozenset[str]) -> None:
        """Keys are not measured."""

    def standing(self, standing: Standing) -> None:
        """The connection was made or lost."""
        if standing.connected:
            self.connected.set()

    def _look(self, told: Told) -> None:
        if isinstance(told.body, Rows) and told.body.rows["for"].min(initial=1 << 31) < RECENT_S * 1000:
            for _key, opinion in unpack(told.body):
                if opinion.for_s < RECENT_S:
                    self.delays.append(time.monotonic() - told.stamp.sent_s + opinion.for_s)


def main() -> None:
    """Measure and print."""
    if installed() is None:
        raise SystemExit("nats-server is not installed: see setup/packages.sh")
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder)) as cluster:
        found = measure(cluster.urls, arguments.nodes, arguments.targets, arguments.flips, arguments.seconds)
    for line in table(found):
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps(found))


def measure(urls: tuple[str, ...], nodes: int, targets: int, flips: int, seconds: float) -> dict[str, Any]:
    """What one of `nodes` costs, and the delays at it and at all others."""
    ours, theirs = multiprocessing.Pipe()
    others = multiprocessing.Process(target=_others, args=(urls, nodes, targets, flips, theirs), daemon=True)
    others.start()
    try:
        if not ours.poll(60.0):
            raise SystemExit("the other nodes do not come to the bus")
        ours.recv()
        found = asyncio.run(_measured(urls, nodes, targets, flips, seconds))
        ours.send("enough")
        if not ours.poll(10.0):
            raise SystemExit("the other nodes do not answer")
        octets, delays = ours.recv()
    finally:
        others.terminate()
        others.join()
    return found | {"octets_of_others_per_s": octets, "delays_at_others_s": _spread(delays)}


def table(found: Mapping[str, Any]) -> list[str]:
    """The figures for people."""
    here, there = found["delays_s"], found["delays_at_others_s"]
    well = found["share_of_core"] <= BUDGET and max(here["p99"], there["p99"]) <= DELAY_S
    well &= max(found["octets_per_s"], found["octets_of_others_per_s"]) <= MOST_PER_S
    return [
        f"{found['nodes']} nodes, {found['targets']} targets, {found['flips']} changes a second at each",
        f"one node       {found['share_of_core']:7.1%} of a core, {found['heard_per_s']:.0f} messages a second heard",
        f"tells          {found['octets_per_s']:7.0f} octets a second; the busiest other {found['octets_of_others_per_s']:.0f}",
        f"an opinion     {here['p50'] * 1e3:7.1f} ms on its way to this node, p99 {here['p99'] * 1e3:.1f} ms, of {here['count']}",
        f"               {there['p50'] * 1e3:7.1f} ms to others, p99 {there['p99'] * 1e3:.1f} ms, of {there['count']}",
        f"{'within' if well else 'BEYOND'} {BUDGET:.0%} of a core, {DELAY_S * 1e3:.0f} ms, {MOST_PER_S} octets a second",
    ]


async def _measured(urls: tuple[str, ...], nodes: int, targets: int, flips: int, seconds: float) -> dict[str, Any]:
    peers = Peers(NodeId("n0"))
    listener = Listener(peers)
    line = _line(urls, 0)
    member = Member(0, targets, flips, line)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        bus = tasks.create_task(line.run(listener, stop))
        await asyncio.wait_for(listener.connected.wait(), 20.0)
        telling = tasks.create_task(member.run())
        ageing = tasks.create_task(_age(peers))
        await asyncio.sleep(WARM_S)
        if len(peers.lives(time.monotonic())) != nodes - 1:
            raise SystemExit(f"{len(peers.lives(time.monotonic()))} other nodes are heard, expected {nodes - 1}")
        listener.delays.clear()
        member.told.clear()
        heard, began, cpu = listener.heard, time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        passed, cpu = time.monotonic() - began, time.process_time() - cpu
        found = {
            "nodes": nodes,
            "targets": targets,
            "flips": flips,
            "share_of_core": cpu / passed,
            "heard_per_s": (listener.heard - heard) / passed,
            "octets_per_s": sum(member.told) / passed,
            "delays_s": _spread(listener.delays),
        }
        telling.cancel()
        ageing.cancel()
        stop.set()
        await bus
    return found


async def _age(peers: Peers) -> None:
    while True:
        await asyncio.sleep(1.0)
        now = time.monotonic()
        peers.due(now)
        peers.lives(now)


def _others(urls: tuple[str, ...], nodes: int, targets: int, flips: int, pipe: Connection) -> None:
    asyncio.run(_tell(urls, nodes, targets, flips, pipe))


async def _tell(urls: tuple[str, ...], nodes: int, targets: int, flips: int, pipe: Connection) -> None:
    chorus, stop = Chorus(), asyncio.Event()
    running = [asyncio.ensure_future(chorus.run(urls))]
    members, listeners = [], []
    for number in range(1, nodes):
        voice = chorus.voice(number)
        if number <= HEARING:
            line, listener = _line(urls, number), Listener(whose="n0")
            running.append(asyncio.ensure_future(line.run(listener, stop)))
            await asyncio.wait_for(listener.connected.wait(), 20.0)
            listeners.append(listener)
            voice = line
        members.append(Member(number, targets, flips, voice))
    running += [asyncio.ensure_future(member.run()) for member in members]
    pipe.send("here")
    await asyncio.sleep(WARM_S)
    for member in members:
        member.told.clear()
    for listener in listeners:
        listener.delays.clear()
    began = time.monotonic()
    await asyncio.to_thread(pipe.recv)
    passed = time.monotonic() - began
    delays = [delay for listener in listeners for delay in listener.delays]
    pipe.send((max(sum(member.told) for member in members) / passed, delays))
    for task in running:
        task.cancel()


def _line(urls: tuple[str, ...], number: int) -> Nats:
    return Nats(Access(urls), DEPLOYMENT, f"site-{number}", f"n{number}", time.time)


def _spread(delays: list[float]) -> dict[str, float]:
    ordered = sorted(delays) or [float("inf")]
    return {
        "count": len(delays),
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
        "most": ordered[-1],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.busload", description="The cost of the shared view.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--nodes", type=int, default=20, help="nodes, each of a site of its own [20]")
    parser.add_argument("--targets", type=int, default=2000, help="targets that each of them checks [2000]")
    parser.add_argument("--flips", type=int, default=2, help="targets that change at each node, a second [2]")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds to measure [20]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
