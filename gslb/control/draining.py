"""What still comes to a site that drains, and whether gslb can be stopped there without harm to anybody.  Pure.

Rule 1: what is not known is told as not known, and then it is never safe: nothing is taken for quiet because nobody counts it.
Rule 2: counts are compared, not rates, so that nothing is lost between two looks; counters that begin anew begin the wait anew.
Rule 3: what is quiet by chance is not safe: the site must be out of the answers for as long as clients may keep them, and
another site must announce each of its prefixes, but for those that may be announced nowhere (`min_sites: 0`).
Rule 4: other sites check on, and the balancer counts their checks: as many as they make are no clients.  They are allowed for where
a VIP is this site's alone, announced or not; those of a VIP that several sites announce leave with its route.
What comes to balanced VIPs is counted by the balancer: handshakes, UDP flows, and SYNs that it could not follow.  What comes to
DNS is counted by the executors as answers with addresses of pools: their own checks ask for none, nor does a scan of the Internet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from gslb.control.anycastfacts import announced_here
from gslb.decide.candidates import site_target
from gslb.model.deployment import Address, Anycast, Deployment, Network, Node, Pool, PoolId, SiteId
from gslb.model.plan import Plan
from gslb.model.world import Forced, Override
from xdp.active import total
from xdp.messages import Count, Pulse

QUIET_S = 60.0  # without anything new, before it is safe to stop
RATE_S = 10.0  # over which a rate is taken
FRESH_S = 5.0  # counts that are older say nothing of the present

BALANCER, DNS = "balancer", "dns"
NO_POLICY = "DNS counts answers of policies, and there is none"
_CONNECTING = ("tcp", "http", "https", "grpc")  # checks that are a connection each
_PORTS = {"http": 80, "https": 443}
_EARLY = 2  # moments of a check wander


@dataclass(frozen=True, slots=True)
class Thing:
    """What a site loses when it stops: a `pool` or a `prefix`, counted by the balancer or by DNS; "" where nobody counts it."""

    what: str
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What came to a thing since counters of this `born` began; `at` is monotonic.  `why`: why it is not known.

    Of what comes, `checks_per_s` are checks, and `checks` of them may come at once.
    """

    came: int = 0
    at: float = 0.0
    born: float = 0.0
    active: int | None = None
    why: str = ""
    checks_per_s: float = 0.0
    checks: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What the controller knows.  `answers` are those given with addresses of pools since the start; `announcing` as in a report;
    `checkers`: how many living nodes of other sites check this one's pools.
    """

    deployment: Deployment
    node: Node
    overrides: tuple[Override, ...]
    plan: Plan | None
    pulse: Pulse | None
    unbalanced: Mapping[PoolId, str]
    answers: int
    announcing: Mapping[str, Any] | None
    checkers: int = 0


@dataclass(slots=True)
class _Course:
    """How the count of one thing went."""

    counted: Counted
    quiet_since: float
    allowed: float  # checks that may have come and did not yet
    looks: deque[tuple[float, int]] = field(default_factory=deque)


class Draining:
    """Follows what comes to this node's site from when an operator takes it out of service."""

    def __init__(self) -> None:
        self._courses: dict[Thing, _Course] = {}
        self._state: dict[str, Any] | None = None

    @property
    def state(self) -> dict[str, Any] | None:
        """The last look, as JSON values; None while no operator drains the site, and where it balances and announces nothing."""
        return self._state

    def look(self, known: Known, now: float, wall: float) -> None:
        """Compare with the look before; `now` is monotonic, `wall` in seconds since the epoch."""
        word, there = order_of(known, wall), things(known.deployment, known.node)
        if word is None or not there:
            self._courses, self._state = {}, None
            return
        found = {thing: _counted(thing, known, now) for thing in there}
        self._courses = {thing: self._follow(thing, counted, now) for thing, counted in found.items()}
        arrivals = [_told(thing, course, now) for thing, course in self._courses.items()]
        obstacles = [*_obstacles(known, wall - word.since), *_still(arrivals)]
        self._state = {
            "site": known.node.site,
            "state": word.state.value,
            "who": word.who,
            "why": word.why,
            "since": word.since,
            "at": wall,
            "arrivals": arrivals,
            "obstacles": obstacles,
            "safe": not obstacles,
        }

    def _follow(self, thing: Thing, counted: Counted, now: float) -> _Course:
        course = self._courses.get(thing)
        if course is None or counted.why or course.counted.why or counted.born != course.counted.born:
            return _Course(counted, now, counted.checks, deque([(counted.at, counted.came)]))
        came = counted.came - course.counted.came
        allowed = min(course.allowed, counted.checks) + counted.checks_per_s * (counted.at - course.counted.at)
        course.allowed = allowed - came
        if not 0 <= came <= allowed:
            course.quiet_since, course.allowed = now, counted.checks
        if counted.came < course.counted.came:
            course.looks.clear()
        if course.looks and counted.at == course.counted.at:
            course.looks.pop()
        course.looks.append((counted.at, counted.came))
        while len(course.looks) > 2 and course.looks[1][0] <= counted.at - RATE_S:
            course.looks.popleft()
        course.counted = counted
        return course


def order_of(known: Known, wall: float) -> Override | None:
    """The operator's word that takes this node's site out of service; None where there is none."""
    target = site_target(known.node.site)
    words = [one for one in known.overrides if one.target == target and one.holds_at(wall)]
    word = max(words, key=lambda one: one.since, default=None)
    return word if word is not None and word.state in (Forced.DRAIN, Forced.DOWN) else None


def things(deployment: Deployment, node: Node) -> tuple[Thing, ...]:
    """The balanced pools of the node's site, and the prefixes that the node announces."""
    pools = [pool for pool in deployment.pools.values() if pool.datacenter == node.site]
    found = [Thing("pool", pool.name, BALANCER) for pool in pools if pool.balance is not None]
    for prefix, anycast in announced_here(deployment, node).items():
        sources = [BALANCER] if any(_balances(pool, prefix, anycast) for pool in pools) else []
        listens = any(_holds(prefix, one.address) for one in deployment.dns.listen)
        sources += [DNS] if listens or "dns" in anycast.announce_when else []
        found += [Thing("prefix", str(prefix), source) for source in sources or [""]]
    return tuple(found)


def _balances(pool: Pool, prefix: Network, anycast: Anycast) -> bool:
    """Whether the pool is balanced at the prefix, or at an address of it."""
    inside = pool.name in anycast.pools or any(_holds(prefix, one.address) for one in pool.answers)
    return pool.balance is not None and inside


def _counted(thing: Thing, known: Known, now: float) -> Counted:
    if thing.source == DNS:
        return Counted(known.answers, now) if known.deployment.policies else Counted(why=NO_POLICY)
    if not thing.source:
        return Counted(why="nothing here counts what comes to it")
    pulse = known.pulse
    lacking = _lacking(thing, known)
    if lacking or pulse is None:
        return Counted(why=lacking or "the balancer tells nothing")
    counts, active = _vips(thing, pulse)
    if not counts:
        return Counted(why="the balancer does not count it yet")
    came = sum(one.handshakes + one.udp_flows + one.untracked_syns for one in counts)
    return Counted(came, pulse.at, pulse.born, active, "", *_checks(thing, known))


def _checks(thing: Thing, known: Known) -> tuple[float, int]:
    """How many checks of other sites come to a thing in a second, and how many at most at once, some of them early."""
    site, here = known.node.site, announced_here(known.deployment, known.node)
    shared = [prefix for prefix, anycast in here.items() if not _is_alone(anycast, known.deployment, site)]
    per_s, at_once = 0.0, 0
    for pool in known.deployment.pools.values():
        if pool.datacenter != site or (thing.what == "pool" and thing.name != pool.name):
            continue
        asked = [one.address for one in pool.answers if not any(_holds(prefix, one.address) for prefix in shared)]
        if thing.what != "pool":
            asked = [address for address in asked if _holds(ip_network(thing.name), address)]
        each, interval_s = _connections(pool, known.deployment)
        count = len(asked) * each * known.checkers
        per_s, at_once = per_s + count / interval_s, at_once + _EARLY * count
    return per_s, at_once


def _connections(pool: Pool, deployment: Deployment) -> tuple[int, float]:
    """How many connections a check of an address of a balanced pool makes there, and every how many seconds."""
    monitor = (deployment.monitors or {}).get(pool.monitor) if pool.monitor is not None else None
    if pool.balance is None or monitor is None or monitor.kind not in _CONNECTING:
        return 0, 1.0
    port = monitor.port or _PORTS.get(monitor.kind)
    if not any(one.protocol == "tcp" and one.port in (0, port) for one in pool.balance.listen):
        return 0, 1.0
    paths = (monitor.settings or {}).get("path")
    return len(paths) if isinstance(paths, tuple) else 1, monitor.interval_s


def _is_alone(anycast: Anycast, deployment: Deployment, site: SiteId) -> bool:
    """Whether no other site announces the prefixes: none has a pool that stands behind them."""
    return bool(anycast.pools) and all(deployment.pools[name].datacenter == site for name in anycast.pools)


def _holds(prefix: Network, address: Address) -> bool:
    return prefix.version == address.version and address in prefix


def _lacking(thing: Thing, known: Known) -> str:
    """Why the balancer does not have it."""
    anycast = {str(prefix): one for prefix, one in announced_here(known.deployment, known.node).items()}
    for pool in known.deployment.pools.values():
        if pool.datacenter == known.node.site and pool.name in known.unbalanced:
            if thing.what == "pool":
                concerned = thing.name == pool.name
            else:
                concerned = _balances(pool, ip_network(thing.name), anycast[thing.name])
            if concerned:
                return f"{pool.name} is not balanced here: {known.unbalanced[pool.name]}"
    return ""


def _vips(thing: Thing, pulse: Pulse) -> tuple[list[Count], int | None]:
    """The counts of the VIPs of a thing, and how many connections there are."""
    counts, actives, complete = [], [], True
    for pool, found in pulse.vips.items():
        for name, count in found.items():
            if pool == thing.name if thing.what == "pool" else _is_in(name, thing.name):
                counts.append(count)
                estimate = pulse.active_vips.get(pool, {}).get(name)
                complete = complete and estimate is not None
                actives += [estimate] if estimate is not None else []
    return counts, round(total(actives).flows) if counts and complete else None


def _is_in(vip: str, prefix: str) -> bool:
    """Whether a VIP, as it is named in counts, lies in the prefix, or covers it."""
    place, network = ip_network(vip.partition(" ")[0]), ip_network(prefix)
    return place.version == network.version and place.overlaps(network)


def _told(thing: Thing, course: _Course, now: float) -> dict[str, Any]:
    counted = course.counted
    old = not counted.why and now - counted.at > FRESH_S
    why = counted.why or (f"no counts for {now - counted.at:.0f} s" if old else "")
    (first_at, first), (last_at, last) = course.looks[0], course.looks[-1]
    passed = last_at - first_at
    return {
        "what": thing.what,
        "name": thing.name,
        "source": thing.source,
        "per_s": round((last - first) / passed, 2) if passed > 0 and not why else None,
        "checks_per_s": round(counted.checks_per_s, 2),
        "quiet_s": None if why else round(now - course.quiet_since, 1),
        "age_s": None if counted.why else round(max(0.0, now - counted.at), 1),
        "active": counted.active,
        "unknown": why,
    }


def _obstacles(known: Known, drained_s: float) -> Iterator[str]:
    """What would make it unsafe however quiet it is."""
    plan, site = known.plan, known.node.site
    if plan is None:
        yield "no plan is in force, so nobody knows what is answered"
        return
    answered = {member.pool for choice in plan.choices for member in choice.members}
    answered |= {member.pool for choice in plan.choices for part in choice.shed for member in part.members}
    kept = [one.name for one in known.deployment.pools.values() if one.datacenter == site and one.name in answered]
    if kept:
        yield f"still in the answers, since too little else is left: {', '.join(kept)}"
    wait_s = max((policy.ttl_max for policy in known.deployment.policies.values()), default=0) - drained_s
    if wait_s > 0:
        yield f"answers that were given before may be kept for {wait_s:.0f} s more"
    needed = {str(prefix) for prefix, one in announced_here(known.deployment, known.node).items() if one.min_sites}
    for one in (known.announcing or {}).get("prefixes", ()):
        if one["state"] == "announced":
            yield f"{one['prefix']} is still announced in full: {one['why']}"
        elif one["state"] == "drain" and not one["sites"] and one["prefix"] in needed:
            yield f"no other site is known to announce {one['prefix']}"


def _still(arrivals: Collection[Mapping[str, Any]]) -> Iterator[str]:
    """What keeps it from being quiet, whose figures stand among the arrivals."""
    unknown = [_name(one) for one in arrivals if one["unknown"]]
    busy = [_name(one) for one in arrivals if not one["unknown"] and one["quiet_s"] < QUIET_S]
    if unknown:
        yield f"what comes is not known: {_listed(unknown)}"
    if busy:
        yield f"not quiet for {QUIET_S:.0f} s yet: {_listed(busy)}"


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['what']} {one['name']}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
