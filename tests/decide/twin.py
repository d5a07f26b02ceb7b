"""The slow and obvious twin of the health side of `decide`: what may be answered of one policy and record type.

Plain loops over the present and the history; nothing here is shared with `gslb.decide`, but the overrides that rule an
address (tests.decide.oracle).  Ejections are taken as they stand in the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gslb.model.deployment import AllDown, Answer, Deployment, Policy, Pool, PoolId, Return
from gslb.model.history import Cause, History, Keeper
from gslb.model.plan import Mode
from gslb.model.world import Forced, Health, World
from tests.decide.oracle import is_of, live, ruling_override

Left = dict[PoolId, set[str]]


@dataclass
class Twin:
    """One policy and record type at one moment."""

    model: Deployment
    world: World
    history: History
    policy: Policy
    rtype: int
    answered: set[PoolId]  # the pools that the previous plan answered for them
    good: set[tuple[str, str]]  # the (pool, address) that it answered while they were good

    def __post_init__(self) -> None:
        names = dict.fromkeys((*(p for rule in self.policy.rules for p in rule.pools), *self.policy.spill.to))
        self.pools = [self.model.pools[name] for name in names if live(self.model.pools[name], self.rtype)]
        self.ruled = [pool for pool in self.pools if any(pool.name in rule.pools for rule in self.policy.rules)]
        self.now = self.world.now
        self.was_out = {
            name: min(out.since, self.now)
            for name, out in self.history.out.get(self.policy.name, {}).items()
            if self.rtype in out.types and any(pool.name == name for pool in self.pools)
        }
        self.was_kept = self.history.kept.get(self.policy.name, {})

    # One address.

    def operator(self, pool: Pool, answer: Answer) -> str:
        """What operators want of an answer: `up`, `out` (at once), `drain`, or nothing."""
        ruling = ruling_override(pool, answer, self.world)
        if ruling is None:
            return ""
        if ruling.state is Forced.UP:
            return "up"
        return "drain" if ruling.state is Forced.DRAIN and not ruling.force else "out"

    def ejected(self, pool: Pool, address: str) -> bool:
        ejection = self.history.ejected.get(f"{pool.name}/{address}")
        return ejection is not None and self.now < ejection.until

    def down(self, pool: Pool, address: str) -> bool:
        verdict = self.world.verdicts.get(pool.name, {}).get(address)
        return verdict is not None and verdict.health is Health.DOWN

    def failing(self, pool: Pool, answer: Answer) -> bool:
        return self.down(pool, str(answer.address)) or self.starved(pool)

    def healthy(self, pool: Pool, answer: Answer) -> bool:
        wanted = self.operator(pool, answer)
        fine = not self.failing(pool, answer) and not self.ejected(pool, str(answer.address))
        return wanted == "up" or (wanted == "" and fine)

    # The backends of a pool.

    def backends(self, pool: Pool) -> list[tuple[str, int, bool]]:
        """Operator's word, weight, and whether it serves; empty where nothing is said of any."""
        found, said = [], False
        for backend in pool.balance.backends if pool.balance else ():
            address = str(backend.address)
            words = [o for o in self.world.overrides if o.target == f"backend/{pool.name}/{address}"]
            words = [o for o in words if o.until is None or self.now < o.until]
            word = max(words, key=lambda o: (o.since, o.state.value, o.until or 1e99, o.force)) if words else None
            said = said or word is not None or address in self.world.verdicts.get(pool.name, {})
            fine = not self.down(pool, address) and not self.ejected(pool, address)
            said = said or self.ejected(pool, address)
            found.append((word.state.value if word else "", backend.weight, word.state is Forced.UP if word else fine))
        by_itself = self.unbalanced(pool) and pool.balance is not None and pool.balance.without_balancer == "serve"
        return found if said and not by_itself else []

    def unbalanced(self, pool: Pool) -> bool:
        return pool.balance is not None and pool.name in self.world.unbalanced

    def cut_off(self, pool: Pool) -> bool:
        return self.unbalanced(pool) and pool.balance is not None and pool.balance.without_balancer == "down"

    def starved(self, pool: Pool) -> bool:
        if self.cut_off(pool):
            return True
        backends = self.backends(pool)
        return bool(backends and pool.balance) and sum(s for _, _, s in backends) < pool.balance.min_healthy  # type: ignore[union-attr]

    # A pool.

    def share(self, pool: Pool) -> tuple[int, int]:
        backends = self.backends(pool)
        if backends:
            left = [(weight, serves) for word, weight, serves in backends if word not in ("down", "drain")]
        else:
            answers = [a for a in live(pool, self.rtype) if self.operator(pool, a) in ("", "up")]
            left = [(a.weight, self.healthy(pool, a)) for a in answers]
        return sum(weight for weight, serves in left if serves), sum(weight for weight, _ in left)

    def state(self, pool: Pool) -> str:
        return self.states[pool.name]

    @cached_property
    def states(self) -> dict[PoolId, str]:
        return {pool.name: self.state_now(pool) for pool in self.pools}

    def state_now(self, pool: Pool) -> str:
        words = [self.operator(pool, answer) for answer in live(pool, self.rtype)]
        if "up" in words:
            return "fine"
        if "" not in words:
            return "taken"
        if not any(self.healthy(pool, answer) for answer in live(pool, self.rtype)):
            return "down"
        healthy, total = self.share(pool)
        return "panic" if healthy < self.policy.panic * total - 1e-9 else "fine"

    def asked_up(self, pool: Pool) -> bool:
        return any(self.operator(pool, a) == "up" for rtype in (1, 28) for a in live(pool, rtype))

    def load_below(self, pool: Pool, mark: str) -> bool:
        load = self.world.loads.get(pool.name)
        if load is None or pool.capacity is None:
            return True
        return load.share < (0.8 if mark == "soft" else 0.9)

    def doubly(self, pool: Pool) -> bool:
        backends = [str(b.address) for b in pool.balance.backends] if pool.balance and self.backends(pool) else []
        answers = [str(a.address) for rtype in (1, 28) for a in live(pool, rtype)]
        if self.cut_off(pool):
            return True
        for targets, starving in ((backends, False), (answers, bool(self.starved(pool)))):
            failing = [t for t in targets if self.down(pool, t) or starving]
            known = self.world.verdicts.get(pool.name, {})
            verdicts = [known[t] for t in failing if t in known]
            if verdicts and all(v.double for v in verdicts):
                return True
        return False

    # The pools of the policy.

    @cached_property
    def held(self) -> set[PoolId]:
        found = set()
        for pool in self.pools:
            if pool.name not in self.was_out or pool.return_ is not Return.MANUAL or self.asked_up(pool):
                continue
            sound = not all(self.failing(pool, answer) for answer in live(pool, self.rtype))
            if self.state(pool) == "fine" or (self.state(pool) == "taken" and sound):
                found.add(pool.name)
        return found

    @cached_property
    def over(self) -> set[PoolId]:
        others = [p for p in self.pools if self.state(p) == "fine" and p.name not in self.held]
        found = set()
        for pool in self.pools:
            if self.state(pool) != "panic":
                continue
            kept = self.was_kept.get(pool.name)
            lately = kept is not None and kept.by is Keeper.PANIC and self.now - min(kept.since, self.now) < 300
            mark = "hard" if pool.name in self.was_out else "soft"
            if (pool.name in self.was_out or not lately) and any(self.load_below(p, mark) for p in others):
                found.add(pool.name)
        return found

    @cached_property
    def going(self) -> set[PoolId]:
        return {pool.name for pool in self.pools if self.state(pool) == "down"} | self.over

    def weight(self, pool: Pool) -> float:
        known = all(p.capacity is not None and p.capacity.conns_per_s for p in self.ruled)
        return float(pool.capacity.conns_per_s or 0) if known and pool.capacity else 1.0

    @cached_property
    def kept(self) -> set[PoolId]:
        """What velocity keeps: let the leavers go one by one, the oldest first, as long as it allows."""
        states = {self.state(pool) for pool in self.pools}
        if not states & {"fine", "panic"}:
            return set()
        total = sum(self.weight(pool) for pool in self.ruled)
        still_out = (self.going & set(self.was_out)) | self.held
        gone, sites = 0.0, set()
        for pool in self.ruled:
            lately = pool.name in self.was_out and self.now - self.was_out[pool.name] < 60
            if pool.name in still_out and lately and not self.doubly(pool):
                gone += self.weight(pool)
                sites.add(pool.datacenter)
            elif pool.name not in still_out | self.going:
                gone += self.weight(pool) * (1.0 if self.hardly_back(pool) else self.lately_ejected(pool))
        leavers = [pool for pool in self.ruled if pool.name in self.going and pool.name not in self.was_out]
        room = any(
            self.state(p) == "fine" and p.name not in still_out and self.load_below(p, "soft") for p in self.pools
        )
        kept = set()
        for pool in sorted(leavers, key=lambda p: (self.failing_since(p), p.name)):
            if self.doubly(pool):
                continue
            site_left = [p for p in self.pools if p.datacenter == pool.datacenter]
            site_dead = all(p.name in self.going | still_out for p in site_left)
            fits = gone + self.weight(pool) <= self.policy.velocity * total + 1e-6
            alone = site_dead and room and not sites - {pool.datacenter}
            waited = not sites and self.now - self.failing_since(pool) >= 60
            if fits or alone or waited or pool.name not in self.answered:
                gone += self.weight(pool)
                sites.add(pool.datacenter)
            else:
                kept.add(pool.name)
        return kept

    def failing_since(self, pool: Pool) -> float:
        kept = self.was_kept.get(pool.name)
        return min(kept.since, self.now) if kept is not None and kept.by is Keeper.VELOCITY else self.now

    def hardly_back(self, pool: Pool) -> bool:
        gradual = pool.return_ is Return.GRADUAL and self.state(pool) == "fine" and not self.asked_up(pool)
        if pool.name in self.was_out and gradual:
            return self.now - self.was_out[pool.name] < 60
        shed = self.history.sheds.get(pool.name)
        if shed is None or shed.cause is not Cause.RETURN:
            return False
        return shed.level > 0.99 and self.now - shed.stepped_at < 60

    def lately_ejected(self, pool: Pool) -> float:
        peers = [(str(b.address), b.weight) for b in pool.balance.backends] if pool.balance else []
        lost = 0.0
        for group in (peers, *([(str(a.address), a.weight) for a in live(pool, rtype)] for rtype in (1, 28))):
            for address, weight in group:
                ejection = self.history.ejected.get(f"{pool.name}/{address}")
                if ejection is not None and self.now < ejection.until:
                    began = ejection.until - min(30 * 2 ** (ejection.times - 1), 1800)
                    lost += weight / sum(w for _, w in group) if self.now - began < 60 else 0.0
        return lost

    # What is left.

    def left(self) -> tuple[Mode, Left]:
        """The mode, and the addresses that may be answered, by pool."""
        if not self.pools:
            return Mode.NODATA, {}
        kept, held, over = self.kept, self.held, self.over
        spread = {p.name for p in self.pools if self.state(p) == "panic"} - over
        normal: Left = {}
        for pool in self.pools:
            for answer in live(pool, self.rtype):
                word = self.operator(pool, answer)
                whole = pool.name in kept or pool.name in spread
                by_health = pool.name not in held | over and self.healthy(pool, answer)
                if word == "up" or (word == "" and (whole or by_health)):
                    normal.setdefault(pool.name, set()).add(str(answer.address))
        sound = self.some({""}, failing=False)
        forced_up = self.some({"up"}, failing=True) or self.some({"up"}, failing=False)
        sure = any(
            self.operator(p, a) == "" and self.healthy(p, a) and p.name not in held
            for p in self.pools
            for a in live(p, self.rtype)
        )
        if forced_up or sure:
            return Mode.NORMAL, normal
        if sound:  # held, or ejected, and nothing else: with what velocity keeps
            return Mode.KEPT, {p: sound.get(p, set()) | normal.get(p, set()) for p in {*sound, *normal}}
        return self.all_down()

    def all_down(self) -> tuple[Mode, Left]:
        """No address is healthy without an operator's word against it."""
        mode = self.policy.on_all_down
        failing = self.some({""}, failing=True) or self.some({"drain"}, failing=True)
        unforced = self.some({"out"}, failing=False, forced=False) or self.some({"out"}, failing=True, forced=False)
        if mode in (AllDown.NODATA, AllDown.SERVFAIL):
            return Mode(mode), {}
        if draining := self.some({"drain"}, failing=False):
            return Mode.KEPT, draining
        if mode is AllDown.LAST_RESORT and any(is_of(self.rtype, a.version) for a in self.policy.last_resort):
            return Mode.LAST_RESORT, {}
        if not failing:
            return (Mode.KEPT, unforced) if unforced else (Mode.NODATA, {})
        good = {pool: {a for a in found if (pool, a) in self.good} for pool, found in failing.items()}
        if mode is AllDown.LAST_GOOD and any(good.values()):
            return Mode.LAST_GOOD, {pool: found for pool, found in good.items() if found}
        return Mode.SERVE_ALL, failing

    def some(self, words: set[str], *, failing: bool, forced: bool | None = None) -> Left:
        """The addresses of which operators want this, and that fail or do not."""
        found: Left = {}
        for pool in self.pools:
            for answer in live(pool, self.rtype):
                ruling = ruling_override(pool, answer, self.world)
                if forced is not None and ruling is not None and ruling.force is not forced:
                    continue
                if self.operator(pool, answer) in words and self.failing(pool, answer) is failing:
                    found.setdefault(pool.name, set()).add(str(answer.address))
        return found
