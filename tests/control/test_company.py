"""Other nodes as events and alarms tell of them."""

from __future__ import annotations

from dataclasses import replace

from gslb.bus.bus import Standing
from gslb.bus.messages import Life
from gslb.bus.peers import Living
from gslb.control.changes import Moment, What, changes
from gslb.control.company import PATIENCE_S, SETTLE_S, Company, Watchman, alarms
from gslb.model.deployment import Node, NodeId
from tests.control.make import DEPLOYMENT, IAD, NODE

BUS, NO_BUS = Standing(connected=True, since=0.0), Standing(connected=False, since=0.0, why="refused")
LIFE = Life("c1", 0, 1, "", "", "", None, {}, "0.1", 10.0)
MODEL = replace(DEPLOYMENT, nodes={NODE.name: NODE, NodeId("iad"): Node(NodeId("iad"), IAD)})


def living(name: str = "iad", *, alive: bool = True, config: str = "c1", skew_s: float = 0.0) -> dict[NodeId, Living]:
    life = replace(LIFE, config=config)
    return {NodeId(name): Living(IAD, NodeId(name), 1, life, 1.0, alive, 0.0, skew_s, {})}


def test_alone_there_is_no_company() -> None:
    assert Watchman().look(Standing(connected=False, since=0.0, alone=True), {}, "c1", 0.0) == Company()


def test_a_start_is_no_loss() -> None:
    watchman = Watchman()
    found = watchman.look(NO_BUS, {}, "c1", 0.0)
    assert found.bus is None
    assert not any(alarms(found, NO_BUS, {}, MODEL).values())
    assert watchman.look(NO_BUS, {}, "c1", PATIENCE_S).bus is False
    assert watchman.look(BUS, {}, "c1", 10.0).bus is True
    watchman.begin()
    assert watchman.look(NO_BUS, {}, "c1", 11.0).bus is None


def test_while_the_bus_is_gone_nothing_is_told_of_nodes() -> None:
    watchman = Watchman()
    assert watchman.look(BUS, living(), "c1", 0.0).alive == {"iad": True}
    gone = watchman.look(NO_BUS, living(alive=False), "c1", 10.0)
    assert (gone.bus, gone.alive) == (False, {"iad": True})
    assert watchman.look(BUS, living(alive=False), "c1", 20.0).alive == {"iad": True}
    assert watchman.look(BUS, living(alive=False), "c1", 20.0 + SETTLE_S).alive == {"iad": False}


def test_who_is_known_from_an_earlier_run_is_not_lost_before_it_could_be_heard() -> None:
    watchman = Watchman()
    assert watchman.look(BUS, living(alive=False), "c1", 0.0).alive == {}
    assert not any(alarms(watchman.company, BUS, living(alive=False), MODEL).values())
    assert watchman.look(BUS, living(alive=False), "c1", SETTLE_S).alive == {"iad": False}


def test_another_configuration_and_clock() -> None:
    watchman = Watchman()
    found = watchman.look(BUS, living(config="c2", skew_s=-61.0), "c1", 0.0)
    assert (found.configurations, found.skewed) == ({"iad": "c2"}, {"iad": -61.0})
    assert watchman.look(BUS, living(skew_s=0.8), "c1", 1.0).skewed == {"iad": -61.0}  # not far enough from it
    assert watchman.look(BUS, living(skew_s=0.2), "c1", 2.0).skewed == {}
    assert watchman.look(BUS, living(skew_s=0.8), "c1", 3.0).skewed == {}


def test_alarms() -> None:
    watchman = Watchman()
    assert not any(alarms(watchman.look(BUS, living(), "c1", 0.0), BUS, living(), MODEL).values())
    lost = living(alive=False)
    found = alarms(watchman.look(BUS, lost, "c1", 10.0), BUS, lost, MODEL)
    assert found["nodes"] == ("node iad (iad) is not heard any more",)
    found = alarms(watchman.look(NO_BUS, lost, "c1", 11.0), NO_BUS, lost, MODEL)
    assert found["bus"] == ("no bus since 1970-01-01 00:00:00 UTC: what other nodes say is as old (refused)",)
    assert found["nodes"] == ()
    stranger = living("ber")
    found = alarms(Watchman().look(BUS, stranger, "c1", 0.0), BUS, stranger, MODEL)
    assert found["nodes"] == ("node ber of iad is not in this configuration: what it says does not count",)
    ahead = living(skew_s=61.04)
    found = alarms(Watchman().look(BUS, ahead, "c1", 0.0), BUS, ahead, MODEL)
    assert found["clocks"] == ("the clock of node iad is 61 s ahead of this node's",)


def test_another_with_our_name_is_told_while_it_goes_on() -> None:
    watchman = Watchman()

    def lines(count: int, now: float) -> tuple[str, ...]:
        standing = replace(BUS, refused={"own_name": count})
        return alarms(watchman.look(standing, {}, "c1", now), standing, {}, MODEL)["nodes"]

    assert lines(0, 0.0) == ()
    assert lines(3, 1.0) == ()  # our own of before a loss
    assert lines(3, 20.0) == ()
    found = [lines(4 + second, 30.0 + second) for second in range(8)]
    assert [bool(one) for one in found] == [False] * 5 + [True] * 3
    assert "another node says that it is this one" in found[-1][0]
    assert lines(11, 41.0)
    assert lines(11, 43.0) == ()


def test_events() -> None:
    def told(before: Company, after: Company) -> list[tuple[What, str, object, object]]:
        found = changes(Moment(company=before), Moment(company=after))
        return [(one.what, one.subject, one.before, one.after) for one in found]

    iad = NodeId("iad")
    there = Company(bus=True, alive={iad: True})
    assert told(Company(), there) == [(What.NODE, "iad", None, "there")]
    assert told(there, replace(there, bus=False)) == [(What.BUS, "bus", "there", "gone")]
    assert told(there, replace(there, alive={iad: False})) == [(What.NODE, "iad", "there", "gone")]
    other = replace(there, configurations={iad: "c2"}, skewed={iad: 2.0})
    assert told(there, other) == [
        (What.OTHER_CONFIGURATION, "iad", None, "c2"),
        (What.CLOCK, "iad", None, 2.0),
    ]
    assert told(other, there) == [(What.OTHER_CONFIGURATION, "iad", "c2", None), (What.CLOCK, "iad", 2.0, None)]
