"""Nanoseconds of the balancer's programs for a packet, and packets a second over veth: `python -m bench.balancer [--json FILE]`.

Each case is run with 1, 4 096 and 65 536 flows, so that what caches hold of few flows does not flatter it; the budget of a case is for the last.
ACKs are of connections that were opened, and the sample that is tracked of them is that of a node that forwards RATE.
Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from socket import IPPROTO_TCP, IPPROTO_UDP

from bench.xdppath import Rate, rates
from bench.xdpruns import Programs, Reach, Runs, frame
from gslb.layout import Mode
from xdp import libbpf
from xdp.build import NotBuilt
from xdp.tracking import next_mask

FLOWS = (1, 4096, 65536)
RATE = 1e6  # packets a second
TRACK_MASK = next_mask(0, FLOWS[-1], RATE)
SPREAD_NS = 15.0  # budget: the most flows may cost so much more than one
SYN, ACK = 0x02, 0x10
CLIENT4, CLIENT6 = "10.0.0.1", "2001:db8:ffff::1"
RINGS = {
    "L2": Reach("10.1.0.1", Mode.MODE_L2),
    "over IPv4": Reach("10.1.0.1", Mode.MODE_IP),
    "over IPv6": Reach("fd00:1::1", Mode.MODE_IP),
    "GUE over IPv4": Reach("10.1.0.1", Mode.MODE_GUE),
    "GUE over IPv6": Reach("fd00:1::1", Mode.MODE_GUE),
    "L2, changed": Reach("10.1.0.1", Mode.MODE_L2, changed=True),
}
NUMBERS = {name: number for number, name in enumerate(RINGS, 1)}


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, to the backends of which ring, the verdict; `budget`: nanoseconds with the most flows."""

    name: str
    ring: str
    version: int = 4
    protocol: int = IPPROTO_TCP
    port: int = 80
    flags: int = ACK
    verdict: int = libbpf.XDP_TX
    budget: float | None = None
    keep_vips: bool = True


CASES = (
    Case("IPv4 ACK, L2", "L2", budget=55),
    Case("IPv4 ACK, over IPv4", "over IPv4", budget=80),
    Case("IPv4 ACK, over IPv6", "over IPv6"),
    Case("IPv4 ACK, GUE over IPv4", "GUE over IPv4", budget=150),
    Case("IPv4 ACK, GUE over IPv6", "GUE over IPv6"),
    Case("IPv6 ACK, L2", "L2", version=6),
    Case("IPv6 ACK, over IPv4", "over IPv4", version=6),
    Case("IPv6 ACK, over IPv6", "over IPv6", version=6),
    Case("IPv6 ACK, GUE over IPv6", "GUE over IPv6", version=6),
    Case("IPv4 SYN, L2", "L2", flags=SYN, budget=130),
    Case("IPv4 SYN, over IPv4", "over IPv4", flags=SYN, budget=130),
    Case("IPv4 UDP, L2", "L2", protocol=IPPROTO_UDP),
    Case("IPv4 UDP, over IPv4", "over IPv4", protocol=IPPROTO_UDP),
    Case("IPv4 ACK, L2, slot changed", "L2, changed"),
    Case("IPv4 SYN, L2, slot changed", "L2, changed", flags=SYN),
    Case("IPv4 ACK, L2, VIP looked up", "L2", keep_vips=False),
    Case("no VIP: passed", "L2", port=81, verdict=libbpf.XDP_PASS),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Nanoseconds of a case by number of flows."""

    name: str
    ns: dict[int, float]
    budget: float | None

    @property
    def spread(self) -> float:
        """What the most flows cost more than one."""
        return self.ns[FLOWS[-1]] - self.ns[FLOWS[0]]

    @property
    def missed(self) -> list[str]:
        """Which budgets it exceeds, in words."""
        if self.budget is None:
            return []
        found = []
        if self.ns[FLOWS[-1]] > self.budget:
            found.append(f"{self.name}: {self.ns[FLOWS[-1]]:.0f} ns - at most {self.budget:.0f}")
        if self.spread > SPREAD_NS:
            found.append(
                f"{self.name}: {FLOWS[-1]} flows cost {self.spread:.0f} ns more than one - at most {SPREAD_NS:.0f}"
            )
        return found


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    if os.geteuid() != 0:
        print("the balancer's bench loads programs into the kernel - run it as root", file=sys.stderr)
        return 1
    try:
        costs = _on_one_core(measure)
        over_veth = rates(arguments.seconds)
    except (OSError, NotBuilt) as error:
        print(f"the balancer cannot be measured here: {error}", file=sys.stderr)
        return 1
    print(table(costs))
    print()
    print(path_table(over_veth))
    for line in (line for cost in costs for line in cost.missed):
        print(f"over budget: {line}")
    if arguments.json:
        found = {
            "ns": {cost.name: {str(flows): ns for flows, ns in cost.ns.items()} for cost in costs},
            "budgets": {cost.name: cost.budget for cost in costs if cost.budget is not None},
            "veth": [asdict(rate) for rate in over_veth],
        }
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def measure() -> list[Cost]:
    """Every case.  Raises OSError, and NotBuilt."""
    programs, runs = Programs(), Runs()
    try:
        _configure(programs)
        return [_cost(programs, runs, case) for case in CASES]
    finally:
        runs.close()
        programs.close()


def table(costs: list[Cost]) -> str:
    """Costs as a table in Markdown."""
    head = f"| packet | {' | '.join(f'{flows:,}'.replace(',', ' ') for flows in FLOWS)} | budget |"
    lines = [head, "|---|" + "---|" * (len(FLOWS) + 1)]
    for cost in costs:
        budget = "" if cost.budget is None else f"{cost.budget:.0f}"
        lines.append(f"| {cost.name} | {' | '.join(f'{cost.ns[flows]:.0f}' for flows in FLOWS)} | {budget} |")
    return "\n".join(lines)


def path_table(found: list[Rate]) -> str:
    """Rates as a table in Markdown."""
    lines = ["| over veth, one core | Mpps | of the reflector |", "|---|---|---|"]
    lines += [f"| {rate.name} | {rate.packets / 1e6:.2f} | {rate.share:.0%} |" for rate in found]
    return "\n".join(lines)


def _configure(programs: Programs) -> None:
    for name, reach in RINGS.items():
        number = NUMBERS[name]
        programs.ring(number, reach)
        for version in (4, 6):
            for place, protocol in enumerate((IPPROTO_TCP, IPPROTO_UDP)):
                programs.vip(_vip(version, number), protocol, 80, 4 * number + version // 4 * 2 + place - 2, number)


def _cost(programs: Programs, runs: Runs, case: Case) -> Cost:
    client = CLIENT4 if case.version == 4 else CLIENT6
    sent = frame(client, _vip(case.version, NUMBERS[case.ring]), case.protocol, case.port, case.flags)
    ns = {}
    for flows in FLOWS:
        programs.settle(keep_vips=case.keep_vips, track_mask=TRACK_MASK)
        if case.protocol == IPPROTO_TCP and case.flags == ACK:
            opening = frame(client, _vip(case.version, NUMBERS[case.ring]), case.protocol, case.port, SYN)
            runs.pass_once(programs.fd, opening, flows)
        ns[flows], verdict = runs.cost(programs.fd, sent, flows)
        if verdict != case.verdict:
            raise OSError(0, f"{case.name}: verdict {verdict} - expected {case.verdict}")
    return Cost(case.name, ns, case.budget)


def _vip(version: int, ring: int) -> str:
    return f"192.0.2.{ring}" if version == 4 else f"2001:db8::{ring}"


def _on_one_core(work: Callable[[], list[Cost]]) -> list[Cost]:
    """Tables are by CPU, and so are caches."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        return work()
    finally:
        os.sched_setaffinity(0, before)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.balancer")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="a round over veth takes [%(default)s]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
