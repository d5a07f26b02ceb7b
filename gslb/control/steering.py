"""Which pools this node steers, what it is given of the others, and what it has to tell.  No IO; clocks are given.

Rule 1: of all nodes that live, one steers a pool (gslb.bus.writers).  It begins with what is given: it has listened for a while,
has heard all keys, and has applied what they say in a decision; then it steers from there, so that no level jumps.  And it has
reached the bus since it was chosen: who loses the bus hears of no other node before it knows why.
Rule 2: whoever cannot reach the bus keeps what was given last, and steers the pools of its own site alone.  When it reaches the
bus again it begins anew, as Rule 1 says.
Rule 3: what it decides is written over what it knew and nothing else (compare-and-set): of two that both believe to be the writer,
one is told of the other, and goes on from what that one said.
Rule 4: it tells what a pool sheds at most once in GAP_S; while that waits, the latest counts.
Rule 5: times of a word are by this node's clock, from when it was heard: clocks of nodes need not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from gslb.bus.bus import Entry
from gslb.bus.shedword import Word, WordUnreadable, key_of, octets_of, pool_of, word_of
from gslb.bus.stamps import new
from gslb.bus.writers import Place, writer_of
from gslb.model.deployment import Deployment, PoolId
from gslb.model.history import Shed
from gslb.model.plan import Plan
from gslb.model.world import GivenShed

GAP_S = 2.0  # between two writings of one key
LOST_S = 10.0  # without a call of the bus that succeeded: it is lost
WARM_S = 3.0  # in contact, before it is known who lives: each tells so once a second, and a slow bus takes one more
SETTLE_S = 1.0  # a choice of the writer has to hold
LAG_S = 5.0  # how old the word of a live writer may be that is not told yet


@dataclass(frozen=True, slots=True)
class Put:
    """What is to be written: `value` under `key`, if that still has this revision."""

    pool: PoolId
    word: Word
    value: bytes
    revision: int

    @property
    def key(self) -> str:
        """Where it is written."""
        return key_of(self.pool)


@dataclass(slots=True)
class _Pool:
    """One pool: the last word (its times ours), the revision of its key, and what this node has to do with it."""

    word: Word | None = None
    as_of: float = 0.0
    revision: int = 0
    elected: str | None = None
    elected_at: float = 0.0
    mine: bool = False  # this node makes the steps
    adopting: bool = False  # it will, after a decision with what is given
    offered: bool = False  # that decision may be under way
    pending: Word | None = None  # decided, and not written yet
    writing: bool = False
    tried_at: float = field(default=float("-inf"))


class Steering:
    """For one node.  `clock` tells seconds since the epoch, by which decisions go; `steady` is monotonic."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._clock = clock
        self._steady = steady
        self._model: Deployment | None = None
        self._here: Place = "", ""
        self._alone = True
        self._live: frozenset[Place] = frozenset()
        self._pools: dict[PoolId, _Pool] = {}
        self._applied: Mapping[PoolId, Shed] = {}  # by the last plan
        self._version = 0
        self._reached_at = self._began = steady()
        self._contact_since: float | None = None
        self._listed = False
        self.refused = 0  # values of keys that could not be read

    def want(self, model: Deployment, here: Place, *, alone: bool) -> None:
        """Steer for this deployment, as the node `here`; `alone`: no bus is configured."""
        self._model, self._here, self._alone = model, here, alone
        self._live |= {here}
        self._pools = {name: self._pools.get(name, _Pool()) for name in model.pools}

    def begin(self) -> None:
        """No call of the bus is under way: what was being written when the last ended is tried again."""
        for pool in self._pools.values():
            pool.writing = False

    def live(self, places: Collection[Place]) -> None:
        """These nodes live."""
        self._live = frozenset({*places, self._here})

    def reached(self) -> None:
        """A call of the bus succeeded just now."""
        self._reached_at = self._steady()
        if self._contact_since is None:
            self._contact_since, self._listed = self._reached_at, False
            for pool in self._pools.values():
                pool.mine = pool.adopting = False
                pool.pending = None

    def silent_s(self) -> float:
        """For how many seconds no call of the bus has succeeded."""
        return self._steady() - self._reached_at

    @property
    def in_contact(self) -> bool:
        """Whether the bus was reached lately."""
        return self._contact_since is not None

    @property
    def unsure(self) -> bool:
        """Whether this node was chosen for a pool, and has not reached the bus since."""
        return self._contact_since is not None and any(
            pool.elected == self._here[1] and not (pool.mine or pool.adopting) and self._reached_at <= pool.elected_at
            for pool in self._pools.values()
        )

    @property
    def steered(self) -> frozenset[PoolId]:
        """The pools that this node steers."""
        return frozenset(name for name, pool in self._pools.items() if pool.mine or self._alone)

    @property
    def writers(self) -> Mapping[PoolId, str | None]:
        """Which node should steer each pool, as far as this node knows; None where it cannot know."""
        return {name: self._here[1] if pool.mine or self._alone else pool.elected for name, pool in self._pools.items()}

    def look(self) -> bool:
        """Choose again; whether a decision is due, since it is given something else."""
        now = self._steady()
        if self._contact_since is not None and now - self._reached_at >= LOST_S:
            self._contact_since = None
        if self._model is None or self._alone:
            return False
        changed = False
        for name, pool in self._pools.items():
            was = pool.mine, pool.adopting
            if self._contact_since is None:
                self._look_alone(name, pool, now)
            else:
                self._look_among(name, pool, now)
            changed |= was != (pool.mine, pool.adopting)
        return changed

    def _look_alone(self, name: PoolId, pool: _Pool, now: float) -> None:
        assert self._model is not None
        own = self._model.pools[name].datacenter == self._here[0]
        pool.elected = self._here[1] if own else None
        pool.mine, pool.adopting = own and now - max(self._began, self._reached_at) >= LOST_S, False

    def _look_among(self, name: PoolId, pool: _Pool, now: float) -> None:
        assert self._model is not None and self._contact_since is not None  # noqa: PT018
        elected = writer_of(name, self._model.pools[name].datacenter, self._live)
        if elected != pool.elected:
            pool.elected, pool.elected_at = elected, now
        if elected != self._here[1]:
            pool.mine = pool.adopting = False
            if pool.word is not None and pool.word.written.node == elected:
                pool.as_of = max(pool.as_of, self._clock() - LAG_S)
        elif not (pool.mine or pool.adopting):
            heard = self._listed and now - self._contact_since >= WARM_S and self._reached_at > pool.elected_at
            pool.adopting, pool.offered = heard and now - pool.elected_at >= SETTLE_S, False

    def given(self, now: float) -> Mapping[PoolId, GivenShed]:
        """What a decision of `now` is given; without the pools that are steered here."""
        if self._alone:
            return {}
        found = {}
        for name, pool in self._pools.items():
            if pool.mine:
                continue
            word = pool.pending or pool.word
            if word is None:
                found[name] = GivenShed(self._applied.get(name), now if pool.adopting else 0.0)
            else:
                found[name] = GivenShed(word.shed, now if pool.adopting else pool.as_of, word.written.node)
            pool.offered = pool.adopting
        return found

    def decided(self, plan: Plan) -> None:
        """This plan is in force: what it says of the pools that are steered here is to be told."""
        self._applied, self._version = plan.history.sheds, plan.version
        for name, pool in self._pools.items():
            if pool.adopting and pool.offered:
                pool.mine, pool.adopting = True, False
            if pool.mine:
                self._tell(pool, plan.history.sheds.get(name))

    def _tell(self, pool: _Pool, shed: Shed | None) -> None:
        last = pool.pending or pool.word
        lost = shed is not None and pool.revision == 0
        if last is None:
            known = shed is None
        else:
            known = last.shed == shed and last.written.node == self._here[1] and (last is pool.pending or not lost)
        if not known:
            seen = [one.written for one in (pool.word, pool.pending) if one is not None]
            pool.pending = Word(shed, new(self._clock(), seen, self._here[1]), self._version)

    def due(self) -> list[Put]:
        """What is to be written now; each is to be followed by `wrote`, `refused_by` or `failed`."""
        if self._model is None or self._contact_since is None or self._alone:
            return []
        now, found = self._steady(), []
        for name, pool in self._pools.items():
            if pool.pending is None or pool.writing or now - pool.tried_at < GAP_S:
                continue
            pool.writing, pool.tried_at = True, now
            found.append(Put(name, pool.pending, octets_of(pool.pending, self._model.name), pool.revision))
        return found

    def wrote(self, put: Put, revision: int) -> None:
        """It is written."""
        self.reached()
        pool = self._pools.get(put.pool)
        if pool is None:
            return
        pool.writing = False
        if revision > pool.revision:  # else another has written since, and was heard
            pool.revision, pool.word, pool.as_of = revision, put.word, self._clock()
            if pool.pending is put.word:
                pool.pending = None

    def failed(self, put: Put) -> None:
        """Nobody knows whether it is written: it is tried again."""
        pool = self._pools.get(put.pool)
        if pool is not None:
            pool.writing = False

    def refused_by(self, put: Put, entry: Entry) -> bool:
        """Another wrote the key before, and it now has this value; whether a decision is due."""
        self.failed(put)
        self.reached()
        pool = self._pools.get(put.pool)
        if pool is not None:
            pool.revision = min(pool.revision, max(0, entry.revision - 1))
        return self.entry(entry)

    def listed(self, keys: Collection[str]) -> None:
        """All keys that there are, after each was told."""
        self.reached()
        self._listed = True
        for name, pool in self._pools.items():
            if key_of(name) not in keys:
                self._missing(pool)

    def entry(self, entry: Entry) -> bool:
        """A key has this value; whether a decision is due."""
        name = pool_of(entry.key)
        pool = self._pools.get(name) if name is not None else None
        if pool is None or name is None or self._model is None:
            return False
        if entry.value is None:
            self._missing(pool)
            return False
        try:
            word = word_of(entry.value, self._model.name)
            if word.written.ahead(self._clock()):
                raise WordUnreadable("it is from the future")
        except WordUnreadable:
            self.refused += 1
            pool.revision = max(pool.revision, entry.revision)
            self._write_again(pool)
            return False
        known = pool.word
        if known is not None and entry.revision <= pool.revision and word.written <= known.written:
            return False
        pool.revision = entry.revision
        return self._heard(name, pool, word)

    def _missing(self, pool: _Pool) -> None:
        """The key is not there: the bucket was lost, or nobody wrote it yet.  What was given stays."""
        pool.revision = 0
        if pool.word is not None and pool.word.shed is not None:
            self._write_again(pool)

    def _write_again(self, pool: _Pool) -> None:
        """Its key does not say what this node said last: who steers it says so again."""
        if pool.mine and pool.pending is None and pool.word is not None:
            pool.pending = replace(pool.word, written=new(self._clock(), [pool.word.written], self._here[1]))

    def _heard(self, name: PoolId, pool: _Pool, word: Word) -> bool:
        """A word that is not older than the known one."""
        for known in (pool.pending, pool.word):
            if known is not None and known.written == word.written:  # an echo, or one that was heard before
                pool.word = known
                pool.pending = None if known is pool.pending else pool.pending
                return False
        if pool.word is not None and word.written < pool.word.written:  # of a bucket that was set back
            self._write_again(pool)
            return False
        now = self._clock()
        pool.word, pool.as_of = replace(word, shed=self._by_our_clock(name, word.shed, now)), now
        if word.written.node != self._here[1] or not pool.mine:
            pool.mine = pool.adopting = False
            pool.pending, pool.elected_at = None, self._steady()
            return True
        return False

    def _by_our_clock(self, name: PoolId, shed: Shed | None, now: float) -> Shed | None:
        """As if its last step was now, unless it is what this node has applied already."""
        if shed is None:
            return None
        applied = self._applied.get(name)
        if applied is not None and replace(applied, stepped_at=shed.stepped_at) == shed:
            return applied
        return replace(shed, stepped_at=now)
