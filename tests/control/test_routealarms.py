"""What is wrong with routes, as lines for people."""

from __future__ import annotations

from typing import Any

import pytest

from gslb.control.routealarms import LEASE_S, SESSION_S, TOLD_S, alarms, reason_text
from tests.control.routed import FEW_SITES, NO_LEASE, NOW, OTHER, PREFIX, ROUTER, look, neighbor, prefix, state

SINCE = "1970-01-12 13:46:30 UTC"  # ten seconds before NOW


def down(reason: str, for_s: float = 10.0) -> dict[str, Any]:
    """A state with a session that is gone."""
    return state(neighbors=(neighbor(), neighbor(OTHER, up=False, since=NOW - for_s, reason=reason)))


def test_all_is_well() -> None:
    assert alarms(None, NOW) == ()
    assert alarms(state(), NOW) == ()


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (
            "peer reset, message [notification received (2,2)] error[OPEN message error / Bad Peer AS]",
            "OPEN refused by the router: bad peer AS; compare `as` and `local_as` here with the router's",
        ),
        (
            "notification sent (2,2)",
            "OPEN refused by us: bad peer AS; compare `as` and `local_as` here with the router's",
        ),
        (
            "notification received (6,1)",
            "ended by the router: maximum number of prefixes reached; raise the router's limit of prefixes, or announce fewer",
        ),
        (
            "notification received (6,4)",
            "ended by the router: administrative reset; if it does not come back, look at its address, the port, the password "
            "and the route to it",
        ),
        (
            "notification received (6,10)",
            "ended by the router: BFD down; look at the link, and at the BFD daemon of this machine",
        ),
        ("notification received (3,9)", "UPDATE refused by the router; look at the router's log"),
        (
            "notification sent (4,0)",
            "nothing was heard of the router for the hold time; look at the router's log and at the path to it",
        ),
        (
            "connection to 10.0.0.2:179 failed",
            "connection to 10.0.0.2:179 failed; look at its address, the port, the password and the route to it",
        ),
        ("", "no answer; look at its address, the port, the password and the route to it"),
    ],
)
def test_a_session_that_is_gone_is_told_with_what_to_look_at(reason: str, told: str) -> None:
    assert alarms(down(reason), NOW) == (f"no session with router {OTHER} (AS 64513) since {SINCE}: {told}",)


def test_a_session_is_told_of_after_a_while_and_its_line_stays_the_same() -> None:
    assert alarms(down("", SESSION_S - 0.1), NOW) == ()
    assert alarms(down("", SESSION_S), NOW) != ()
    assert alarms(down(""), NOW) == alarms(down(""), NOW + 3_600)
    unknown = state(neighbors=(neighbor(up=False, since=None),))
    assert alarms(unknown, NOW) == ()


def test_sessions_of_an_exabgp_that_cannot_be_asked() -> None:
    silent = state(neighbors=(neighbor(up=False),), ready=False, problem="it cannot be asked")
    assert alarms(silent, NOW) == ("it cannot be asked",)
    unset = state(neighbors=(neighbor(up=False, reason="no route to 10.0.0.1"),), ready=False, pid=None)
    (line,) = alarms(unset, NOW)
    assert "no route to 10.0.0.1" in line


def test_an_exabgp_that_does_not_serve() -> None:
    (line,) = alarms(state(problem="ExaBGP ended: bind: Address in use", pid=None), NOW)
    assert line == "ExaBGP ended: bind: Address in use"
    (line,) = alarms(state(problem="ExaBGP ended", restarts=7), NOW)
    assert line == "ExaBGP ended; started again 7 times since the controller's start"


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (
            prefix(state="drain", why="no executor of DNS answers", veto=FEW_SITES, sites=[]),
            f"{PREFIX} is kept (drain) although no executor of DNS answers: {FEW_SITES}",
        ),
        (
            prefix(state="drain", why="no executor of DNS answers", veto=FEW_SITES),
            f"{PREFIX} is kept (drain) although no executor of DNS answers: {FEW_SITES} (iad)",
        ),
        (
            prefix(
                state="drain",
                why="w",
                veto=NO_LEASE,
                sites=[],
                since=NOW - LEASE_S,
                lease={"wanted": True, "held": False, "holder": "iad1"},
            ),
            f"{PREFIX} is kept (drain) although w: {NO_LEASE} (iad1 has it)",
        ),
        (prefix(state="drain", veto=NO_LEASE, since=NOW - 1), ""),
        (prefix(state="drain", veto="drain first"), ""),
        (
            prefix(in_router=[look(standing="missing")]),
            f"{PREFIX} is announced (announced) but not in router {ROUTER}: its import filter or its limit of prefixes may refuse it",
        ),
        (prefix(in_router=[look(standing="missing")], since=NOW - 1), ""),
        (prefix(in_router=[look(standing="missing")], acked=False), ""),
        (prefix(in_router=[look(standing="missing", at=NOW - 299)]), ""),
        (prefix(in_router=[look(OTHER, "missing")]), ""),
        (
            prefix(state="drain", in_router=[look(standing="otherwise")]),
            f"{PREFIX} is in router {ROUTER} with other attributes than this node says (drain): its import filter may change them",
        ),
        (prefix(state="off", in_router=[look()]), f"{PREFIX} is withdrawn but still in router {ROUTER}"),
        (prefix(state="off", in_router=[look(standing="missing")], on_lo=False), ""),
        (
            prefix(on_lo=False),
            f"announced, but the address is not on lo: {PREFIX}; what comes for it is not answered",
        ),
        (prefix(on_lo=False, since=NOW - 1), ""),
        (prefix(on_lo=None), ""),
    ],
)
def test_a_prefix(one: dict[str, Any], told: str) -> None:
    assert alarms(state(one), NOW) == ((told,) if told else ())


def test_what_is_said_of_addresses_replaces_the_guess() -> None:
    assert alarms(state(prefix(on_lo=False)), NOW, addresses="no CAP_NET_ADMIN") == ("no CAP_NET_ADMIN",)


def test_a_bridge_that_acted_alone_is_told_for_a_while() -> None:
    (line,) = alarms(state(), NOW, tripped_at=NOW - 10)
    assert line.startswith(f"at {SINCE} it was heard that ExaBGP's bridge had acted alone")
    assert alarms(state(), NOW, tripped_at=NOW - TOLD_S) == ()


def test_lines_that_exabgp_refused_are_told_once_each() -> None:
    refused = alarms(state(), NOW, rejected=["announce x", "announce y", "announce x"])
    assert [line.split(":")[0] for line in refused] == ["ExaBGP refused 'announce x'", "ExaBGP refused 'announce y'"]


def test_a_reason_without_numbers_stays_as_it_is() -> None:
    assert reason_text("closing connection") == "closing connection"
