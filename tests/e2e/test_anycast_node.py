"""One node that announces to BIRD: its addresses come to `lo` before their routes and go after them; the order of an end; what a kill leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bgp.launch import running
from gslb.config.load import load
from gslb.control import loopback, privilege
from gslb.control.farewell import FOLDER
from gslb.control.supervise import LOOK_S
from gslb.control.wanted import MOVE_S
from gslb.model.deployment import Deployment
from tests.bgp.lab import Lab, RouteClock
from tests.bgp.routers import bird_router, peers
from tests.e2e.anycasting import GSHUT, Site
from tests.e2e.anycastprobes import DnsMeter
from tests.e2e.lifecycle import ZONE
from tests.namespaces import World

pytestmark = [pytest.mark.root, pytest.mark.slow]

FOUR, SIX, SECOND, WIDE = "192.0.2.53/32", "2001:db8::53/128", "198.51.101.53/32", "203.0.113.0/24"
THEIRS = "198.51.101.54"  # the operator's own, in a prefix of its own
WELL_S = 40.0  # on a busy machine
CONFIG = """\
deployment: example
datacenters: {a: {at: [50.11, 8.68], continent: EU}}
pools: {web: {datacenter: a, answers: [192.0.2.10]}}
policies: {web: {rules: [{pools: [web]}]}}
anycast:
  ns: {prefixes: [PREFIXES], announce_when: dns, min_sites: 0, rise: 100ms, stay: 100ms, drain_for: DRAIN}
bgp:
  a:
    local_as: 65010
    router_id: 10.99.1.2
    hold: 6s
    controller_loss: 5s
    neighbors:
      - {address: 10.99.1.1, as: 65001, drain: {community: "65535:0"}}
      - {address: "fd99:1::1", as: 65001, drain: {community: "65535:0"}}
dns: {listen: ["0.0.0.0:53", "[::]:53"], workers: 1, xdp: off}
limits: {exempt: [198.51.100.0/24, 127.0.0.0/8]}
zones: [zones/*.yaml]
"""


def config(*prefixes: str, drain: str = "500ms") -> str:
    return CONFIG.replace("PREFIXES", ", ".join(f'"{one}"' for one in prefixes)).replace("DRAIN", drain)


class Announcer(Site):
    """The node, its router, and what it said."""

    def __init__(self, world: World, folder: Path) -> None:
        self.lab = Lab(world, "a")
        self.router = bird_router(self.lab, folder / "router", peers(self.lab, 4, 6))
        super().__init__(folder / "a", "a", config(FOUR, SIX), self.lab.sites["a"])
        (self.folder / "zones" / "example.com.yaml").write_text(ZONE)
        self.before: tuple[str, ...] = ()

    @property
    def deployment(self) -> Deployment:  # type: ignore[explicit-override]
        """Its configuration of now."""
        return load(self.config).deployment

    def words(self, name: str, *arguments: str) -> list[str]:  # type: ignore[explicit-override]
        """The command line of a command, behind that of `before` where it is `run`."""
        words = super().words(name, *arguments)
        at = words.index("--") + 1
        return [*words[:at], *(self.before if name == "run" else ()), *words[at:]]

    def lent(self) -> set[str]:
        """The addresses of `lo`, without those that every host has."""
        found = json.loads(self.host.run("ip", "-j", "addr", "show", "dev", "lo"))
        return {one["local"] for link in found for one in link["addr_info"]} - {"127.0.0.1", "::1"}

    def exabgp(self) -> int | None:
        return running(self.store.folder / FOLDER)

    def until(self, condition: Callable[[], object], what: str) -> None:
        over = time.monotonic() + WELL_S
        while not condition():
            assert time.monotonic() < over, (
                f"not within {WELL_S} s: {what}; it says {self.announcing()} and said {self.said()}"
            )
            time.sleep(0.02)

    def announces(self, *prefixes: str) -> None:
        """Until the router's kernel leads these here."""
        for prefix in prefixes:
            self.until(lambda prefix=prefix: self.lab.reached(prefix) == {"a"}, f"{prefix} is announced")  # type: ignore[misc]

    def withdrawn(self, *prefixes: str) -> None:
        for prefix in prefixes:
            self.until(lambda prefix=prefix: not self.router.paths(prefix), f"{prefix} is withdrawn")  # type: ignore[misc]

    def is_drained(self, prefix: str) -> bool:
        return [GSHUT in one.communities for one in self.router.paths(prefix)] == [True]

    def answered(self, address: str) -> bool:
        """Whether DNS answers there, asked on the node."""
        self.address, self.port = address, 53
        return self.answers()

    def gone(self) -> None:
        """Nothing of it is left: no process, route or address."""
        assert self.left() == [], self.said()
        assert self.exabgp() is None
        assert self.router.paths(FOUR) == self.router.paths(SIX) == []
        assert not (self.store.folder / loopback.NAME).exists()


@pytest.fixture
def node(netns: World, tmp_path: Path) -> Iterator[Announcer]:
    one = Announcer(netns, tmp_path)
    with ExitStack() as stack:
        stack.callback(one.router.stop)
        one.router.start()
        stack.callback(one.clear)
        yield one


def rights(pid: int) -> set[int]:
    """The capabilities that a process holds in any of its threads."""
    masks = [
        int(permitted, 16)
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for permitted in re.findall(r"^CapPrm:\s+(\S+)$", status.read_text(), re.M)
    ]
    assert masks
    return {number for number in range(64) if any(mask >> number & 1 for mask in masks)}


def end(node: Announcer, number: signal.Signals = signal.SIGTERM) -> float:
    """Have it end; the seconds that it took."""
    began = time.monotonic()
    os.kill(node.runs[-1].pid, number)
    assert node.runs[-1].wait(timeout=WELL_S) == 0, node.said()
    return time.monotonic() - began


def test_addresses_come_before_routes_and_go_after_them(node: Announcer) -> None:
    node.host.add_address("lo", f"{THEIRS}/32")
    with RouteClock(node.lab.router) as routes, DnsMeter(node.lab, FOUR.partition("/")[0]) as meter:
        node.start(ready=False)
        node.announces(FOUR, SIX)
        came = routes.wait(FOUR, there=True, within_s=WELL_S)
        assert node.lent() == {"192.0.2.53", "2001:db8::53", THEIRS}
        assert {
            part: rights(node.pid(part)) for part in ("supervisor", "controller", "worker", "exabgp", "bridge")
        } == {
            "supervisor": {privilege.CAP_NET_BIND_SERVICE, privilege.CAP_NET_ADMIN},
            **{part: set() for part in ("controller", "worker", "exabgp", "bridge")},
        }

        node.configure(config(FOUR, SIX, SECOND, f"{THEIRS}/32", WIDE))
        node.announces(SECOND, f"{THEIRS}/32", WIDE)
        assert node.lent() == {"192.0.2.53", "2001:db8::53", SECOND.partition("/")[0], THEIRS, "203.0.113.0"}
        assert all(map(node.answered, sorted(node.lent())))

        node.host.run("ip", "addr", "del", SECOND, "dev", "lo")
        since = time.monotonic()
        node.until(lambda: SECOND.partition("/")[0] in node.lent(), "what somebody removed is back")
        assert time.monotonic() - since < LOOK_S / 2

        with DnsMeter(node.lab, SECOND.partition("/")[0]) as second:
            second.answers_from("a")
            routes.events()
            since = time.monotonic()
            node.configure(config(FOUR, SIX))
            left = routes.wait(SECOND, there=False, within_s=WELL_S, since=since)
        assert [at for at in second.losses.lost if at < left - 0.05] == [], "the address goes after its route"
        node.withdrawn(SECOND, f"{THEIRS}/32", WIDE)
        node.until(lambda: node.lent() == {"192.0.2.53", "2001:db8::53", THEIRS}, "what we lent is gone")
        assert not node.answered(SECOND.partition("/")[0])
        assert node.answered(THEIRS), "0.0.0.0 is all that the node has"

        routes.events()
        since = time.monotonic()
        os.kill(node.runs[-1].pid, signal.SIGTERM)
        went = routes.wait(FOUR, there=False, within_s=WELL_S, since=since)
        assert "192.0.2.53" in node.lent(), "it goes after its route"
        assert node.runs[-1].wait(timeout=WELL_S) == 0, node.said()
    assert [at for at in meter.losses.lost if came <= at < went - 0.05] == [], "DNS answers while a route leads here"
    assert meter.losses.by_site(since, went), "and is asked"
    node.gone()
    assert node.lent() == {THEIRS}
    said = node.said()
    assert "Traceback" not in said
    assert "is killed" not in said


def test_a_second_signal_hurries_also_where_routers_dial(node: Announcer) -> None:
    dialled = config(FOUR, drain="30s").replace("as: 65001,", "as: 65001, passive: true,")
    node.configure(dialled)
    node.start(ready=False)
    node.announces(FOUR)
    assert rights(node.pid("exabgp")) == rights(node.pid("controller")) == {privilege.CAP_NET_BIND_SERVICE}
    with RouteClock(node.lab.router) as routes:
        os.kill(node.runs[-1].pid, signal.SIGINT)
        node.until(lambda: node.is_drained(FOUR), "it is drained")
        assert node.answered("192.0.2.53")
        began = time.monotonic()
        os.kill(node.runs[-1].pid, signal.SIGINT)
        assert routes.wait(FOUR, there=False, within_s=WELL_S, since=began) - began < MOVE_S / 2
    assert node.runs[-1].wait(timeout=WELL_S) == 0
    node.gone()


def test_a_controller_that_hangs_leaves_no_route_behind(node: Announcer) -> None:
    node.start(ready=False)
    node.announces(FOUR, SIX)
    controller = node.pid("controller")
    os.kill(controller, signal.SIGSTOP)
    os.kill(node.runs[-1].pid, signal.SIGTERM)
    node.until(lambda: "routes leave first" in node.said(), "it stops")
    end(node)
    assert "ExaBGP still runs and is killed" in node.said()
    node.withdrawn(FOUR, SIX)
    node.gone()
    assert node.lent() == set()


def test_what_a_killed_run_left_is_taken_over_and_ended(node: Announcer) -> None:
    node.host.add_address("lo", f"{THEIRS}/32")
    node.start(ready=False)
    node.announces(FOUR, SIX)
    exabgp = node.exabgp()
    with RouteClock(node.lab.router) as routes:
        node.runs[-1].kill()
        node.runs[-1].wait()
        node.until(lambda: not node.pid("controller"), "the controller ends with it")
        assert node.lent() == {"192.0.2.53", "2001:db8::53", THEIRS}
        node.start(ready=False)
        node.until(lambda: node.pid("controller") and node.is_at(FOUR, "announced"), "the next run announces")
        assert node.exabgp() == exabgp
        assert [one for one in routes.events() if not one.there] == []
    os.kill(node.pid("controller"), signal.SIGKILL)  # the end comes while it is replaced
    end(node)
    node.gone()
    assert node.lent() == {THEIRS}


def test_what_a_killed_run_announced_and_nobody_wants_any_more_goes(node: Announcer) -> None:
    node.host.add_address("lo", f"{THEIRS}/32")
    node.start(ready=False)
    node.announces(FOUR, SIX)
    node.runs[-1].kill()
    node.runs[-1].wait()
    node.configure(re.sub(r"(?m)^(anycast|bgp):\n(  .*\n)+", "", config(FOUR, SIX)))
    node.start(ready=False)
    node.withdrawn(FOUR, SIX)
    node.until(lambda: node.lent() == {THEIRS}, "what was lent is gone")
    node.until(lambda: node.exabgp() is None, "ExaBGP ends")
    end(node)
    node.gone()


def test_without_the_right_what_is_there_is_announced_and_the_rest_is_a_problem(
    node: Announcer, tool: Callable[[str], str]
) -> None:
    node.host.add_address("lo", FOUR)
    node.before = (tool("setpriv"), "--bounding-set=-net_admin", "--inh-caps=-all")
    node.start(ready=False)
    node.announces(FOUR)
    node.until(lambda: "CAP_NET_ADMIN" in str(node.problems()), "the problem")
    assert node.router.paths(SIX) == []
    node.host.add_address("lo", SIX)
    node.announces(SIX)
    node.until(lambda: "CAP_NET_ADMIN" not in str(node.problems()), "the end of the problem")
    end(node)
    node.gone()
    assert node.lent() == {"192.0.2.53", "2001:db8::53"}
