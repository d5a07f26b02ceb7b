"""Two sites that announce the same addresses to one router, each with the real `gslb run`; a client that asks all the while.  IO; needs root.

    client ── router ─┬─ a ─┐
                      └─ b ─┴─ bus        the line to the bus is no line of the router's, and can be cut

The nameserver's addresses (`VIPS`) are announced where DNS answers, `WEB` where the pool of the site is up.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from gslb.cli.main import main
from gslb.config.load import load
from gslb.control.report import report
from gslb.model.deployment import Deployment
from tests.bgp.controlled import arguments
from tests.bgp.lab import Lab, LossMeter, Meter, RouteClock
from tests.bgp.routers import Bird, Frr, Router, bird_router, peers
from tests.bus.cluster import Cluster, Place
from tests.e2e.anycastprobes import PACE_S, Checked, DnsMeter
from tests.e2e.lifecycle import ZONE
from tests.e2e.sites import BUS, Node
from tests.namespaces import World

VIPS = {4: "192.0.2.53/32", 6: "2001:db8::53/128"}
WEB = "192.0.2.80/32"
ALL = (*VIPS.values(), WEB)
ADDRESSES = {prefix.partition("/")[0] for prefix in VIPS.values()}
WELL_S = 40.0  # on a busy machine
LATE_S = 1.0
LOSS_S = 8.0  # `controller_loss`
GSHUT = "65535:0"
CONFIG = """\
deployment: example
datacenters:
  a: {at: [50.11, 8.68], continent: EU}
  b: {at: [48.86, 2.35], continent: EU}
  c: {at: [38.95, -77.45], continent: NA}
monitors:
  web: {type: http, port: 80, path: /, interval: 300ms, timeout: 250ms, fall: 2, rise: 2, quorum: 50%}
pools:
  web-a: {datacenter: a, monitor: web, return: at_once, answers: [10.99.1.2]}
  web-b: {datacenter: b, monitor: web, return: at_once, answers: [10.99.2.2]}
  web-c: {datacenter: c, answers: [198.51.100.80]}
policies:
  web: {rules: [{pools: [web-a, web-b, web-c]}], velocity: 100%, ttl: {max: 60, min: 5}}
anycast:
  ns: {prefixes: [192.0.2.53/32, "2001:db8::53/128"], announce_when: dns, TIMES}
  web: {prefixes: [192.0.2.80/32], pools: [web-a, web-b], announce_when: pools, TIMES}
bgp:
  a:
    local_as: 65010
    router_id: 10.99.1.2
    hold: 6s
    controller_loss: 8s
    neighbors:
      - {address: 10.99.1.1, as: 65001, drain: {community: "65535:0", prepend: 3, med: 100}}
      - {address: "fd99:1::1", as: 65001, drain: {community: "65535:0", prepend: 3, med: 100}}
  b:
    local_as: 65010
    router_id: 10.99.2.2
    hold: 6s
    controller_loss: 8s
    neighbors:
      - {address: 10.99.2.1, as: 65001, drain: {community: "65535:0", prepend: 3, med: 100}}
      - {address: "fd99:2::1", as: 65001, drain: {community: "65535:0", prepend: 3, med: 100}}
dns: {listen: ["192.0.2.53:53", "[2001:db8::53]:53"], workers: 1, xdp: off}
limits: {exempt: [198.51.100.0/24, "2001:db8::/32", 192.0.2.0/24, 127.0.0.0/8]}
bus: {nats: ["nats://10.9.0.1:4222"]}
zones: [zones/*.yaml]
""".replace("TIMES", "rise: 1s, stay: 1s, drain_for: 2s, hold: 3s, longest_hold: 3s")


class Site(Node):
    """The node of a site."""

    @cached_property
    def deployment(self) -> Deployment:
        """Its configuration, which no test changes."""
        return load(self.config).deployment

    def report(self) -> dict[str, Any]:
        """What `gslb status --json` prints, without starting it."""
        return report(self.store, self.deployment, time.time())

    def announcing(self) -> dict[str, Any]:
        """What it says of its speaker, its neighbors and its prefixes; empty where it says nothing."""
        return self.report().get("announcing") or {}

    def has_told(self, since: float) -> bool:
        """Whether its controller, since then (seconds since the epoch), has told how prefixes stand, and knows it from ExaBGP."""
        told = (self.store.folder / "run" / "announcing.json").stat().st_mtime
        return told > since and bool(self.announcing()["speaker"]["ready"])

    def says(self, prefix: str) -> dict[str, Any]:
        """What it says of a prefix."""
        return next((one for one in self.announcing().get("prefixes", ()) if one["prefix"] == prefix), {})

    def is_at(self, prefix: str, state: str) -> bool:
        """Whether it says that a prefix stands so: `announced`, `drain` or `off`."""
        return bool(self.says(prefix).get("state") == state)

    def on_lo(self) -> set[str]:
        """The nameserver's addresses that are on its loopback."""
        found = json.loads(self.host.run("ip", "-j", "addr", "show", "dev", "lo"))
        return {one["local"] for link in found for one in link["addr_info"]} & ADDRESSES

    def sessions(self) -> set[bool]:
        """Whether its sessions are up: one value where all are alike."""
        return {one["up"] for one in self.announcing().get("neighbors", ())}

    def pid(self, part: str) -> int:
        """The process of `supervisor`, `controller`, `worker`, `exabgp` or `bridge`; 0 where there is none."""
        told = self.report()
        if part in ("supervisor", "controller"):
            return int(told[part]["pid"] or 0)
        if part == "worker":
            return next((int(one["pid"]) for one in told["workers"] if one["alive"] and one["kind"] == "udp"), 0)
        exabgp = int(((told.get("announcing") or {}).get("speaker") or {}).get("pid") or 0)
        return exabgp if part == "exabgp" or not exabgp else _bridge_of(exabgp)

    def operate(self, command: str, target: str) -> None:
        """`gslb drain`, `down`, `up` or `auto`, without starting a process."""
        why = [] if command == "auto" else ["--why", "a test"]
        here = ["--config", str(self.config), "--node", self.site, "--state", str(self.state)]
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            done = main([command, target, *why, *here])
        assert done == 0, printed.getvalue()

    def acted(self) -> float:
        """When its overrides were written last, by the monotonic clock."""
        return self.store.overrides_path.stat().st_mtime - time.time() + time.monotonic()

    def left(self) -> list[int]:  # type: ignore[explicit-override]
        """The processes of this node that live, ExaBGP and its bridge among them."""
        mine = str(self.state).encode()
        entries = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [pid for pid in entries if mine in arguments(pid)]

    def clear(self) -> None:  # type: ignore[explicit-override]
        """Nothing of this node outlives its test: all is killed, what is paused as well."""
        for process in self.runs:
            process.kill()
            process.wait()
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Anycasting:
    """All of it: `kind` is the router, `bird` or `frr`."""

    site_class: type[Site] = Site

    def __init__(self, world: World, folder: Path, kind: str = "bird", config: str = CONFIG) -> None:
        self.kind = kind
        self.lab = lab = Lab(world, "a", "b")
        if kind == "bird":
            config = config.replace("as: 65001, ", f"as: 65001, look: {{bird: {folder / 'router' / 'bird.ctl'}}}, ")
        self.router: Router = (
            bird_router(lab, folder / "router", peers(lab, 4, 6)) if kind == "bird" else Frr(lab, peers(lab, 4, 6))
        )
        self.hub = world.namespace("bus")
        self.hub.add_address("lo", f"{BUS}/32")
        self.cluster = Cluster(folder / "nats", places=[Place(BUS, self.hub)])
        self.sites: dict[str, Site] = {}
        for number, (name, host) in enumerate(lab.sites.items(), start=1):
            world.join(self.hub, host, f"10.8.{number}.1/24", f"10.8.{number}.2/24")
            host.add_route(f"{BUS}/32", f"10.8.{number}.1")
            self.sites[name] = self.site_class(folder / name, name, config, host)
            (self.sites[name].folder / "zones" / "example.com.yaml").write_text(ZONE)
        self.a, self.b = self.sites["a"], self.sites["b"]
        self.meters: dict[str, Meter] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Router, bus, servers that are checked and nodes run; the client asks; both sites announce everything."""
        with ExitStack() as stack:
            stack.callback(self.router.stop)
            self.router.start()
            self.checked = Checked(self.lab)
            stack.callback(self.checked.close)
            stack.enter_context(self.cluster)
            self.routes = stack.enter_context(RouteClock(self.lab.router))
            self.meters = {
                **{vip: DnsMeter(self.lab, vip.partition("/")[0]) for vip in VIPS.values()},
                WEB: self.web_meter(),
            }
            for meter in self.meters.values():
                stack.enter_context(meter)
            for site in self.sites.values():
                stack.callback(site.clear)
                site.start(ready=False)
            self.well()
            self.began = time.monotonic()
            yield

    def web_meter(self) -> Meter:
        """Probes to `WEB`, which is on both sites' loopbacks and answered whatever their checks say."""
        self.lab.bind(WEB)
        return LossMeter(self.lab, WEB.partition("/")[0], pace_s=PACE_S)

    def until(self, condition: Callable[[], bool], what: str, within_s: float = WELL_S) -> float:
        """Wait until `condition`, and tell the moment; AssertionError with what the nodes say where it does not come."""
        until = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < until, f"not within {within_s:g} s: {what}; {self.told()}"
            time.sleep(0.02)
        return time.monotonic()

    def well(self, *prefixes: str) -> None:
        """Until both sites announce these prefixes (all without any) in full, and clients are at both."""
        self.reached_at({"a", "b"}, *prefixes)
        for prefix in prefixes or ALL:
            for site in self.sites.values():
                self.until(partial(site.is_at, prefix, "announced"), f"{site.site} announces {prefix}")
        since = time.monotonic()
        for prefix in prefixes or ALL:
            losses = self.meters[prefix].losses
            self.until(lambda losses=losses: len(losses.by_site(since)) == 2, f"{prefix} is answered by both")  # type: ignore[misc]

    def reached_at(self, sites: set[str], *prefixes: str, within_s: float = WELL_S) -> None:
        """Until the router's kernel sends what goes to these prefixes (all without any) to exactly these sites."""
        for prefix in prefixes or ALL:
            self.until(partial(self._reaches, prefix, sites), f"{prefix} at {sorted(sites)}", within_s)

    def _reaches(self, prefix: str, sites: set[str]) -> bool:
        return self.lab.reached(prefix) == sites

    def drained(self, prefix: str) -> set[str]:
        """The sites whose route for the prefix the router holds de-preferred."""
        return self._holding(prefix, marked=True)

    def held(self, prefix: str) -> set[str]:
        """The sites from which the router holds any route for the prefix."""
        return self._holding(prefix, marked=False)

    def is_held_by(self, prefix: str, sites: set[str]) -> bool:
        """Whether the router holds a route for the prefix from exactly these sites."""
        return self.held(prefix) == sites

    def routers(self) -> list[subprocess.Popen[bytes]]:
        """The processes that speak BGP and own the routes."""
        if isinstance(self.router, Frr):
            return list(self.router.processes.values())
        assert isinstance(self.router, Bird)
        assert self.router.process is not None
        return [self.router.process]

    def heard(self) -> list[str]:
        """What BIRD has counted of updates and withdrawals from the sites: any word about a route changes it."""
        return re.findall(r"Import (?:updates|withdraws):.*", self.router.say("show protocols all"))

    def last_from(self, site: str, since: float) -> float:
        """How long after `since` the last answer of a site came, of any prefix; those of now are waited for."""
        return max(meter.losses.last_from(site) for meter in self.meters.values()) - since

    def verdict(self, site: str, by: float) -> float:
        """When a site's own node had the last failed check of the site's server until then: what made it down there."""
        return max(at for at in self.checked.failed[site, self.lab.address(site)] if at <= by)

    def _holding(self, prefix: str, *, marked: bool) -> set[str]:
        by_address = {self.lab.address(site, version): site for site in self.lab.sites for version in (4, 6)}
        paths = self.router.paths(prefix)
        return {by_address[path.neighbor] for path in paths if not marked or GSHUT in path.communities}

    def told(self) -> str:
        """What the nodes say of all prefixes, and what they wrote last."""
        lines = [f"the router: { {prefix: sorted(self.lab.reached(prefix)) for prefix in ALL} }"]
        for site in self.sites.values():
            lines.append(f"{site.site} says {json.dumps(site.announcing())}")
            lines.append(f"{site.site} wrote {site.said()[-1500:]}")
        return "\n".join(lines)

    def lost(self, since: float, *prefixes: str) -> int:
        """How many probes that were sent since then got no answer; waits until none is under way."""
        now = time.monotonic()
        time.sleep(0.5)
        meters = [self.meters[prefix] for prefix in prefixes or ALL]
        return sum(sum(since <= at < now for at in meter.losses.lost) for meter in meters)

    def late(self, since: float) -> int:
        """How many probes that were sent since then got their answer after more than `LATE_S`: nobody waited for it."""
        return sum(
            at - meter.losses.sent[number] > LATE_S
            for meter in self.meters.values()
            for number, (_, at) in list(meter.losses.answered.items())
            if meter.losses.sent[number] >= since
        )

    @contextmanager
    def cut(self) -> Iterator[None]:
        """The sites do not reach the bus; the router's lines are as they were."""
        self.hub.run(
            "nft",
            "add table inet cut; add chain inet cut here { type filter hook input priority 0; }; "
            'add rule inet cut here iifname != "lo" drop',
        )
        try:
            yield
        finally:
            self.hub.run("nft", "delete table inet cut")


def _bridge_of(exabgp: int) -> int:
    """The bridge that an ExaBGP has now; 0 where it has none."""
    with suppress(OSError):
        children = Path(f"/proc/{exabgp}/task/{exabgp}/children").read_text().split()
        return next((int(pid) for pid in children if b"bridge" in arguments(int(pid))), 0)
    return 0


def row(*columns: object) -> None:
    """A row of a table, for people who run these tests with -s."""
    sys.stdout.write(f"| {' | '.join(map(str, columns))} |\n")
