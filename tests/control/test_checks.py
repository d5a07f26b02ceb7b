from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from gslb.control.checks import MARK_BITS, MARKS, Checks, checks_of, probes_of
from gslb.model.deployment import (
    Answer,
    Backend,
    Balance,
    Deployment,
    Forward,
    Listen,
    LoadSource,
    Monitor,
    MonitorId,
    Pool,
    PoolId,
    Via,
    WithoutBalancer,
)
from gslb.model.framing import frame
from healthcheck.check import MARK, Check
from healthcheck.messages import Role, Work
from tests.control.make import DEPLOYMENT, FRA, IAD

WEB, DEEP = MonitorId("web"), MonitorId("deep")
MONITORS = {
    WEB: Monitor(WEB, "http", 5.0, 2.0, 3, 5, 0.5, 80, {"path": ("/healthz",), "expect": (200,)}),
    DEEP: Monitor(DEEP, "tcp", 10.0, 1.0, 2, 4, 0.5, 5432, {}),
}


def pool(name: str, *addresses: str, monitor: MonitorId | None = WEB, load: LoadSource | None = None) -> Pool:
    answers = tuple(Answer(ip_address(address)) for address in addresses)
    return Pool(PoolId(name), FRA, answers, monitor, load=load)


def deployed(*pools: Pool, reference: tuple[str, ...] = ()) -> Deployment:
    return replace(DEPLOYMENT, monitors=MONITORS, pools={one.name: one for one in pools}, reference=reference)


def asked(checks: Checks) -> dict[str, Check]:
    return {order.check.id: order.check for order in checks.orders}


def test_one_check_a_monitor_and_address_however_many_pools_use_it() -> None:
    checks = checks_of(
        deployed(
            pool("a", "192.0.2.1", "192.0.2.2"),
            pool("b", "192.0.2.1"),
            pool("c", "192.0.2.1", monitor=DEEP),
        ),
        FRA,
    )
    assert checks.owners == {
        "web/192.0.2.1": ((PoolId("a"), "192.0.2.1"), (PoolId("b"), "192.0.2.1")),
        "web/192.0.2.2": ((PoolId("a"), "192.0.2.2"),),
        "deep/192.0.2.1": ((PoolId("c"), "192.0.2.1"),),
    }
    assert len(checks.orders) == 3


def test_an_order_says_what_the_monitor_says() -> None:
    (order,) = checks_of(deployed(pool("a", "2001:db8::1")), FRA).orders
    assert order.check == Check("web/2001:db8::1", "http", "2001:db8::1", 80, 2.0, MONITORS[WEB].settings or {})
    assert (order.interval_s, order.fall, order.rise, order.role) == (5.0, 3, 5, Role.TARGET)
    assert order.known is None


def test_what_nothing_checks_is_not_checked() -> None:
    assert checks_of(deployed(pool("a", "192.0.2.1", monitor=None)), FRA).orders == ()
    assert checks_of(replace(deployed(pool("a", "192.0.2.1")), monitors=None), FRA).orders == ()


def test_answers_of_weight_0_are_checked() -> None:
    one = replace(pool("a"), answers=(Answer(IPv4Address("192.0.2.1"), weight=0),))
    assert list(checks_of(deployed(one), FRA).owners) == ["web/192.0.2.1"]


def test_backends_are_checked_at_their_own_site_and_answers_from_afar() -> None:
    backends = tuple(Backend(IPv4Address(address)) for address in ("10.1.0.11", "10.1.0.12"))
    balanced = replace(pool("a", "192.0.2.1"), balance=Balance((Listen("tcp", 80),), Forward.L2, backends))
    assert list(checks_of(deployed(balanced), FRA).owners) == ["web/10.1.0.11", "web/10.1.0.12"]
    assert list(checks_of(deployed(balanced), IAD).owners) == ["web/192.0.2.1"]


def balanced(name: str, answers: Sequence[str], backends: Sequence[str], forward: Forward = Forward.IPIP) -> Pool:
    spread = tuple(Backend(ip_address(address), forward=forward) for address in backends)
    return replace(pool(name, *answers, monitor=SEEN), balance=Balance((Listen("tcp", 80),), forward, spread))


SEEN = MonitorId("seen")
CLIENTS = {SEEN: replace(MONITORS[WEB], name=SEEN, via=Via.VIP)}


def test_backends_are_asked_as_clients_ask_by_a_mark_for_each() -> None:
    web = balanced("web", ["2001:db8::1", "192.0.2.1"], ["10.1.0.11", "10.1.0.12"])
    deployment = replace(deployed(web), monitors=CLIENTS)
    checks = checks_of(deployment, FRA)
    assert checks.owners == {
        "seen/web/10.1.0.11": ((PoolId("web"), "10.1.0.11"),),
        "seen/web/10.1.0.12": ((PoolId("web"), "10.1.0.12"),),
    }
    marks = {probe.backend: probe.mark for probe in probes_of(deployment, FRA)}
    assert len(set(marks.values())) == 2
    for probe in probes_of(deployment, FRA):
        check = asked(checks)[f"seen/web/{probe.backend}"]
        assert (check.address, check.port) == ("192.0.2.1", 80)
        assert check.settings == {"path": ("/healthz",), "expect": (200,), MARK: probe.mark}
        assert probe.pool == "web"
        assert MARKS <= probe.mark < MARKS + (1 << MARK_BITS)
    assert probes_of(deployment, IAD) == ()
    assert asked(checks_of(deployment, IAD)).keys() == {"seen/2001:db8::1", "seen/192.0.2.1"}


def test_where_a_pool_is_served_without_the_balancer_its_answers_are_asked() -> None:
    alone = balanced("alone", ["192.0.2.1"], ["10.1.0.11"])
    assert alone.balance is not None
    alone = replace(alone, balance=replace(alone.balance, without_balancer=WithoutBalancer.SERVE))
    deployment = replace(deployed(alone, balanced("down", ["192.0.2.2"], ["10.1.0.12"])), monitors=CLIENTS)
    checks = checks_of(deployment, FRA, (PoolId("alone"), PoolId("down")))
    assert list(checks.owners) == ["seen/192.0.2.1", "seen/down/10.1.0.12"]
    assert MARK not in asked(checks)["seen/192.0.2.1"].settings
    assert list(checks_of(deployment, FRA).owners) == ["seen/alone/10.1.0.11", "seen/down/10.1.0.12"]


def test_a_mark_stays_when_other_backends_come() -> None:
    some = replace(deployed(balanced("web", ["192.0.2.1"], ["10.1.0.11", "10.1.0.12"])), monitors=CLIENTS)
    more = [f"10.1.0.{number}" for number in range(1, 250)]
    grown = replace(deployed(balanced("web", ["192.0.2.1"], more)), monitors=CLIENTS)
    assert set(probes_of(some, FRA)) <= set(probes_of(grown, FRA))
    assert [hex(probe.mark) for probe in probes_of(some, FRA)] == [
        "0x67b725f5",
        "0x678f5b28",
    ]  # changing these moves probes


@pytest.mark.parametrize(
    ("forward", "backend", "asked_at"),
    [
        (Forward.L2, "10.1.0.11", "192.0.2.1"),
        (Forward.L2, "2001:db8::11", "2001:db8::1"),
        (Forward.GUE, "2001:db8::11", "192.0.2.1"),
    ],
)
def test_the_answer_that_is_asked_is_of_a_family_that_reaches_the_backend(
    forward: Forward, backend: str, asked_at: str
) -> None:
    web = balanced("web", ["2001:db8::1", "192.0.2.1"], [backend], forward)
    checks = checks_of(replace(deployed(web), monitors=CLIENTS), FRA)
    assert [check.address for check in asked(checks).values()] == [asked_at]


def test_pools_of_at_least_four_are_compared() -> None:
    four = [f"192.0.2.{number}" for number in range(1, 5)]
    checks = checks_of(deployed(pool("a", *four), pool("b", *four[:3])), FRA)
    assert checks.groups == ("a",)
    assert checks.peers == (tuple(f"web/{address}" for address in four),)


def test_pages_of_load_are_asked_every_five_seconds() -> None:
    checks = checks_of(
        deployed(
            pool("a", "192.0.2.1", monitor=None, load=LoadSource("url", "https://a.example:8443/load", json="$.rps")),
            pool("b", "192.0.2.1", monitor=None, load=LoadSource("url", "http://192.0.2.1/metrics", metric="rps")),
            pool("c", "192.0.2.1", monitor=None, load=LoadSource("push")),
        ),
        FRA,
    )
    assert checks.loads == {"load a": "a", "load b": "b"}
    assert [(order.role, order.interval_s) for order in checks.orders] == [(Role.LOAD, 5.0)] * 2
    found = asked(checks)
    assert found["load a"].settings == {"url": "https://a.example:8443/load", "json": "$.rps"}
    assert found["load b"].settings == {"url": "http://192.0.2.1/metrics", "metric": "rps"}
    assert {check.kind for check in found.values()} == {"load"}


@pytest.mark.parametrize(
    ("text", "kind", "address", "port"),
    [
        ("10.0.1.1", "icmp", "10.0.1.1", None),
        ("2001:db8::1", "icmp", "2001:db8::1", None),
        ("router.example:179", "tcp", "router.example", 179),
        ("[2001:db8::1]:179", "tcp", "2001:db8::1", 179),
        ("https://status.example.net/", "https", "status.example.net", None),
        ("http://192.0.2.1:8080/up?deep=1", "http", "192.0.2.1", 8080),
    ],
)
def test_references(text: str, kind: str, address: str, port: int | None) -> None:
    checks = checks_of(deployed(pool("a", "192.0.2.1"), reference=(text,)), FRA)
    (name,) = checks.references
    assert checks.references[name] == text
    check = asked(checks)[name]
    assert (check.kind, check.address, check.port) == (kind, address, port)
    assert [order.role for order in checks.orders if order.check.id == name] == [Role.REFERENCE]


def test_a_reference_is_reached_by_any_answer_below_500() -> None:
    checks = checks_of(deployed(reference=("https://status.example.net/a?b",)), FRA)
    settings = next(iter(asked(checks).values())).settings
    expected = settings["expect"]
    assert isinstance(expected, tuple)
    assert 200 in expected
    assert 404 in expected
    assert 500 not in expected
    assert settings["path"] == ("/a?b",)
    assert settings["host"] == "status.example.net"
    assert settings["verify"] is False


def test_the_orders_of_the_largest_deployments_fit_into_a_message() -> None:
    addresses = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(20_000)]
    checks = checks_of(deployed(pool("a", *addresses)), FRA)
    assert frame(Work(1, checks.orders, checks.peers))
