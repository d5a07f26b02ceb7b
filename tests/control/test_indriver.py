"""What is wanted of DNS in the driver, and what its state means."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from gslb.control import indriver
from gslb.control.addresses import Present
from gslb.control.indriver import LOOPBACK, NO_ADDRESS, NO_IMAGE, OFF, UNKNOWN, DnsOrders, Standing, orders_of, standing
from gslb.model.deployment import Attach, Dns, Socket
from gslb.model.zone import Zone
from gslb.nameserver.generation import File, Manifest
from gslb.nameserver.wire import CLASS_IN, PAIR, Rtype
from tests.control.make import DEPLOYMENT, NODE
from xdp.messages import Attached, DnsFile, DnsState, DnsTables, DnsWant, Interface, State

GEOGRAPHY, NAMES, PLAN = File("geography-a", 1, "aa"), File("names-b", 2, "bb"), File("plan-7-c", 3, "cc")
IMAGE = File("image-7-d", 4, "dd")
WANT = DnsWant(None, (("192.0.2.53", 53),), ("eth0", "eth1"), Attach.AUTO)
NATIVE = (Interface("eth0", Attached.NATIVE), Interface("eth1", Attached.NATIVE))
FINE = State(1, 7, "", NATIVE, dns=DnsState(version=7, image="dd", octets=9, addresses=1))
HERE = [Present("192.0.2.53"), Present("127.0.0.1"), Present("2001:db8::53"), Present("::1"), Present("fe80::1", 2)]


def orders(*listen: str, xdp: str = "auto", interfaces: tuple[str, ...] = ()) -> DnsOrders:
    sockets = tuple(Socket(ip_address(address), 53) for address in listen)
    return orders_of(replace(DEPLOYMENT, dns=Dns(sockets, xdp=xdp)), replace(NODE, interfaces=interfaces))


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        (orders("192.0.2.53", xdp="off"), OFF),
        (orders("127.0.0.1", "::1"), LOOPBACK),
        (orders("127.0.0.1", interfaces=("eth0",)), LOOPBACK),
        (orders("127.0.0.1", interfaces=("lo",)), ""),
        (orders("127.0.0.1", "192.0.2.53"), ""),
        (orders("0.0.0.0"), ""),
    ],
    ids=["off", "loopback", "loopback, eth0 named", "lo named", "both", "all"],
)
def test_what_the_configuration_leaves_to_the_workers(given: DnsOrders, idle: str) -> None:
    assert indriver.idle(given) == idle


def test_addresses_are_those_that_queries_come_to_by_an_interface() -> None:
    assert indriver.addresses_of(orders("0.0.0.0", "::"), HERE) == (("192.0.2.53", 53), ("2001:db8::53", 53))
    assert indriver.addresses_of(orders("127.0.0.1", interfaces=("lo",)), HERE) == (("127.0.0.1", 53),)
    assert indriver.addresses_of(orders("198.51.100.53"), HERE) == (("198.51.100.53", 53),), "it may come later"


def test_the_program_is_asked_for_the_first_zone_that_is_short_enough() -> None:
    zones = [Zone(name, (), ()) for name in (b"\x01b\0", b"\x3f" + b"a" * 63 + b"\x01a\0", b"\x01c\0")]
    found = bytes.fromhex(indriver.probe_of(zones))
    assert found.endswith(b"\x01b\0" + PAIR.pack(Rtype.SOA, CLASS_IN))
    assert indriver.probe_of(zones[1:2]) == ""


def test_tables_are_the_generations_files() -> None:
    manifest = Manifest("example", 1, 7, "digest", GEOGRAPHY, NAMES, PLAN, IMAGE)
    assert indriver.tables_of(manifest, Path("/s")) == DnsTables(
        DnsFile("/s/image-7-d", 4, "dd"), DnsFile("/s/geography-a", 1, "aa")
    )
    assert indriver.tables_of(replace(manifest, image=None), Path("/s")) is None
    assert indriver.tables_of(None, Path("/s")) is None


def dns(**fields: object) -> State:
    assert FINE.dns is not None
    return replace(FINE, dns=replace(FINE.dns, **fields))  # type: ignore[arg-type]  # as the cases below have them


NOT = Interface("eth0", Attached.NOT, "no such thing", "mend it"), Interface("eth1", Attached.NOT, "neither")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (FINE, ""),
        (replace(FINE, dns=None, refused="no kernel here"), "no kernel here"),
        (replace(FINE, dns=None), "the balancer's process has not said how it stands"),
        (dns(refused="the verifier"), "the verifier"),
        (dns(image=""), NO_IMAGE),
        (dns(image="", problems=("it is damaged",)), "it is damaged"),
        (dns(addresses=0), UNKNOWN),
        (dns(addresses=0, problems=("a full map",)), "a full map"),
        (
            replace(FINE, interfaces=NOT),
            "eth0: not attached: no such thing; to mend it: mend it; eth1: not attached: neither",
        ),
        (replace(FINE, interfaces=()), "not attached yet"),
    ],
    ids=[
        "fine",
        "no kernel",
        "silent",
        "refused",
        "no image",
        "damaged",
        "not yet told",
        "not taken",
        "not attached",
        "not yet",
    ],
)
def test_why_nothing_is_answered(state: State, why: str) -> None:
    assert standing(orders("192.0.2.53"), WANT, state, ()).why == why


def test_addresses_that_are_elsewhere_are_told_and_no_problem() -> None:
    wanted = orders("192.0.2.53", "198.51.100.53", xdp="native")
    some = standing(wanted, WANT, FINE, (), ("198.51.100.53",))
    assert some.lines() == ("not on this machine, answered when it comes: 198.51.100.53",)
    assert some.problems(wanted) == ()
    none = standing(wanted, replace(WANT, addresses=()), dns(addresses=0), (), ("192.0.2.53",))
    assert none.why == NO_ADDRESS
    assert none.problems(wanted) == none.unready(wanted) == ()
    assert indriver.state_json(WANT, FINE, none)["notes"] == ["not on this machine, answered when it comes: 192.0.2.53"]


def test_what_is_not_as_it_could_be() -> None:
    state = replace(dns(silent="it passes on", problems=("a clock",)), interfaces=(NATIVE[0], generic()))
    found = standing(orders("192.0.2.53"), WANT, state, ("br0 is a bridge",))
    silent = "DNS in the driver is asked and does not answer: it passes on"
    assert found == Standing(
        "", ("eth1: generic mode, which is slower: its driver", "br0 is a bridge"), (silent, "a clock")
    )
    assert found.lines() == (silent, "a clock", "eth1: generic mode, which is slower: its driver", "br0 is a bridge")
    asked_for = standing(orders("192.0.2.53", xdp="generic"), WANT, replace(FINE, interfaces=(generic(),)), ())
    assert asked_for.notes == ()


def generic() -> Interface:
    return Interface("eth1", Attached.GENERIC, "its driver")


def test_auto_has_notes_and_no_problems() -> None:
    stands = Standing("no kernel here")
    assert stands.problems(orders("192.0.2.53")) == ()
    wanted = orders("192.0.2.53", xdp="native")
    assert stands.problems(wanted) == ("DNS is not answered in the driver: no kernel here",)
    assert Standing("", ("eth1: generic",)).problems(wanted) == ("eth1: generic",)
    assert Standing(UNKNOWN).problems(wanted) == Standing(LOOPBACK).problems(wanted) == ()


def test_readiness_is_what_must_be() -> None:
    auto, on, native = (orders("192.0.2.53", xdp=how) for how in ("auto", "on", "native"))
    nowhere, passes_on = Standing("no kernel here"), Standing("", ("eth1: generic",), ("it passes on",))
    assert (nowhere.unready(auto), passes_on.unready(auto), passes_on.problems(auto)) == ((), (), ())
    for wanted in (on, native):
        assert (
            nowhere.unready(wanted)
            == nowhere.problems(wanted)
            == ("DNS is not answered in the driver: no kernel here",)
        )
        assert passes_on.unready(wanted) == ("it passes on",)
    assert passes_on.problems(on) == ("it passes on",), "generic mode is as good as it can be"
    assert passes_on.problems(native) == ("it passes on", "eth1: generic")
    wrongly = standing(auto, WANT, dns(silent="it says nonsense", wrong=True), ())
    for wanted in (auto, on, native):
        found = ("DNS in the driver is asked and does not answer: it says nonsense",)
        assert wrongly.unready(wanted) == wrongly.problems(wanted) == found


def test_on_is_as_auto_but_that_it_must_be() -> None:
    on = orders("192.0.2.53", xdp="on")
    assert (on.attach, on.must, on.wanted.driver) == (Attach.AUTO, True, Attach.AUTO)
    assert indriver.idle(on) == ""
    assert not orders("192.0.2.53").must


def test_what_status_is_given() -> None:
    found = indriver.state_json(WANT, FINE, Standing())
    assert found == {
        "why": "",
        "notes": [],
        "interfaces": [
            {"name": name, "attached": "native", "why": "", "mend": "", "taken": False} for name in ("eth0", "eth1")
        ],
        "version": 7,
        "octets": 9,
        "addresses": 1,
    }
    assert indriver.state_json(None, None, Standing(OFF))["why"] == OFF
