"""The plan's bytes: canonical, complete, and refused when they are not what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.model.deployment import DYNAMIC_TYPES, PolicyId, PoolId
from gslb.model.history import WHOLE, Cause, Ejection, History, Keeper, Kept, Moved, Out, Shed
from gslb.model.plan import Choice, Member, Mode, Part, Plan, PlanUnreadable, PolicyPlan, from_bytes

texts = st.text(max_size=12)
lengths = st.none() | st.integers(0, 128)
members = st.lists(
    st.builds(Member, address=texts, weight=st.integers(1, 99), pool=st.none() | texts.map(PoolId)), max_size=3
).map(tuple)
choices = st.builds(
    Choice,
    mode=st.sampled_from(Mode),
    members=members,
    count=st.integers(1, 8),
    shed=st.lists(st.builds(Part, slots=st.integers(1, 1021), members=members), max_size=2).map(tuple),
)
pools = texts.map(PoolId)
policies = texts.map(PolicyId)
moments = st.floats(0, 1e10)
moves = st.builds(Moved, policies, st.sampled_from(DYNAMIC_TYPES), st.integers(0, 9), pools, st.integers(1, WHOLE))
sheds = st.builds(
    Shed,
    cause=st.sampled_from(Cause),
    level=st.floats(0, 1),
    stepped_at=moments,
    geography=texts,
    moved=st.lists(moves, max_size=3).map(tuple),
    fresh=st.dictionaries(pools, st.floats(0, 9), max_size=2),
)
outs = st.builds(Out, moments, st.booleans(), st.lists(st.sampled_from(DYNAMIC_TYPES), unique=True).map(tuple))
kept = st.builds(Kept, moments, st.sampled_from(Keeper))
histories = st.builds(
    History,
    sheds=st.dictionaries(pools, sheds, max_size=2),
    out=st.dictionaries(policies, st.dictionaries(pools, outs, max_size=2), max_size=2),
    ejected=st.dictionaries(texts, st.builds(Ejection, moments, st.integers(1, 9), texts), max_size=2),
    kept=st.dictionaries(policies, st.dictionaries(pools, kept, max_size=2), max_size=2),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any plan whose indexes are in range."""
    made = tuple(draw(st.lists(choices, min_size=1, max_size=4)))
    indexes = st.lists(st.integers(0, len(made) - 1), max_size=4).map(tuple)
    policy = st.builds(
        PolicyPlan,
        ttl=st.integers(0, 86_400),
        sticky4=lengths,
        sticky6=lengths,
        choices=st.fixed_dictionaries(dict.fromkeys(DYNAMIC_TYPES, indexes)),
    )
    return Plan(
        deployment=draw(texts),
        version=draw(st.integers(1, 2**40)),
        geography=draw(texts),
        policies=draw(st.dictionaries(texts.map(PolicyId), policy, max_size=3)),
        choices=made,
        heavy=tuple(draw(st.lists(texts, max_size=2))),
        history=draw(histories),
    )


@given(plans())
def test_a_plan_comes_back_whole(plan: Plan) -> None:
    assert from_bytes(plan.to_bytes()) == plan
    assert from_bytes(plan.to_bytes()).to_bytes() == plan.to_bytes()


@given(plans())
def test_bytes_do_not_depend_on_the_order_of_mappings(plan: Plan) -> None:
    turned = replace(plan, policies=dict(reversed(list(plan.policies.items()))))
    assert turned.to_bytes() == plan.to_bytes()


@given(plans())
def test_the_digest_covers_what_executors_consume(plan: Plan) -> None:
    assert replace(plan, version=plan.version + 1).digest == plan.digest
    assert replace(plan, history=History()).digest == plan.digest
    assert replace(plan, geography=plan.geography + "x").digest != plan.digest
    assert replace(plan, choices=(*plan.choices, plan.choices[0])).digest != plan.digest


@given(plans(), st.data())
def test_a_changed_byte_is_refused(plan: Plan, data: st.DataObject) -> None:
    raw = bytearray(plan.to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = from_bytes(bytes(raw))
    except PlanUnreadable:
        return
    assert read == plan


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PlanUnreadable):
        from_bytes(data)


PROGRAM = """
import sys
from gslb.model.plan import *
policies = {name: PolicyPlan(60, 24, 56, {28: (1,), 1: (0, 1)}) for name in {"web", "shop", "mail", "dns"}}
chosen = (Choice(Mode.NORMAL, (Member("192.0.2.1", 1, "web-fra"),), 1), Choice(Mode.NODATA, (), 1))
sys.stdout.buffer.write(Plan("example", 3, "g", policies, chosen).to_bytes())
"""


def test_two_interpreters_write_the_same_bytes() -> None:
    written = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert written[0] == written[1]
    assert from_bytes(written[0]).digest == "24db4ff1cef708d93ec8b1f044ecbf26"
