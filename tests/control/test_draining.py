"""What still comes to a site that drains, and when it is safe to stop: never while something is not known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.control.draining import FRESH_S, QUIET_S, Draining, Known, Thing, things
from gslb.model.bgp import Bgp
from gslb.model.deployment import (
    Anycast,
    Deployment,
    Monitor,
    MonitorId,
    Node,
    NodeId,
    Policy,
    PolicyId,
    PoolId,
    Rule,
)
from gslb.model.plan import Choice, Member, Mode, Plan, PolicyPlan
from gslb.model.world import Forced, Override
from tests.control import pulses
from tests.control.pulses import FAR, FRA, VIP, WEB, grow
from tests.control.routed import PREFIX, prefix, state
from xdp.messages import Count, Estimate, Pulse

WALL = 1_700_000_000.0
NODE = Node(NodeId("fra"), FRA)
DRAIN = Override("site/fra", Forced.DRAIN, "alice", "CHG-7", WALL - 300)
ANYCAST = Anycast("dns", (IPv4Network(PREFIX), IPv4Network("203.0.113.0/24")), ("dns",))
OWN_PREFIX = "192.0.2.10/32"
OWN = Anycast("web", (IPv4Network(OWN_PREFIX),), ("pools",), pools=(WEB,), min_sites=0)
SPEAKER = Bgp("fra", 64512, IPv4Address("192.0.2.1"), ())


def deployment(*, announces: bool = False) -> Deployment:
    policy = Policy(PolicyId("web"), (Rule((WEB, FAR)),), ttl_max=60)
    found = replace(pulses.deployment(), policies={policy.name: policy}, nodes={NODE.name: NODE})
    return replace(found, anycast=(ANYCAST,), bgp=(SPEAKER,)) if announces else found


def plan_of(*pools: PoolId) -> Plan:
    """A plan that answers with these pools."""
    choice = Choice(Mode.NORMAL, tuple(Member("192.0.2.10", 1, pool) for pool in pools), 1)
    return Plan("test", 1, "g", {PolicyId("web"): PolicyPlan(5, None, None, {1: (0,)})}, (choice,))


@dataclass
class Scene:
    """A site that drains; a second passes at each look."""

    known: Known
    draining: Draining = field(default_factory=Draining)
    now: float = 1_000.0

    def look(self, seconds: float = 1.0, **new: object) -> dict[str, Any] | None:
        """The balancer's counters are as fresh as they can be."""
        self.now += seconds
        pulse = self.known.pulse
        self.known = replace(self.known, pulse=replace(pulse, at=self.now) if pulse is not None else None)
        return self.see(**new)

    def see(self, **new: object) -> dict[str, Any] | None:
        """Without a new pulse but what is given."""
        self.known = replace(self.known, **new)  # type: ignore[arg-type]
        self.draining.look(self.known, self.now, WALL + self.now - 1_000)
        return self.draining.state

    def count(self, **grown: int) -> Pulse:
        """A pulse in which the VIP's counters have grown so."""
        pulse = self.known.pulse
        assert pulse is not None
        return replace(pulse, vips={"web": {VIP: grow(pulse.vips["web"][VIP], **grown)}}, at=self.now)

    def quiet(self, seconds: float = QUIET_S + 1) -> dict[str, Any]:
        """So long nothing comes."""
        found = None
        for _ in range(int(seconds)):
            found = self.look()
        assert found is not None
        return found


def scene(*, announces: bool = False) -> Scene:
    active = {"web": {VIP: Estimate(12.0, 0.0)}}
    pulse = Pulse(1_000.0, 1.0, {"web": {VIP: Count(handshakes=500)}}, active_vips=active)
    announcing = state(prefix(state="drain")) if announces else None
    return Scene(Known(deployment(announces=announces), NODE, (DRAIN,), plan_of(FAR), pulse, {}, 1_000, announcing))


def only(found: dict[str, Any] | None) -> dict[str, Any]:
    assert found is not None
    (one,) = found["arrivals"]
    assert isinstance(one, dict)
    return one


def test_nothing_is_told_while_nobody_drains_the_site() -> None:
    for overrides in (
        (),
        (replace(DRAIN, target="site/iad"),),
        (replace(DRAIN, until=WALL - 1),),
        (DRAIN, replace(DRAIN, state=Forced.UP, since=WALL - 1)),
    ):
        assert scene().look(overrides=overrides) is None


def test_a_site_becomes_safe_when_nothing_new_came_for_a_minute() -> None:
    one = scene()
    first = one.look()
    assert first is not None
    assert (first["site"], first["who"], first["state"], first["safe"]) == ("fra", "alice", "drain", False)
    assert only(first) == {
        "what": "pool",
        "name": "web",
        "source": "balancer",
        "per_s": None,
        "checks_per_s": 0.0,
        "quiet_s": 0.0,
        "age_s": 0.0,
        "active": 12,
        "unknown": "",
    }
    assert not one.quiet(QUIET_S - 1)["safe"]
    found = one.look()
    assert found is not None
    assert (found["safe"], found["obstacles"]) == (True, [])
    assert (only(found)["per_s"], only(found)["quiet_s"]) == (0.0, QUIET_S)


@pytest.mark.parametrize("what", ["handshakes", "udp_flows", "untracked_syns"])
def test_what_comes_begins_the_minute_anew(what: str) -> None:
    one = scene()
    assert one.quiet()["safe"]
    found = one.see(pulse=one.count(**{what: 5}))
    assert found is not None
    assert not found["safe"]
    assert only(found)["quiet_s"] == 0.0
    assert only(found)["per_s"] > 0
    assert found["obstacles"] == ["not quiet for 60 s yet: pool web"]
    assert one.quiet()["safe"]
    talks = one.see(pulse=one.count(packets=100, syns=3))  # of connections that are there
    assert talks is not None
    assert talks["safe"]


CHECK = Monitor(MonitorId("web"), "http", 1.0, 0.5, 2, 2, 0.5, settings={"path": ("/", "/deep")})


def checked(port: int = 80, kind: str = "http", *, announces: bool = False) -> Scene:
    """A site whose pool three nodes of other sites check, at two paths each second."""
    one = scene(announces=announces)
    monitor = replace(CHECK, kind=kind, port=port)
    pools = {name: replace(pool, monitor=CHECK.name) for name, pool in one.known.deployment.pools.items()}
    found = replace(one.known.deployment, pools=pools, monitors={CHECK.name: monitor})
    one.known = replace(one.known, deployment=found, checkers=3)
    return one


def test_checks_of_other_sites_are_no_clients() -> None:
    one = checked()
    found = None
    for moment in range(62):
        one.look()
        come = (12, 0)[moment % 2]  # six a second, in bursts
        found = one.see(pulse=one.count(handshakes=come))
    assert found is not None
    assert (found["safe"], only(found)["checks_per_s"], only(found)["per_s"]) == (
        True,
        6.0,
        pytest.approx(6.0, abs=0.7),
    )
    more = None
    for _ in range(20):
        one.look()
        more = one.see(pulse=one.count(handshakes=8))  # two of them are clients
    assert only(more)["quiet_s"] < 10.0


@pytest.mark.parametrize("other", [{"port": 81}, {"kind": "icmp"}, {"announces": True}])
def test_only_checks_that_are_connections_to_this_site_alone_are_allowed_for(other: dict[str, Any]) -> None:
    one = checked(**other)
    found = one.look()
    assert found is not None
    assert [each["checks_per_s"] for each in found["arrivals"]] == [0.0] * len(found["arrivals"])


def test_checks_are_allowed_for_at_an_address_that_only_this_site_announces() -> None:
    one = checked(announces=True)
    found = replace(one.known.deployment, anycast=(OWN,))
    one.known = replace(
        one.known, deployment=found, announcing=state(prefix(state="drain", prefix=OWN_PREFIX, sites=[]))
    )
    told = one.look()
    assert told is not None
    assert [(each["name"], each["checks_per_s"]) for each in told["arrivals"]] == [("web", 6.0), (OWN_PREFIX, 6.0)]
    told = one.quiet()
    assert told["obstacles"] == [], "what may be announced nowhere need not be announced elsewhere"


def test_a_rate_is_that_of_the_last_seconds() -> None:
    one = scene()
    found = None
    for _ in range(30):
        one.look()
        found = one.see(pulse=one.count(handshakes=3))
    assert only(found)["per_s"] == pytest.approx(3.0, rel=0.2)
    for _ in range(12):
        found = one.look()
    assert only(found)["per_s"] == 0.0


def test_what_is_not_known_is_not_safe() -> None:
    for new, why in (
        ({"pulse": None}, "the balancer tells nothing"),
        ({"unbalanced": {WEB: "no interface"}}, "web is not balanced here: no interface"),
        ({"pulse": Pulse(1_061.0, 1.0)}, "the balancer does not count it yet"),
    ):
        one = scene()
        assert one.quiet()["safe"]
        found = one.see(**new)
        assert found is not None
        assert (found["safe"], only(found)["unknown"], only(found)["per_s"]) == (False, why, None)
        assert found["obstacles"] == ["what comes is not known: pool web"]


def test_counts_that_are_old_or_begin_anew_say_nothing_of_the_minute() -> None:
    one = scene()
    assert one.quiet()["safe"]
    one.now += FRESH_S + 1
    late = one.see()
    assert late is not None
    assert (late["safe"], only(late)["unknown"], only(late)["quiet_s"]) == (False, "no counts for 6 s", None)
    back = one.look()
    assert back is not None
    assert back["safe"]  # nothing was counted meanwhile either
    again = one.see(pulse=replace(one.count(), born=2.0))
    assert again is not None
    assert (again["safe"], only(again)["quiet_s"]) == (False, 0.0)
    fewer = one.see(pulse=replace(one.count(handshakes=-500), born=2.0))
    assert only(fewer)["quiet_s"] == 0.0
    assert one.quiet()["safe"]


def test_a_site_that_is_still_answered_is_not_safe_however_quiet_it_is() -> None:
    one = scene()
    one.see(plan=plan_of(WEB, FAR))
    found = one.quiet()
    assert found["obstacles"] == ["still in the answers, since too little else is left: web"]
    young = scene()
    young.known = replace(young.known, overrides=(replace(DRAIN, since=WALL),))
    assert young.quiet(10)["obstacles"][0] == "answers that were given before may be kept for 50 s more"
    none = scene()
    none.known = replace(none.known, plan=None)
    assert none.quiet()["obstacles"] == ["no plan is in force, so nobody knows what is answered"]


def test_prefixes_that_others_do_not_take_over() -> None:
    for announcing, obstacle in (
        (state(prefix(state="announced")), f"{PREFIX} is still announced in full: healthy"),
        (state(prefix(state="drain", sites=[])), f"no other site is known to announce {PREFIX}"),
        (state(prefix(state="off", sites=[])), ""),
    ):
        one = scene(announces=True)
        one.known = replace(one.known, announcing=announcing)
        assert one.quiet()["obstacles"] == ([obstacle] if obstacle else [])


def test_what_is_counted_where() -> None:
    assert things(deployment(), NODE) == (Thing("pool", "web", "balancer"),)
    assert things(deployment(announces=True), NODE) == (
        Thing("pool", "web", "balancer"),
        Thing("prefix", PREFIX, "balancer"),
        Thing("prefix", PREFIX, "dns"),
        Thing("prefix", "203.0.113.0/24", "dns"),
    )
    plain = replace(deployment(announces=True), anycast=(replace(ANYCAST, announce_when=("pools",)),))
    assert things(plain, NODE)[1:] == (Thing("prefix", PREFIX, "balancer"), Thing("prefix", "203.0.113.0/24", ""))


def test_a_prefix_of_a_balanced_pool_is_counted_though_the_pool_has_another_address() -> None:
    service = Anycast("any", (IPv4Network("203.0.113.80/32"),), ("pools",), pools=(WEB, FAR))
    found = replace(deployment(announces=True), anycast=(service,))
    assert things(found, NODE)[1:] == (Thing("prefix", "203.0.113.80/32", "balancer"),)
    one = scene()
    pulse = replace(one.known.pulse, vips={"web": {VIP: Count(), "203.0.113.80 tcp/80": Count(handshakes=5)}})  # type: ignore[type-var]
    one.known = replace(one.known, deployment=found, pulse=pulse)
    told = one.look()
    assert told is not None
    assert [(each["name"], each["unknown"]) for each in told["arrivals"]] == [("web", ""), ("203.0.113.80/32", "")]
    told = one.look(unbalanced={WEB: "no interface"})
    assert told is not None
    assert {each["unknown"] for each in told["arrivals"]} == {"web is not balanced here: no interface"}


def test_prefixes_are_counted_by_the_balancer_and_by_dns() -> None:
    one = scene(announces=True)
    assert one.quiet()["safe"]
    asked = one.see(answers=1_001)
    assert asked is not None
    assert [(each["name"], each["source"], each["quiet_s"]) for each in asked["arrivals"]] == [
        ("web", "balancer", 61.0 - 1),
        (PREFIX, "balancer", 60.0),
        (PREFIX, "dns", 0.0),
        ("203.0.113.0/24", "dns", 0.0),
    ]
    assert asked["obstacles"] == [f"not quiet for 60 s yet: prefix {PREFIX}, prefix 203.0.113.0/24"]
    one.quiet()
    met = one.see(pulse=one.count(handshakes=1))
    assert met is not None
    assert [each["quiet_s"] for each in met["arrivals"]][:2] == [0.0, 0.0]


def test_without_policies_nothing_is_known_of_what_comes_to_dns() -> None:
    one = scene(announces=True)
    one.known = replace(one.known, deployment=replace(one.known.deployment, policies={}))
    found = one.quiet()
    assert not found["safe"]
    assert {each["unknown"] for each in found["arrivals"] if each["source"] == "dns"} == {
        "DNS counts answers of policies, and there is none"
    }


def test_of_a_site_that_balances_and_announces_nothing_there_is_nothing_to_tell() -> None:
    one = scene()
    pools = {FAR: one.known.deployment.pools[FAR]}
    assert one.look(deployment=replace(one.known.deployment, pools=pools)) is None


def test_a_prefix_of_which_nothing_is_counted_is_not_safe() -> None:
    plain = replace(deployment(announces=True), anycast=(replace(ANYCAST, announce_when=("pools",)),))
    one = scene(announces=True)
    one.known = replace(one.known, deployment=plain)
    assert one.quiet()["obstacles"] == ["what comes is not known: prefix 203.0.113.0/24"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["quiet", "come", "lost", "anew", "kept"]), st.floats(0.5, 30.0, allow_subnormal=False)
        ),
        max_size=25,
    )
)
def test_safe_means_a_minute_of_known_quiet(moves: list[tuple[str, float]]) -> None:
    """Whatever happens: where it says safe, nothing came and all was known for a minute."""
    one, broken_at = scene(), 1_000.0
    for what, seconds in moves:
        one.look(seconds)
        if what == "come":
            one.see(pulse=one.count(handshakes=1))
        elif what == "anew":
            one.see(pulse=replace(one.count(), born=one.now))
        elif what == "lost":
            before = one.known.pulse
            one.see(pulse=None)
            one.known = replace(one.known, pulse=before)
        elif what == "kept":
            one.see(plan=plan_of(WEB))
            one.known = replace(one.known, plan=plan_of(FAR))
        if what in ("come", "anew", "lost"):
            broken_at = one.now
        told = one.draining.state
        assert told is not None
        if told["safe"]:
            assert what not in ("come", "anew", "lost", "kept")
            assert one.now - broken_at >= QUIET_S - 0.1
