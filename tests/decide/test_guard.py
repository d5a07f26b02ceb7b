"""What a change of overrides would do to services: the question behind `--force`."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gslb.decide.decide import decide
from gslb.decide.guard import harmed
from gslb.model.deployment import TYPE_A, TYPE_AAAA, AllDown, PolicyId, PoolId, Rule
from gslb.model.plan import Mode
from gslb.model.world import Forced, Override, World
from tests.decide.worlds import CLOUD, FRA, IAD, NEAREST, NOW, SIN, WEB, deployment, down, geography, override

MODEL = deployment(
    NEAREST, replace(NEAREST, name=PolicyId("only-sin"), rules=(Rule((SIN,)),), spill=replace(NEAREST.spill, to=()))
)
PLACES = geography(MODEL, web=[[FRA, IAD, SIN], [SIN, IAD, FRA]], **{"only-sin": [[SIN]]})
REST = [override(f"pool/{name}", Forced.DOWN) for name in (IAD, SIN, CLOUD)]


def harm(
    before: list[Override], after: list[Override], failing: tuple[PoolId, ...] = ()
) -> tuple[tuple[str, int, Mode], ...]:
    plans = [
        decide(MODEL, PLACES, World(NOW, verdicts=down(*failing), overrides=tuple(o)), None) for o in (before, after)
    ]
    return harmed(*plans)


@pytest.mark.parametrize(
    ("before", "after", "failing", "want"),
    [
        pytest.param([], [override("site/fra", Forced.DOWN)], (), (), id="others answer"),
        pytest.param(
            [], [override("site/sin", Forced.DRAIN)], (), (("only-sin", TYPE_A, Mode.KEPT),), id="last pool of a policy"
        ),
        pytest.param([], [override("site/sin", Forced.DOWN)], (SIN,), (), id="a dead last pool is answered as before"),
        pytest.param(
            [override("site/sin", Forced.DRAIN)],
            [override("site/sin", Forced.DRAIN)],
            (),
            (),
            id="no worse than before",
        ),
        pytest.param(
            REST,
            [*REST, override("pool/web-fra", Forced.DRAIN)],
            (),
            ((WEB, TYPE_A, Mode.KEPT), (WEB, TYPE_AAAA, Mode.KEPT)),
            id="the last of many",
        ),
        pytest.param(
            [],
            [override("site/sin", Forced.DOWN, force=True)],
            (),
            (("only-sin", TYPE_A, Mode.NODATA),),
            id="forced to nothing",
        ),
        pytest.param([override("site/sin", Forced.DOWN)], [], (), (), id="an end of an override heals"),
    ],
)
def test_harm(
    before: list[Override],
    after: list[Override],
    failing: tuple[PoolId, ...],
    want: tuple[tuple[str, int, Mode], ...],
) -> None:
    assert harm(before, after, failing) == want


def test_a_policy_that_is_new_is_compared_with_a_steady_one() -> None:
    nodata = deployment(replace(NEAREST, on_all_down=AllDown.NODATA, last_resort=(ip_address("192.0.2.9"),)))
    places = geography(nodata, web=[[FRA]])
    world = World(NOW, verdicts=down(FRA, IAD, SIN, CLOUD))
    empty = decide(deployment(), geography(nodata), World(NOW), None)
    assert [mode for _, _, mode in harmed(empty, decide(nodata, places, world, None))] == [Mode.NODATA, Mode.NODATA]
