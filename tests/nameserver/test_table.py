"""Compiled tables: what is refused, what is carried, and how quickly a large plan loads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.geo.table import LocationTable
from gslb.model.choice import sticky_keys
from gslb.model.deployment import PolicyId
from gslb.model.plan import Plan
from gslb.model.zone import DynamicRecord, RRset, Zone
from gslb.nameserver.answer import Responder
from gslb.nameserver.table import NSID_OCTETS, Tables, UnreadableTable, compile_names, compile_plan
from tests.nameserver.make import (
    SECRET,
    ask,
    bound,
    choice,
    one_class,
    part,
    plan,
    policy_plan,
    query,
    records,
    wire,
    zone,
)

ZONE = "@ 3600 SOA ns1 h 1 2 3 4 60\n@ 300 NS ns1\nns1 300 A 198.18.0.53\n"


@pytest.fixture(scope="module")
def location() -> LocationTable:
    return one_class("web")


@pytest.fixture(scope="module")
def made(location: LocationTable) -> Plan:
    return plan(location, {"web": policy_plan({1: (0,), 28: (1,)})}, [choice("192.0.2.1"), choice("2001:db8::1")])


ZONES = [zone("z.test.", ZONE, bound("www.z.test."))]


def test_a_plan_carries_keys_and_not_the_secret(location: LocationTable, made: Plan) -> None:
    compiled = compile_plan(made, SECRET)
    assert SECRET not in compiled
    loaded = Tables.load(compile_names(ZONES, None), compiled, location)
    assert loaded.policies[PolicyId("web")].stickiness.keys == sticky_keys(SECRET, "web")
    assert (loaded.deployment, loaded.version) == ("tests", 1)


def test_equal_inputs_compile_to_equal_bytes(made: Plan) -> None:
    assert compile_plan(made, SECRET) == compile_plan(made, SECRET)
    assert compile_names(ZONES, b"x") == compile_names(ZONES, b"x")


REFUSED: dict[str, tuple[Callable[[bytes, bytes], tuple[bytes, bytes]], str]] = {
    "names of another format": (lambda names, plan: (names[:7] + b"\x02" + names[8:], plan), "no compiled names"),
    "plan of another format": (lambda names, plan: (names, plan[:7] + b"\x01" + plan[8:]), "no compiled plan"),
    "each other's": (lambda names, plan: (plan, names), "no compiled names"),
    "empty": (lambda names, plan: (names[:0], plan), "no compiled names"),
    "cut names": (lambda names, plan: (names[:-1], plan), "names are damaged"),
    "cut plan": (lambda names, plan: (names, plan[:-1]), "plan are damaged"),
    "a flipped bit": (lambda names, plan: (names[:-1] + bytes([names[-1] ^ 1]), plan), "names are damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(location: LocationTable, made: Plan, case: str) -> None:
    change, message = REFUSED[case]
    with pytest.raises(UnreadableTable, match=message):
        Tables.load(*change(compile_names(ZONES, None), compile_plan(made, SECRET)), location)


def test_a_plan_for_another_geography_is_refused(location: LocationTable, made: Plan) -> None:
    other = compile_plan(replace(made, geography="00" * 16), SECRET)
    with pytest.raises(UnreadableTable, match=f"geography {'00' * 16}, expected {location.digest}"):
        Tables.load(compile_names(ZONES, None), other, location)


def test_a_plan_of_another_deployment_is_refused(location: LocationTable, made: Plan) -> None:
    compiled = compile_names(ZONES, None), compile_plan(made, SECRET)
    assert Tables.load(*compiled, location, deployment="tests").deployment == "tests"
    with pytest.raises(UnreadableTable, match="deployment 'tests', expected 'other'"):
        Tables.load(*compiled, location, deployment="other")


def test_a_name_bound_to_no_policy_is_refused(location: LocationTable, made: Plan) -> None:
    zones = [zone("z.test.", ZONE, bound("www.z.test.", policy="absent"))]
    with pytest.raises(UnreadableTable, match="no policy 'absent'"):
        Tables.load(compile_names(zones, None), compile_plan(made, SECRET), location)


def test_a_policy_without_the_type_is_refused(location: LocationTable) -> None:
    made = plan(location, {"web": policy_plan({1: (0,)})}, [choice("192.0.2.1")])
    with pytest.raises(UnreadableTable, match="does not answer all types"):
        Tables.load(compile_names(ZONES, None), compile_plan(made, SECRET), location)


def _with(owner: str, rtype: int, rdata: bytes) -> Zone:
    return Zone(wire("z.test."), (*ZONES[0].rrsets, RRset(wire(owner), rtype, 0, (rdata,))))


BAD_ZONES = {
    "no SOA": (Zone(wire("z.test."), ()), "has no SOA"),
    "outside": (_with("xz.test.", 1, bytes(4)), "outside zone"),
    "half a name": (_with("a.z.test.", 15, b"\0\x0a\x04mail"), "does not end"),
    "a pointer": (_with("a.z.test.", 33, b"\0\0\0\0\0\0\xc0\x0c"), "label type 0xc0"),
}


@pytest.mark.parametrize("case", BAD_ZONES)
def test_what_could_not_be_served_is_not_compiled(case: str) -> None:
    bad, message = BAD_ZONES[case]
    with pytest.raises(ValueError, match=message):
        compile_names([bad], None)


def test_a_long_nsid_is_not_compiled() -> None:
    compile_names(ZONES, b"x" * NSID_OCTETS)
    with pytest.raises(ValueError, match="129 octets, expected at most 128"):
        compile_names(ZONES, b"x" * (NSID_OCTETS + 1))


@given(st.binary(max_size=200))
def test_any_octets_are_refused(octets: bytes) -> None:
    location = one_class("web")
    with pytest.raises(UnreadableTable):
        Tables.load(octets, octets, location)


def test_an_address_of_two_pools_is_one_record(location: LocationTable) -> None:
    made = plan(
        location, {"web": policy_plan({1: (0,), 28: (0,)})}, [choice("192.0.2.1", "192.0.2.2", "192.0.2.1", count=8)]
    )
    subject = Responder(Tables.load(compile_names(ZONES, None), compile_plan(made, SECRET), location))
    assert records(ask(subject, query("www.z.test.")).answer) == [
        "www.z.test. 60 IN A 192.0.2.1",
        "www.z.test. 60 IN A 192.0.2.2",
    ]


@pytest.mark.parametrize("slots", [(-1,), (1022,), (1021, 1)])
def test_parts_that_are_no_share_are_refused(location: LocationTable, slots: tuple[int, ...]) -> None:
    shed = [part(each, "192.0.2.2") for each in slots]
    made = plan(location, {"web": policy_plan({1: (0,), 28: (0,)})}, [choice("192.0.2.1", shed=shed)])
    with pytest.raises(UnreadableTable, match="expected at most 1021 in all"):
        Tables.load(compile_names(ZONES, None), compile_plan(made, SECRET), location)


def test_heavy_resolvers_are_known_in_both_ways_that_sockets_write_them(location: LocationTable, made: Plan) -> None:
    compiled = compile_plan(replace(made, heavy=("192.0.2.53", "2001:db8::53")), SECRET)
    heavy = Tables.load(compile_names(ZONES, None), compiled, location).heavy
    assert {"192.0.2.53", "::ffff:192.0.2.53", "2001:db8::53"} <= heavy


def test_a_large_plan_loads_quickly() -> None:
    """1 000 records, 50 policies of 200 rankings: the budget is 100 ms; twice that is allowed for a busy machine."""
    policies = [f"policy-{number}" for number in range(50)]
    location = one_class(*policies)
    dynamic: dict[str, DynamicRecord] = {}
    for number in range(1000):
        dynamic |= bound(f"name-{number}.z.test.", policy=policies[number % 50])
    names = [compile_names([zone("z.test.", ZONE, dynamic)], bytes([place])) for place in range(5)]  # none is kept
    indexes = tuple(range(200))
    made = plan(
        location,
        {name: policy_plan({1: indexes, 28: indexes}) for name in policies},
        [choice(f"192.0.2.{number}", f"198.51.100.{number}") for number in range(200)],
    )
    compiled = compile_plan(made, SECRET)
    spent = []
    for fresh in names:
        start = time.perf_counter()
        Tables.load(fresh, compiled, location)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.2
