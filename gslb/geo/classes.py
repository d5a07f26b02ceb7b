"""Places, policies and subnets -> location classes: all networks that every policy treats alike are one integer.

Rule 1: equal treatment <=> equal class, so merging networks is comparing integers.
Rule 2: class 0 and ranking 0 are those of the unknown place.
Rule 3: one class space for IPv4 and IPv6; numbers depend on the content only, so equal inputs give equal tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gslb.geo.encode import Ranked
from gslb.geo.places import Runs, coalesced
from gslb.geo.rank import I64, Profiles, continent_of, first_rule
from gslb.geo.ranking import pools_of_type, unknown_ranking, written_ranking
from gslb.geo.subnets import covered
from gslb.geo.table import MAX_CLASSES, MAX_RANKINGS
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, Policy, PolicyId, PoolId
from gslb.model.location import Ranking

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


class TooManyClasses(ValueError):
    """The policies tell more networks apart than a table can hold; the message names the policy that does most."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Which subnet rules cover the keys from `starts[i]` on: `signatures[i]` counts into a list of rule tuples.

    Each tuple holds, per policy, the index of its first rule with a covering subnet.
    """

    starts: U64
    signatures: U32


@dataclass(frozen=True, slots=True)
class Situations:
    """Distinct pairs of (profile, subnet signature); number 0 is the unknown place outside of every subnet.

    `rules` is indexed [policy, signature]; a policy without a covering subnet has its number of rules there.
    """

    profile: I64
    signature: I64
    rules: I64


@dataclass(frozen=True, slots=True)
class Classes:
    """The class of each situation, how many classes there are, and each policy's rankings by class."""

    of_situation: U32
    count: int
    policies: dict[PolicyId, Ranked]


def segments(deployment: Deployment, version: int, key_bits: int, signatures: dict[tuple[int, ...], int]) -> Segments:
    """Where the subnets of one family begin and end.  New combinations are added to `signatures`."""
    runs = covered(deployment, version, key_bits, signatures)
    return Segments(
        np.array([start for start, _ in runs], np.uint64), np.array([number for _, number in runs], np.uint32)
    )


def split(runs: Runs, known: Profiles, covered: Segments) -> tuple[U64, I64, I64]:
    """Runs of places cut at subnet borders: starts, profiles, signatures."""
    by_profile = coalesced(runs.starts, known.of_place[runs.places].astype(np.uint32))
    starts = cut(by_profile.starts, covered.starts)
    profile = by_profile.places[np.searchsorted(by_profile.starts, starts, side="right") - 1]
    signature = covered.signatures[np.searchsorted(covered.starts, starts, side="right") - 1]
    return starts, profile.astype(np.int64), signature.astype(np.int64)


def classify(deployment: Deployment, known: Profiles, met: Situations, most: int = MAX_CLASSES) -> Classes:
    """Rank each situation for each policy and intern the tuples.

    Raises TooManyClasses above `most` classes, or where one policy has more rankings than 16 bits can number.
    """
    of_situation = np.zeros(met.profile.size, np.int64)
    found: list[tuple[PolicyId, tuple[Ranking, ...], I64]] = []
    for number, (name, policy) in enumerate(deployment.policies.items()):
        rankings, ranked = _policy_rankings(deployment, policy, known, met, met.rules[number])
        if len(rankings) > MAX_RANKINGS:
            raise TooManyClasses(
                f"policy {name} orders its pools in {len(rankings)} ways, at most {MAX_RANKINGS} are possible; "
                "a lower geo.nearest_limit or fewer rules give fewer"
            )
        found.append((name, rankings, ranked))
        _, of_situation = np.unique(of_situation * len(rankings) + ranked, return_inverse=True)
    count = int(of_situation.max()) + 1
    if count > most:
        name, rankings, _ = max(found, key=lambda each: len(each[1]))
        raise TooManyClasses(
            f"the policies tell {count} kinds of networks apart, at most {most} are possible; "
            f"policy {name} contributes most with {len(rankings)} orders of pools"
        )
    member = np.zeros(count, np.int64)  # a situation of each class
    member[of_situation] = np.arange(of_situation.size)
    policies = {name: Ranked(rankings, ranked[member].astype("<u2").tobytes()) for name, rankings, ranked in found}
    return Classes(of_situation.astype(np.uint32), count, policies)


def cut(starts: U64, edges: U64) -> U64:
    """Ascending `starts` with those of the few `edges` that are missing."""
    at = np.searchsorted(starts, edges)
    missing = edges[starts[at.clip(max=starts.size - 1)] != edges]
    return np.insert(starts, np.searchsorted(starts, missing), missing)


def _policy_rankings(
    deployment: Deployment, policy: Policy, known: Profiles, met: Situations, by_subnet: I64
) -> tuple[tuple[Ranking, ...], I64]:
    """The policy's rankings that occur (the unknown place's first, then sorted), and the number of each situation's."""
    rule = np.minimum(first_rule(known, policy)[met.profile], by_subnet[met.signature])
    ids: dict[Ranking, int] = {unknown_ranking(deployment, policy): 0}
    raw = np.zeros(met.profile.size, np.int64)
    for index in np.unique(rule).tolist():
        matched = np.flatnonzero(rule == index)
        continents = continent_of(known, policy, policy.rules[index])[met.profile[matched]]
        for place in np.unique(continents).tolist():
            here = matched[continents == place]
            orders, which = np.unique(known.order[met.profile[here]], return_inverse=True)
            found, of_order = _rule_rankings(deployment, policy, index, known, orders)
            continent = "" if place < 0 else known.continents[place]
            numbers = [ids.setdefault(replace(each, continent=continent), len(ids)) for each in found]
            raw[here] = np.array(numbers, np.int64)[of_order][which]
    rankings = list(ids)
    order = [rankings[0], *sorted(rankings[1:])]
    number = {each: place for place, each in enumerate(order)}
    renumbered: I64 = np.array([number[each] for each in rankings], np.int64)[raw]
    return tuple(order), renumbered


def _rule_rankings(
    deployment: Deployment, policy: Policy, index: int, known: Profiles, orders: I64
) -> tuple[list[Ranking], I64]:
    """The rankings that one rule gives, whatever the continent, and the number of that under each of `orders`."""
    rule = policy.rules[index]
    if not rule.nearest:
        return [written_ranking(deployment, index, rule)], np.zeros(orders.size, np.int64)
    pools4, pools6 = (pools_of_type(deployment, rule, rtype) for rtype in DYNAMIC_TYPES)
    nearest4, nearest6 = (_nearest(deployment, pools, known, orders) for pools in (pools4, pools6))
    distinct, which = np.unique(np.hstack([nearest4, nearest6]), axis=0, return_inverse=True)
    width = nearest4.shape[1]
    rankings = [
        Ranking(index, tuple(pools4[pool] for pool in row[:width]), tuple(pools6[pool] for pool in row[width:]))
        for row in distinct.tolist()
    ]
    return rankings, which.reshape(-1)


def _nearest(deployment: Deployment, pools: Sequence[PoolId], known: Profiles, orders: I64) -> I64:
    """The indexes of the first `nearest_limit` pools under each of `orders`; equals stay as written."""
    columns = [known.sites.index(deployment.pools[pool].datacenter) for pool in pools]
    closeness = known.closeness[orders][:, columns]
    return np.argsort(closeness, axis=1, kind="stable")[:, : deployment.geo.nearest_limit]
