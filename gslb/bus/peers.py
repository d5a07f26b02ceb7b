"""What all other nodes have told: the merge of their messages.  Pure; times are of our monotonic clock.

Rule 1: any order, repetition, loss and delay of messages leads to the same, once all has been told again.
Rule 2: clocks of nodes need not agree: ages are told, and what a message took is added to them.
Rule 3: a message of a former life of its node does not count, unless the node was silent and begins again with a lower number.
Rule 4: nodes and what is kept of each are bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import numpy as np

from gslb.bus.bus import Message
from gslb.bus.held import NONE, Keys
from gslb.bus.messages import Kind, Life, Opinion, SharedLoad, Stamp, Told
from gslb.bus.peer import FORGET_S, LIVES_MOST, Heap, Peer
from gslb.bus.wire import Refused, decode, encode, kind_of
from gslb.model.deployment import NodeId, PoolId, SiteId
from gslb.model.world import Demand, Rtt, Rtts

FORMAT = 1
NODES_MOST = 128  # nodes of which something is kept
STRANGERS_MOST = 16  # of these, nodes that are not in the configuration
SILENT_S = 15.0  # after that a node may begin again with a lower run: its state was lost, or its calendar set back


class PeersUnreadable(ValueError):
    """The bytes are nothing that `Peers.dump` wrote for this deployment."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a message: the targets to be judged anew, or why it does not count.

    `news`: a node lives again, or its life says something else than before.
    """

    keys: Keys = NONE
    refused: str = ""
    news: bool = False


class Voice(NamedTuple):
    """What one node says of one target; many are made, so it is a tuple."""

    site: SiteId
    node: NodeId
    opinion: Opinion


@dataclass(frozen=True, slots=True)
class Living:
    """One other node: its last sign of life (None: none yet) `age_s` ago, its times aged to now.

    `delay_s`: how much longer than the quickest its last message took; `skew_s`: its calendar is ahead of ours by that.
    `refused` counts its messages that did not count, by cause.
    """

    site: SiteId
    node: NodeId
    run: int
    life: Life | None
    age_s: float
    alive: bool
    delay_s: float
    skew_s: float
    refused: dict[str, int]


@dataclass(frozen=True, slots=True)
class Carried:
    """What one node knows of a pool's load."""

    site: SiteId
    node: NodeId
    load: SharedLoad


@dataclass(frozen=True, slots=True)
class Asked:
    """Answers that one node gives; as in `World`."""

    site: SiteId
    node: NodeId
    demand: Demand
    heavy: tuple[str, ...]
    age_s: float


class Peers:
    """All other nodes, as seen by `node`."""

    def __init__(self, node: NodeId) -> None:
        self._own = node
        self._peers: dict[tuple[SiteId, NodeId], Peer] = {}
        self._expected: frozenset[tuple[SiteId, NodeId]] | None = None

    def take(self, told: Told) -> Taken:
        """Learn from a message."""
        if told.node == self._own:
            return Taken(refused="own_name")
        where = SiteId(told.site), NodeId(told.node)
        peer = self._peers.get(where)
        if peer is None and not self._room(where, told.heard_at):
            return Taken(refused="too_many_nodes")
        if peer is None or peer.epoch > LIVES_MOST:
            peer = self._peers[where] = Peer(*where)
        now = told.heard_at
        if told.stamp.run != peer.run:
            if told.stamp.run < peer.run and now - peer.heard_at <= SILENT_S:
                peer.refused["former_run"] += 1
                return Taken(refused="former_run")
            peer.begin(told.stamp.run)
        lived, life = peer.alive(now), peer.life
        delay_s = peer.delays.of(now, told.stamp.sent_s)
        if now >= peer.heard_at:
            peer.heard_at, peer.delay_s, peer.skew_s = now, delay_s, told.skew_s + delay_s
        keys = peer.learn(told.body, now - delay_s, told.stamp.number, now)
        if not isinstance(told.body, Life) or peer.life is life or peer.life is None:
            return Taken(keys)
        return Taken(keys, news=not lived or life is None or _lasting(life.value) != _lasting(peer.life.value))

    def due(self, now: float) -> Keys:
        """The targets of which an opinion ceased to be fresh since this was last asked."""
        return NONE.union(*(peer.held.aged(now) for peer in self._peers.values()))

    def keys(self) -> Keys:
        """Every target that any node told of."""
        return NONE.union(*(peer.held.keys() for peer in self._peers.values()))

    def opinions(self, keys: Iterable[int], now: float) -> dict[int, list[Voice]]:
        """What each node says of these targets, aged; many at once cost much less than one by one."""
        wanted = np.sort(np.fromiter(keys, np.uint64))
        found: dict[int, list[Voice]] = {}
        for (site, node), peer in self._peers.items():
            for key, opinion in peer.held.of(wanted, now):
                found.setdefault(key, []).append(Voice(site, node, opinion))
        return found

    def lives(self, now: float) -> dict[NodeId, Living]:
        """Every node that was ever heard and is not forgotten; of one that moved to another site the last."""
        found = {}
        for peer in sorted(self._peers.values(), key=lambda one: one.heard_at):
            age_s = max(0.0, now - (peer.life.at if peer.life else peer.heard_at))
            life = None if peer.life is None else _aged(peer.life.value, age_s)
            found[peer.node] = Living(
                peer.site,
                peer.node,
                peer.run,
                life,
                age_s,
                peer.alive(now),
                peer.delay_s,
                peer.skew_s,
                dict(peer.refused),
            )
        return found

    def heaps(self, now: float) -> dict[NodeId, dict[Kind, Heap]]:
        """How much of each kind each node has told, and how old it is; of one that moved to another site the last."""
        ordered = sorted(self._peers.values(), key=lambda one: one.heard_at)
        return {peer.node: peer.heaps(now) for peer in ordered}

    def loads(self, now: float) -> dict[PoolId, list[Carried]]:
        """What each node knows of the loads of pools, aged."""
        found: dict[PoolId, list[Carried]] = {}
        for (site, node), peer in self._peers.items():
            for pool, load in peer.loads(now):
                found.setdefault(pool, []).append(Carried(site, node, load))
        return found

    def round_trips(self, geography: str, now: float) -> dict[SiteId, Rtts]:
        """Round trips by the site that measured them, of those who use that location table.

        Of several nodes of a site the means, by the number of handshakes; ages may be some seconds too young.
        """
        found: dict[SiteId, Rtts] = {}
        for (site, _node), peer in self._peers.items():
            trips = peer.trips(geography, now)
            if trips:
                found[site] = _joined(found[site], trips) if site in found else trips
        return found

    def answers(self, geography: str, now: float) -> list[Asked]:
        """Answers that each node gives, of those who use that location table."""
        told = [(*where, peer.asked(geography, now)) for where, peer in self._peers.items()]
        return [Asked(site, node, *asked) for site, node, asked in told if asked is not None]

    def keep(self, nodes: Collection[tuple[SiteId, NodeId]], now: float) -> None:
        """Expect these nodes, of the configuration; others are forgotten after an hour of silence.  Asked each minute or so."""
        self._expected = frozenset(nodes)
        for where, peer in list(self._peers.items()):
            if where not in self._expected and now - peer.heard_at > FORGET_S:
                del self._peers[where]
            else:
                peer.forget(now)

    def dump(self, deployment: str, now: float, wall_s: float) -> bytes:
        """All of it for the state folder; `wall_s`: seconds since the epoch."""
        peers = []
        for peer in self._peers.values():
            stamp = Stamp(max(peer.run, 0), 0, 0.0, 0.0)
            told = [(age_s, kind_of(body), encode(stamp, body)) for body, age_s in peer.bodies(now)]
            peers.append((peer.site, peer.node, peer.run, max(0.0, now - peer.heard_at), told))
        return msgspec.msgpack.encode((FORMAT, deployment, wall_s, peers))

    def load(self, data: bytes, deployment: str, now: float, wall_s: float) -> None:
        """Begin with what `dump` wrote, older by the time between.  Raises PeersUnreadable, and then nothing was learned."""
        try:
            form, whose, written_at, peers = _DUMPED.decode(data)
            if form != FORMAT:
                raise PeersUnreadable(f"what nodes told is of format {form}, expected {FORMAT}")
            if whose != deployment:
                raise PeersUnreadable(f"what nodes told is of deployment {whose!r}, expected {deployment!r}")
            passed = max(0.0, wall_s - written_at)
            found = [_revived(one, now - passed, now) for one in peers[:NODES_MOST]]
        except (msgspec.MsgspecError, Refused, ValueError) as error:
            if isinstance(error, PeersUnreadable):
                raise
            raise PeersUnreadable(f"not what nodes told: {error}") from error
        self._peers = {(peer.site, peer.node): peer for peer in found if peer.node != self._own}

    def _room(self, where: tuple[SiteId, NodeId], now: float) -> bool:
        """Whether another node can be kept; one that nobody expects makes room for one that is."""
        if self._expected is None:
            return len(self._peers) < NODES_MOST
        strangers = self._peers.keys() - self._expected
        if where in self._expected:
            if len(self._peers) >= NODES_MOST and strangers:
                del self._peers[min(strangers, key=lambda one: self._peers[one].heard_at)]
            return len(self._peers) < NODES_MOST
        silent = [one for one in strangers if now - self._peers[one].heard_at > SILENT_S]
        if len(strangers) >= STRANGERS_MOST and silent:
            del self._peers[min(silent, key=lambda one: self._peers[one].heard_at)]
            return len(self._peers) < NODES_MOST
        return len(strangers) < STRANGERS_MOST and len(self._peers) < NODES_MOST


_Dumped = tuple[int, str, float, list[tuple[str, str, int, float, list[tuple[float, Kind, bytes]]]]]
_DUMPED = msgspec.msgpack.Decoder(_Dumped)


def _revived(raw: tuple[str, str, int, float, list[tuple[float, Kind, bytes]]], then: float, now: float) -> Peer:
    site, node, run, silent_s, told = raw
    peer = Peer(SiteId(site), NodeId(node))
    peer.run, peer.heard_at = run, then - silent_s
    for age_s, kind, body in told:
        message = Message(site, node, kind, body, then)
        peer.learn(decode(message, 0.0).body, then - age_s, 0, now)
    peer.epoch += 1  # whatever comes is newer than this
    return peer


def _lasting(life: Life) -> Life:
    """A sign of life without its times."""
    return replace(life, up_s=0.0, blind_s=None if life.blind_s is None else 0.0)


def _aged(life: Life, age_s: float) -> Life:
    blind_s = None if life.blind_s is None else life.blind_s + age_s
    return replace(life, up_s=life.up_s + age_s, blind_s=blind_s)


def _joined(some: Rtts, others: Rtts) -> Rtts:
    found = {pool: dict(by_class) for pool, by_class in some.items()}
    for pool, by_class in others.items():
        into = found.setdefault(pool, {})
        for where, one in by_class.items():
            into[where] = mean_of(into[where], one) if where in into else one
    return found


def mean_of(one: Rtt, other: Rtt) -> Rtt:
    """What two nodes measured of the same, by their counts; as old as the newer."""
    count = one.count + other.count
    share = one.count / count if count else 0.5
    return Rtt(
        one.p50_s * share + other.p50_s * (1 - share),
        one.p90_s * share + other.p90_s * (1 - share),
        count,
        min(one.age_s, other.age_s),
    )
