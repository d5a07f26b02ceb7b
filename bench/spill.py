"""Shed levels in a closed loop: `decide`, resolvers that keep answers, loads that follow, over hours of simulated time.

`python -m bench.spill [CURVE ...] [--plot FILE.svg]`: prints where each curve comes to rest, and draws the first one.
A service of two sites and a burst site: most clients are nearest to fra, some to iad; each pool carries as much as another.
One in five clients sits behind a resolver that keeps answers for ten minutes, whatever the TTL.  Loads are measured with
noise, and damped.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from random import Random

from bench.clients import Clients
from gslb.decide.decide import decide
from gslb.model.deployment import (
    TYPE_A,
    Answer,
    Api,
    Capacity,
    Datacenter,
    Deployment,
    Dns,
    Policy,
    PolicyId,
    Pool,
    PoolId,
    Rule,
    SiteId,
    Socket,
    Spill,
)
from gslb.model.location import Catchment, Geography, Ranking
from gslb.model.plan import Plan, from_bytes
from gslb.model.world import Load, World

FRA, IAD, CLOUD = PoolId("web-fra"), PoolId("web-iad"), PoolId("web-cloud")
WEB = PolicyId("web")
STEP_S, TTL_S = 10, 60
NOISE, DAMPING = 0.02, 0.3  # of a load, from one step to the next
HOUR = 3600.0
NEAR_FRA = (0.30, 0.20, 0.15, 0.12, 0.10, 0.08, 0.05)  # the classes nearest to fra, by their share of its clients
NEAR_IAD = (0.7, 0.3)

# Requests of an AWS load balancer by the hour, on 2014-04-10: sums of realAWSCloudwatch/elb_request_count_8c0756 of the Numenta
# Anomaly Benchmark.
RECORDED = (
    *(772, 677, 919, 522, 779, 814, 548, 690, 817, 554, 758, 1051),
    *(934, 1149, 1161, 1081, 1248, 1024, 881, 960, 650, 605, 738, 563),
)

Curve = Callable[
    [float], tuple[float, float]
]  # seconds -> what fra's and iad's clients ask, as shares of one pool's capacity


@dataclass(frozen=True, slots=True)
class Case:
    """A curve, how long it lasts, and whether there is a burst site."""

    title: str
    hours: float
    curve: Curve
    cloud: bool = True


@dataclass
class Run:
    """What was seen at each step: seconds, what fra's clients ask, loads, and levels of sheds."""

    seconds: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    loads: dict[PoolId, list[float]] = field(default_factory=lambda: {FRA: [], IAD: [], CLOUD: []})
    level: dict[PoolId, list[float]] = field(default_factory=lambda: {FRA: [], IAD: []})
    versions: int = 0

    def after(self, hours: float, pool: PoolId = FRA) -> list[float]:
        """The loads of a pool from a moment on."""
        return [load for at, load in zip(self.seconds, self.loads[pool], strict=True) if at >= hours * HOUR]

    def turns(self, pool: PoolId = FRA) -> int:
        """How often the level turned from rising to falling or back."""
        steps = [after - before for before, after in pairwise(self.level[pool])]
        signs = [step > 0 for step in steps if step]
        return sum(one != other for one, other in pairwise(signs))


def run(case: Case, *, seed: int = 1, restart_at: float | None = None) -> Run:
    """Simulate one case.  `restart_at`: at that second the plan goes through its bytes, as at the start of a program."""
    model, geography = deployment(cloud=case.cloud), places()
    clients, noise, seen = Clients(WEB, ttl_s=TTL_S, step_s=STEP_S), Random(seed), Run()
    plan: Plan | None = None
    measured: dict[PoolId, float] = {}
    for step in range(int(case.hours * HOUR / STEP_S)):
        now = float(step * STEP_S)
        fra, iad = case.curve(now)
        demand = [share * fra for share in NEAR_FRA] + [share * iad for share in NEAR_IAD]
        asked = {WEB: {TYPE_A: tuple(round(4000 * share) + 0.0 for share in demand)}}
        loads = {pool: Load(share) for pool, share in measured.items()}
        if plan is not None and now == restart_at:
            plan = from_bytes(plan.to_bytes())
        before, plan = plan, decide(model, geography, World(now, loads=loads, demand=asked), plan)
        clients.step(plan)
        brought = clients.bring(demand)
        for pool in (FRA, IAD, CLOUD):
            load = brought.get(pool, 0.0) * (1 + noise.gauss(0, NOISE))
            measured[pool] = measured.get(pool, load) + DAMPING * (load - measured.get(pool, load))
        _note(seen, now, fra, brought, plan)
        seen.versions += before is None or before.version != plan.version
    return seen


def _note(seen: Run, now: float, asked: float, brought: Mapping[PoolId, float], plan: Plan) -> None:
    seen.seconds.append(now)
    seen.asked.append(asked)
    for pool, loads in seen.loads.items():
        loads.append(brought.get(pool, 0.0))
    for pool, levels in seen.level.items():
        shed = plan.history.sheds.get(pool)
        levels.append(shed.level if shed else 0.0)


def deployment(*, cloud: bool = True) -> Deployment:
    """The service; without `cloud` nobody is left once fra and iad are full."""
    capacity = Capacity(conns_per_s=4000.0, soft=0.8, hard=0.9)
    pools = {
        pool: Pool(pool, SiteId(pool.removeprefix("web-")), (Answer(ip_address(address)),), capacity=capacity)
        for pool, address in ((FRA, "192.0.2.1"), (IAD, "192.0.2.2"), (CLOUD, "192.0.2.3"))
    }
    spill = Spill(to=(CLOUD,) if cloud else ())
    policy = Policy(WEB, rules=(Rule((FRA, IAD), nearest=True),), spill=spill, ttl_max=TTL_S)
    return Deployment(
        name="spill",
        nodes={},
        datacenters={pool.datacenter: Datacenter(pool.datacenter) for pool in pools.values()},
        pools=pools,
        policies={WEB: policy},
        dns=Dns(listen=()),
        api=Api(Socket(ip_address("127.0.0.1"), 8053)),
    )


def places() -> Geography:
    """Classes near fra, which lose the less the farther they are down the list, and classes near iad."""
    near_fra = [Ranking(0, (FRA, IAD), ()) for _ in NEAR_FRA]
    near_iad = [Ranking(0, (IAD, FRA), ()) for _ in NEAR_IAD]
    catchments = [
        *(Catchment(share / 2, {FRA: 500.0, IAD: 7000.0 - 500 * place}) for place, share in enumerate(NEAR_FRA)),
        *(Catchment(share / 2, {FRA: 6500.0, IAD: 400.0}) for share in NEAR_IAD),
    ]
    return Geography("places", 9, {WEB: (*near_fra, *near_iad)}, {WEB: tuple(catchments)})


def ramp(seconds: float) -> tuple[float, float]:
    """To one and a half capacities within an hour, as long again, and back."""
    hours = seconds / HOUR
    rise = min(1.0, hours, max(0.0, 3.5 - hours))
    return 0.5 + rise, 0.2


def step(seconds: float) -> tuple[float, float]:
    """To 130 % at once, and back after two hours."""
    return (1.3 if 0.5 * HOUR <= seconds < 2.5 * HOUR else 0.5), 0.2


def flash(seconds: float) -> tuple[float, float]:
    """A crowd of three capacities comes within a minute; half of it is gone every 20 minutes."""
    since = seconds - 0.5 * HOUR
    crowd = 0.0 if since < 0 else 2.5 * min(1.0, since / 60) * 0.5 ** (max(0.0, since - 60) / 1200)
    return 0.5 + crowd, 0.2


def full(seconds: float) -> tuple[float, float]:
    """The ramp, while iad has room for a tenth of a capacity only, and fills up by itself in the second hour."""
    return ramp(seconds)[0], 0.7 + 0.25 * min(1.0, max(0.0, seconds / HOUR - 1.5))


def day(seconds: float) -> tuple[float, float]:
    """A synthetic day: two harmonics, with the peak of fra in its evening and that of iad six hours later."""

    def at(hours: float) -> float:
        angle = 2 * math.pi * (hours - 20) / 24
        return 0.85 + 0.42 * math.cos(angle) + 0.13 * math.cos(2 * angle)

    hours = seconds / HOUR
    return at(hours), 0.5 * at(hours - 6)


def recorded(seconds: float) -> tuple[float, float]:
    """The recorded day, a straight line from hour to hour, its peak one and a half capacities; iad half of that, six hours later."""

    def at(hours: float) -> float:
        hour, part = int(hours // 1), hours % 1
        one, other = RECORDED[hour % 24], RECORDED[(hour + 1) % 24]
        return 1.5 * (one + part * (other - one)) / max(RECORDED)

    return at(seconds / HOUR), 0.45 * at(seconds / HOUR - 6)


CASES: Mapping[str, Case] = {
    "ramp": Case("ramp to 150 %", 5.0, ramp),
    "step": Case("step to 130 %", 4.0, step),
    "flash": Case("flash crowd of 300 %", 4.0, flash),
    "full": Case("ramp, and the receiver fills up", 5.0, full),
    "no-burst": Case("ramp, the receiver fills up, and there is no burst site", 5.0, full, cloud=False),
    "day": Case("synthetic day", 24.0, day),
    "recorded": Case("recorded day", 24.0, recorded),
}


def main() -> None:
    """Run the cases asked for, tell where they rest, and draw the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curve", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the first of them as SVG")
    arguments = parser.parse_args()
    names: Sequence[str] = arguments.curve or tuple(CASES)
    runs = {name: run(CASES[name]) for name in names}
    print(
        f"{'curve':10} {'fra max':>8} {'fra p99':>8} {'iad max':>8} {'cloud max':>9} {'shed max':>8} {'turns':>5} {'plans':>5}"
    )
    for name, seen in runs.items():
        loads = sorted(seen.loads[FRA])
        print(
            f"{name:10} {loads[-1]:8.3f} {loads[int(len(loads) * 0.99)]:8.3f} {max(seen.loads[IAD]):8.3f}"
            f" {max(seen.loads[CLOUD]):9.3f} {max(seen.level[FRA]):8.3f} {seen.turns():5} {seen.versions:5}"
        )
    if arguments.plot:
        plot(CASES[names[0]], runs[names[0]], arguments.plot)


def plot(case: Case, seen: Run, path: Path) -> None:
    """Loads above, levels below, over hours."""
    from matplotlib.figure import Figure  # noqa: PLC0415  it takes a second to import

    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    hours = [seconds / HOUR for seconds in seen.seconds]
    above.plot(hours, seen.asked, color="0.6", linestyle="--", label="asked by fra's clients")
    for pool, loads in seen.loads.items():
        above.plot(hours, loads, label=f"load of {pool}")
    for mark, name in ((0.8, "soft"), (0.9, "hard")):
        above.axhline(mark, color="0.3", linewidth=0.6)
        above.annotate(name, (0, mark), fontsize=7, va="bottom")
    above.set(title=case.title, ylabel="share of capacity", ylim=(0, None))
    above.legend(fontsize=8)
    for pool, levels in seen.level.items():
        below.plot(hours, levels, label=f"shed by {pool}")
    below.set(xlabel="hours", ylabel="share of demand", ylim=(0, None))
    below.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
