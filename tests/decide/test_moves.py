"""Whose answers move between two plans, and what becomes of backends."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from gslb.decide.decide import decide
from gslb.decide.moves import Move, Side, Turn, moves, turns
from gslb.model.deployment import (
    TYPE_A,
    TYPE_AAAA,
    Backend,
    Balance,
    Forward,
    Listen,
    Policy,
    Rule,
)
from gslb.model.plan import Mode, Plan, Serving
from gslb.model.world import Forced, Override, World
from tests.decide.worlds import FRA, IAD, NEAREST, NOW, SIN, WEB, deployment, geography, override, pool

MODEL = deployment(NEAREST)
PLACES = geography(MODEL, web=[[FRA, IAD, SIN], [FRA, SIN, IAD], [SIN, FRA, IAD], [SIN, IAD, FRA]])


def moved(*overrides: Override) -> tuple[Move, ...]:
    plans = [decide(MODEL, PLACES, World(NOW, overrides=given), None) for given in ((), overrides)]
    return moves(*plans)


def test_nothing_moves_when_nothing_changed() -> None:
    assert moved() == moved(override("pool/web-fra", Forced.UP)) == ()


def test_clients_of_one_pool_may_go_several_ways() -> None:
    fra, iad, sin = (Side(pool, (f"192.0.2.{n}",), Mode.NORMAL) for n, pool in ((1, FRA), (2, IAD), (3, SIN)))
    fra6, iad6 = (Side(pool, (f"2001:db8:{n}::{n}",), Mode.NORMAL) for n, pool in ((1, FRA), (2, IAD)))
    assert moved(override("site/fra", Forced.DRAIN)) == (
        Move(WEB, TYPE_A, fra, (iad, sin)),
        Move(WEB, TYPE_AAAA, fra6, (iad6,)),
    )


def test_an_empty_answer_is_a_side_too() -> None:
    forced = [override(f"site/{site}", Forced.DOWN, force=True) for site in ("fra", "iad", "sin", "cloud")]
    assert {side for move in moved(*forced) for side in move.after} == {Side(None, (), Mode.NODATA)}


def test_what_becomes_of_backends() -> None:
    backends = tuple(Backend(ip_address(f"10.1.0.{number}")) for number in (1, 2, 3))
    balance = Balance((Listen("tcp", 80),), Forward.L2, backends)
    home = replace(pool("web-fra", "192.0.2.1"), balance=balance)
    model = deployment(Policy(WEB, (Rule((FRA, IAD)),)), pools=[home, pool("web-iad", "192.0.2.2")])
    places = geography(model, web=[[FRA, IAD]])

    def plan(*words: Override) -> Plan:
        return decide(model, places, World(NOW, overrides=words), None)

    first, second = (f"backend/web-fra/10.1.0.{number}" for number in (1, 2))
    well, drained = plan(), plan(override(first, Forced.DRAIN))
    turn = Turn(FRA, "10.1.0.1", home.datacenter, Serving.UP, Serving.DRAIN, 2)
    assert turns(well, drained) == turns(well, drained, first) == (turn,)
    assert turns(well, well) == turns(drained, drained, "pool/web-fra") == ()
    assert turns(drained, drained, first) == (replace(turn, before=Serving.DRAIN),)
    both = turns(drained, plan(override(first, Forced.DRAIN), override(second, Forced.DOWN)), first)
    assert [(one.backend, one.after, one.others) for one in both] == [
        ("10.1.0.1", Serving.DRAIN, 1),
        ("10.1.0.2", Serving.DOWN, 1),
    ]
