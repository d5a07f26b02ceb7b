from __future__ import annotations

from dataclasses import replace

from gslb.control.checks import Ways, probes_of
from gslb.control.findings import KNOWN_S, TEXT_CHARACTERS, Findings, Reading
from gslb.model.deployment import Deployment, LoadSource, PoolId, WithoutBalancer
from gslb.model.world import Health, Verdict
from healthcheck.messages import Detail, Figures, Found, Outlier, Pulse, Report
from healthcheck.messages import Reading as Read
from tests.control.make import FRA
from tests.control.test_checks import CLIENTS, MONITORS, balanced, deployed, pool

A, B = PoolId("a"), PoolId("b")
ONE, TWO = "192.0.2.1", "192.0.2.2"
FOUR = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
BOTH = deployed(pool("a", ONE, TWO), pool("b", ONE), reference=("10.0.1.1",))


def findings(deployment: Deployment = BOTH, now: float = 100.0) -> Findings:
    made = Findings()
    made.want(deployment, FRA, {}, now)
    return made


def up(name: str, at: float) -> Found:
    return Found(name, Health.UP, at)


def test_a_check_speaks_for_every_pool_that_uses_it() -> None:
    made = findings()
    assert made.take(Report(1, (up(f"web/{ONE}", 100.0), Found(f"web/{TWO}", Health.DOWN, 101.0, "refused"))), 101.0)
    assert made.verdicts(103.0) == {
        A: {ONE: Verdict(Health.UP, 3.0), TWO: Verdict(Health.DOWN, 2.0, "refused")},
        B: {ONE: Verdict(Health.UP, 3.0)},
    }


def test_nothing_is_said_of_what_was_never_judged() -> None:
    made = findings()
    assert made.unjudged
    assert made.verdicts(100.0) == {}
    made.take(Report(1, (up(f"web/{ONE}", 100.0), up(f"web/{TWO}", 100.0))), 100.0)
    assert not made.unjudged


def test_only_what_matters_to_a_decision_is_a_change() -> None:
    made = findings()
    first = Found(f"web/{ONE}", Health.UP, 100.0)
    assert made.take(Report(1, (first,)), 100.0)
    assert not made.take(Report(1, (replace(first, at=105.0),)), 105.0)
    assert not made.take(Report(1, (replace(first, at=105.0, why="slow"),)), 105.0)
    assert made.take(Report(1, (replace(first, settles_s=10.0),)), 110.0)
    assert made.take(Report(1, (replace(first, settles_s=10.0, double=True),)), 110.0)
    assert made.take(Report(1, (replace(first, health=Health.DOWN),)), 110.0)


def test_reports_of_other_work_and_of_unknown_checks_are_dropped() -> None:
    made = findings()
    assert not made.take(Report(0, (up(f"web/{ONE}", 100.0),)), 100.0)
    unknown = Report(
        1,
        (up("web/203.0.113.9", 100.0),),
        (Detail("web/203.0.113.9", ()),),
        (Read("load x", 1.0, 2.0),),
        Pulse(outliers=(Outlier(0, "web/203.0.113.9", "slow"), Outlier(7, f"web/{ONE}", "slow"))),
    )
    assert not made.take(unknown, 100.0)
    assert made.verdicts(100.0) == {}
    assert made.readings() == {}


def test_an_age_is_never_negative() -> None:
    made = findings()
    made.take(Report(1, (up(f"web/{ONE}", 500.0),)), 100.0)
    assert made.verdicts(100.0)[A][ONE].age_s == 0.0


def test_outliers_are_of_their_pool() -> None:
    made = findings(deployed(pool("a", *FOUR), pool("b", *FOUR)))
    made.take(Report(1, tuple(up(f"web/{address}", 100.0) for address in FOUR)), 100.0)
    assert made.take(Report(1, pulse=Pulse(outliers=(Outlier(1, f"web/{ONE}", "slow"),))), 101.0)
    assert made.verdicts(101.0)[A][ONE].outlier == ""
    assert made.verdicts(101.0)[B][ONE].outlier == "slow"
    assert not made.take(Report(1, pulse=Pulse(outliers=(Outlier(1, f"web/{ONE}", "slow"),))), 102.0)
    assert made.take(Report(1, pulse=Pulse()), 103.0)
    assert made.verdicts(103.0)[B][ONE].outlier == ""


def test_blindness_is_a_change() -> None:
    made = findings()
    assert made.take(Report(1, pulse=Pulse(blind_since=99.0)), 100.0)
    assert made.blind_since == 99.0
    assert made.take(Report(1, pulse=Pulse()), 101.0)


def test_a_process_that_was_replaced_does_not_end_blindness_before_it_knows() -> None:
    made = findings()
    made.take(Report(1, pulse=Pulse(blind_since=99.0, references={"reference 10.0.1.1": "refused"})), 100.0)
    assert not made.take(Report(1, pulse=Pulse(references={"reference 10.0.1.1": None})), 101.0)
    assert not made.take(Report(1, pulse=Pulse(blind_since=103.0, references={"reference 10.0.1.1": "refused"})), 104.0)
    assert made.blind_since == 99.0
    assert made.take(Report(1, pulse=Pulse(references={"reference 10.0.1.1": ""})), 105.0)
    assert made.blind_since is None


def test_a_site_without_references_is_not_blind() -> None:
    made = findings()
    made.take(Report(1, pulse=Pulse(blind_since=99.0, references={"reference 10.0.1.1": "refused"})), 100.0)
    made.want(replace(BOTH, reference=()), FRA, {}, 101.0)
    assert made.blind_since is None


KNOWN = {
    A: {
        ONE: Verdict(Health.DOWN, 7.0, "refused", 5.0, double=True, outlier="slow"),
        TWO: Verdict(Health.UP, KNOWN_S + 1),
    }
}


def test_a_start_begins_with_what_was_known() -> None:
    made = Findings()
    made.want(BOTH, FRA, KNOWN, 100.0)
    assert not made.unjudged
    assert made.verdicts(101.0)[A][ONE] == Verdict(Health.DOWN, 8.0, "refused", outlier="slow")
    assert made.verdicts(101.0)[B][ONE].health is Health.DOWN  # the same check
    orders = {order.check.id: order for order in made.work(100.0).orders}
    assert (orders[f"web/{ONE}"].known, orders[f"web/{ONE}"].why) == (Health.DOWN, "refused")
    assert orders[f"web/{TWO}"].known is None  # too long ago: the first round decides
    assert orders["reference 10.0.1.1"].known is None


def test_a_new_configuration_keeps_what_is_known() -> None:
    made = findings()
    made.take(Report(1, (Found(f"web/{ONE}", Health.DOWN, 100.0, "refused", 5.0),)), 100.0)
    made.want(deployed(pool("a", ONE, monitor=None), pool("b", ONE)), FRA, {}, 110.0)
    assert made.verdicts(110.0) == {B: {ONE: Verdict(Health.DOWN, 10.0, "refused", 5.0)}}
    made.want(deployed(pool("b", *FOUR)), FRA, {B: {ONE: Verdict(Health.UP)}}, 120.0)
    assert made.verdicts(120.0)[B][ONE].health is Health.DOWN  # what was found here outranks what was kept on disk
    assert made.unjudged


def test_what_is_left_out_of_the_configuration_is_forgotten() -> None:
    paged = replace(BOTH.pools[A], load=LoadSource("url", "http://192.0.2.1/load", json="$.rps"))
    made = findings(replace(BOTH, pools={A: paged}))
    made.take(Report(1, (up(f"web/{TWO}", 100.0),), (Detail(f"web/{TWO}", ()),), (Read("load a", 1.0, 2.0),)), 100.0)
    made.want(deployed(pool("b", ONE)), FRA, {}, 101.0)
    assert made.verdicts(101.0) == {}
    assert made.readings() == {}
    assert [one["check"] for one in made.state()["targets"]] == [f"web/{ONE}"]
    assert made.state()["pages"] == {}


def test_readings_of_load_and_why_there_is_none() -> None:
    paged = replace(BOTH.pools[A], load=LoadSource("url", "http://192.0.2.1/load", json="$.rps"))
    made = findings(replace(BOTH, pools={A: paged}))
    made.take(Report(1, readings=(Read("load a", 100.0, 812.0),)), 100.0)
    assert made.readings() == {A: Reading(812.0, 100.0)}
    made.take(Report(1, readings=(Read("load a", 105.0, None, "refused"),)), 105.0)
    assert made.readings() == {A: Reading(812.0, 100.0)}
    assert made.state()["pages"] == {A: "refused"}
    made.take(Report(1, readings=(Read("load a", 110.0, 0.0),)), 110.0)
    assert made.readings() == {A: Reading(0.0, 110.0)}
    assert made.state()["pages"] == {A: ""}


def test_the_state_for_people() -> None:
    made = findings()
    figures = (Figures("", 0.2, 0.1, 0.4, 0.5), Figures("/a", 0.1, 0.1, 0.1, 0.0), Figures("/b", 0.2, 0.1, 0.4, 0.5))
    detail = Detail(f"web/{ONE}", figures, "the certificate expires in 3 days")
    made.take(
        Report(1, details=(detail,), pulse=Pulse(3, 100, 1, 2, 3, references={"reference 10.0.1.1": "refused"})), 100.0
    )
    made.take(
        Report(1, pulse=Pulse(3, 150, 1, 2, 3, references={"reference 10.0.1.1": "refused"}, rounds={"web": (9, 1)})),
        102.0,
    )
    state = made.state()
    assert (state["checks"], state["checks_per_s"], state["late"], state["skipped"], state["in_flight"]) == (
        3,
        25.0,
        1,
        2,
        3,
    )
    assert state["rounds"] == {"web": [9, 1]}
    assert state["references"] == {"10.0.1.1": {"answers": False, "why": "refused"}}
    one, two = state["targets"]
    assert one["pools"] == [A, B]
    assert (one["latency_s"], one["p50_s"], one["p99_s"], one["errors"]) == (0.2, 0.1, 0.4, 0.5)
    assert [path["path"] for path in one["paths"]] == ["/a", "/b"]
    assert one["warning"] == "the certificate expires in 3 days"
    assert (two["check"], two["paths"]) == (f"web/{TWO}", [])
    assert findings().state()["references"] == {"10.0.1.1": {"answers": None, "why": ""}}


def test_a_process_that_begins_anew_gives_no_rate_below_zero() -> None:
    made = findings()
    made.take(Report(1, pulse=Pulse(done=1000)), 100.0)
    made.take(Report(1, pulse=Pulse(done=5)), 101.0)
    assert made.state()["checks_per_s"] >= 0


def test_texts_are_bounded() -> None:
    made = findings()
    long = "x" * 10_000
    made.take(Report(1, (Found(f"web/{ONE}", Health.DOWN, 100.0, long),), (Detail(f"web/{ONE}", (), long),)), 100.0)
    assert len(made.verdicts(100.0)[A][ONE].why) == TEXT_CHARACTERS
    assert len(made.state()["targets"][0]["warning"]) == TEXT_CHARACTERS


LED = "seen/web/10.1.0.11"


def test_who_is_asked_by_a_way_of_the_balancer_is_not_asked_before_there_is_one() -> None:
    web = replace(deployed(balanced("web", ["192.0.2.1"], ["10.1.0.11"]), pool("a", ONE)), monitors=MONITORS | CLIENTS)
    (probe,) = probes_of(web, FRA)
    made = findings(web)
    assert [order.check.id for order in made.work(100.0).orders] == [f"web/{ONE}"]
    made.take(Report(1, (up(f"web/{ONE}", 100.0),)), 100.0)
    assert not made.unjudged, "nobody waits for who cannot be asked"
    assert made.lead(Ways(frozenset({probe.mark})), 101.0)
    assert made.unjudged
    work = made.work(101.0)
    assert [order.check.id for order in work.orders] == [LED, f"web/{ONE}"]
    made.take(Report(work.serial, (up(LED, 101.0),)), 101.0)
    assert not made.lead(Ways(frozenset({probe.mark}), "another reason"), 102.0), "the same work"
    assert made.lead(Ways(why="eth0 is not attached"), 103.0)
    assert not made.take(Report(work.serial, (Found(LED, Health.DOWN, 103.0, "timed out"),)), 103.0)
    assert made.verdicts(104.0)[PoolId("web")]["10.1.0.11"] == Verdict(Health.UP, 3.0), "what was known, and its age"
    told = {one["check"]: one["warning"] for one in made.state()["targets"]}
    assert told == {LED: "this node cannot ask as clients do: eth0 is not attached", f"web/{ONE}": ""}


def test_a_pool_that_is_served_without_the_balancer_is_asked_at_its_answers() -> None:
    web = balanced("web", ["192.0.2.1"], ["10.1.0.11"])
    assert web.balance is not None
    web = replace(web, balance=replace(web.balance, without_balancer=WithoutBalancer.SERVE))
    made = findings(replace(deployed(web), monitors=CLIENTS))
    assert made.lead(Ways(unbalanced=frozenset({web.name})), 100.0)
    assert [order.check.address for order in made.work(100.0).orders] == ["192.0.2.1"]
    assert made.lead(Ways(), 101.0)
    assert made.work(101.0).orders == ()
