"""A flood in somebody else's name is bounded, and whoever is really there is served: by cookie, or by TCP."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import dns.message
import pytest

from tests.e2e.lifecycle import wait_until
from tests.e2e.probes import dynamic, peers
from tests.e2e.probes.wire import COOKIE, Target, framed, opt, query, receive_framed
from tests.e2e.program import FEATURES, Program, running
from tests.namespaces import Namespace, World
from tests.ports import free_port
from tests.xdp.harness import compiled

pytestmark = [pytest.mark.root, pytest.mark.slow]

SERVER, VICTIM, CLIENT, ELSEWHERE = "198.18.0.1", "198.18.0.66", "198.18.0.2", "198.18.1.2"
RATE = 100  # responses to one network a second
PER_S = 3000  # queries of the flood
MOST_S = 30.0
PATIENT = ("+time=1", "+tries=20")  # every second response to the network is not sent
PATIENT_KDIG = ("+time=2", "+retry=10")
CLIENT_COOKIE = b"12345678"


@dataclass(frozen=True)
class Scene:
    """The server in one namespace, its clients and their enemy in another."""

    program: Program
    host: Namespace
    client: Namespace
    in_driver: bool

    def ask(self, name: str, *words: str) -> str:
        """What dig or kdig prints."""
        return self.client.run(name, f"@{SERVER}", "-p", str(self.program.target.port), *words, timeout=20)

    def counters(self) -> dict[str, int]:
        """The counters of `gslb status`."""
        found: dict[str, int] = self.program.status()["counters"]
        return found


@pytest.fixture(scope="module", params=["workers", "driver"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("limits")
    in_driver = request.param == "driver"
    target = Target(SERVER, 53, FEATURES)
    config = folder / "gslb.yaml"
    workers = f"2, xdp: {'native' if in_driver else 'off'}"
    text = dynamic.CONFIG.format(listen=f'["{SERVER}:53"]', workers=workers, api=free_port())
    text = text.replace("deployment: acceptance", f"deployment: limits{os.getpid()}")  # what is pinned bears its name
    (folder / "acceptance.test.zone").write_text(peers.ZONE_FILE.read_text() + dynamic.ALIASES)
    with World() as world, ExitStack() as stack:
        host, client = world.namespace("server"), world.namespace("client")
        device, peer = world.join(host, client, f"{SERVER}/23", f"{CLIENT}/23")
        nodes = f"nodes: {{one: {{site: one, interfaces: [{device}]}}}}\n" if in_driver else ""
        config.write_text(f"{text}limits: {{responses_per_s: {RATE}}}\n{nodes}")
        if in_driver:  # else nothing takes what it sends back
            passing = compiled(Path(__file__).with_name("pass.bpf.c"), folder)
            client.run("ip", "link", "set", "dev", peer, "xdpdrv", "obj", str(passing), "sec", "xdp")
        for member, end in ((host, device), (client, peer)):
            member.run("ethtool", "-K", end, "tx", "off")
        for address in (VICTIM, ELSEWHERE):
            client.add_address(peer, f"{address}/23")
        program = stack.enter_context(running(folder, config, "one", target, inside=host))
        one = Scene(program, host, client, in_driver)
        if in_driver:
            wait_until(lambda: answers_in_driver(program), "DNS is in the driver")
        yield one


def answers_in_driver(program: Program) -> bool:
    """Whether the driver of an interface has the plan."""
    driver = program.status()["driver"]
    return driver is not None and driver["version"] > 0 and all(one["attached"] for one in driver["interfaces"])


@dataclass
class Flood:
    """Queries in the victim's name, from many ports, and what comes back to it."""

    sent: int = 0
    whole: int = 0  # replies with records
    cut: int = 0  # replies with TC and none
    largest_cut: int = 0
    took_s: float = 0.0

    def run(self, stop: Event) -> None:
        """Send PER_S a second until `stop`, but never for long."""
        packet = query("above512", "A", edns=opt())
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            raw.bind((VICTIM, 0))
            began = time.monotonic()
            while not stop.is_set() and time.monotonic() - began < MOST_S:
                for _ in range(PER_S // 100):
                    port = 20_000 + self.sent % 10_000
                    raw.sendto(struct.pack("!4H", port, 53, 8 + len(packet), 0) + packet, (SERVER, 53))
                    self.sent += 1
                self._hear(raw)
                time.sleep(0.01)
            self.took_s = time.monotonic() - began
            while select.select([raw], [], [], 0.3)[0]:
                self._hear(raw)

    def _hear(self, raw: socket.socket) -> None:
        while True:
            try:
                reply = raw.recv(65535, socket.MSG_DONTWAIT)[28:]
            except BlockingIOError:
                return
            if reply[2] & 2 and not any(reply[6:8]):
                self.cut += 1
                self.largest_cut = max(self.largest_cut, len(reply))
            else:
                self.whole += 1


@contextmanager
def flooded(scene: Scene) -> Iterator[Flood]:
    """The victim's network under attack, for as long as the body takes."""
    flood, stop = Flood(), Event()
    over = scene.counters()["over_limit"]
    with ThreadPoolExecutor(1) as pool:
        running_flood = pool.submit(scene.client.call, lambda: flood.run(stop))
        try:
            wait_until(lambda: scene.counters()["over_limit"] > over, "the flood is over the limit")
            yield flood
        finally:
            stop.set()
            running_flood.result(timeout=MOST_S + 5)


def test_a_flood_is_bounded_and_its_network_is_served(scene: Scene) -> None:
    before = scene.counters()
    cookie = scene.client.call(lambda: good_cookie(scene.program.target))
    with flooded(scene) as flood:
        by_cookie = scene.client.call(lambda: [whole(scene.program.target, CLIENT, cookie) for _ in range(50)])
        assert all(by_cookie), "a good cookie is never limited"
        with_cookie = scene.ask("dig", "-b", CLIENT, "host.acceptance.test", "+cookie", *PATIENT)
        assert "status: NOERROR" in with_cookie
        assert "COOKIE: " in with_cookie
        assert "(good)" in with_cookie
        assert "(UDP)" in with_cookie
        without = scene.ask("dig", "-b", CLIENT, "host.acceptance.test", "+nocookie", *PATIENT)
        assert "status: NOERROR" in without, "by luck, or by TCP since it was told TC"
        assert "NOERROR" in scene.ask("kdig", "-b", CLIENT, "host.acceptance.test", "+tcp", *PATIENT_KDIG)
        apart = scene.client.call(lambda: [whole(scene.program.target, ELSEWHERE) for _ in range(RATE // 4)])
        assert all(apart), "other networks have a limit of their own"
    assert flood.sent > 10 * RATE * flood.took_s, "it is a flood"
    assert flood.whole <= RATE * (flood.took_s + 1.5) + 10
    assert flood.whole >= RATE * flood.took_s / 2  # the machine may be busy
    assert flood.cut <= flood.sent / 2
    assert flood.largest_cut == len(query("above512", "A", edns=opt()))
    told: dict[str, int] = {}

    def counted() -> bool:
        told.update({name: value - before[name] for name, value in scene.counters().items()})
        return sum(told[one] for one in ("fast", "general", "native", "xdp")) >= flood.sent

    wait_until(counted, "every query of the flood is counted")
    assert told["over_limit"] == told["limited"] + told["slipped"] > 0
    assert told["slipped"] == pytest.approx(told["limited"], rel=0.1)
    assert told["cookies_valid"] >= 50
    if scene.in_driver:
        assert told["xdp"] > flood.sent / 2, told
    else:
        assert "responses over the limit of their network" in scene.program.log()


def test_kdig_and_dig_take_our_cookies(scene: Scene) -> None:
    for name, words in (("dig", ("+cookie",)), ("kdig", ("+cookie",))):
        assert "COOKIE: " in scene.ask(name, "-b", ELSEWHERE, "host.acceptance.test", *words)
    cookie = scene.client.call(lambda: good_cookie(scene.program.target, ELSEWHERE)).hex()
    found = scene.ask("dig", "-b", ELSEWHERE, "geo.acceptance.test", f"+cookie={cookie}", "+subnet=192.0.2.0/24")
    assert f"COOKIE: {cookie} (good)" in found
    assert "CLIENT-SUBNET: 192.0.2.0/24/24" in found
    assert "203.0.113.1" in found


NAMED = """
options {{
    directory "{folder}";
    pid-file none;
    session-keyfile "{folder}/session.key";
    lock-file none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion yes;
    dnssec-validation no;
    empty-zones-enable no;
    query-source address {source};
}};
controls {{ }};
zone "acceptance.test" {{ type static-stub; server-addresses {{ {server}; }}; }};
"""


def test_bind_returns_our_cookies(scene: Scene, tool: Callable[[str], str], tmp_path: Path) -> None:
    """As a resolver; it sends them without being told."""
    port = free_port()
    config = tmp_path / "named.conf"
    config.write_text(NAMED.format(folder=tmp_path, port=port, server=SERVER, source=ELSEWHERE))
    with (tmp_path / "output").open("wb") as output:
        process = scene.client.start(tool("named"), "-f", "-c", str(config), "-n", "1", stdout=output, stderr=output)

    def asked(name: str) -> str:
        try:
            return scene.client.run(
                "dig", "@127.0.0.1", "-p", str(port), "+short", "+time=1", f"{name}.acceptance.test"
            )
        except subprocess.CalledProcessError:  # it does not listen yet
            assert process.poll() is None, (tmp_path / "output").read_text()
            return ""

    wait_until(lambda: bool(asked("leaf")), "the resolver answers")
    before = scene.counters()["cookies_valid"]
    assert asked("host")
    wait_until(lambda: scene.counters()["cookies_valid"] > before, "a good cookie is counted")


def good_cookie(target: Target, source: str = CLIENT) -> bytes:
    """A cookie of the server's, by TCP."""
    with socket.create_connection((SERVER, target.port), timeout=5, source_address=(source, 0)) as line:
        line.sendall(framed(query("host", "A", edns=opt((COOKIE, CLIENT_COOKIE)))))
        reply = dns.message.from_wire(receive_framed(line))
    data: bytes | None = next(option.to_wire() for option in reply.options if option.otype == COOKIE)
    assert data is not None
    return data


def whole(target: Target, source: str, cookie: bytes = b"") -> bool:
    """Whether a query by UDP gets its records."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.settimeout(5)
        sock.sendto(query("host", "A", edns=opt(*([(COOKIE, cookie)] if cookie else []))), (SERVER, target.port))
        try:
            reply = dns.message.from_wire(sock.recv(65535))
        except TimeoutError:
            return False
        return bool(reply.answer)
