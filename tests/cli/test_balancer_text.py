"""`gslb status` of a node that balances, through the front door: what it says of tables and of what is observed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gslb.cli.balancer_text import balancer_lines, milliseconds
from gslb.cli.main import main
from gslb.control import balancerfile, lock
from gslb.control.facts import Facts
from gslb.control.forwarding import state_json
from gslb.control.observed import Observed
from gslb.control.passive import Passive
from gslb.control.store import Store
from gslb.model.deployment import PoolId
from tests.control.pulses import BACKENDS, VIP, Balancer, watching
from xdp.messages import Attached, Count, Estimate, Handshakes, Interface, Pulse, State, TableState

Status = Callable[..., list[str]]
DNS = "192.0.2.10 udp/53"
TABLE = TableState("9da39f10d1ac25d4", {BACKENDS[0]: 49_153, BACKENDS[1]: 16_384}, 7, {BACKENDS[2]: "no neighbour"})
STATE = State(1, 1, "", (Interface("eth0", Attached.NATIVE),), {"web": TABLE})


@pytest.fixture
def status(options: list[str], store: Store, capsys: pytest.CaptureFixture[str]) -> Status:
    """The lines about the balancer, of a node whose balancer said `state` and whose pulses were `seen` until `now`."""
    store.create()
    (store.folder / "run").mkdir(exist_ok=True)

    def lines(seen: Passive | None, now: float = 0.0, state: State = STATE) -> list[str]:
        balancerfile.save(store.folder / "run", {"balancer": state_json(state), "driver": None})
        store.save_figures({"passive": {} if seen is None else seen.state(now)})
        main(["status", *options])
        told = capsys.readouterr().out.splitlines()
        return told[next(number for number, line in enumerate(told) if line.startswith("balancer ")) :]

    return lines


@pytest.fixture
def controller(store: Store) -> Iterator[None]:
    """The node's controller, as far as others see it."""
    store.create()
    held = lock.Lock(store.folder, lock.CONTROLLER)
    yield
    held.release()


def watched(
    grown: Mapping[str, int], change: Callable[[Balancer, Pulse], Pulse] = lambda _, pulse: pulse
) -> tuple[Passive, float]:
    """What a controller knows after ten seconds, in each of which the VIP's counters grew so."""
    passive, balancer = watching(), Balancer()
    for second in range(11):
        pulse, now = balancer.pulse()
        passive.take(change(balancer, pulse) if second else pulse, now)
        balancer.vip_counts(**grown)
    return passive, balancer.now


TRAFFIC = {"packets": 12_345, "octets": 2_500_000, "syns": 50, "handshakes": 50}


@pytest.mark.usefixtures("controller")
def test_how_it_is_attached_and_each_table(status: Status) -> None:
    shares = f"{BACKENDS[0]} 75.0%, {BACKENDS[1]} 25.0%"
    notes = f"7 slots keep flows of an earlier backend; unreachable: {BACKENDS[2]}"
    assert status(None) == ["balancer    eth0 native", f"table       web (9da39f10d1ac): {shares}; {notes}"]


def test_who_has_no_slots_and_why() -> None:
    slots = dict(zip(BACKENDS, (65_537, 0, 0, 0), strict=True))
    state = State(1, 1, "", STATE.interfaces, {"web": TableState("9da39f10d1ac25d4", slots)})
    servings = zip(BACKENDS, ("up", "drain", "down"), strict=False)
    targets = [{"address": address, "serving": serving, "ejected_s": None} for address, serving in servings]
    found = {
        "balancer": state_json(state),
        "controller": {"pid": None},
        "unbalanced": {},
        "pools": [{"name": "web", "targets": targets}],
    }
    shares = f"{BACKENDS[0]} 100.0%, {BACKENDS[1]} drain, {BACKENDS[2]} down, {BACKENDS[3]} 0%"
    assert list(balancer_lines(found))[1] == f"table       web (9da39f10d1ac): {shares}"


@pytest.mark.usefixtures("controller")
def test_a_balancer_that_is_refused_says_why_and_no_more(status: Status) -> None:
    assert status(*watched(TRAFFIC), State(1, 0, "an old kernel")) == ["balancer    refused: an old kernel"]


def test_why_a_pool_is_not_balanced(options: list[str], store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """No balancer, so it says nothing of itself; what the node observed has the reason."""
    store.create()
    store.save_observed(Observed(time.time(), unbalanced=dict.fromkeys(map(PoolId, ("web", "api")), "an old kernel")))
    main(["status", *options])
    assert "unbalanced  web, api: an old kernel" in capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("controller")
def test_a_reason_is_told_once(status: Status, store: Store) -> None:
    facts = Facts()
    facts.open(store.folder)
    facts.problem("balancer", ["this node does not balance: an old kernel"])
    told = ["balancer    refused", "problem     balancer: this node does not balance: an old kernel"]
    assert status(None, state=State(1, 0, "an old kernel")) == told
    store.save_observed(Observed(time.time(), unbalanced={PoolId("web"): "an old kernel"}))
    detached = State(1, 0, "", (Interface("eth0", Attached.NOT, "an old kernel"),))
    assert status(None, state=detached)[:2] == ["balancer    eth0 not attached", told[1]]


@pytest.mark.usefixtures("controller")
def test_what_comes_to_a_pool_in_a_second(status: Status) -> None:
    told = ["traffic     web: 12,345 packets/s, 20.00 Mbit/s, 50 new connections/s"]
    assert status(*watched(TRAFFIC))[2:] == told
    assert status(*watched({}))[2:] == ["traffic     web: no packets"]


@pytest.mark.usefixtures("controller")
def test_what_is_not_known_is_not_called_nothing(status: Status) -> None:
    assert status(watching())[2:] == ["traffic     web: not known"]
    passive, now = watched(TRAFFIC)
    assert status(passive, now + 60)[2:] == ["traffic     web: not known"], "the balancer is silent"


def test_without_a_controller_the_past_is_not_shown_as_the_present(status: Status) -> None:
    told = ["traffic     not known while no controller runs; `gslb lb stats` reads what the kernel counts"]
    assert status(*watched(TRAFFIC))[2:] == told


@pytest.mark.usefixtures("controller")
def test_nor_is_it_while_the_controller_does_not_answer(
    status: Status, store: Store, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told since when, and what mends it; once it goes on, so do its figures."""
    passive = watched(TRAFFIC)
    file = store.folder / lock.CONTROLLER
    now = time.time()
    os.utime(file, (now, now - 200))
    told = ["traffic     not known while the controller does not answer; `gslb lb stats` reads what the kernel counts"]
    assert status(*passive)[2:] == told
    main(["status", *options])
    (line,) = (one for one in capsys.readouterr().out.splitlines() if one.startswith("controller "))
    since = f"{datetime.fromtimestamp(now - 200, UTC):%Y-%m-%d %H:%M:%S} UTC (3 min)"
    assert (
        line == f"controller  pid {os.getpid()}, does not answer since {since}; `kill -9 {os.getpid()}` has it replaced"
    )
    main(["status", "--json", *options])
    found = json.loads(capsys.readouterr().out)
    assert found["balancer"]["passive"] == {}
    assert found["controller"]["silent_s"] >= 200
    os.utime(file)
    assert status(*passive)[2].startswith("traffic     web: 12,345 packets/s")


@pytest.mark.usefixtures("controller")
def test_under_a_flood_it_says_what_connections_are_estimated_from(status: Status) -> None:
    told = status(*watched({**TRAFFIC, "syns": 500_000, "untracked_syns": 400_000}))[2:]
    estimated = "250 new connections/s (of SYNs only 20.0% could be followed)"
    assert told == [f"traffic     web: 12,345 packets/s, 20.00 Mbit/s, {estimated}"]


@pytest.mark.usefixtures("controller")
def test_each_vip_has_a_line_where_several_have_packets(status: Status) -> None:
    counted = {name: Count() for name in (VIP, DNS, "quiet")}

    def change(balancer: Balancer, pulse: Pulse) -> Pulse:
        seconds = round(balancer.now) - 101
        counted[VIP] = Count(packets=100 * seconds, octets=125_000 * seconds)
        counted[DNS] = Count(packets=900 * seconds, octets=125_000 * seconds, udp_flows=3 * seconds)
        return replace(pulse, vips={"web": dict(counted)})

    assert status(*watched({}, change))[2:] == [
        "traffic     web: 1,000 packets/s, 2.00 Mbit/s, 3.0 new connections/s",
        f"            {DNS}: 900 packets/s, 1.00 Mbit/s, 3.0 new connections/s",
        f"            {VIP}: 100 packets/s, 1.00 Mbit/s, 0.0 new connections/s",
    ]


@pytest.mark.usefixtures("controller")
def test_round_trips_by_address_family(status: Status) -> None:
    def change(_: Balancer, pulse: Pulse) -> Pulse:
        near = Handshakes("11.0.0.0", "web", BACKENDS[0], (800,) * 8 + (45_000,) * 2)
        return replace(pulse, handshakes=(near, Handshakes("2001:db8::", "web", BACKENDS[0], (5_000,))))

    (_, ipv4, ipv6) = status(*watched({}, change))[2:]
    assert ipv4.startswith("round trip  web IPv4 clients: median 0.8")
    assert ipv4.endswith(" ms, 90th percentile 44 ms")
    assert ipv6.startswith("round trip  web IPv6 clients: median 5.0 ms")


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize(
    ("again", "told"),
    [
        (0, []),
        (1, []),  # 5 %: that happens
        (3, [f"SYNs again  web {BACKENDS[0]}: 13% of its clients' SYNs are sent again"]),
        (20, [f"SYNs again  web {BACKENDS[0]}: 50% of its clients' SYNs are sent again, of its peers' 0%"]),
    ],
)
def test_backends_whose_clients_repeat_many_syns(status: Status, again: int, told: list[str]) -> None:
    def change(balancer: Balancer, _: Pulse) -> Pulse:
        for name in BACKENDS:
            balancer.backend(name, handshakes=20, resent_syns=again if name == BACKENDS[0] else 0)
        return balancer.pulse(0.0)[0]

    assert status(*watched({}, change))[3:] == told


@pytest.mark.parametrize(("seconds", "text"), [(0.00008, "0.08 ms"), (0.0012, "1.2 ms"), (0.0478, "48 ms")])
def test_milliseconds_have_two_digits_that_count(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize(
    ("active", "told"),
    [(Estimate(2310.2, 0.1), "2,310 active"), (Estimate(120_000.0, 1_300.0), "120,000 ± 1,300 active")],
)
def test_active_connections(status: Status, active: Estimate, told: str) -> None:
    def with_active(_: Balancer, pulse: Pulse) -> Pulse:
        return replace(pulse, active_vips={"web": {VIP: active}})

    line = "traffic     web: 12,345 packets/s, 20.00 Mbit/s, 50 new connections/s"
    assert status(*watched(TRAFFIC, with_active))[2:] == [f"{line}, {told}"]
    assert status(*watched({}, with_active))[2:] == [f"traffic     web: no packets, {told}"]
