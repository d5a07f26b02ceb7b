"""What this node itself says of each topic, and since when.  Pure; times are of the monotonic clock.

Rule 1: of the answers of a balanced pool its own site says that they are up while enough of the backends are; a node that
cannot balance it says nothing of them.
Rule 2: since when an opinion holds is kept over a restart: with it nodes tell evidence that is newer than what they last heard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gslb.bus.messages import Opinion
from gslb.control.topics import Topic, Topics
from gslb.model.deployment import Deployment, NodeId, Pool, PoolId, SiteId
from gslb.model.world import Health, Verdict, Verdicts
from healthcheck.quorum import Heard


@dataclass(frozen=True, slots=True)
class Mind:
    """A verdict of this node as of `at` (its age is 0 then), held since `since`."""

    verdict: Verdict
    at: float
    since: float


class Opinions:
    """The opinions of one node."""

    def __init__(self) -> None:
        self._topics = Topics()
        self._fronts: tuple[tuple[int, Pool], ...] = ()
        self._site = SiteId("")
        self._node = NodeId("")
        self._minds: dict[int, Mind] = {}
        self._asked: frozenset[int] = frozenset()  # those that this node's checks ask
        self._before: dict[int, tuple[Health, float]] = {}  # what an earlier run said, and since when

    def want(self, topics: Topics, deployment: Deployment, site: SiteId, node: NodeId) -> frozenset[int]:
        """Have opinions on these topics from now on; the keys of those that are gone."""
        gone = self._minds.keys() - topics.by_key.keys()
        self._minds = {key: mind for key, mind in self._minds.items() if key in topics.by_key}
        self._topics, self._site, self._node = topics, site, node
        self._fronts = tuple(
            (key, deployment.pools[pool])
            for key, topic in topics.by_key.items()
            if topic.front and topic.home == site
            for pool, _ in topic.owners
        )
        return frozenset(gone)

    def take(self, verdicts: Verdicts, unbalanced: Mapping[PoolId, str], now: float) -> frozenset[int]:
        """Learn what the checks of this node say; the keys of which something else is to be told or decided."""
        found: dict[int, Verdict] = {}
        for owner, key in self._topics.keys.items():
            verdict = verdicts.get(owner[0], {}).get(owner[1])
            if verdict is not None and (key not in found or verdict.outlier):
                found[key] = verdict
        self._asked = frozenset(found)
        for key, pool in self._fronts:
            if key not in found and pool.name not in unbalanced:
                verdict = _front(pool, verdicts.get(pool.name, {}))
                if verdict is not None:
                    found[key] = verdict
        changed = {key for key in self._minds if key not in found}
        minds: dict[int, Mind] = {}
        for key, verdict in found.items():
            mind, other = self._mind(key, verdict, now)
            minds[key] = mind
            if other:
                changed.add(key)
        self._minds = minds
        return frozenset(changed)

    def heard(self, key: int, topic: Topic, now: float, *, blind: bool) -> Heard | None:
        """This node's part in a vote."""
        mind = self._minds.get(key)
        if mind is None:
            return None
        age_s, for_s = max(0.0, now - mind.at), max(0.0, now - mind.since)
        verdict = replace(mind.verdict, age_s=age_s)
        return Heard(self._site, self._node, verdict, max(age_s, for_s), topic.ttl_s, blind)

    def asks(self, key: int) -> bool:
        """Whether this node's own checks ask the target."""
        return key in self._asked

    def told(self, now: float, keys: Collection[int] | None = None) -> dict[int, Opinion]:
        """What is to be told: of all topics, or of these."""
        wanted: Iterable[int] = self._minds if keys is None else keys
        return dict(self._told(wanted, now))

    def since(self, now: float) -> dict[int, tuple[str, float]]:
        """What each opinion is and for how long, for the next run."""
        return {key: (mind.verdict.health.value, max(0.0, now - mind.since)) for key, mind in self._minds.items()}

    def restore(self, before: Mapping[int, tuple[str, float]], now: float) -> None:
        """Begin with what an earlier run said; times as of `now`.  Raises ValueError."""
        self._before = {key: (Health(health), now - for_s) for key, (health, for_s) in before.items()}

    def _told(self, keys: Iterable[int], now: float) -> Iterator[tuple[int, Opinion]]:
        for key in keys:
            mind = self._minds.get(key)
            if mind is not None:
                one = mind.verdict
                age_s = max(0.0, now - mind.at)
                yield (
                    key,
                    Opinion(
                        one.health,
                        age_s,
                        max(age_s, now - mind.since),
                        self._topics.by_key[key].ttl_s,
                        one.settles_s,
                        one.double,
                        one.outlier,
                        one.why,
                    ),
                )

    def _mind(self, key: int, verdict: Verdict, now: float) -> tuple[Mind, bool]:
        """The opinion that follows from a verdict, and whether it is another one than before."""
        at = now - verdict.age_s
        mind = self._minds.get(key)
        if mind is not None and mind.verdict.health is verdict.health:
            return Mind(verdict, at, mind.since), _matter(mind.verdict) != _matter(verdict)
        if mind is None and key in self._before and self._before[key][0] is verdict.health:
            return Mind(verdict, at, min(at, self._before[key][1])), True
        return Mind(verdict, at, at), True


def _matter(verdict: Verdict) -> tuple[object, ...]:
    return verdict.health, verdict.settles_s, verdict.double, verdict.outlier, verdict.why


def _front(pool: Pool, backends: Mapping[str, Verdict]) -> Verdict | None:
    """What the pool's own site says of its answers; None where it knows nothing."""
    assert pool.balance is not None
    names = {str(backend.address) for backend in pool.balance.backends}
    known = [verdict for address, verdict in backends.items() if address in names]
    if not known:
        return None
    down = sum(verdict.health is Health.DOWN for verdict in known)
    serving, least = len(names) - down, pool.balance.min_healthy
    age_s = min(verdict.age_s for verdict in known)
    if serving >= least:
        return Verdict(Health.UP, age_s)
    return Verdict(Health.DOWN, age_s, f"{serving} of {len(names)} backends are up, expected at least {least}")
