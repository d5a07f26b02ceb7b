"""The prefixes of this node: the history of each, how it is to stand, and what of it is so.  Pure; times are of one monotonic clock.

Rule 1: a history begins with what ExaBGP was found to have.
Rule 2: a guarded withdrawal that is not out while its lease counts is taken back: without an ExaBGP that answers there is none.
Rule 3: a prefix that left the configuration is drained and withdrawn as by an operator's forced `down`.
Rule 4: `announced` is what ExaBGP has acknowledged in full, with a session up, and what is still wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bgp.routes import Route, State, found_as, normal, refused, wanted
from bgp.when import Local, Operator, Past, Remote, Rule, Verdict, Why, decide
from gslb.control.anycastfacts import WORDS, announced_here, rules_of
from gslb.control.anycastfile import resumed
from gslb.model.bgp import Bgp
from gslb.model.deployment import Address, Anycast, Deployment, Network, Node


class Table:
    """ExaBGP's routes (`bgp.routes.normal`) and sessions at one moment; `ready`: it can be asked now."""

    def __init__(self, routes: Iterable[Route], is_up: Callable[[Address], bool], *, ready: bool) -> None:
        self.is_up = is_up
        self.ready = ready
        self._routes: dict[Network, list[Route]] = {}
        for route in routes:
            self._routes.setdefault(route.prefix, []).append(route)

    def of(self, prefix: Network) -> Sequence[Route]:
        """The routes of a prefix."""
        return self._routes.get(prefix, ())


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and what it was made from."""

    rule: Rule
    local: Local
    remote: Remote
    verdict: Verdict


class Prefixes:
    """What one node announces.  `pasts` are of an earlier run of the controller."""

    def __init__(self, pasts: Mapping[Network, Past], now: float) -> None:
        self.began = now
        self.pasts: dict[Network, Past] = dict(pasts)
        self.here: Mapping[Network, Anycast] = {}
        self.rules: Mapping[Network, Rule] = {}
        self.refused: tuple[str, ...] = ()
        self.judged: dict[Network, Judged] = {}
        self.transitions: dict[Network, Counter[State]] = {}
        self.adopted = False
        self._speaker: Bgp | None = None
        self._former: dict[Network, Rule] = {}
        self._targets: dict[tuple[Network, State], frozenset[Route]] = {}  # what was worked out

    @property
    def guarded(self) -> frozenset[Network]:
        """Those that are withdrawn only under a lease."""
        return frozenset(prefix for prefix in self.here if self.rules[prefix].min_sites)

    @property
    def states(self) -> Mapping[Network, State]:
        """How each is to stand."""
        return {prefix: one.verdict.state for prefix, one in self.judged.items()}

    def want(self, deployment: Deployment, node: Node) -> None:
        """Announce for this deployment from now on."""
        former = self._former | {prefix: self.rules[prefix] for prefix in self.here}
        self._former = {prefix: rule for prefix, rule in former.items() if prefix in self.here or prefix in self.pasts}
        self._speaker = speaker = deployment.speaker(node)
        self._targets.clear()
        self.rules = rules_of(deployment)
        never = dict(refused(self.rules, speaker)) if speaker is not None else {}
        self.refused = tuple(never.values())
        meant = announced_here(deployment, node)
        self.here = {prefix: anycast for prefix, anycast in meant.items() if prefix not in never}

    def adopt(self, routes: Iterable[Route], now: float) -> None:
        """ExaBGP has these routes, and was not asked before."""
        found = tuple(routes)
        prefixes = dict.fromkeys((*self.here, *self.pasts, *(route.prefix for route in found)))
        speaker = self._speaker
        states = {one: found_as(found, one, speaker) if speaker is not None else State.OFF for one in prefixes}
        self.pasts = {prefix: resumed(self.pasts.get(prefix), state, now) for prefix, state in states.items()}
        self.adopted = True

    def judge(
        self,
        local: Callable[[Network, Anycast], Local],
        remote: Callable[[Network], Remote],
        table: Table,
        now: float,
    ) -> None:
        """Decide every prefix anew."""
        gone = [prefix for prefix in self.pasts if prefix not in self.here and self._leaves(prefix, table)]
        judged = {}
        for prefix in (*self.here, *gone):
            judged[prefix] = self._judge(prefix, local, remote, table, now)
            before, state = self.pasts.get(prefix, Past()).state, judged[prefix].verdict.state
            if state is not before:
                self._count(prefix, state)
        self.judged = judged
        self.pasts = {prefix: one.verdict.past for prefix, one in judged.items()}
        self.transitions = {prefix: count for prefix, count in self.transitions.items() if prefix in judged}

    def wake_at(self, table: Table) -> float | None:
        """When to judge again at the latest."""
        moments = [one.verdict.wake_at for one in self.judged.values() if one.verdict.wake_at is not None]
        for prefix, one in self.judged.items():
            if one.verdict.past.left and one.verdict.state is State.OFF and table.of(prefix):
                moments.append(one.verdict.past.since + one.rule.timing.act_s)
        return min(moments, default=None)

    def told(self, table: Table) -> Mapping[str, str]:
        """For other nodes: prefix -> `announced`, `drained` or `withdrawn`."""
        return {str(prefix): WORDS[self._true_state(prefix, one, table)] for prefix, one in self.judged.items()}

    def acked(self, prefix: Network, table: Table) -> bool:
        """Whether ExaBGP has just what is wanted of a prefix, on every session."""
        target = self._routes(prefix, self.judged[prefix].verdict.state)
        return table.ready and set(table.of(prefix)) == target

    def farewell(self, state: State, now: float) -> None:
        """All that is announced drains, or was withdrawn: this node ends in order."""
        for prefix, one in self.judged.items():
            past = one.verdict.past
            if past.state not in (State.OFF, state):
                past = replace(past, state=state, since=now, good_since=None)
                self.judged[prefix] = replace(one, verdict=Verdict(past, Why.OPERATOR_DOWN))
                self._count(prefix, state)
        self.pasts |= {prefix: one.verdict.past for prefix, one in self.judged.items()}

    def _count(self, prefix: Network, state: State) -> None:
        self.transitions.setdefault(prefix, Counter())[state] += 1

    def _judge(
        self,
        prefix: Network,
        local: Callable[[Network, Anycast], Local],
        remote: Callable[[Network], Remote],
        table: Table,
        now: float,
    ) -> Judged:
        anycast, past = self.here.get(prefix), self.pasts.get(prefix, Past())
        if anycast is None:
            rule = replace(self._former.get(prefix, Rule(())), announce_when=(), min_sites=0)
            here, others = Local(operator=Operator.FORCED_DOWN), Remote()
        else:
            rule, here, others = self.rules[prefix], local(prefix, anycast), remote(prefix)
            if not table.ready:
                others = replace(others, lease_left_s=0.0)
            if self._is_late(prefix, rule, here, past, table, now):
                past = replace(past, state=State.DRAIN, since=now, left=False)
        return Judged(rule, here, others, decide(rule, here, others, past, now))

    def _is_late(self, prefix: Network, rule: Rule, here: Local, past: Past, table: Table, now: float) -> bool:
        """Whether a guarded withdrawal did not get out in time."""
        guarded = rule.min_sites > 0 and here.operator is not Operator.FORCED_DOWN
        late = past.left and past.state is State.OFF and now > past.since + rule.timing.act_s
        return guarded and late and bool(table.of(prefix))

    def _leaves(self, prefix: Network, table: Table) -> bool:
        return self.pasts[prefix].state is not State.OFF or bool(table.of(prefix))

    def _true_state(self, prefix: Network, one: Judged, table: Table) -> State:
        """What can be relied on: the least of what is wanted and what is so."""
        state = one.verdict.state
        if state is State.OFF or not table.ready:
            return State.OFF
        up = [route for route in table.of(prefix) if table.is_up(route.neighbor)]
        if not up:
            return State.OFF
        full = self._routes(prefix, State.ANNOUNCED)
        return State.ANNOUNCED if state is State.ANNOUNCED and full.intersection(up) else State.DRAIN

    def _routes(self, prefix: Network, state: State) -> frozenset[Route]:
        found = self._targets.get((prefix, state))
        if found is None:
            routes = () if self._speaker is None else wanted({prefix: state}, self._speaker)
            found = self._targets[prefix, state] = frozenset(map(normal, routes))
        return found
