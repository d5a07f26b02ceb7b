"""A desk that knows something of everything, so that each metric and each part of the page has a value."""

from __future__ import annotations

from dataclasses import replace

from gslb.control.desk import Figures, Loss
from gslb.control.passive import PassiveFigures
from gslb.control.roundtrips import Spread
from gslb.model.deployment import TYPE_A, MonitorId, PolicyId, PoolId, SiteId
from gslb.model.history import Cause, Ejection, History, Moved, Out, Shed
from gslb.model.world import Forced, Health, Load, Override, Verdict, World
from tests.api.desk import NOW, FakeDesk
from xdp.messages import Attached, Count, Estimate, Interface, Pulse, State, TableState

FRA, IAD, CLOUD = PoolId("web-fra"), PoolId("web-iad"), PoolId("web-cloud")
FIGURES = Figures(
    answers={(FRA, TYPE_A): 10, (PoolId(""), TYPE_A): 2, (PoolId("gone"), TYPE_A): 1},
    checks={(MonitorId("web"), True): 5, (MonitorId("web"), False): 1},
    latencies={(FRA, "192.0.2.10"): {0.5: 0.01, 0.99: 0.2}},
    losses={SiteId("fra"): Loss(over_hard=1, worst=1.04), SiteId("iad"): Loss(over_hard=0, worst=None)},
    balancer=State(
        3,
        7,
        "",
        (Interface("eth0", Attached.GENERIC, "MTU 9000"),),
        {"web-fra": TableState("ab12", {"10.1.0.11": 65_537}, 12, {"10.1.0.12": "no neighbour"})},
    ),
    pulse=Pulse(
        2.0,
        1.0,
        {"web-fra": {"192.0.2.10 tcp/80": Count(packets=10, octets=600)}},
        {"web-fra": {"10.1.0.11": Count(packets=10, handshakes=2)}},
        {"no_room": 3},
        active_vips={"web-fra": {"192.0.2.10 tcp/80": Estimate(1200.0, 60.0)}},
        active_backends={"web-fra": {"10.1.0.11": Estimate(1100.0, 58.0)}},
    ),
    passive=PassiveFigures({(FRA, 4): Spread([0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1], 2.5)}, {(FRA, "10.1.0.11"): 0.25}),
)
WORLD = World(
    NOW,
    verdicts={
        FRA: {
            "192.0.2.10": Verdict(Health.UP, 1.5),
            "192.0.2.11": Verdict(Health.DOWN, 2.0, "refused", outlier="slow"),
        },
        IAD: {"198.51.100.10": Verdict(Health.DOWN, 1.0, "timeout")},
    },
    loads={CLOUD: Load(0.42, 3.0, stale=True)},
)
HISTORY = History(
    sheds={FRA: Shed(Cause.LOAD, 0.25, NOW, "g", (Moved(PolicyId("web"), TYPE_A, 0, CLOUD, 100),))},
    out={PolicyId("web"): {IAD: Out(NOW - 60)}},
    ejected={"web-fra/192.0.2.11": Ejection(NOW + 30, 1, "slow"), "web-fra/192.0.2.10": Ejection(NOW - 1, 1, "slow")},
)

BUS = {"connected": True, "keys_why": "no majority", "refused": {"subject": 1}}
IAD_NODE = {
    "site": "iad",
    "node": "iad1",
    "this": False,
    "alive": False,
    "heard_s": 30.5,
    "skew_s": -2.5,
    "delay_s": 0.25,
    "config": "c2",
    "other_config": True,
    "blind_s": 4.0,
    "known": {"opinions": {"count": 12, "age_s": 32.0}},
}
SHARING = {
    "bus": BUS,
    "nodes": [
        {"site": "fra", "node": "fra", "this": True, "alive": True, "heard_s": 0.0},
        IAD_NODE,
        {"site": "iad", "node": "iad2", "this": False, "alive": False, "heard_s": None},
        {**IAD_NODE, "node": "lab", "alive": True, "stranger": True},
    ],
    "refused": {"future": 2},
    "traffic": {"heard": {"life": {"messages": 5, "octets": 500}}, "told": {"loads": {"messages": 2, "octets": 60}}},
    "sheds": {"writers": {"web-fra": "fra", "web-iad": "iad1", "web-cloud": None, "gone": "fra"}, "refused": 3},
}
AGREEMENT = {"waiting": 4, "refused": {"malformed": 1}, "lost": 2}
ROLLOUT = {
    "published": {"version": 3},
    "in_force": 2,
    "refused": {"iad1": {"version": 3, "lines": []}, "iad2": {"version": 2, "lines": []}},
    "malformed": {"config.current": 1},
}
ANNOUNCING = {
    "speaker": {
        "name": "fra",
        "local_as": 64512,
        "router_id": "192.0.2.1",
        "pid": 4711,
        "adopted": False,
        "version": "5.0.15",
        "ready": True,
        "problem": "",
    },
    "neighbors": [
        {"address": "10.0.0.1", "as": 64513, "up": True, "since": NOW - 300, "reason": "", "routes": 1},
        {
            "address": "10.0.0.2",
            "as": 64513,
            "up": False,
            "since": NOW - 12,
            "reason": "notification received (2,2)",
            "routes": 0,
        },
    ],
    "prefixes": [
        {
            "prefix": "192.0.2.0/24",
            "anycast": "dns",
            "state": "drain",
            "acked": True,
            "since": NOW - 60,
            "why": "no executor of DNS answers",
            "veto": "too few other sites are known to announce it",
            "operator": "none",
            "local": {"dns": False, "pools": None},
            "lease": {"wanted": False, "held": False, "holder": None},
            "sites": ["iad"],
            "on_lo": True,
            "in_router": [{"neighbor": "10.0.0.1", "standing": "used", "at": NOW - 2}],
            "failures": 2,
            "wake_s": 7.0,
        }
    ],
    "counts": {
        "commands": 12,
        "errors": 1,
        "timeouts": 2,
        "dropped": 3,
        "restarts": 4,
        "slowest_ack_s": 0.025,
        "transitions": {"192.0.2.0/24": {"announced": 1, "drain": 2, "off": 0}},
    },
}
DRAINING = {
    "site": "fra",
    "state": "drain",
    "who": "alice",
    "why": "CHG-7",
    "since": NOW - 180,
    "at": NOW - 1,
    "arrivals": [
        {
            "what": "pool",
            "name": "web-fra",
            "source": "balancer",
            "per_s": 0.0,
            "checks_per_s": 0.0,
            "quiet_s": 75.0,
            "age_s": 0.4,
            "active": 12,
            "unknown": "",
        }
    ],
    "obstacles": [],
    "safe": True,
}


def know_everything(desk: FakeDesk) -> None:
    """Give it all of the above."""
    assert desk.plan is not None
    desk.numbers, desk.seen = FIGURES, WORLD
    desk.plan = replace(desk.plan, history=HISTORY)
    desk.told = {**desk.told, "sharing": SHARING, "agreement": AGREEMENT, "rollout": ROLLOUT}
    desk.told |= {"announcing": ANNOUNCING, "draining": DRAINING}
    override = Override("site/iad", Forced.DRAIN, "alice", "CHG-7", NOW - 5, NOW + 60)
    expired = replace(override, target="site/fra", until=NOW - 1)
    desk.store.edit_overrides(lambda _: (override, expired), NOW)
