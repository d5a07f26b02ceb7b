"""Opinions of several nodes as the verdicts of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.messages import Life, Opinion, Opinions, Stamp, Told
from gslb.bus.peers import Peers
from gslb.control.opinions import Opinions as Own
from gslb.control.topics import Topics, topics_of
from gslb.control.voting import Voting
from gslb.model.deployment import (
    Backend,
    Balance,
    Datacenter,
    Deployment,
    Forward,
    Listen,
    Monitor,
    MonitorId,
    Node,
    NodeId,
    Pool,
    PoolId,
    SiteId,
    View,
)
from gslb.model.world import Health, Verdict
from healthcheck.quorum import Heard, judged
from tests.control.make import DEPLOYMENT, FRA, FRA_ADDRESS, IAD, POLICY, POOLS

UP, DOWN = Health.UP, Health.DOWN
SIN = SiteId("sin")
WEB = Monitor(MonitorId("web"), "http", 5.0, 2.0, 3, 2, 0.5, 80)
BACKENDS = ("10.1.0.11", "10.1.0.12")
FRA_POOL = POOLS[PoolId("web-fra")]
BALANCED = replace(
    FRA_POOL,
    monitor=WEB.name,
    balance=Balance((Listen("tcp", 80),), Forward.L2, tuple(Backend(IPv4Address(one)) for one in BACKENDS)),
)
NODES = {NodeId(name): Node(NodeId(name), SiteId(name[:3])) for name in ("fra1", "fra2", "iad1", "sin1")}


def deployment(*pools: Pool, **given: object) -> Deployment:
    return replace(
        DEPLOYMENT,
        nodes=NODES,
        datacenters={
            site: Datacenter(site, continent=continent) for site, continent in ((FRA, "EU"), (IAD, "NA"), (SIN, "AS"))
        },
        pools={one.name: one for one in pools} or {FRA_POOL.name: replace(FRA_POOL, monitor=WEB.name)},
        monitors={WEB.name: WEB},
        **given,  # type: ignore[arg-type]
    )


class Room:
    """One node, what it finds, and what others tell it."""

    def __init__(self, model: Deployment, node: str = "fra1") -> None:
        self.model = model
        self.topics: Topics = topics_of(model)
        self.own = Own()
        self.peers = Peers(NodeId(node))
        self.voting = Voting(self.own, self.peers)
        self.site = NODES[NodeId(node)].site
        self.own.want(self.topics, model, self.site, NodeId(node))
        self.voting.want(self.topics, model, self.site)
        self.now = 1000.0
        self._number = 0

    def find(self, verdicts: Mapping[str, Verdict], pool: str = "web-fra", **unbalanced: str) -> frozenset[int]:
        named = {PoolId(name.replace("_", "-")): why for name, why in unbalanced.items()}
        return self.own.take({PoolId(pool): verdicts}, named, self.now)

    def hear(self, node: str, found: Mapping[int, Health], site: str = "", for_s: float = 500.0) -> None:
        opinions = {key: Opinion(one, 0.0, for_s, 15.0) for key, one in found.items()}
        self.tell(node, Opinions(opinions), site)

    def tell(self, node: str, body: Opinions | Life, site: str = "") -> None:
        self._number += 1
        stamp = Stamp(1, self._number, self.now, 0.0)
        self.peers.take(Told(site or node[:3], node, stamp, body, self.now))

    def judge(self, *, blind: tuple[str, ...] = (), own_blind: bool = False) -> bool:
        names = {NodeId(name) for name in blind}
        return self.voting.judge(self.topics.by_key, names, self.now, own_blind=own_blind)

    def verdict(self, address: str = FRA_ADDRESS, pool: str = "web-fra") -> Verdict | None:
        return self.voting.verdicts(self.now).get(PoolId(pool), {}).get(address)

    def health(self, address: str = FRA_ADDRESS) -> Health | None:
        found = self.verdict(address)
        return None if found is None else found.health

    def key(self, address: str = FRA_ADDRESS, pool: str = "web-fra") -> int:
        return self.topics.keys[PoolId(pool), address]


@pytest.fixture
def room() -> Room:
    return Room(deployment())


def test_alone_its_own_word_counts_as_it_is(room: Room) -> None:
    room.find({FRA_ADDRESS: Verdict(DOWN, 2.0, "refused", settles_s=4.0)})
    assert room.judge()
    assert room.verdict() == Verdict(DOWN, 2.0, "refused", settles_s=4.0)
    room.now += 3
    assert room.verdict() == Verdict(DOWN, 5.0, "refused", settles_s=4.0)
    assert not room.judge()


def test_two_of_three_sites(room: Room) -> None:
    key = room.key()
    room.find({FRA_ADDRESS: Verdict(DOWN)})
    room.hear("iad1", {key: UP})
    room.hear("sin1", {key: UP})
    room.judge()
    assert room.health() is UP
    room.hear("iad1", {key: DOWN}, for_s=0)
    assert room.judge()
    assert room.health() is DOWN


def test_two_nodes_of_a_site_are_one_voice(room: Room) -> None:
    key = room.key()
    room.find({FRA_ADDRESS: Verdict(DOWN)})
    room.hear("fra2", {key: DOWN})
    room.hear("iad1", {key: UP})
    room.hear("sin1", {key: UP})
    room.judge()
    assert room.health() is UP


def test_who_is_not_in_the_configuration_has_no_voice(room: Room) -> None:
    key = room.key()
    room.find({FRA_ADDRESS: Verdict(UP)})
    for node, site in (("ber1", "ber"), ("ber2", "ams"), ("iad1", "fra"), ("xxx", "sin")):
        room.hear(node, {key: DOWN}, site)
    room.judge()
    assert room.health() is UP


def test_the_blind_do_not_count(room: Room) -> None:
    key = room.key()
    room.find({FRA_ADDRESS: Verdict(UP)})
    room.hear("iad1", {key: DOWN})
    room.hear("sin1", {key: DOWN})
    room.judge(blind=("sin1",))
    assert room.health() is UP  # a tie
    room.judge(blind=("sin1",), own_blind=True)
    assert room.health() is DOWN
    room.judge(blind=("sin1", "iad1"), own_blind=True)
    assert room.health() is DOWN  # what was known stays


def test_another_monitor_is_another_question(room: Room) -> None:
    other = replace(room.model, monitors={WEB.name: replace(WEB, port=81)})
    theirs = topics_of(other).keys[PoolId("web-fra"), FRA_ADDRESS]
    room.find({FRA_ADDRESS: Verdict(UP)})
    room.hear("iad1", {theirs: DOWN})
    room.hear("sin1", {theirs: DOWN})
    room.judge()
    assert room.health() is UP
    quorum = replace(room.model, monitors={WEB.name: replace(WEB, quorum=1.0)})
    assert topics_of(quorum).keys == room.topics.keys


def test_what_an_opinion_says_anew_and_since_when(room: Room) -> None:
    key = room.key()
    assert room.find({FRA_ADDRESS: Verdict(UP, 1.0)}) == {key}
    room.now += 10
    assert room.find({FRA_ADDRESS: Verdict(UP, 2.0)}) == frozenset()
    told = room.own.told(room.now)[key]
    assert (told.age_s, told.for_s, told.ttl_s) == (2.0, 11.0, 15.0)
    assert room.find({FRA_ADDRESS: Verdict(DOWN, 0.5)}) == {key}
    assert room.own.told(room.now)[key].for_s == 0.5
    assert room.find({}) == {key}
    assert room.own.told(room.now) == {}


def test_since_when_an_opinion_holds_outlives_a_restart(room: Room) -> None:
    key = room.key()
    room.find({FRA_ADDRESS: Verdict(DOWN, 0.0)})
    room.now += 100
    kept = room.own.since(room.now)
    again = Room(room.model)
    again.own.restore(kept, again.now)
    again.find({FRA_ADDRESS: Verdict(DOWN, 1.0)})
    assert again.own.told(again.now)[key].for_s == 100.0


# --- a balanced pool ---


def test_backends_are_told_by_their_own_site() -> None:
    afar = Room(deployment(BALANCED), "iad1")
    afar.hear("fra1", {afar.key(one): DOWN for one in BACKENDS})
    afar.judge()
    assert [afar.health(one) for one in (*BACKENDS, FRA_ADDRESS)] == [DOWN, DOWN, None]


def test_its_own_site_has_a_voice_on_its_answers() -> None:
    home = Room(deployment(BALANCED))
    key = home.key(FRA_ADDRESS)
    home.find({one: Verdict(UP, 1.0) for one in BACKENDS})
    assert home.own.told(home.now)[key].health is UP
    home.judge()
    assert home.health(FRA_ADDRESS) is None  # nobody else asks it
    home.hear("iad1", {key: DOWN})
    home.judge()
    assert home.health(FRA_ADDRESS) is UP  # a tie
    home.hear("sin1", {key: DOWN})
    assert home.judge()
    assert home.health(FRA_ADDRESS) is DOWN
    home.find({one: Verdict(DOWN, 1.0) for one in BACKENDS})
    told = home.own.told(home.now)[key]
    assert (told.health, told.why) == (DOWN, "0 of 2 backends are up, expected at least 1")


def test_a_node_that_cannot_balance_says_nothing_of_the_answers() -> None:
    home = Room(deployment(BALANCED))
    home.find({one: Verdict(UP) for one in BACKENDS}, web_fra="no rights")
    assert home.key(FRA_ADDRESS) not in home.own.told(home.now)


def test_answers_that_are_served_without_the_balancer_are_asked_themselves() -> None:
    home = Room(deployment(BALANCED))
    home.find({FRA_ADDRESS: Verdict(DOWN, 1.0, "refused")}, web_fra="no rights")
    home.judge()
    assert home.health(FRA_ADDRESS) is DOWN


def test_alike_addresses_of_two_sites_are_two_targets() -> None:
    other = replace(BALANCED, name=PoolId("web-iad"), datacenter=IAD)
    topics = topics_of(deployment(BALANCED, other))
    assert topics.keys[PoolId("web-fra"), BACKENDS[0]] != topics.keys[PoolId("web-iad"), BACKENDS[0]]


# --- by continents ---


def test_a_continent_that_sees_it_otherwise() -> None:
    policies = {POLICY.name: replace(POLICY, view=View.REGIONAL)}
    room = Room(deployment(policies=policies))
    key = room.key()
    room.find({FRA_ADDRESS: Verdict(UP)})
    room.hear("iad1", {key: UP})
    room.hear("sin1", {key: DOWN})
    room.judge()
    assert room.health() is UP
    regional = room.voting.regional(room.now)
    assert regional.keys() == {"AS"}
    assert regional["AS"][PoolId("web-fra")][FRA_ADDRESS].health is DOWN
    room.hear("sin1", {key: UP}, for_s=0)
    assert room.judge()
    assert room.voting.regional(room.now) == {}


def test_without_a_regional_policy_there_is_no_regional_view(room: Room) -> None:
    room.find({FRA_ADDRESS: Verdict(UP)})
    room.hear("iad1", {room.key(): DOWN})
    room.judge()
    assert room.voting.regional(room.now) == {}


@given(st.data())
def test_what_is_known_without_a_count_is_what_a_count_says(data: st.DataObject) -> None:
    """Where all find a target up, no vote is counted: the same comes out as of one."""
    room = Room(deployment(policies={POLICY.name: replace(POLICY, view=View.REGIONAL)}))
    verdicts = st.builds(
        Verdict,
        st.sampled_from((UP, UP, UP, DOWN)),
        st.integers(0, 30).map(float),
        st.sampled_from(("", "", "slow")),
        st.sampled_from((None, None, 4.0)),
        st.booleans() if data.draw(st.booleans()) else st.just(value=False),
        st.sampled_from(("", "", "", "twice as slow")),
    )
    own = data.draw(verdicts)
    room.find({FRA_ADDRESS: own})
    heard = [Heard("fra", "fra1", own, own.age_s, 15.0)]
    for node in data.draw(st.lists(st.sampled_from(("fra2", "iad1", "sin1")), unique=True)):
        one = data.draw(verdicts)
        opinion = Opinion(one.health, one.age_s, one.age_s, 15.0, one.settles_s, one.double, one.outlier, one.why)
        room.tell(node, Opinions({room.key(): opinion}))
        (said,) = (each for each in room.voting.said(PoolId("web-fra"), FRA_ADDRESS, room.now) if each.node == node)
        heard.append(Heard(node[:3], node, said.verdict, said.for_s, 15.0))
    room.judge()
    assert room.verdict() == judged(heard, WEB.quorum)
