"""The life of a balancer in a real run: attached, forwarding through every death, adopted, removed; and a node that may not have one."""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.e2e.lifecycle import Server, wait_until
from tests.namespaces import Namespace, World, unavailable
from xdp import build, pins
from xdp.loader import remove

VIP, PORT = "192.0.2.10", 7777
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
DEPLOYMENT = f"life{os.getpid()}"
CONFIG = f"""\
deployment: {DEPLOYMENT}
nodes: {{fra: {{site: fra, interfaces: [INTERFACE]}}}}
datacenters: {{fra: {{at: [50.11, 8.68], continent: EU}}}}
pools:
  web-fra:
    datacenter: fra
    answers: [{VIP}]
    balance: {{listen: [tcp/{PORT}], backends: [10.1.0.2]}}
  serve-fra:
    datacenter: fra
    answers: [192.0.2.20]
    balance: {{listen: [tcp/{PORT}], backends: [10.1.0.2], without_balancer: serve}}
  spare-fra: {{datacenter: fra, answers: [198.51.100.10]}}
policies:
  web: {{rules: [{{pools: [web-fra, spare-fra]}}]}}
  serve: {{rules: [{{pools: [serve-fra, spare-fra]}}]}}
dns: {{listen: ["ADDRESS:PORT"], workers: 1}}
zones: [zones/*.yaml]
"""
UNBALANCED = "\n".join(line for line in CONFIG.splitlines() if "    balance:" not in line)
ZONE = """\
'':
  - type: SOA
    value: {mname: ns1.example.com., rname: hostmaster.example.com.}
  - type: NS
    values: [ns1.example.com.]
ns1: {type: A, value: 127.0.0.1}
www: {policy: web, ttl: 60, types: [A]}
serve: {policy: serve, ttl: 60, types: [A]}
"""

pytestmark = [pytest.mark.root, pytest.mark.slow]


class Echo:
    """A backend: says hello to who connects to the VIP."""

    def __init__(self, host: Namespace) -> None:
        self._door = host.call(lambda: socket.create_server((VIP, PORT)))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._door.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            with caller:
                caller.sendall(b"hello")


class Node(Server):
    """`gslb run` in a namespace."""

    def __init__(self, folder: Path, host: Namespace, interface: str, config: str = CONFIG) -> None:
        self.host = host
        self.interface = interface
        self.as_user: tuple[str, ...] = ()
        super().__init__(folder, config, {"example.com.yaml": ZONE})

    def configure(self, config: str) -> None:
        super().configure(config.replace("INTERFACE", self.interface))

    def words(self, name: str, *arguments: str) -> list[str]:
        return self.host.command([*self.as_user, *super().words(name, *arguments)])

    def answers(self) -> bool:
        return self.host.call(super().answers)

    def resolved(self, name: str) -> list[str]:
        return self.host.call(lambda: self.addresses(f"{name}.example.com"))

    def told(self) -> dict[str, Any]:
        """What `gslb status --json` says."""
        done = self.command("status", "--json")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def balancer(self) -> dict[str, Any]:
        found: dict[str, Any] = self.told()["balancer"] or {}
        return found

    def attached(self) -> bool:
        return any(one["attached"] == "native" for one in self.balancer().get("interfaces", ()))


class Site:
    """client - balancer - backend, and the pins of this run."""

    def __init__(self, world: World) -> None:
        self.client, self.host, self.backend = (world.namespace(name) for name in ("client", "lb", "backend"))
        outside, self.interface = world.join(self.client, self.host, "10.9.0.2/24", "10.9.0.1/24")
        _, inside = world.join(self.host, self.backend, "10.1.0.1/24", "10.1.0.2/24")
        self.client.run("ethtool", "-K", outside, "tx", "off")
        self.client.add_route("192.0.2.0/24", "10.9.0.1")
        self.host.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self.backend.run("ethtool", "-K", inside, "gro", "on", "tx", "off")  # XDP may send to it; replies have sums
        self.backend.add_address("lo", f"{VIP}/32")
        self.backend.add_route("10.9.0.0/24", "10.1.0.1")
        self.home = pins.folder(DEPLOYMENT, "fra")

    def reached(self) -> bool:
        """Whether a new connection to the VIP comes to the backend."""
        return self.client.call(_greeted)


def _greeted() -> bool:
    try:
        with socket.create_connection((VIP, PORT), timeout=1) as sock:
            return sock.recv(10) == b"hello"
    except OSError:
        return False


@pytest.fixture
def site(tool: Callable[[str], str]) -> Iterator[Site]:
    if why := unavailable():
        missing(why)
    for name in ("ethtool", "setpriv", "clang"):
        tool(name)
    build.build()
    with World() as world:
        made = Site(world)
        echo = Echo(made.backend)
        try:
            yield made
        finally:
            echo.close()
            remove(made.home)


@pytest.fixture
def node(tmp_path: Path, site: Site) -> Iterator[Node]:
    one = Node(tmp_path, site.host, site.interface)
    yield one
    one.clear()


def links(site: Site) -> str:
    return site.host.run("ip", "-o", "link", "show", "dev", site.interface)


def test_it_forwards_through_every_death_is_adopted_and_leaves_nothing(node: Node, site: Site) -> None:
    run = node.start()
    wait_until(node.attached, "the interface", 30)
    wait_until(site.reached, f"a connection through the balancer; it said {node.said()}")
    assert node.resolved("www") == [VIP]
    told = node.balancer()
    assert (told["refused"], told["adopted"], told["problems"]) == ("", False, [])
    assert sum(told["tables"]["web-fra"]["slots"].values()) == 65537

    controller = node.told()["controller"]["pid"]
    os.kill(controller, signal.SIGKILL)
    assert site.reached()
    wait_until(lambda: node.told()["controller"]["pid"] not in (None, controller), "another controller")

    for pid in (run.pid, *node.left()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.wait()
    wait_until(lambda: not node.left(), "the end of all processes")
    assert site.reached(), "with every process dead forwarding goes on"

    with _asking(site) as lost:
        run = node.start()
        wait_until(lambda: node.balancer().get("adopted") is True, "the adoption")
        assert node.resolved("www") == [VIP], "a restart that adopts takes nothing out of the answers"
    assert lost == []

    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=15) == 0
    assert "xdp" not in links(site)
    assert not site.home.exists()
    assert not site.reached()


def test_a_dead_process_is_replaced_and_rights_are_few(node: Node, site: Site) -> None:
    node.start()
    wait_until(node.attached, "the interface", 30)
    balancer = next(pid for pid in node.left() if _capabilities(pid) & (1 << 39) and pid != node.runs[-1].pid)
    assert _capabilities(balancer) & ~sum(1 << one for one in (12, 21, 38, 39)) == 0
    assert _capabilities(node.told()["controller"]["pid"]) == 0
    os.kill(balancer, signal.SIGKILL)
    wait_until(lambda: "the balancer's process died and is replaced" in node.said(), "the replacement")
    wait_until(lambda: node.balancer().get("adopted") is True, "the adoption")
    assert site.reached()
    assert node.stop() == 0
    assert not site.home.exists()


def test_a_second_run_leaves_the_balancer_of_the_first_alone(node: Node, site: Site, tmp_path: Path) -> None:
    """With a state folder of its own; it begins within seconds of the first one's end, however that ends."""
    first = node.start()
    wait_until(node.attached, "the interface", 30)
    (tmp_path / "second").mkdir()
    other = Node(tmp_path / "second", site.host, site.interface)
    try:
        second = other.start()
        wait_until(lambda: bool(other.balancer().get("refused")), "the refusal")
        told = other.balancer()["refused"]
        assert f"the balancer of {site.home.name} runs already" in told
        assert told.endswith(f"; kill {first.pid}"), told
        assert other.stop() == 0
        assert site.reached()
        assert node.attached()
        second = other.start()
        wait_until(lambda: bool(other.balancer().get("refused")), "the refusal")
        for pid in (first.pid, *node.left()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        first.wait()
        wait_until(other.attached, "its turn", 5)
        assert other.balancer()["adopted"]
        assert site.reached()
        second.send_signal(signal.SIGINT)
        assert second.wait(timeout=15) == 0
        assert not site.home.exists()
    finally:
        other.clear()


def test_another_deployments_balancer_is_told_and_ended_by_the_line(node: Node, site: Site) -> None:
    """After a kill and a change of the deployment's name."""
    run = node.start()
    wait_until(node.attached, "the interface", 30)
    for pid in (run.pid, *node.left()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.wait()
    wait_until(lambda: not node.left(), "the end of all processes")
    node.configure(CONFIG.replace(DEPLOYMENT, f"{DEPLOYMENT}new"))
    try:
        node.start()
        wait_until(lambda: any(one["taken"] for one in node.balancer().get("interfaces", ())), "the refusal", 30)
        (found,) = node.balancer()["interfaces"]
        assert f"gslb's own balancer of {site.home.name} (deployment-node) runs on {site.interface}" in found["why"]
        assert found["mend"] == f"rm -r {site.home}"
        site.host.run("sh", "-c", found["mend"])
        wait_until(node.attached, "the interface", 5)
        assert site.reached()
        assert node.stop() == 0
    finally:
        remove(pins.folder(f"{DEPLOYMENT}new", "fra"))


def test_a_reload_ends_it(node: Node, site: Site) -> None:
    node.start()
    wait_until(node.attached, "the interface", 30)
    node.configure(UNBALANCED)
    wait_until(lambda: not site.home.exists(), "the removal")
    wait_until(lambda: node.told()["balancer"] is None, "status without a balancer")
    assert node.stop() == 0


def test_a_reload_may_not_begin_it_in_a_run_that_gave_up_the_rights(node: Node) -> None:
    node.configure(UNBALANCED)
    node.start()
    wait_until(lambda: bool(node.resolved("www")), "answers", 30)
    node.configure(CONFIG)
    wait_until(lambda: "restart gslb" in node.balancer().get("refused", ""), "the refusal")
    wait_until(lambda: node.resolved("www") == ["198.51.100.10"], "answers without that pool")
    assert node.stop() == 0


def test_without_privilege_the_node_runs_and_says_why(site: Site) -> None:
    folder = Path(tempfile.mkdtemp(prefix="gslb-nobody-", dir="/tmp"))  # nobody may enter it
    node = Node(folder, site.host, site.interface)
    try:
        node.as_user = NOBODY
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
        node.start()
        wait_until(lambda: bool(node.balancer().get("refused")), "the refusal")
        assert "CAP_BPF" in node.balancer()["refused"]
        wait_until(lambda: node.resolved("www") == ["198.51.100.10"], "answers without the pool")
        assert node.resolved("serve") == ["192.0.2.20"], "without_balancer: serve"
        assert "this node does not balance" in str(node.told()["problems"])
        assert node.stop() == 0
    finally:
        node.clear()
        shutil.rmtree(folder)


@contextlib.contextmanager
def _asking(site: Site) -> Iterator[list[float]]:
    """Connect again and again; when those that failed began."""
    lost: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            if not site.reached():
                lost.append(began)
            over.wait(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield lost
    finally:
        over.set()
        thread.join()


def _capabilities(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapEff")), 16)
