"""What a node tells, and when: changes at once, everything in its period, and never more than its share."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.bus import Message
from gslb.bus.messages import Answers, Life, Loads, Opinion, RoundTrips, Rows, SharedLoad, Told
from gslb.bus.rows import CUT, unpack
from gslb.bus.telling import DEMAND, ENVELOPE, LIFE_S, LOADS, OPINIONS, RATE, ROUND_TRIPS, Telling
from gslb.bus.wire import PART_MOST, SEGMENT, decode
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.world import Health

UP, DOWN = Health.UP, Health.DOWN
NOW, WALL = 1000.0, 1_700_000_000.0
FRA, WEB = PoolId("web-fra"), PolicyId("web")
LIFE = Life("c", 0, 1, "p", "g", "b", None, {}, "1", 5.0)
MOST = 50_000  # octets a second of a site
TARGETS = range(2000)


def one(health: Health = UP, *, age_s: float = 1.0, for_s: float = 60.0, why: str = "") -> Opinion:
    return Opinion(health, age_s, for_s, 15.0, why=why)


@dataclass
class Heard:
    """What came of a Telling that was driven for a while."""

    told: list[tuple[float, Told]] = field(default_factory=list)
    octets: list[tuple[float, int]] = field(default_factory=list)
    longest: int = 0

    def of(self, kind: type) -> list[tuple[float, Told]]:
        return [(at, told) for at, told in self.told if isinstance(told.body, kind)]

    def keys(self) -> dict[int, list[float]]:
        """When each target was told of."""
        found = defaultdict(list)
        for at, told in self.of(Rows):
            assert isinstance(told.body, Rows)
            for key in told.body.rows["key"].tolist():
                found[key].append(at)
        return found

    def most_per_s(self, over_s: float) -> float:
        """The highest rate in any time of that length."""
        most, sum_, first = 0, 0, 0
        for at, octets in self.octets:
            sum_ += octets
            while self.octets[first][0] <= at - over_s:
                sum_ -= self.octets[first][1]
                first += 1
            most = max(most, sum_)
        return most / over_s


def drive(telling: Telling, heard: Heard, until: float, now: float = NOW) -> float:
    """Let it tell what it knows, whenever it wants to be asked; the time of its last wish before `until`."""
    while now < until:
        for kind, body in telling.due(now, WALL):
            heard.longest = max(heard.longest, len(body))
            heard.octets.append((now, len(body) + ENVELOPE))
            heard.told.append((now, decode(Message("fra", "fra1", kind, body, now), WALL)))
        wake_at = telling.wake_at(now)
        assert wake_at >= now
        now = max(wake_at, now + 1e-3)
    return now


def test_a_change_is_told_at_once_and_alone() -> None:
    telling, heard = Telling(3), Heard()
    found = dict.fromkeys(TARGETS, one())
    telling.opinions(found, NOW)
    drive(telling, heard, NOW + 1)
    heard.told.clear()
    telling.opinions({7: one(DOWN, for_s=0.0, why="refused")}, NOW + 1, whole=False)
    drive(telling, heard, NOW + 1.02, NOW + 1)
    ((at, told),) = heard.told
    assert at - NOW - 1 <= 0.01
    assert isinstance(told.body, Rows)
    ((key, opinion),) = unpack(told.body)
    assert (key, opinion.health, opinion.why) == (7, DOWN, "refused")
    assert opinion.age_s == pytest.approx(1 + at - NOW - 1, abs=1e-3)


def test_everything_is_told_within_its_period_spread_over_it_and_aged() -> None:
    telling, heard = Telling(3), Heard()
    telling.opinions(dict.fromkeys(TARGETS, one()), NOW)
    drive(telling, heard, NOW + 30)
    keys = heard.keys()
    assert keys.keys() == set(TARGETS)
    for times in keys.values():
        gaps = [later - earlier for earlier, later in zip(times, [*times[1:], NOW + 30], strict=True)]
        assert max(gaps) <= OPINIONS.period_s * 1.2
        assert min(gaps[:-1]) >= OPINIONS.period_s / 2
    assert heard.longest <= PART_MOST
    assert heard.most_per_s(1.0) <= MOST
    assert sum(octets for at, octets in heard.octets if at > NOW + 5) / 25 < 12_000
    at, told = heard.of(Rows)[-1]
    assert isinstance(told.body, Rows)
    for _key, opinion in unpack(told.body):
        assert opinion.age_s == pytest.approx(1 + at - NOW, abs=2e-3)
        assert opinion.for_s == pytest.approx(60 + at - NOW, abs=2e-3)


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_all_targets_flap_and_a_site_stays_within_its_octets(nodes: int) -> None:
    """The newest opinion on each target is told within seconds; reasons are what is left out.  One node, as all of the site are."""
    random, telling, heard = Random(nodes), Telling(1), Heard()
    telling.share(nodes)
    for second in range(20):
        now = NOW + second
        telling.life(LIFE, now)
        flapped = {key: one(random.choice((UP, DOWN)), for_s=0.0, why="no answer " * 9) for key in TARGETS}
        telling.opinions(flapped, now)
        telling.loads({PoolId(f"p{pool}"): SharedLoad(random.random(), 0.0, part=True) for pool in range(50)}, now)
        drive(telling, heard, now + 1, now)
    for times in heard.keys().values():
        assert max(later - earlier for earlier, later in pairwise(times)) <= 2.5 * nodes
    assert len(heard.of(Life)) >= 19
    assert len(heard.of(Loads)) >= 8
    told = [told.body for _at, told in heard.of(Rows) if isinstance(told.body, Rows)]
    assert sum(len(body.texts) for body in told) < sum(len(body.rows) for body in told) / 10
    assert heard.most_per_s(OPINIONS.period_s) * nodes <= MOST + (nodes - 1) * PART_MOST / OPINIONS.period_s


def test_where_octets_are_short_reasons_go_first_then_round_trips_then_demand() -> None:
    def told_of(targets: int, nodes: int) -> tuple[Counter[str], bool]:
        """How many things of each kind were told in twenty seconds, and whether reasons were."""
        telling, heard, random = Telling(1), Heard(), Random(1)
        telling.share(nodes)
        for second in range(30):
            now = NOW + second
            telling.life(LIFE, now)
            telling.opinions({key: one(DOWN, for_s=60.0 + second, why="no answer " * 4) for key in range(targets)}, now)
            trips = {(FRA, 4, place): (random.random(), 1.0, 9, 0.0) for place in range(300)}
            telling.round_trips(RoundTrips("g", trips), now)
            telling.demand("g", {WEB: {1: tuple(random.random() for _ in range(500))}}, (), now)
            drive(telling, heard, now + 1, now)
        found: Counter[str] = Counter()
        said = False
        for _at, told in (one for one in heard.told if one[0] >= NOW + 10):
            match told.body:
                case Rows():
                    found["opinions"] += len(told.body.rows)
                    said |= bool(told.body.texts)
                case RoundTrips() | Answers():
                    found[type(told.body).__name__] += len(told.body.found)
                case _:
                    found["life"] += 1
        return found, said

    plenty, said = told_of(500, 1)
    assert said
    assert plenty["RoundTrips"] > 3 * 300
    assert plenty["Answers"] > 3
    short, said = told_of(1500, 5)
    assert not said
    assert short["RoundTrips"] < 300 * short["Answers"]
    none, said = told_of(2000, 20)
    assert not said
    assert none["opinions"] > 20 * 1000 / 21
    assert none["RoundTrips"] == none["Answers"] == 0
    assert none["life"] >= 19


def test_reasons_that_were_left_out_are_told_when_there_is_room() -> None:
    telling, heard = Telling(1), Heard()
    telling.opinions({key: one(DOWN, why="no answer " * 20) for key in TARGETS}, NOW)
    drive(telling, heard, NOW + 1)
    assert all(told.body.rows["flags"][0] & CUT for _at, told in heard.of(Rows) if isinstance(told.body, Rows))
    found = {key: one(DOWN, why="no answer " * 2) for key in TARGETS}
    telling.opinions(found, NOW + 1)
    drive(telling, heard, NOW + 25, NOW + 1)
    reasons = {}
    for _at, told in heard.of(Rows):
        assert isinstance(told.body, Rows)
        reasons.update({key: opinion.why for key, opinion in unpack(told.body)})
    assert set(reasons.values()) == {"no answer " * 2}


def test_loads_are_told_once_a_second_where_they_changed() -> None:
    telling, heard = Telling(1), Heard()
    for second in range(10):
        share = 0.1 * second
        found = {FRA: SharedLoad(share, 0.25, part=True), PoolId("same"): SharedLoad(0.5, 0.0, part=False)}
        telling.loads(found, NOW + second)
        drive(telling, heard, NOW + second + 1, NOW + second)
    times: Mapping[PoolId, list[float]] = defaultdict(list)
    for at, message in heard.of(Loads):
        assert isinstance(message.body, Loads)
        for pool in message.body.found:
            times[pool].append(at - NOW)
    assert len(times[FRA]) >= 10
    assert len(times[PoolId("same")]) in (2, 3, 4)
    assert max(later - earlier for earlier, later in pairwise(times[PoolId("same")])) <= LOADS.period_s


def test_round_trips_and_demand_are_told_when_they_changed_and_again_in_their_period() -> None:
    telling, heard = Telling(1), Heard()
    for second in range(100):
        now = NOW + second
        p50 = 0.02 if second < 50 else 0.03
        telling.round_trips(RoundTrips("g", {(FRA, 4, 1): (p50, 0.1, second, 2.0)}), now)
        telling.demand("g", {WEB: {1: (5.0, p50 * 100)}}, ("192.0.2.1",), now, 1.0)
        drive(telling, heard, now + 1, now)
    for kind, pace in ((RoundTrips, ROUND_TRIPS), (Answers, DEMAND)):
        times = [at - NOW for at, _told in heard.of(kind)]
        assert any(50 <= at < 51 for at in times)
        assert max(later - earlier for earlier, later in pairwise(times)) <= pace.period_s
        assert len(times) <= 12
    answers = heard.of(Answers)[-1][1].body
    assert isinstance(answers, Answers)
    assert (answers.geography, answers.heavy) == ("g", ("192.0.2.1",))
    assert 1.0 <= answers.age_s <= 2.0


def test_a_long_row_is_told_in_segments_and_another_table_anew() -> None:
    telling, heard = Telling(1), Heard()
    telling.demand("g1", {WEB: {1: tuple(float(rate) for rate in range(SEGMENT + 5))}}, (), NOW)
    drive(telling, heard, NOW + 1)
    found: dict[tuple[PolicyId, int, int], tuple[float, ...]] = {}
    for _at, told in heard.told:
        assert isinstance(told.body, Answers)
        found.update(told.body.found)
    assert {where[2]: len(row) for where, row in found.items()} == {0: SEGMENT, SEGMENT: 5}
    telling.demand("g2", {WEB: {1: (0.0,)}}, (), NOW + 1)
    drive(telling, heard, NOW + 2, NOW + 1)
    last = heard.told[-1][1].body
    assert isinstance(last, Answers)
    assert (last.geography, last.found) == ("g2", {(WEB, 1, 0): (0.0,)})


def test_a_sign_of_life_comes_each_second_and_at_once_when_it_says_something_else() -> None:
    telling, heard = Telling(9), Heard()
    telling.life(LIFE, NOW)
    now = drive(telling, heard, NOW + 5.5)
    assert [at - NOW for at, _told in heard.told] == pytest.approx([0, 1, 2, 3, 4, 5])
    telling.life(Life("other", 0, 1, "p", "g", "b", None, {}, "1", 10.0), NOW + 5.6)
    assert telling.wake_at(NOW + 5.6) == NOW + 5.6
    drive(telling, heard, NOW + 5.7, NOW + 5.6)
    stamps = [told.stamp for _at, told in heard.told]
    assert [stamp.number for stamp in stamps] == list(range(len(stamps)))
    assert {stamp.run for stamp in stamps} == {9}
    body = heard.told[-1][1].body
    assert isinstance(body, Life)
    assert body.config == "other"
    assert now >= NOW + 5 + LIFE_S


def test_after_the_bus_was_gone_all_is_told() -> None:
    telling, heard = Telling(1), Heard()
    telling.life(LIFE, NOW)
    telling.opinions(dict.fromkeys(range(100), one()), NOW)
    drive(telling, heard, NOW + 0.5)
    heard.told.clear()
    telling.anew(NOW + 0.5)
    drive(telling, heard, NOW + 0.6, NOW + 0.5)
    assert heard.keys().keys() == set(range(100))
    assert heard.of(Life)


def test_what_is_no_longer_there_is_not_told() -> None:
    telling, heard = Telling(1), Heard()
    telling.opinions(dict.fromkeys(range(10), one()), NOW)
    drive(telling, heard, NOW + 1)
    telling.opinions(dict.fromkeys(range(5), one()), NOW + 1)
    heard.told.clear()
    drive(telling, heard, NOW + 20, NOW + 1)
    assert heard.keys().keys() == set(range(5))


def test_it_sleeps_while_nothing_is_due() -> None:
    assert Telling(1).wake_at(NOW) == math.inf


@given(
    st.lists(st.tuples(st.floats(0, 3), st.dictionaries(st.integers(0, 30), st.sampled_from(Health))), max_size=20),
    st.integers(1, 40),
)
def test_whoever_hears_all_knows_all(script: list[tuple[float, dict[int, Health]]], nodes: int) -> None:
    """The newest that was given of each target is what was told of it last, a second later, however short octets are."""
    telling, heard, now = Telling(1), Heard(), NOW
    telling.share(nodes)
    truth: dict[int, Health] = {}
    for pause_s, states in script:
        truth |= states
        telling.opinions({key: one(health, for_s=0.0) for key, health in states.items()}, now, whole=False)
        drive(telling, heard, now + pause_s, now)
        now += pause_s
    drive(telling, heard, now + 1 + len(truth) * 30 / (RATE / nodes), now)
    told: dict[int, Health] = {}
    for _at, message in heard.of(Rows):
        assert isinstance(message.body, Rows)
        told.update({key: opinion.health for key, opinion in unpack(message.body)})
    assert told == truth
