"""What is counted of answers: once on every path, by cell and by pool, over generations."""

from __future__ import annotations

import pytest

from gslb.geo.table import LocationTable
from gslb.model.plan import Choice, Mode
from gslb.nameserver.answer import Responder
from gslb.nameserver.given import MARKS_MAX, POOLS_MAX, Given
from tests.nameserver.make import (
    CLIENT,
    bound,
    choice,
    ecs,
    many_classes,
    one_class,
    opt,
    part,
    plan,
    policy_plan,
    query,
    tables,
    zone,
)

ZONE = "@ 3600 SOA ns1 h 1 2 3 4 60\n@ 300 NS ns1\nns1 300 A 198.18.0.53\nalias 300 CNAME www\n"
NAMES = bound("www.z.test.", "*.wild.z.test.")
CHOICES = [
    choice("192.0.2.1@fra"),
    choice("192.0.2.1@fra", "192.0.2.2@iad", count=2),
    choice("192.0.2.9@-"),
    choice(mode=Mode.NODATA),
]
WHERE = {0: "100.0.0.0/24", 1: "10.20.1.0/24", 2: "10.1.0.0/24", 3: "1.0.0.0/24"}  # a client of each ranking


def over(location: LocationTable, choices: list[Choice]) -> Responder:
    count = len(choices)
    made = plan(location, {"web": policy_plan({1: range(count), 28: range(count)})}, choices)
    return Responder(tables([zone("z.test.", ZONE, NAMES)], made, location))


@pytest.fixture
def subject() -> Responder:
    return over(many_classes(), CHOICES)


def ask(subject: Responder, ranking: int, name: str = "www.z.test.", times: int = 1, way: str = "udp") -> None:
    message = query(name, opt=opt(ecs(WHERE[ranking])))
    for _ in range(times):
        assert getattr(subject, way)(message, CLIENT) is not None


@pytest.mark.parametrize("way", ["udp", "general", "tcp"])
@pytest.mark.parametrize("name", ["www.z.test.", "WWW.z.test.", "alias.z.test.", "any.wild.z.test."])
def test_an_answer_counts_once_in_its_cell_and_for_its_pools(subject: Responder, way: str, name: str) -> None:
    for times, ranking in enumerate(WHERE, start=3):
        ask(subject, ranking, name, times, way)
    assert subject.given.cells == {("web", 1): [3, 4, 5, 6]}
    assert subject.given.pools() == {("fra", 1): 3 + 4, ("iad", 1): 4, ("", 1): 5}


def test_types_count_apart(subject: Responder) -> None:
    ask(subject, 0)
    subject.udp(query("www.z.test.", "AAAA"), "100.0.0.1")
    assert subject.given.cells == {("web", 1): [1, 0, 0, 0], ("web", 28): [1, 0, 0, 0]}


@pytest.mark.parametrize("name", ["ns1.z.test.", "absent.z.test.", "z.test.", "www.elsewhere.net."])
def test_static_names_count_nothing(subject: Responder, name: str) -> None:
    for rtype in ("A", "TXT", "SOA"):
        for way in (subject.udp, subject.general, subject.tcp):
            way(query(name, rtype), CLIENT)
    assert (subject.given.cells, subject.given.pools()) == ({}, {})


def test_an_answer_that_does_not_fit_counts_when_it_is_fetched_by_tcp() -> None:
    location = one_class("web")
    many = [f"192.0.2.{host}@fra" for host in range(60)]
    subject = over(location, [choice(*many, count=60)])
    message = query("www.z.test.")
    for _ in range(3):
        reply = subject.udp(message, CLIENT)
        assert reply is not None
        assert reply[2] & 2, "TC"
    assert (subject.given.cells, subject.given.pools()) == ({("web", 1): [0]}, {})
    subject.tcp(message, CLIENT)
    assert (subject.given.cells, subject.given.pools()) == ({("web", 1): [1]}, {("fra", 1): 1})


def test_parts_count_for_the_pools_that_they_go_to() -> None:
    subject = over(one_class("web"), [choice("192.0.2.1@fra", shed=[part(300, "192.0.2.2@iad")])])
    replies = [
        subject.udp(query("www.z.test.", opt=opt(ecs(f"10.{net >> 8}.{net & 255}.0/24"))), CLIENT)
        for net in range(2000)
    ]
    moved = sum(bytes((192, 0, 2, 2)) in reply for reply in replies if reply is not None)
    assert 500 < moved < 680
    assert subject.given.pools() == {("iad", 1): moved, ("fra", 1): 2000 - moved}
    assert subject.given.cells == {("web", 1): [2000]}


def test_only_choices_with_parts_count_who_asks() -> None:
    location = one_class("web")
    plain = over(location, [choice("192.0.2.1", "192.0.2.2")])
    parted = over(location, [choice("192.0.2.1", shed=[part(300, "192.0.2.2")])])
    for subject in (plain, parted):
        for _ in range(2):
            subject.udp(query("www.z.test."), CLIENT)
            subject.udp(query("www.z.test.", opt=opt(ecs("10.0.0.0/24"))), CLIENT)
        subject.tcp(query("www.z.test."), CLIENT)
    assert plain.given.sources["web"].total == 0
    assert parted.given.sources["web"].total == 5
    assert parted.given.sources["web"].certain() == {CLIENT: 3}


def test_counts_go_on_with_another_plan_and_cells_begin_anew_with_another_table(subject: Responder) -> None:
    ask(subject, 0, times=3)
    second = over(many_classes(), [choice("192.0.2.3@sin")] * 4)
    second.given.go_on(subject.given)
    ask(second, 0, times=2)
    assert second.given.cells == {("web", 1): [5, 0, 0, 0]}
    assert second.given.pools() == {("fra", 1): 3, ("sin", 1): 2}
    third = over(one_class("web"), [choice("192.0.2.1@fra")])
    third.given.go_on(second.given)
    ask(third, 0)
    assert third.given.cells == {("web", 1): [1]}
    assert third.given.pools() == {("fra", 1): 4, ("sin", 1): 2}


def test_sources_of_a_policy_that_is_gone_are_forgotten() -> None:
    before = Given("one", ["web", "shop"])
    for policy in ("web", "shop"):
        before.sources_of(policy).add("192.0.2.1")
    after = Given("two", ["web"])
    after.go_on(before)
    assert after.sources.keys() == {"web"}


def test_pools_of_long_ago_do_not_grow_memory() -> None:
    given = Given()
    for number in range(3):
        after = Given()
        after.go_on(given)
        for pool in range(POOLS_MAX):
            after.marks[after.mark(1, [[f"pool-{number}-{pool}"]])] += 1
        given = after
    assert len(given.pools()) == 2 * POOLS_MAX
    assert {count for (pool, _), count in given.pools().items() if pool.startswith("pool-2-")} == {1}


def test_sets_of_pools_without_end_are_one_mark() -> None:
    given = Given()
    marks = {given.mark(1, [[str(number)]]) for number in range(MARKS_MAX + 100)}
    assert len(given.marks) == MARKS_MAX
    assert marks == set(range(MARKS_MAX))
    assert given.mark(1, [["0"]]) == 1, "those that are known go on"
