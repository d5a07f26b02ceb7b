"""A link that loses all in silence: when the router's kernel and our side notice, by hold time and by BFD beside ExaBGP.

The daemon beside ExaBGP only answers BFD; the router that asks for it takes our routes away.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bgp.birdsite import VIPS
from tests.bgp.controlled import Controlled, now
from tests.bgp.lab import Lab, RouteClock
from tests.bgp.page import SESSION, snippet
from tests.bgp.routers import Bird, Frr, Router
from tests.e2e.lifecycle import wait_until
from tests.namespaces import World, stop

pytestmark = [pytest.mark.root, pytest.mark.slow]

UP_S = 40.0
HOLD_S = 3
WITH_BFD_HOLD_S = 9  # so that nobody takes one for the other
BFD_S = 2.5  # three of SLOW_MS are missed, on a machine that is busy
SLOW_MS = "300"  # instead of 100, which a busy machine does not keep; the slower of two ends counts
LATE_S = 3.0  # of a hold time: the router's clock of it, and a machine that is busy


@pytest.mark.parametrize(
    ("kind", "beside"), [("bird", None), ("bird", "frr"), ("frr", "bird")], ids=["hold", "bfdd", "bird"]
)
def test_silence_is_noticed(
    netns: World, tmp_path: Path, tool: Callable[[str], str], kind: str, beside: str | None
) -> None:
    for name in {"bird", "nft"} | ({"vtysh"} if "frr" in (kind, beside) else set()):
        tool(name)
    lab = Lab(netns, "a")
    router: Router = Bird(lab.router, tmp_path / kind, snippet("BIRD 2")) if kind == "bird" else whole_frr(lab)
    hold_s = WITH_BFD_HOLD_S if beside else HOLD_S
    site = Controlled(lab, "a", tmp_path / "exabgp", session=SESSION, hold_s=hold_s)
    with ExitStack() as ends:
        ends.callback(router.stop)
        router.start()
        side = beside_exabgp(lab, tmp_path / "side", beside) if beside else None
        if side:
            ends.callback(side.stop)
            side.start()
        ends.callback(site.close)
        site.start()
        site.announce(**dict.fromkeys(VIPS.values(), "announced"))
        there(lab)
        if side:
            wait_until(lambda: both_up(side), "BFD is up", UP_S)
            there(lab)  # FRR ends a session that came before its BFD was up
        with RouteClock(lab.router) as clock:
            began = silence(lab)
            gone = [
                clock.wait(vip, there=False, within_s=hold_s + LATE_S, since=began) - began for vip in VIPS.values()
            ]
        if side is None:
            assert min(gone) > HOLD_S / 2, gone
            for version in VIPS:
                text = f"{lab.gateway('a', version)}'), up=False, reason='notification sent (4,0)'"
                site.wait("SessionSaid", text=text, since=began, within_s=hold_s + LATE_S)
        else:
            assert max(gone) < BFD_S, gone
        lab.sites["a"].run("nft", "delete", "table", "inet", "silence")
        there(lab)
        if side:
            without_it_sessions_come_back(lab, side, site)


def without_it_sessions_come_back(lab: Lab, side: Bird | Frr, site: Controlled) -> None:
    """The end of the daemon ends our sessions once, and they begin again without BFD."""
    wait_until(lambda: both_up(side), "BFD is up again", UP_S)
    began = now()
    if isinstance(side, Bird):
        side.stop()
    else:
        stop(side.processes["bfdd"])
    for version in VIPS:
        session = f"{lab.gateway('a', version)}'), up="
        ended = site.wait("SessionSaid", text=f"{session}False, reason='notification received (6,", since=began)
        site.wait("SessionSaid", text=f"{session}True", since=ended.at)
    there(lab)


def whole_frr(lab: Lab) -> Frr:
    """FRR with what the page says; the second site of the page is not there."""
    return Frr(lab, (), snippet("FRR"))


def beside_exabgp(lab: Lab, folder: Path, kind: str) -> Bird | Frr:
    """The page's side daemon, at the site."""
    host = lab.sites["a"]
    link = host.run("ip", "-o", "-4", "addr", "show", "to", lab.address("a")).split()[1]
    text = snippet("BFD", 0 if kind == "bird" else 1).replace("eth0", link).replace("100", SLOW_MS)
    return Bird(host, folder, text) if kind == "bird" else Frr(lab, (), text, host)


def both_up(side: Bird | Frr) -> bool:
    """Whether BFD is up for both families."""
    text = side.say("show bfd sessions") if isinstance(side, Bird) else side.say("show bfd peers brief")
    return text.lower().count(" up ") == len(VIPS)


def there(lab: Lab) -> None:
    """Wait until the router's kernel has both prefixes."""
    for vip in VIPS.values():
        wait_until(lambda vip=vip: lab.reached(vip) == {"a"}, f"{vip} is there", UP_S)  # type: ignore[misc]


def silence(lab: Lab) -> float:
    """From now on the site hears nothing and is not heard; links and sockets stay."""
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -300; policy drop; }}\n" for hook in ("input", "output")
    )
    lab.sites["a"].run("nft", f"table inet silence {{\n{chains}}}")
    return now()
