"""Changes as lines of the log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gslb.control.changes import Change, Moment, What, changes
from gslb.control.lines import MOST, lines
from gslb.model.deployment import TYPE_A, Forward, PolicyId, PoolId, SiteId
from gslb.model.history import Cause, Ejection, History, Keeper, Kept, Moved, Out, Shed
from gslb.model.plan import BackendPlan, BalancerTable, Serving
from gslb.model.world import Forced, Health, Override, Verdict

NOW = 1_000.0
FRA, IAD, WEB = PoolId("web-fra"), PoolId("web-iad"), PolicyId("web")
STEADY = Moment(NOW, "c", (1, "d"), verdicts={FRA: {"192.0.2.10": Verdict(Health.UP)}})
DOWN = replace(STEADY, verdicts={FRA: {"192.0.2.10": Verdict(Health.DOWN, why="refused")}})
BACKEND = BackendPlan("10.1.0.1", 1, Forward.L2)
OTHER = BackendPlan("10.1.0.2", 1, Forward.L2, Serving.DRAIN)
DRAINED = replace(STEADY, overrides=(Override("site/fra", Forced.DRAIN, "alice", "CHG-7", NOW - 1),))


def past(history: History) -> Moment:
    return replace(STEADY, history=history)


@pytest.mark.parametrize(
    ("after", "there", "back"),
    [
        (
            DOWN,
            ["target web-fra/192.0.2.10: up -> down", "pool web-fra: up -> down"],
            ["target web-fra/192.0.2.10: down -> up", "pool web-fra: down -> up"],
        ),
        (DRAINED, ["override site/fra: auto -> drain"], ["override site/fra: drain -> auto"]),
        (
            past(History(out={WEB: {FRA: Out(NOW, held=True, types=(TYPE_A,))}})),
            ["out web/web-fra: in -> held (A)"],
            ["out web/web-fra: held (A) -> in"],
        ),
        (
            past(History(sheds={FRA: Shed(Cause.LOAD, 0.125, NOW, "g", (Moved(WEB, TYPE_A, 0, IAD, 9),))})),
            ["shed web-fra: 0.0% -> 12.5% to web-iad"],
            ["shed web-fra: 12.5% to web-iad -> 0.0%"],
        ),
        (
            past(History(kept={WEB: {FRA: Kept(NOW, Keeper.VELOCITY)}})),
            ["kept web/web-fra: not kept -> kept by velocity"],
            ["kept web/web-fra: kept by velocity -> not kept"],
        ),
        (
            past(History(ejected={"web-fra/192.0.2.10": Ejection(NOW + 60, 1, "slow")})),
            ["ejection web-fra/192.0.2.10: in -> ejected"],
            ["ejection web-fra/192.0.2.10: ejected -> in"],
        ),
        (
            replace(STEADY, balancers={FRA: BalancerTable(SiteId("fra"), (), (BACKEND, OTHER))}),
            ["backend web-fra/10.1.0.2: not known -> drain"],
            [],
        ),
        (replace(STEADY, blind_since=NOW), ["blind site: sees -> blind"], ["blind site: blind -> sees"]),
        (past(History(sheds={FRA: Shed(Cause.RETURN, 0.0, NOW, "g")})), [], []),
        (replace(STEADY, plan=(2, "e"), configuration="f"), [], []),
    ],
)
def test_every_change_of_answers_has_a_line(after: Moment, there: list[str], back: list[str]) -> None:
    assert [line.text for line in lines(changes(STEADY, after))] == there
    assert [line.text for line in lines(changes(after, STEADY))] == back


def test_a_line_says_why_and_which_person() -> None:
    (target, _) = lines(changes(STEADY, DOWN))
    (override,) = lines(changes(STEADY, DRAINED))
    assert (target.fields, override.fields) == (
        {"why": "refused", "who": None},
        {"why": "CHG-7", "who": "alice"},
    )


def test_many_at_once_are_counted() -> None:
    made = [Change(What.TARGET, f"web-fra/{number}", "gslb", "refused", "up", "down") for number in range(MOST + 1_000)]
    assert len(lines(made[:MOST])) == MOST
    found = lines(made)
    assert (len(found), found[-1].text) == (MOST + 1, "and 1,000 more changes: the audit log has all")
