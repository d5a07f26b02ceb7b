"""A changed configuration of BGP while the node announces: what did not change stays, what was wrong comes, what is gone leaves in order."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.bgp.lab import RouteClock
from tests.e2e.test_anycast_node import FOUR, SECOND, SIX, WELL_S, Announcer, config
from tests.namespaces import World

pytestmark = [pytest.mark.root, pytest.mark.slow]

TRIED_S = 60.0  # ExaBGP tries a router again later each time


def established(node: Announcer) -> float:
    """Since when the session of IPv4 is up, in seconds of the day, as BIRD says it: with an error of a millisecond."""
    found = re.search(r"(\d+):(\d+):(\S+)\s+Established", node.router.say("show protocols s_10_99_1_2"))
    assert found is not None
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])


@pytest.mark.timeout(150)
def test_a_session_that_was_wrong_is_mended_and_others_stay(netns: World, tmp_path: Path) -> None:
    node = Announcer(netns, tmp_path)
    text = config(FOUR, SIX)
    six = 'address: "fd99:1::1", as: '
    node.configure(text.replace(f"{six}65001", f"{six}65002"))
    try:
        node.router.start()
        with RouteClock(node.lab.router) as routes:
            node.start(ready=False)
            node.announces(FOUR)
            node.until(lambda: node.is_at(SIX, "announced"), "its route waits for the session")
            exabgp, since = node.exabgp(), established(node)
            before = len(routes.events())

            node.configure(config(FOUR, SIX, SECOND))  # and a new prefix with it
            routes.wait(SIX, there=True, within_s=TRIED_S)
            node.announces(FOUR, SECOND, SIX)
            assert [one for one in routes.events()[before:] if one.prefix == FOUR] == [], "its session did not change"
            assert node.exabgp() == exabgp
            assert established(node) == pytest.approx(since, abs=0.1)
            node.configure(text)
            node.withdrawn(SECOND)
            node.until(lambda: node.lent() == {"192.0.2.53", "2001:db8::53"}, "its address goes")
            assert established(node) == pytest.approx(since, abs=0.1)

            began = time.monotonic()
            node.configure(re.sub(r"(?m)^(anycast|bgp):\n(  .*\n)+", "", text))
            node.until(lambda: node.is_drained(FOUR), "it is drained first")
            gone = routes.wait(FOUR, there=False, within_s=WELL_S, since=began)
            assert gone - began > 0.4
            node.until(lambda: node.exabgp() is None and node.lent() == set(), "ExaBGP and the addresses go")
    finally:
        node.clear()
        node.router.stop()
