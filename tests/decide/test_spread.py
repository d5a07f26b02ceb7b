"""Who goes where between two choices, slot by slot; and what each ranking asks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.decide.audience import audience_of, split
from gslb.decide.spread import Destination, Rest, paths, spread
from gslb.model.choice import CHOICE_SLOTS
from gslb.model.deployment import TYPE_A, TYPE_AAAA, PolicyId, PoolId
from gslb.model.location import Catchment, Cohort
from gslb.model.plan import Choice, Member, Mode, Part
from gslb.model.world import Demand, World
from tests.decide.worlds import FRA, IAD, NEAREST, NOW, SIN, WEB, deployment, geography

POOLS = [PoolId("a"), PoolId("b"), PoolId("c"), None]


def choice(home: PoolId | None, *parts: tuple[int, PoolId | None]) -> Choice:
    def members(pool: PoolId | None) -> tuple[Member, ...]:
        return (Member("192.0.2.1", 1, pool),)

    return Choice(Mode.NORMAL, members(home), 1, tuple(Part(slots, members(pool)) for slots, pool in parts))


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    left, parts = CHOICE_SLOTS, []
    for pool in draw(st.lists(st.sampled_from(POOLS), max_size=4)):
        slots = draw(st.integers(1, max(1, left)))
        if slots <= left:
            parts.append((slots, pool))
            left -= slots
    return choice(draw(st.sampled_from(POOLS)), *parts)


def slot_by_slot(one: Choice) -> list[Destination]:
    """The judge: the destination of each slot."""
    found = [part.members[0].pool or Rest.LAST_RESORT for part in one.shed for _ in range(part.slots)]
    return found + [one.members[0].pool or Rest.LAST_RESORT] * (CHOICE_SLOTS - len(found))


@given(choices(), choices())
def test_paths_are_what_becomes_of_each_slot(before: Choice, after: Choice) -> None:
    expected: dict[tuple[Destination, Destination], float] = {}
    for pair in zip(slot_by_slot(before), slot_by_slot(after), strict=True):
        expected[pair] = expected.get(pair, 0.0) + 1 / CHOICE_SLOTS
    found: dict[tuple[Destination, Destination], float] = {}
    for left, reached, share in paths(spread(before), spread(after)):
        found[left, reached] = found.get((left, reached), 0.0) + share
    assert found == pytest.approx(expected)


def test_an_empty_choice_answers_nobody() -> None:
    assert spread(Choice(Mode.NODATA, (), 1)) == [(CHOICE_SLOTS, Rest.UNANSWERED)]


def test_beside_a_policy_that_was_measured_another_asks_nothing() -> None:
    api = replace(NEAREST, name=PolicyId("api"))
    model = deployment(NEAREST, api)
    where = geography(model, web=[(FRA, IAD, SIN), (IAD, FRA, SIN)], api=[(FRA, IAD, SIN)])
    found = audience_of(model, where, World(now=NOW, demand={WEB: {TYPE_A: (6.0, 2.0), TYPE_AAAA: (1.0, 1.0)}}))
    assert found[WEB] == {TYPE_A: (6.0, 2.0), TYPE_AAAA: (1.0, 1.0)}
    assert not any(map(any, found[PolicyId("api")].values()))
    idle: Demand = {
        WEB: {TYPE_A: (0.0, 0.0), TYPE_AAAA: (0.0, 0.0)},
        PolicyId("api"): {TYPE_A: (3.0,), TYPE_AAAA: (0.0,)},
    }
    assert audience_of(model, where, World(now=NOW, demand=idle)) == idle


def test_while_nothing_was_measured_all_policies_ask_alike() -> None:
    api = replace(NEAREST, name=PolicyId("api"))
    model = deployment(NEAREST, api)
    where = geography(model, web=[(FRA, IAD, SIN), (IAD, FRA, SIN)], api=[(FRA, IAD, SIN)])
    unasked: Demand = {WEB: {TYPE_A: (0.0, 0.0)}}
    for nothing in ({}, unasked):
        found = audience_of(model, where, World(now=NOW, demand=nothing))
        assert found[WEB] == {TYPE_A: [0.25, 0.25], TYPE_AAAA: [0.25, 0.25]}
        assert found[PolicyId("api")] == {TYPE_A: [0.5], TYPE_AAAA: [0.5]}


def test_demand_of_other_rankings_holds_in_sum() -> None:
    model = deployment(NEAREST)
    where = geography(model, web=[(FRA, IAD, SIN), (IAD, FRA, SIN)])
    where = replace(where, catchments={WEB: (Catchment(0.9, {}), Catchment(0.1, {}))})
    found = audience_of(model, where, World(now=NOW, demand={WEB: {TYPE_A: (6.0, 2.0, 1.0)}}))
    assert {rtype: list(rates) for rtype, rates in found[WEB].items()} == {TYPE_A: pytest.approx([8.1, 0.9])}


def test_cohorts_share_what_their_ranking_asks() -> None:
    cohorts = (Cohort(0, 0, 3, 3.0), Cohort(0, 1, 1, 1.0), Cohort(1, 0, 0, 0.0), Cohort(1, 1, 0, 0.0))
    assert split([8.0, 4.0], cohorts) == [6.0, 2.0, 2.0, 2.0]
