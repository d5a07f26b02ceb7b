"""Other nodes as a test has them tell: with clocks of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gslb.bus.bus import Message
from gslb.bus.messages import Body, Life, Opinion, Stamp
from gslb.bus.peers import Peers, Taken
from gslb.bus.wire import decode, encode, kind_of
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.world import Health

UP, DOWN = Health.UP, Health.DOWN
NOW, WALL = 10_000.0, 1_700_000_000.0
FRA, WEB = PoolId("web-fra"), PolicyId("web")
LIFE = Life("c", 0, 1, "p", "g", "b", None, {}, "1", 5.0)


@dataclass
class Sender:
    """A node with clocks of its own; `tell` makes a message that is sent at `now` (our clock)."""

    node: str = "iad1"
    site: str = "iad"
    run: int = 1
    clock_s: float = 500_000.0  # its monotonic clock is ahead of ours
    skew_s: float = 0.0
    number: int = field(default=0)

    def tell(self, body: Body, now: float) -> Message:
        self.number += 1
        stamp = Stamp(self.run, self.number, now + self.clock_s, WALL + now + self.skew_s)
        return Message(self.site, self.node, kind_of(body), encode(stamp, body), now)


def hear(peers: Peers, message: Message, took_s: float = 0.0) -> Taken:
    heard_at = message.heard_at + took_s
    return peers.take(decode(replace(message, heard_at=heard_at), WALL + heard_at))


def one(health: Health = UP, *, age_s: float = 1.0, for_s: float = 60.0, why: str = "") -> Opinion:
    return Opinion(health, age_s, for_s, 15.0, why=why)


def said(peers: Peers, now: float, keys: Iterable[int] | None = None) -> dict[int, dict[str, Opinion]]:
    found = peers.opinions(peers.keys() if keys is None else keys, now)
    return {key: {voice.node: voice.opinion for voice in voices} for key, voices in found.items()}
