"""What the maps are to hold: ids that stay, rings that are shared, VIPs by their keys."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb import layout
from gslb.model.deployment import Forward, SiteId
from gslb.model.plan import BackendPlan, BalancerTable, Serving, Vip
from xdp.entries import (
    Content,
    Entry,
    Full,
    Held,
    Ids,
    Numbers,
    Target,
    Wanted,
    address_octets,
    address_text,
    keeping,
    members,
    vip_key,
    vip_name,
    wanted,
)

UP, DRAIN, DOWN = Serving.UP, Serving.DRAIN, Serving.DOWN


def backend(number: int, serving: Serving = UP, **others: object) -> BackendPlan:
    return dataclasses.replace(BackendPlan(f"10.0.0.{number}", 1, Forward.IPIP, serving), **others)  # type: ignore[arg-type]


def table(number: int, *backends: BackendPlan, protocol: int = 6) -> BalancerTable:
    return BalancerTable(SiteId("fra"), (Vip(f"192.0.2.{number}/32", protocol, 80),), backends)


def held_after(plan: Wanted, settled: bool = False) -> Held:  # noqa: FBT001, FBT002
    """What is in force once all of a plan is."""
    return Held(plan.backends, plan.vips, plan.rings, frozenset(plan.rings) if settled else frozenset(), plan.pools)


def key(vip: str, protocol: int = 6, port: int = 80) -> bytes:
    return vip_key(ip_network(vip), protocol, port)


def test_pools_with_the_same_backends_share_a_ring() -> None:
    plan = wanted({"a": table(1, backend(1), backend(2)), "b": table(2, backend(2), backend(1))}, Held(), Numbers())
    assert plan.pools == {"a": 1, "b": 1}
    assert plan.vips[key("192.0.2.1")].ring == plan.vips[key("192.0.2.2")].ring == 1
    assert plan.backend_names[1] == (("a", "10.0.0.1"), ("b", "10.0.0.1"))
    assert plan.vip_names == {1: ("a", "192.0.2.1 tcp/80"), 2: ("b", "192.0.2.2 tcp/80")}


@pytest.mark.parametrize("other", [{"weight": 2}, {"serving": DOWN}, {"forward": Forward.L2}, {"server": 7}], ids=str)
def test_pools_whose_backends_differ_share_none(other: dict[str, object]) -> None:
    plan = wanted({"a": table(1, backend(1)), "b": table(2, backend(1, **other))}, Held(), Numbers())  # type: ignore[arg-type]
    assert plan.pools["a"] != plan.pools["b"]


def test_ids_stay_while_what_they_stand_for_stays() -> None:
    numbers = Numbers()
    first = wanted({"a": table(1, backend(1), backend(2))}, Held(), numbers)
    second = wanted({"z": table(1, backend(2), backend(3))}, held_after(first), numbers)
    assert second.backends[Target("10.0.0.2", Forward.IPIP)] == first.backends[Target("10.0.0.2", Forward.IPIP)]
    assert second.backends[Target("10.0.0.3", Forward.IPIP)] not in first.backends.values()
    assert second.vips == first.vips
    assert second.pools == {"z": first.pools["a"]}, "the pool has another name, and its flows are where they were"


def test_a_free_id_is_used_again_as_late_as_can_be() -> None:
    ids = Ids(5, "things")
    assert [ids.take(()) for _ in range(6)] == [1, 2, 3, 4, 1, 2]
    assert ids.take({3, 4}) == 1
    ids.skip({3})
    assert ids.take(()) == 4
    with pytest.raises(Full, match="more things than 4"):
        ids.take({1, 2, 3, 4})


def test_a_pool_that_differs_from_now_on_takes_its_slots_along() -> None:
    numbers = Numbers()
    first = wanted({"a": table(1, backend(1)), "b": table(2, backend(1))}, Held(), numbers)
    second = wanted(
        {"a": table(1, backend(1)), "b": table(2, backend(1, DRAIN), backend(2))}, held_after(first), numbers
    )
    assert second.pools["a"] == 1
    assert second.before == {second.pools["b"]: 1}
    assert second.backends[Target("10.0.0.1", Forward.IPIP)] == 1


@pytest.mark.parametrize("settled", [False, True])
def test_rings_that_are_alike_again_become_one_when_no_flow_can_tell(settled: bool) -> None:  # noqa: FBT001
    numbers = Numbers()
    apart = wanted({"a": table(1, backend(1)), "b": table(2, backend(1), backend(2))}, Held(), numbers)
    alike = {"a": table(1, backend(1)), "b": table(2, backend(1))}
    again = wanted(alike, held_after(apart), numbers)
    assert len(set(again.pools.values())) == 2
    last = wanted(alike, held_after(again, settled=settled), numbers)
    assert len(set(last.pools.values())) == (1 if settled else 2)


def test_a_pool_that_is_new_joins_a_ring_that_is_there() -> None:
    numbers = Numbers()
    first = wanted({"a": table(1, backend(1))}, Held(), numbers)
    second = wanted({"a": table(1, backend(1)), "b": table(2, backend(1))}, held_after(first), numbers)
    assert (second.pools, second.before) == ({"a": 1, "b": 1}, {})


def test_a_backend_is_down_where_all_pools_say_so() -> None:
    one = wanted({"a": table(1, backend(1, DOWN)), "b": table(2, backend(1))}, Held(), Numbers())
    both = wanted({"a": table(1, backend(1, DOWN)), "b": table(2, backend(1, DOWN))}, Held(), Numbers())
    assert (set(one.down), set(both.down)) == (set(), {1})
    assert keeping(one.rings[one.pools["a"]], one.backends) == set()
    assert keeping(one.rings[one.pools["b"]], one.backends) == {1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ((backend(1), backend(2, weight=3)), [("10.0.0.1", 1), ("10.0.0.2", 3)]),
        ((backend(1), backend(2, DRAIN), backend(3, DOWN), backend(4, weight=0)), [("10.0.0.1", 1)]),
        ((backend(1, DRAIN), backend(2, DOWN)), [("10.0.0.1", 1)]),
        ((backend(1, weight=0), backend(2, weight=0)), [("10.0.0.1", 1), ("10.0.0.2", 1)]),
        ((backend(1, DOWN),), []),
        ((), []),
    ],
    ids=["weights", "who takes no new flows", "drain only", "no weight", "all down", "none"],
)
def test_who_takes_new_flows(content: Content, expected: list[tuple[str, int]]) -> None:
    assert members(content) == expected


def test_connection_ids_name_backends_that_may_have_flows() -> None:
    content = (backend(1, server=11), backend(2, DRAIN, server=12), backend(3, DOWN, server=13), backend(4))
    plan = wanted({"a": table(1, *content, protocol=17), "b": table(2, *content)}, Held(), Numbers())
    ring = plan.pools["a"]
    assert plan.quic == {(ring, 11): 1, (ring, 12): 2}
    assert plan.vips[key("192.0.2.1", 17)].quic
    assert not plan.vips[key("192.0.2.2")].quic


def test_every_address_of_a_vip_is_known_whatever_the_port() -> None:
    vips = (
        Vip("192.0.2.1/32", 6, 443),
        Vip("192.0.2.1/32", 6, 80),
        Vip("2001:db8::1/128", 17, 0),
        Vip("198.51.100.0/24", 6, 80),
    )
    plan = wanted({"a": BalancerTable(SiteId("fra"), vips, (backend(1),))}, Held(), Numbers())
    assert plan.vips[key("192.0.2.1", 1, 0)] == Entry(1, 0)
    assert plan.vips[key("2001:db8::1", 58, 0)] == Entry(3, 0)
    assert plan.vips[key("198.51.100.0/24", 1, 0)] == Entry(4, 0)
    assert len(plan.vips) == 7


def test_keys_are_those_of_the_programs() -> None:
    exact = layout.VipKey.from_buffer_copy(key("192.0.2.1", 17, 443))
    assert (bytes(exact.address), exact.port, exact.protocol) == (address_octets("192.0.2.1"), 443, 17)
    prefix = layout.VipPrefix.from_buffer_copy(key("198.51.100.0/24"))
    assert (prefix.length, prefix.port, bytes(prefix.address)) == (32 + 96 + 24, 80, address_octets("198.51.100.0"))
    assert layout.VipPrefix.from_buffer_copy(key("2001:db8::/32")).length == 32 + 32
    assert address_octets("192.0.2.1") == bytes(10) + b"\xff\xff\xc0\0\2\1"
    for address in ("192.0.2.1", "2001:db8::1"):
        assert address_text(address_octets(address)) == address
    assert Entry.from_bytes(Entry(7, 3, quic=True).to_bytes()) == Entry(7, 3, quic=True)


@pytest.mark.parametrize(
    ("vip", "name"),
    [
        (Vip("192.0.2.1/32", 6, 80), "192.0.2.1 tcp/80"),
        (Vip("192.0.2.1", 17, 0), "192.0.2.1 udp/any"),
        (Vip("2001:db8::/64", 132, 9), "2001:db8::/64 132/9"),
    ],
)
def test_a_vip_is_written_as_people_do(vip: Vip, name: str) -> None:
    assert vip_name(vip) == name


def test_more_than_fits_is_refused() -> None:
    tables = {f"p{n}": BalancerTable(SiteId("fra"), (), (backend(1, weight=n + 1),)) for n in range(layout.MOST_RINGS)}
    with pytest.raises(Full, match="more different sets of backends than 1023"):
        wanted(tables, Held(), Numbers())


contents = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(Serving)), max_size=3, unique_by=lambda each: each[0])
courses = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abcd"), contents, max_size=4), st.booleans()), min_size=1, max_size=8
)


@given(courses)
def test_whatever_changes_each_pool_goes_on_from_its_own_slots(
    course: list[tuple[dict[str, list[tuple[int, Serving]]], bool]],
) -> None:
    numbers, held = Numbers(), Held()
    for pools, settled in course:
        tables = {pool: table(ord(pool), *(backend(*each) for each in content)) for pool, content in pools.items()}
        plan = wanted(tables, held, numbers)
        assert plan.rings.keys() == set(plan.pools.values())
        twins = held.twins
        for pool, ring in plan.pools.items():
            assert plan.rings[ring] == tuple(sorted(tables[pool].backends, key=lambda one: one.address))
            vip = held.vips.get(key(f"192.0.2.{ord(pool)}"))
            if vip is not None:
                assert plan.before.get(ring, ring) in (vip.ring, twins.get(vip.ring))
        used = list(plan.backends.values())
        assert len(used) == len(set(used))
        assert all(
            plan.backends[target] == number for target, number in held.backends.items() if target in plan.backends
        )
        assert not {number for target, number in plan.backends.items() if target not in held.backends} & set(
            held.backends.values()
        )
        held = held_after(plan, settled=settled)
