"""The verdicts of the whole deployment: this node's opinions and those of others, topic by topic.  Pure; times are monotonic.

Rule 1: only what may come out otherwise is judged anew; ages of the rest are those of when it was judged, and what has passed.
Rule 2: the word of a node counts for the site that the configuration gives it; nodes that it does not know have no voice.
Rule 3: of a balanced pool's backends its own site alone has an opinion; its answers have a verdict where another site
checks them, or where that site says that they are down.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from gslb.bus.peers import Peers, Voice
from gslb.control.opinions import Opinions
from gslb.control.topics import Topic, Topics
from gslb.model.deployment import Deployment, NodeId, PoolId, SiteId, View
from gslb.model.world import Health, Verdict, Verdicts
from healthcheck.quorum import Heard, judged

CONTESTED = 20  # targets on which all opinions are shown
_WELL = (Health.UP, None, False, "", "")


@dataclass(frozen=True, slots=True)
class _Judged:
    verdict: Verdict
    at: float


class Voting:
    """The verdicts, as one node works them out."""

    def __init__(self, opinions: Opinions, peers: Peers) -> None:
        self._opinions = opinions
        self._peers = peers
        self._topics = Topics()
        self._sites: Mapping[NodeId, SiteId] = {}
        self._site = SiteId("")
        self._continents: Mapping[str, frozenset[str]] = {}
        self._judged: dict[int, _Judged] = {}
        self._regional: dict[str, dict[int, _Judged]] = {}
        self._contested: set[int] = set()  # topics on which nodes did not agree when they were judged

    def want(self, topics: Topics, deployment: Deployment, site: SiteId) -> None:
        """Vote on these topics from now on."""
        self._topics, self._site = topics, site
        self._sites = {node.name: node.site for node in deployment.nodes.values()}
        continents: dict[str, set[str]] = {}
        if any(policy.view is View.REGIONAL for policy in deployment.policies.values()):
            for one in deployment.datacenters.values():
                if one.continent is not None:
                    continents.setdefault(one.continent, set()).add(one.name)
        self._continents = {name: frozenset(sites) for name, sites in continents.items()}
        self._judged = {key: one for key, one in self._judged.items() if key in topics.by_key}
        self._regional = {}

    def judge(self, keys: Iterable[int], blind: Collection[NodeId], now: float, *, own_blind: bool) -> bool:
        """Work out the verdicts on these topics; whether a decision may come out otherwise.

        `blind` are other nodes whose site's reference targets are unreachable, `own_blind` whether this site's are.
        """
        wanted = [key for key in keys if key in self._topics.by_key]
        others = self._peers.opinions(wanted, now)
        changed = False
        for key in wanted:
            topic = self._topics.by_key[key]
            said = [one for one in others.get(key, ()) if self._sites.get(one.node) == one.site]
            own = self._opinions.heard(key, topic, now, blind=own_blind)
            seeing = [one for one in said if one.node not in blind]
            if seeing and topic.home is None and own is not None and _all_well(own, seeing):
                age_s = min(own.verdict.age_s, *(one.opinion.age_s for one in seeing))
                changed |= self._put(key, Verdict(Health.UP, age_s), now) | self._regional_none(key)
                self._contested.discard(key)
                continue
            heard = [_heard(one, blind=one.node in blind) for one in said]
            if own is not None:
                heard.append(own)
            changed |= self._take(key, topic, heard, own, now)
        return changed

    def verdicts(self, now: float) -> Verdicts:
        """The verdict on each target that is known, by pool and address."""
        return self._by_owner(self._judged, now)

    def regional(self, now: float) -> Mapping[str, Verdicts]:
        """Verdicts by the sites of each continent, where they find another health."""
        return {name: self._by_owner(found, now) for name, found in self._regional.items() if found}

    def said(self, pool: PoolId, address: str, now: float) -> list[Heard]:
        """What each node says of a target, by site and node."""
        key = self._topics.keys.get((pool, address))
        return self._said([key], now)[key] if key is not None else []

    def contested(self, now: float) -> dict[tuple[PoolId, str], list[Heard]]:
        """What each node says of the targets on which they do not agree, of at most CONTESTED of these."""
        said = self._said(list(islice(sorted(self._contested & self._topics.by_key.keys()), CONTESTED)), now)
        return {owner: heard for key, heard in said.items() for owner in self._topics.by_key[key].owners}

    def _said(self, keys: Collection[int], now: float) -> dict[int, list[Heard]]:
        others = self._peers.opinions(keys, now)
        found = {}
        for key in keys:
            own = self._opinions.heard(key, self._topics.by_key[key], now, blind=False)
            heard = [_heard(one, blind=False) for one in others.get(key, ())]
            found[key] = sorted(heard if own is None else [*heard, own], key=lambda one: (one.site, one.node))
        return found

    def _take(self, key: int, topic: Topic, heard: list[Heard], own: Heard | None, now: float) -> bool:
        apart = {one.verdict.health for one in heard}
        (self._contested.add if len(apart) > 1 else self._contested.discard)(key)
        known = self._judged.get(key)
        if topic.front and not self._opinions.asks(key) and not self._tells(topic, heard):
            self._regional_none(key)
            return self._judged.pop(key, None) is not None
        before = self._aged(known, now) if known is not None else own.verdict if own is not None else None
        verdict = judged(heard, topic.quorum, before)
        if verdict is None:
            return False
        changed = self._put(key, verdict, now)
        if topic.home is None or topic.front:
            changed |= self._judge_regions(key, topic, heard, verdict, now)
        return changed

    def _put(self, key: int, verdict: Verdict, now: float) -> bool:
        known = self._judged.get(key)
        self._judged[key] = _Judged(verdict, now)
        return known is None or _matter(known.verdict) != _matter(verdict)

    def _tells(self, topic: Topic, heard: Collection[Heard]) -> bool:
        """Whether what is heard of a balanced pool's answer says more than what is known of its backends."""
        if any(one.site != topic.home for one in heard):
            return True
        return self._site != topic.home and any(one.verdict.health is Health.DOWN for one in heard)

    def _judge_regions(self, key: int, topic: Topic, heard: Collection[Heard], verdict: Verdict, now: float) -> bool:
        changed = False
        for continent, sites in self._continents.items():
            found = self._regional.setdefault(continent, {})
            known = found.get(key)
            before = None if known is None else self._aged(known, now)
            one = judged((each for each in heard if each.site in sites), topic.quorum, before)
            if one is None or one.health is verdict.health:
                changed |= found.pop(key, None) is not None
            else:
                changed |= known is None or _matter(known.verdict) != _matter(one)
                found[key] = _Judged(one, now)
        return changed

    def _regional_none(self, key: int) -> bool:
        """No continent finds the target otherwise; whether one did."""
        gone = [found.pop(key, None) for found in self._regional.values()]
        return any(one is not None for one in gone)

    def _by_owner(self, found: Mapping[int, _Judged], now: float) -> dict[PoolId, dict[str, Verdict]]:
        verdicts: dict[PoolId, dict[str, Verdict]] = {}
        for key, one in found.items():
            verdict = self._aged(one, now)
            for pool, address in self._topics.by_key[key].owners:
                verdicts.setdefault(pool, {})[address] = verdict
        return verdicts

    def _aged(self, one: _Judged, now: float) -> Verdict:
        known = one.verdict  # of thousands at each decision: `replace` takes several times as long
        age_s = known.age_s + max(0.0, now - one.at)
        return Verdict(known.health, age_s, known.why, known.settles_s, known.double, known.outlier)


def _heard(voice: Voice, *, blind: bool) -> Heard:
    one = voice.opinion
    verdict = Verdict(one.health, one.age_s, one.why, one.settles_s, one.double, one.outlier)
    return Heard(voice.site, voice.node, verdict, max(one.for_s, one.age_s), one.ttl_s, blind)


def _all_well(own: Heard, said: Iterable[Voice]) -> bool:
    """Whether all find the target up and nothing speaks against it: then the verdict is known without a count.

    So it is for nearly all targets nearly always, and a vote of twenty nodes takes a good part of a millisecond.
    """
    one = own.verdict
    if own.blind or not own.fresh or (one.health, one.settles_s, one.double, one.outlier, one.why) != _WELL:
        return False
    opinions = (voice.opinion for voice in said)
    return all(
        one.age_s <= one.ttl_s and (one.health, one.settles_s, one.double, one.outlier, one.why) == _WELL
        for one in opinions
    )


def _matter(verdict: Verdict) -> tuple[object, ...]:
    """What of a verdict a decision depends on."""
    return verdict.health, verdict.settles_s, verdict.double, verdict.outlier
