"""What the balancer observes, with real clients: round trips, a backend that loses SYNs, a flood that changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.e2e.balanced import PORT, VIP4, Balanced, Flows
from tests.e2e.lifecycle import wait_until
from tests.e2e.program import Program
from tests.namespaces import World
from xdp import pins
from xdp.counters import totals
from xdp.pinned import Pinned

LOSING = """
table inet losing {
  chain input { type filter hook input priority 0;
    ip daddr 203.0.113.80 tcp dport 9000 tcp flags & (syn|ack) == syn numgen inc mod 3 == 0 drop
  }
}
"""
SHIELD = """
table netdev shield {
  chain input { type filter hook ingress device port1 priority 0;
    ip saddr != { 198.51.100.0/24, 10.1.0.0/24 } ip daddr 203.0.113.80 drop
  }
}
"""
pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(180)]


def passive(program: Program) -> dict[str, Any]:
    """What `gslb status --json` says of what the balancer observes."""
    found: dict[str, Any] = (program.status().get("balancer") or {}).get("passive") or {}
    return found


def digest(program: Program) -> str:
    """Of the plan in force."""
    return str(program.status()["generation"]["plan_digest"])


def rtt(program: Program) -> dict[str, Any]:
    """Of the pool's IPv4 clients."""
    found: dict[str, Any] = passive(program).get("web", {}).get("rtt", {}).get("ipv4", {})
    return found


def connected_s() -> float:
    """How long a connection takes to be there: a round trip, by the client's own clock."""
    began = time.monotonic()
    with socket.create_connection((VIP4, PORT), timeout=10):
        return time.monotonic() - began


@pytest.mark.parametrize("milliseconds", [5, 40, 150])
def test_round_trips(netns: World, tmp_path: Path, milliseconds: int) -> None:
    """Clients so far away are found to be so far away, within 10 % of what they measure themselves."""
    made = Balanced(netns, tmp_path, f"r{os.getpid()}", distance_s=milliseconds / 2000)
    with contextlib.closing(made) as site, site.running() as program:
        took = site.client.call(lambda: [connected_s() for _ in range(60)])
        wait_until(lambda: rtt(program).get("count", 0) >= 60, "round trips are told", 30.0)
        assert median(took) >= milliseconds / 1000
        assert rtt(program)["p50_s"] == pytest.approx(median(took), rel=0.10)


def test_a_backend_that_loses_every_third_syn_is_ejected(netns: World, tmp_path: Path) -> None:
    """Its checks, which ask its own address, pass all the time."""
    with contextlib.closing(Balanced(netns, tmp_path, f"z{os.getpid()}")) as site, site.running() as program:
        for _ in range(3):
            Flows.gone(site.client, 40)
        site.backends["b"].run("nft", LOSING)
        until = time.monotonic() + 90
        while site.slots(program)["b"]:
            assert time.monotonic() < until, passive(program)
            Flows.gone(site.client, 40)
        assert all(site.slots(program)[name] for name in "ac")
        assert "web/10.1.0.12" in program.log()
        assert set(Flows.gone(site.client, 60)) == {"a", "c"}


def test_a_flood_of_syns_changes_nothing(netns: World, tmp_path: Path) -> None:
    """Spoofed SYNs, 500,000 a second or as many as this machine makes, all through the balancer: the plan stays, no backend
    stands out, load is that of the honest clients, and their round trips are measured on.
    """
    made = Balanced(netns, tmp_path, f"f{os.getpid()}")
    made.interval = "2s"  # checks must not fail because the machine is busy
    with contextlib.closing(made) as site, site.running() as program:
        site.switch.run("nft", SHIELD)  # backends would drown in SYNs; how they live is not what is tested
        mac = json.loads(site.balancer.run("ip", "-j", "link", "show", "eth0"))[0]["address"]
        plan, slots = digest(program), site.slots(program)
        site.flows(100)
        Flows.gone(site.client, 40)
        wait_until(lambda: rtt(program).get("count", 0) >= 40, "round trips are told", 30.0)
        command = (sys.executable, "-m", "tests.e2e.syn_flood", "port1", mac, VIP4, str(PORT), "250000", "12")
        floods = [site.switch.start(*command, seed, stdout=subprocess.PIPE) for seed in ("4", "5")]
        seen = []
        while any(flood.poll() is None for flood in floods):
            Flows.gone(site.client, 40)
            seen.append(passive(program)["web"])
        sent = sum(json.loads(flood.communicate()[0])["sent"] for flood in floods)
        assert (digest(program), site.slots(program)) == (plan, slots)
        assert not any(one["outlier"] for one in passive(program)["web"]["backends"].values())
        assert _syns(site) >= 0.9 * sent, "the flood did not reach the balancer"
        assert min(one["followed"] or 1.0 for one in seen) < 0.9, "the flood is none: all SYNs are followed"
        assert max(one["connections_per_s"] or 0.0 for one in seen) < 1000, "the flood is counted as connections"
        assert max(one["active"] or 0 for one in seen) < 300, "the flood is counted as open connections"
        wait_until(lambda: passive(program)["web"]["active"] == 100, "100 are open, as before the flood")
        assert rtt(program)["count"] >= 60, "honest clients are not measured any more"


def _syns(site: Balanced) -> int:
    """Those that the balancer forwarded until now."""
    with Pinned.opened(pins.folder(site.deployment, "lb1"), {}) as pinned:
        counts = totals(pinned.maps, pinned.names(pinned.vips(), {}), 0.0).vips.values()
        return sum(count.syns for found in counts for count in found.values())
