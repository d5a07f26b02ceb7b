"""Whose answers move between two plans."""

from __future__ import annotations

from gslb.decide.decide import decide
from gslb.decide.moves import Move, Side, moves
from gslb.model.deployment import TYPE_A, TYPE_AAAA
from gslb.model.plan import Mode
from gslb.model.world import Forced, Override, World
from tests.decide.worlds import FRA, IAD, NEAREST, NOW, SIN, WEB, deployment, geography, override

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
