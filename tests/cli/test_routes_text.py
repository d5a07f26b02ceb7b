"""What `gslb status` says of routes, sessions, and of a site that drains."""

from __future__ import annotations

from typing import Any

import pytest

from gslb.cli.routes_text import announcing_lines, draining_lines
from tests.control.routed import FEW_SITES, NO_LEASE, NOW, OTHER, look, neighbor, prefix, state

WIDE = 100


def found(announcing: dict[str, Any] | None, **more: object) -> dict[str, Any]:
    """A report with it."""
    return {
        "now": NOW,
        "supervisor": {"pid": 6},
        "controller": {"pid": 7, "silent_s": None},
        "announcing": announcing,
        **more,
    }


def test_a_node_that_announces_nothing_says_nothing() -> None:
    assert not [*announcing_lines(found(None)), *announcing_lines({}), *draining_lines({"draining": None})]


def test_all_is_well() -> None:
    assert list(announcing_lines(found(state()))) == [
        "bgp         fra: AS 64512, router id 192.0.2.1; ExaBGP 5.0.15, pid 4711",
        "neighbor    10.0.0.1 (AS 64513): up for 5 min; 1 route",
        "route       192.0.2.0/24 (dns): announced for 5 min: healthy; also announced by iad;",
        "            in router 10.0.0.1: used; on lo",
    ]


def test_what_the_controller_could_not_write_is_told_with_its_age() -> None:
    old = list(announcing_lines(found(state() | {"at": NOW - 40.0})))
    assert old[1] == "bgp         as it was 40 s ago: the controller has written nothing since; is the disk full?"
    assert list(announcing_lines(found(state() | {"at": NOW - 2.0}))) == list(announcing_lines(found(state())))


def test_not_all_is_well() -> None:
    kept = prefix(
        state="drain",
        acked=False,
        since=NOW - 12,
        why="no executor of DNS answers",
        veto=NO_LEASE,
        operator="drain",
        local={"dns": False, "pools": None},
        lease={"wanted": True, "held": False, "holder": "iad1"},
        sites=["iad", "sin"],
        on_lo=False,
        in_router=[look(standing="missing", at=NOW - 70), look(OTHER, "unused")],
        failures=2,
        wake_s=7.0,
    )
    down = neighbor(OTHER, up=False, since=NOW - 12, reason="notification received (2,2)")
    told = list(announcing_lines(found(state(kept, neighbors=(neighbor(), down), adopted=True, restarts=3))))
    assert told == [
        "bgp         fra: AS 64512, router id 192.0.2.1; ExaBGP 5.0.15, pid 4711;",
        "            adopted from an earlier run; started again 3 times",
        "neighbor    10.0.0.1 (AS 64513): up for 5 min; 1 route",
        "neighbor    10.0.0.2 (AS 64513): down for 12 s; OPEN refused by the router: bad peer AS",
        "route       192.0.2.0/24 (dns): drain for 12 s: no executor of DNS answers;",
        "            kept: the lease to withdraw is not held; operator: drain;",
        "            not acknowledged by ExaBGP yet; also announced by iad, sin;",
        "            waits for the lease to withdraw, iad1 has it; in router 10.0.0.1: missing (70 s ago);",
        "            in router 10.0.0.2: there, but it prefers another route; not on lo; dns fails;",
        "            2 failures; next look in 7 s",
    ]
    assert max(map(len, told)) <= WIDE


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (prefix(lease={"wanted": True, "held": True, "holder": "fra1"}), "has the lease to withdraw"),
        (prefix(sites=[]), "no other site is known to announce it"),
        (prefix(failures=1), "1 failure"),
        (prefix(on_lo=None), "used"),
        (prefix(veto=FEW_SITES), f"kept: {FEW_SITES}"),
        (prefix(in_router=[look(standing="otherwise")]), "in router 10.0.0.1: there with other attributes"),
    ],
)
def test_a_prefix(one: dict[str, Any], said: str) -> None:
    assert said in "\n".join(announcing_lines(found(state(one))))


def test_what_is_not_there() -> None:
    lines = list(
        announcing_lines(
            found(
                state(neighbors=(neighbor(up=False, since=None),), pid=None, version="", ready=False),
                controller={"pid": None, "silent_s": None},
            )
        )
    )
    assert lines[:3] == [
        "bgp         fra: AS 64512, router id 192.0.2.1; ExaBGP, not running",
        "bgp         as it was when the controller was last there: it does not run",
        "neighbor    10.0.0.1 (AS 64513): down; no answer",
    ]
    hung = list(announcing_lines(found(state(restarts=1), controller={"pid": 7, "silent_s": 40.0})))
    assert hung[0].endswith("; started again once")
    assert hung[1] == "bgp         as it was 40 s ago: the controller does not answer"
    waiting = list(announcing_lines(found(state(ready=False))))
    assert waiting[0].endswith("pid 4711; does not answer yet")


def arrival(**new: object) -> dict[str, Any]:
    return {
        "what": "pool",
        "name": "web-fra",
        "source": "balancer",
        "per_s": 0.0,
        "checks_per_s": 0.0,
        "quiet_s": 75.0,
        "age_s": 0.4,
        "active": 12,
        "unknown": "",
    } | new


def draining(*arrivals: dict[str, Any], obstacles: tuple[str, ...] = (), at: float = NOW - 1) -> dict[str, Any]:
    return found(
        None,
        draining={
            "site": "fra",
            "state": "drain",
            "who": "alice",
            "why": "CHG-7",
            "since": NOW - 180,
            "at": at,
            "arrivals": list(arrivals),
            "obstacles": list(obstacles),
            "safe": not obstacles,
        },
    )


HEAD = "draining    site fra for 3 min: drain by alice: CHG-7"


def test_a_site_that_is_quiet() -> None:
    quiet = arrival(what="prefix", name="192.0.2.0/24", source="dns", active=None, quiet_s=130.0)
    assert list(draining_lines(draining(arrival(), quiet))) == [
        HEAD,
        "arrivals    pool web-fra: 0 new connections/s, none for 75 s; 12 open;",
        "            counted by the balancer 1 s ago",
        "arrivals    prefix 192.0.2.0/24: 0 answers/s, none for 2 min; counted by DNS of this node 1 s ago",
        "draining    no new connections for 60 s: safe to stop gslb here; 12 that are open would end",
    ]


def test_checks_of_other_sites_are_no_clients() -> None:
    checked = list(draining_lines(draining(arrival(per_s=3.3, checks_per_s=3.33))))
    assert checked[1:3] == [
        "arrivals    pool web-fra: 3.3 new connections/s (3.3 are checks of other sites), no others for 75 s;",
        "            12 open; counted by the balancer 1 s ago",
    ]
    busy = list(draining_lines(draining(arrival(per_s=30.0, checks_per_s=3.33, quiet_s=0.0))))
    assert busy[1].startswith("arrivals    pool web-fra: 30 new connections/s (3.3 are checks of other sites); 12 open")


def test_a_site_to_which_somebody_still_comes() -> None:
    busy = arrival(per_s=3.25, quiet_s=0.0)
    unknown = arrival(
        what="prefix", name="203.0.113.0/24", source="", unknown="nothing here counts what comes to it", active=None
    )
    told = list(draining_lines(draining(busy, unknown, obstacles=("pool web-fra: new connections",))))
    assert told == [
        HEAD,
        "arrivals    pool web-fra: 3.2 new connections/s; 12 open; counted by the balancer 1 s ago",
        "arrivals    prefix 203.0.113.0/24: not known: nothing here counts what comes to it",
        "draining    not safe to stop yet: pool web-fra: new connections",
    ]


def test_what_is_old_is_never_safe() -> None:
    told = list(draining_lines(draining(arrival(), at=NOW - 30)))
    assert told == [
        HEAD,
        "draining    what comes is not known: the controller last told of it 30 s ago; do not stop yet",
    ]
    assert not [*draining_lines({**draining(arrival()), "supervisor": {"pid": None}})]
