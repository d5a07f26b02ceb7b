"""What the balancer is to do, and what its state means for pools."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from gslb.control.forwarding import NO_INTERFACE, Orders, flow_key, orders_of, problems, tables_of, unbalanced, want_of
from gslb.model.deployment import (
    Answer,
    Attach,
    Backend,
    Balance,
    Balancer,
    Deployment,
    Forward,
    Listen,
    Pool,
    PoolId,
    SiteId,
)
from gslb.model.plan import BackendPlan, BalancerTable, Plan, Vip
from tests.control.make import DEPLOYMENT, FRA, IAD, NODE
from xdp.messages import Attached, Interface, State, TableState, Want

WEB, FAR = PoolId("web-fra"), PoolId("web-iad")
TABLE = BalancerTable(FRA, (Vip("192.0.2.10/32", 6, 80),), (BackendPlan("10.1.0.11", 1, Forward.L2),))


def balanced(name: PoolId, site: SiteId, address: str) -> Pool:
    backends = (Backend(ip_address("10.1.0.11")),)
    return Pool(
        name, site, (Answer(IPv4Address(address)),), balance=Balance((Listen("tcp", 80),), Forward.L2, backends)
    )


BALANCED: Deployment = replace(
    DEPLOYMENT, pools={WEB: balanced(WEB, FRA, "192.0.2.10"), FAR: balanced(FAR, IAD, "198.51.100.10")}
)
ORDERS = orders_of(BALANCED, replace(NODE, interfaces=("eth0",)), b"secret")
WANT = want_of(ORDERS, ("eth0",), {WEB: TABLE}, 7, 3)
FINE = State(3, 7, "", (Interface("eth0", Attached.NATIVE),), {WEB: TableState("digest", {"10.1.0.11": 65537})})


def test_orders_are_of_this_site_and_of_what_is_written() -> None:
    assert ORDERS.pools == (WEB,)
    assert ORDERS.named == ("eth0",)
    assert (ORDERS.source4, ORDERS.source6) == ("198.18.0.0/15", "100::/64")
    assert (
        Want(3, "example", 7, ("eth0",), Attach.AUTO, ORDERS.key, "198.18.0.0/15", "100::/64", 300.0, {WEB: TABLE})
        == WANT
    )


def test_every_node_hashes_flows_alike() -> None:
    assert flow_key(b"secret") == "324a4fea4f181952c7c50b7820264c3a", (
        "changing this number moves connections while balancers are upgraded"
    )
    assert flow_key(b"another") != flow_key(b"secret")


def test_tables_of_other_sites_are_not_for_this_balancer() -> None:
    plan = Plan("example", 1, "", {}, (), balancers={WEB: TABLE, FAR: replace(TABLE, site=IAD)})
    assert tables_of(ORDERS, plan) == {WEB: TABLE}


def test_all_is_well() -> None:
    assert unbalanced(ORDERS, WANT, FINE) == {}
    assert problems(ORDERS, WANT, FINE) == ()


CASES: dict[str, tuple[Orders, Want, State, str]] = {
    "refused": (ORDERS, WANT, State(3, 0, "no libbpf; apt-get install libbpf1"), "no libbpf; apt-get install libbpf1"),
    "off": (replace(ORDERS, attach=Attach.OFF), WANT, State(0, 0, ""), "balancer.attach is off"),
    "no default route": (ORDERS, replace(WANT, interfaces=()), FINE, NO_INTERFACE),
    "an interface that cannot be attached": (
        ORDERS,
        WANT,
        replace(FINE, interfaces=(Interface("eth0", Attached.NOT, "too many queues", "ethtool -L eth0 combined 2"),)),
        "eth0 is not attached: too many queues; to mend it: ethtool -L eth0 combined 2",
    ),
    "a table that is not in force": (
        ORDERS,
        WANT,
        replace(FINE, tables={}, problems=("no room",)),
        "it has no table in the balancer: no room",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_balanced_has_a_reason(case: str) -> None:
    orders, want, state, why = CASES[case]
    assert unbalanced(orders, want, state) == {WEB: why}


def test_what_was_not_answered_yet_is_no_fault() -> None:
    later = replace(WANT, serial=4, tables={WEB: TABLE, PoolId("new"): TABLE})
    assert unbalanced(ORDERS, later, replace(FINE, tables={})) == {}


def test_generic_mode_is_a_problem_unless_it_was_asked_for() -> None:
    generic = replace(FINE, interfaces=(Interface("eth0", Attached.GENERIC, "MTU 9000", "ip link set eth0 mtu 3498"),))
    line = "eth0 runs in generic mode, which is slower: MTU 9000; to mend it: ip link set eth0 mtu 3498"
    assert problems(ORDERS, WANT, generic) == (line,)
    assert unbalanced(ORDERS, WANT, generic) == {}
    asked = replace(ORDERS, attach=Attach.GENERIC)
    joins = Interface("eth0", Attached.GENERIC, "GRO joins packets", "ethtool -K eth0 gro off")
    assert problems(asked, WANT, replace(FINE, interfaces=(replace(joins, mend=""),))) == ()
    assert problems(asked, WANT, replace(FINE, interfaces=(joins,))) == (
        "eth0 runs in generic mode, which is slower: GRO joins packets; to mend it: ethtool -K eth0 gro off",
    )


def test_a_way_that_takes_too_little_is_a_problem() -> None:
    state = replace(FINE, tables={WEB: TableState("digest", {}, narrow={"10.1.0.11": "the way takes 1300 octets"})})
    assert problems(ORDERS, WANT, state) == ("web-fra 10.1.0.11: the way takes 1300 octets",)


def test_unreachable_backends_are_named_and_many_are_folded() -> None:
    lost = {f"10.1.0.{number}": "no neighbour" for number in range(25)}
    state = replace(FINE, tables={WEB: TableState("digest", {}, unreachable=lost)})
    lines = problems(ORDERS, WANT, state)
    assert lines[0] == "web-fra 10.1.0.0: no neighbour"
    assert lines[-1] == "... and 5 more"
    assert len(lines) == 21


def test_off_is_what_the_operator_wrote() -> None:
    off = replace(BALANCED, balancer=Balancer(attach=Attach.OFF))
    assert orders_of(off, NODE, b"").attach is Attach.OFF
