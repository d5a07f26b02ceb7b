"""The other nodes of a deployment and the bus to them, as events and alarms tell of them.  Pure; times are monotonic.

Rule 1: while the bus is gone nothing is known of other nodes, so nothing is told of them, and for SETTLE_S after it is back.
Rule 2: that a bus is not there yet is told after PATIENCE_S: a start is no loss.
Rule 3: nodes that the configuration does not name are shown, and told as strangers.
Rule 4: another with this node's name is told once it has been heard for a while: what this node said itself may come back late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from gslb.bus.bus import Standing
from gslb.bus.peers import Living
from gslb.model.deployment import Deployment, NodeId

SKEW_S = 1.0  # calendars that differ by more are told
SKEW_OVER_S = 0.5  # down to which they are told on
PATIENCE_S = 3.0
SETTLE_S = 6.0  # signs of life come each second and hold for five
NAMESAKE_S = 5.0  # so long another says that it is this node, before it is told


@dataclass(frozen=True, slots=True)
class Company:
    """`bus`: whether it is connected; None where none is configured, or it was not waited for long enough.  `alive` by node, of those that were ever heard.

    `configurations`: digests of living nodes that run another configuration; `skewed`: how far their calendars are ahead.
    `namesake`: another node says that it is this one.
    """

    bus: bool | None = None
    alive: Mapping[NodeId, bool] = field(default_factory=dict)
    configurations: Mapping[NodeId, str] = field(default_factory=dict)
    skewed: Mapping[NodeId, float] = field(default_factory=dict)
    namesake: bool = False


class Watchman:
    """Makes each company of the one before."""

    def __init__(self) -> None:
        self.company = Company()
        self._began: float | None = None
        self._met = False  # the bus was there
        self._connected_at: float | None = None
        self._named = 0, float("-inf"), float("-inf")  # messages in our name; since when they come, and the last
        self.settled = False  # the bus is there for long enough to know who lives

    def begin(self) -> None:
        """There is another bus."""
        self._began, self._met, self._connected_at = None, False, None
        self.company = replace(self.company, bus=None)

    def look(self, standing: Standing, lives: Mapping[NodeId, Living], configuration: str, now: float) -> Company:
        """The company now; `configuration` is the digest of our own."""
        if standing.alone:
            self.company = Company()
            return self.company
        self._began = now if self._began is None else self._began
        self._met = self._met or standing.connected
        if not standing.connected:
            self._connected_at = None
        elif self._connected_at is None:
            self._connected_at = now
        before = self.company
        if self._connected_at is None:
            awaited = not self._met and now - self._began < PATIENCE_S
            self.company, self.settled = replace(before, bus=None if awaited else False), False
            return self.company
        self.settled = settled = now - self._connected_at >= SETTLE_S
        alive = {
            name: one.alive or (not settled and before.alive.get(name, False))
            for name, one in lives.items()
            if one.life is not None and (one.alive or settled or name in before.alive)
        }
        others = {
            name: one.life.config
            for name, one in lives.items()
            if one.alive and one.life is not None and configuration and one.life.config != configuration
        }
        skewed = {
            name: before.skewed.get(name, round(one.skew_s, 1))
            for name, one in lives.items()
            if one.alive and abs(one.skew_s) >= (SKEW_OVER_S if name in before.skewed else SKEW_S)
        }
        namesake = self._has_namesake(standing, now)
        self.company = Company(bus=True, alive=alive, configurations=others, skewed=skewed, namesake=namesake)
        return self.company

    def _has_namesake(self, standing: Standing, now: float) -> bool:
        known, since, last = self._named
        count = (standing.refused or {}).get("own_name", 0)
        if count != known:
            since = now if now - last > NAMESAKE_S else since
            self._named = count, since, now
            last = now
        return last - since >= NAMESAKE_S >= now - last


def alarms(
    company: Company, standing: Standing, lives: Mapping[NodeId, Living], deployment: Deployment
) -> dict[str, tuple[str, ...]]:
    """What is wrong, by subject, as lines for people: the same as long as it is the same."""
    lost = [
        f"node {name} ({lives[name].site if name in lives else 'unknown site'}) is not heard any more"
        for name, lives_on in (company.alive.items() if company.bus else ())
        if not lives_on and name in deployment.nodes
    ]
    strangers = [
        f"node {name} of {one.site} is not in this configuration: what it says does not count"
        for name, one in lives.items()
        if one.alive and (name not in deployment.nodes or deployment.nodes[name].site != one.site)
    ]
    namesake = [
        "another node says that it is this one, and others hear only one of the two: stop one, or give it a name of its own"
    ]
    clocks = [
        f"the clock of node {name} is {abs(ahead):g} s {'ahead of' if ahead > 0 else 'behind'} this node's"
        for name, ahead in company.skewed.items()
    ]
    return {
        "bus": _bus(standing) if company.bus is not None else (),
        "nodes": tuple(sorted((*(namesake if company.namesake else ()), *lost, *strangers))),
        "clocks": tuple(sorted(clocks)),
    }


def _bus(standing: Standing) -> tuple[str, ...]:
    if not standing.connected:
        since = datetime.fromtimestamp(standing.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return (f"no bus since {since}: what other nodes say is as old ({standing.why})",)
    if standing.keys_why:
        return (f"the bus keeps no keys now: overrides and leases are not shared ({standing.keys_why})",)
    return ()
