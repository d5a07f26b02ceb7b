"""Simulated sites that announce one prefix: knowledge that travels late or not at all, one lease, controllers that die.

Time runs in whole seconds.  Every decision is `bgp.when.decide`; what it wants is done at once, and judged at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bgp.routes import State
from bgp.when import Local, Operator, Other, Past, Remote, Rule, Timing, Verdict, adopted, decide, on_controller_loss

LEASE_S = 30
RENEW_S = 10
DEAD_MAN_S = 10
GOOD = Local(dns=True, pools=True)
QUICK = Timing(rise_s=3, least_s=5, drain_s=5, hold_s=5, longest_hold_s=40, fresh_s=10, act_s=2)


@dataclass(slots=True)
class Site:
    """One site of one node."""

    name: str
    past: Past
    local: Local = GOOD
    connected: bool = True
    died_at: int | None = None  # its controller
    known: dict[str, tuple[int, State]] = field(default_factory=dict)  # of others: when it was so, and what
    lease_until: int = -1  # as this site believes
    verdict: Verdict | None = None
    blameless: bool = True  # nothing ever happened here


@dataclass(slots=True)
class Sites:
    """All of them, the bus between them, and what they did."""

    rule: Rule
    sites: dict[str, Site]
    on_loss: str = "drain"
    now: int = 0
    delay_s: int = 0
    holder: str | None = None
    lease_ends: int = -1  # on the bus; nobody else is given the lease before
    withdrawals: list[tuple[int, str]] = field(default_factory=list)
    truth: dict[str, list[State]] = field(default_factory=dict)  # by second

    def present(self) -> int:
        """How many have the route in any form."""
        return sum(site.past.state is not State.OFF for site in self.sites.values())

    def states(self) -> dict[str, State]:
        """How the prefix stands at each."""
        return {name: site.past.state for name, site in self.sites.items()}

    def change(self, name: str, **facts: object) -> None:
        """Other local facts at one site."""
        site = self.sites[name]
        site.local = replace(site.local, **facts)  # type: ignore[arg-type]
        site.blameless = False

    def crash(self, name: str) -> None:
        """The controller of a site dies."""
        site = self.sites[name]
        site.blameless = False
        site.died_at = self.now if site.died_at is None else site.died_at

    def restart(self, name: str) -> None:
        """It is started again: it adopts what stands, and knows nobody."""
        site = self.sites[name]
        if site.died_at is not None:
            site.died_at, site.past, site.known, site.lease_until = None, adopted(site.past.state), {}, -1

    def forget_lease(self) -> None:
        """The bus loses its keys: whoever holds the lease goes on, and nobody is given it before its whole time."""
        self.holder, self.lease_ends = None, max(self.lease_ends, self.now + LEASE_S)

    def run(self, seconds: int) -> None:
        """Let time go on; every site is asked each second, and what must always hold is looked at after each."""
        for _ in range(seconds):
            self.now += 1
            names = sorted(self.sites)
            for number in range(len(names)):
                site = self.sites[names[(number + self.now) % len(names)]]
                self._hear(site)
                self._live(site)
                assert self.present() >= self.rule.min_sites, self.states()
            for name, site in self.sites.items():
                self.truth.setdefault(name, []).append(site.past.state)

    def _hear(self, site: Site) -> None:
        moment = self.now - 1 - self.delay_s
        for name, other in self.sites.items():
            heard = site.connected and other.connected and other.died_at is None and name != site.name
            if heard and moment >= 1 and moment > site.known.get(name, (-1, State.OFF))[0]:
                site.known[name] = (moment, self.truth[name][moment - 1])

    def _live(self, site: Site) -> None:
        if site.died_at is not None:
            if self.now == site.died_at + DEAD_MAN_S:
                site.past = adopted(on_controller_loss(self.on_loss, site.past.state))
            return
        before = site.past.state
        others = tuple(Other(name, name, state, self.now - at) for name, (at, state) in site.known.items())
        left = float(max(0, site.lease_until - self.now))
        site.verdict = decide(self.rule, site.local, Remote(others, left), site.past, self.now)
        site.past = site.verdict.past
        if before is not State.OFF and site.past.state is State.OFF:
            self._withdrawn(site, left)
        self._lease(site, wants=site.verdict.wants_lease)
        if site.blameless:
            assert site.past.state is State.ANNOUNCED, "remote knowledge only keeps routes"

    def _withdrawn(self, site: Site, left: float) -> None:
        self.withdrawals.append((self.now, site.name))
        down = site.local.operator is Operator.DOWN
        assert down or False in (site.local.dns, site.local.pools), "the cause is local"
        assert left > 0, "under a lease"
        assert site.connected or self.now - max(at for at, _ in site.known.values()) <= self.rule.timing.fresh_s

    def _lease(self, site: Site, *, wants: bool) -> None:
        if not wants:
            if self.holder == site.name and site.connected:
                self.holder, self.lease_ends = None, -1
            site.lease_until = -1
        elif site.connected and site.lease_until - self.now <= LEASE_S - RENEW_S and self._may_have(site):
            self.holder, self.lease_ends = site.name, self.now + LEASE_S
            site.lease_until = self.lease_ends

    def _may_have(self, site: Site) -> bool:
        return self.holder == site.name or self.now > self.lease_ends


def announced(count: int, min_sites: int = 1, on_loss: str = "drain") -> Sites:
    """So many sites that all announce, and know it of each other."""
    names = [chr(ord("a") + number) for number in range(count)]
    rule = Rule(("dns", "pools"), min_sites, QUICK)
    made = Sites(rule, {name: Site(name, adopted(State.ANNOUNCED)) for name in names}, on_loss)
    made.run(5)
    return made
