"""DNS in the driver in a real run: real clients, load while plans change, every process killed, adopted, removed."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e import resolvers
from tests.e2e.apiclient import ApiClient
from tests.e2e.driven import AWAY, HOME, SERVER4, SERVER6, TOKEN, Driven
from tests.e2e.lifecycle import wait_until
from tests.e2e.probes import dynamic, peers
from tests.e2e.program import Program, running
from tests.namespaces import World
from tests.ports import free_port
from tests.xdp.harness import compiled
from xdp import pins
from xdp.loader import remove

pytestmark = [pytest.mark.root, pytest.mark.slow]

ELSEWHERE = "198.18.7.53"
DEPLOYMENT = f"driven{os.getpid()}"
LEAST = 0.999  # of what a generator sends while it is told to stop: the last replies come after it


@pytest.fixture(autouse=True)
def pinned() -> Iterator[None]:
    """Nothing outlives a test that fails."""
    yield
    remove(pins.folder(DEPLOYMENT, "one"))


@pytest.fixture
def world(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> Driven:
    tool("clang")
    return Driven(netns, tmp_path, DEPLOYMENT)


def family(program: Program) -> list[psutil.Process]:
    parent = psutil.Process(program.process.pid)
    return [parent, *parent.children(recursive=True)]


def kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def test_real_clients_are_answered_there(world: Driven, tool: Callable[[str], str]) -> None:
    for name in ("dig", "kdig"):
        tool(name)
    with world.running() as program:
        before = world.inside(program)
        for server in (SERVER4, SERVER6):
            assert world.ask(server) == [HOME]
            assert world.ask(server, rtype="AAAA") == ["2001:db8::10"]
            assert world.ask(server, subnet="203.0.113.0/24") == [AWAY]
            assert world.ask(server, subnet="2001:db8:5::/48") == [AWAY]
            assert world.ask(server, name="absent.site.test") == [], "more than twice the query"
            dig = world.client.run("dig", "+tries=1", "+time=2", f"@{server}", "www.site.test", "A")
            assert "status: NOERROR" in dig
            assert f"\t{HOME}\n" in dig
            assert re.search(r"; COOKIE: [0-9a-f]{48} \(good\)", dig)
            kdig = world.client.run("kdig", "+retry=0", "+subnet=203.0.113.0/24", f"@{server}", "www.site.test", "A")
            assert "CLIENT-SUBNET: 203.0.113.0/24/24" in kdig
            assert f"\t{AWAY}\n" in kdig
        wait_until(lambda: world.inside(program) - before >= 14, "the counts")
        by_workers = world.status(program)["queries"] - world.inside(program)
        assert world.ask(name="any.wild.site.test") == ["192.0.2.99"], "a wildcard is the worker's"
        wait_until(lambda: world.status(program)["queries"] - world.inside(program) == by_workers + 1, "the worker")
        found = world.driver(program)
        assert [(one["name"], one["attached"]) for one in found["interfaces"]] == [
            ("eth0", "native"),
            ("eth1", "native"),
        ]
        assert found["addresses"] >= 3


def test_a_sample_of_queries_is_told_to_who_asks_for_it(world: Driven) -> None:
    with world.running(), ExitStack() as stack:
        api = ApiClient(world.api_port, TOKEN)
        told = world.node.call(lambda: stack.enter_context(api.events("/v1/events?queries=1")))

        def by(executor: str) -> list[dict[str, Any]]:
            found = [one for one in list(told) if one.get("executor") == executor]
            return [one for one in found if one["client"] in ("10.1.0.0/24", "fd00:1::/56")]

        def are_told() -> bool:
            """What is asked in the first moments is before the sample."""
            assert world.ask(SERVER6, subnet="203.0.113.0/24") == [AWAY]
            assert world.ask(name="any.wild.site.test") == ["192.0.2.99"]
            return bool(by("driver") and by("python"))

        wait_until(are_told, "queries of both")
        driver, worker = by("driver")[0], by("python")[0]
        expected = {"client": "fd00:1::/56", "subnet": "203.0.113.0/24", "scope": 24, "name": "www.site.test."}
        expected |= {"type": "A", "rcode": "NOERROR", "address": AWAY, "answered": True, "one_in": 1}
        assert {key: driver[key] for key in expected} == expected
        assert abs(driver["time"] - time.time()) < 30
        assert (worker["client"], worker["name"]) == ("10.1.0.0/24", "any.wild.site.test.")


@pytest.mark.parametrize("tags", [(), ("-v", "7")], ids=["untagged", "tagged"])
def test_a_generator_at_full_rate_loses_nothing(
    world: Driven, tool: Callable[[str], str], tags: tuple[str, ...]
) -> None:
    tool("kxdpgun")
    with world.running() as program:
        before = world.inside(program)
        shot = world.shoot(*tags, per_s=20_000, seconds=2)
        assert shot.sent > 10_000, shot.text
        assert shot.replied >= LEAST * shot.sent, shot.text
        wait_until(lambda: world.inside(program) - before >= shot.replied, "the counts")


def test_plans_that_change_under_load_lose_nothing_and_are_never_mixed(
    world: Driven, tool: Callable[[str], str]
) -> None:
    tool("kxdpgun")
    with world.running() as program:
        stop, found = threading.Event(), set()

        def ask() -> None:
            while not stop.is_set():
                found.add((tuple(world.ask()), tuple(world.ask(subnet="203.0.113.0/24"))))

        asking = threading.Thread(target=ask)
        shots = []
        shooting = threading.Thread(target=lambda: shots.append(world.shoot(per_s=5_000, seconds=6)))
        version, before = world.driver(program)["version"], world.inside(program)
        asking.start()
        shooting.start()
        changes = world.change_plans(5.0)
        shooting.join()
        stop.set()
        asking.join()
        (shot,) = shots
        assert changes >= 20
        assert shot.replied >= LEAST * shot.sent, shot.text
        assert {one for pair in found for one in pair} == {(HOME,), (AWAY,)}
        wait_until(lambda: world.driver(program)["version"] >= version + changes // 2, "the last plan")
        wait_until(
            lambda: world.inside(program) - before >= shot.replied, "the counts of plans that were in force briefly"
        )
        assert world.status(program)["problems"] == {}


def test_it_answers_through_every_death_is_adopted_and_leaves_nothing(world: Driven) -> None:
    with world.running() as program:
        kill(family(program))
        program.process.wait()
        wait_until(lambda: not any(one.is_running() for one in family_left(program)), "the end of all processes")
        for server in (SERVER4, SERVER6):
            assert world.ask(server) == [HOME], "with every process dead"
    image = in_force()
    with world.running() as again:
        assert world.ask() == [HOME]
        assert in_force() == image, "what was in force stays"
        wait_until(lambda: world.inside(again) >= 2, "what was answered meanwhile is counted")
        again.process.terminate()
        assert again.process.wait(15) == 0
    assert "xdp" not in world.node.run("ip", "-o", "link", "show", "dev", "eth0")
    assert not pins.folder(DEPLOYMENT, "one").exists()


def family_left(program: Program) -> list[psutil.Process]:
    state = str(program.state)
    return [one for one in psutil.process_iter(["cmdline"]) if state in (one.info["cmdline"] or [])]


def in_force() -> list[bytes | None]:
    """Numbers of the maps in force: others after each load."""
    found = []
    for folder in pins.layouts(pins.folder(DEPLOYMENT, "one")):
        maps = pins.held(folder)
        found += [maps[name].lookup(bytes(4)) for name in ("dns_images", "geographies")]
        for one in maps.values():
            os.close(one.fd)
    return found


@pytest.mark.parametrize("name", sorted(resolvers.CONFIGS))
def test_resolvers_that_send_client_subnet(netns: World, tmp_path: Path, tool: Callable[[str], str], name: str) -> None:
    """Each network is told its own answer, and all of it by the driver."""
    path = tool(name)
    tool("clang")
    host, client = netns.namespace("server"), netns.namespace("resolver")
    device, peer = netns.join(host, client, f"{resolvers.SERVER}/24", f"{resolvers.RESOLVER}/24")
    client.add_address("lo", f"{resolvers.RESOLVER6}/128")
    passing = compiled(Path(__file__).with_name("pass.bpf.c"), tmp_path)
    client.run("ip", "link", "set", "dev", peer, "xdpdrv", "obj", str(passing), "sec", "xdp")
    for member, end in ((host, device), (client, peer)):
        member.run("ethtool", "-K", end, "tx", "off")
    text = dynamic.CONFIG.format(listen=f'["{resolvers.SERVER}:53"]', workers="1, xdp: native", api=free_port())
    text = text.replace("deployment: acceptance", f"deployment: {DEPLOYMENT}")
    config = tmp_path / "gslb.yaml"
    config.write_text(f"{text}nodes: {{one: {{site: one, interfaces: [{device}]}}}}\n")
    (tmp_path / "acceptance.test.zone").write_text(peers.ZONE_FILE.read_text() + dynamic.ALIASES)
    folder = tmp_path / "resolver"
    folder.mkdir()
    with running(tmp_path, config, "one", resolvers.TARGET, inside=host) as program:
        wait_until(lambda: (program.status()["driver"] or {"why": "?"})["why"] == "", "DNS in the driver")
        resolver = resolvers.start(client, name, path, folder)
        before = program.status()["counters"]
        for asked, address in (("192.0.2.77", 1), ("198.51.100.7", 3), ("198.51.7.7", 2), ("2001:db8:a::1", 1)):
            assert resolver.ask("geo", asked) == [f"203.0.113.{address}"]
        wait_until(lambda: program.status()["counters"]["xdp"] >= before["xdp"] + 4, "the counts")
        assert program.status()["counters"]["ecs"] >= before["ecs"] + 4


def test_auto_leaves_a_veth_alone_and_says_so(world: Driven) -> None:
    world.configure("auto", "")
    with world.running() as program:
        assert "eth0 is a veth, where dns.xdp: auto does not attach" in world.driver(program)["why"]
        assert world.ask() == [HOME]
        assert world.status(program)["problems"] == {}


def test_on_says_so_where_nothing_is_answered_there(world: Driven) -> None:
    world.configure("on", "", native=False)
    with world.running() as program:
        nowhere = "DNS is not answered in the driver: eth0 is a veth"
        wait_until(lambda: nowhere in str(world.status(program)["problems"]), "the problem")
        assert world.ask() == [HOME]
        assert nowhere in world.ready()
        world.configure("on", native=True)
        wait_until(lambda: "why" in world.driver(program) and not world.driver(program)["why"], "DNS in the driver")
        wait_until(lambda: '"ready"' in world.ready(), "readiness")
        assert world.status(program)["problems"] == {}


def test_an_address_that_left_is_answered_when_it_is_back(world: Driven) -> None:
    """Named in `dns.listen`: the driver would know it without looking."""
    world.configure("native", listen=(f"{SERVER4}:53", f"{ELSEWHERE}:53"))
    world.client.run("ip", "route", "add", ELSEWHERE, "via", SERVER4)
    world.node.add_address("eth1", f"{ELSEWHERE}/32")
    with world.running() as program:
        note = f"not on this machine, answered when it comes: {ELSEWHERE}"

        def stands() -> tuple[int, list[str]]:
            found = world.driver(program)
            return found["addresses"], found["notes"]

        assert stands() == (2, [])
        world.node.run("ip", "address", "del", f"{ELSEWHERE}/32", "dev", "eth1")
        wait_until(lambda: stands() == (1, [note]), "that it is gone")
        world.node.add_address("eth1", f"{ELSEWHERE}/32")
        wait_until(lambda: stands() == (2, []), "that it is back")
        before = world.inside(program)
        assert world.ask(ELSEWHERE) == [HOME]
        wait_until(lambda: world.inside(program) > before, "the counts")


def test_off_is_off(world: Driven) -> None:
    world.configure("off")
    with world.running() as program:
        assert world.driver(program)["why"] == "dns.xdp is off"
        assert not pins.folder(DEPLOYMENT, "one").exists()
        assert world.ask() == [HOME]


@pytest.mark.parametrize("lacking", ["-net_admin,-sys_admin,-bpf,-perfmon", "-sys_admin,-bpf,-perfmon"])
def test_without_rights_auto_is_quiet_and_native_is_a_problem(world: Driven, lacking: str) -> None:
    """By a bounding set without the rights that XDP needs, or with one of them, as containers have it."""
    few = ("setpriv", f"--bounding-set={lacking}", "--inh-caps=-all", "--")
    world.configure("auto")
    with world.running(few) as program:
        assert "has not all of CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON" in world.driver(program)["why"]
        assert world.status(program)["problems"] == {}
        assert world.ask() == [HOME]
        world.configure("native", native=False)
        wait_until(lambda: "DNS is not answered in the driver" in str(world.status(program)["problems"]), "the problem")
        assert world.ask() == [HOME]
